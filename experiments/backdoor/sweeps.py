"""The sweeps of the paper: the scale gamma, durability, an early attack, repeated attacks.

All start from checkpoints of one pre-training. What differs between cells is data where it can be
(gamma, the backdoor, the model that is attacked), so that each sweep is one compiled program.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import arms, stages
from experiments.backdoor import task as tasks
from experiments.backdoor.config import CIFAR10, SMALL, SMOKE, Config
from experiments.kept import Kept
from fl_jax.core import rng
from fl_jax.federated import round, sampling
from fl_jax.federated.aggregators import mean
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks import replacement
from fl_jax.train import cohort
from fl_jax.train.state import Variables


@dataclasses.dataclass(frozen=True)
class Sweeps:
    """What is swept."""

    config: Config = SMALL  # data, network, pre-training, the attack
    backdoor: str = "pixel pattern"  # where it is not what is compared
    gammas: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)  # in units of n / eta
    gamma_rounds: int = 60  # that the sweep of gamma is followed
    features: tuple[str, ...] = ()  # backdoors whose durability is compared, at full scale
    early: int = 20  # rounds behind the model that is attacked early
    poisoners: tuple[int, ...] = (10, 20, 5, 1)  # % of the participants, in repeated attacks
    repeated_epochs: int = 3  # of whoever attacks again and again; a single shot trains longer


DIGITS = Sweeps()
SMOKE_SWEEPS = Sweeps(SMOKE, gamma_rounds=SMOKE.follow_rounds, features=("pixel pattern",), early=2)
# Real CIFAR-10 in half an hour on two idle cores: half as wide as the preset `cifar10`.
CIFAR10_SWEEPS = Sweeps(
    dataclasses.replace(CIFAR10, width=16, seeds=3, splits=1, follow_rounds=100, test_examples=500),
    backdoor="striped wall",
    gammas=(0.25, 0.5, 0.75, 1.0),
    gamma_rounds=20,
    features=("racing stripes", "green cars", "striped wall"),
    early=40,
    poisoners=(),
)


class Curves(NamedTuple):
    """Accuracies (cells, seeds, rounds + 1); the first entry is before the attack."""

    main: np.ndarray
    backdoor: np.ndarray


def checkpoints(config: Config, task: tasks.Task, keys, early: int) -> tuple[Variables, Variables]:
    """(models after `early` rounds, models after all), both stacked over seeds.

    The rounds are those of `stages.pretrain`, the seeds dealt over the devices.
    """
    algorithm = stages.pretraining(stages.Setting(config, task, keys, cohort.Plan("scan"), None))

    def run(seed, _, keys, people, test):
        key = rng.fold(keys[seed], "pretrain")
        data = round.RoundData(people, (), test)
        init = task.network.init(rng.fold(keys[seed], "init"))
        first = round.repeat(algorithm.step, early)
        rest = round.repeat(algorithm.step, config.pretrain_rounds - early)
        young, _ = first(algorithm.init(Variables(*init)), data, key)
        grown, _ = rest(young, data, key)
        return young.variables, grown.variables

    found = arms.deal(run, len(keys), 1, (keys, task.population, task.test))
    return jax.tree.map(lambda a: a[:, 0], found)


def follow(
    config: Config,
    task: tasks.Task,
    keys,
    *,
    models: Variables,
    gammas: list[float],
    backdoors: list[str],
    sampler: sampling.Sampler,
    most: int = 1,
    shared: bool = True,
    plain_mean: bool = False,
) -> Curves:
    """One program over cells x seeds.

    Args:
        models: leaves (cells, seeds, ...).
        gammas: one a cell.
        backdoors: names, one a cell.
        plain_mean: the mean of the round's models instead of the rate eta.
    """
    clean = stages.attackers_share(config, task)
    chosen = [task.backdoors[name] for name in backdoors]
    one = lambda gamma, name: scaling.poison(
        clean,
        tasks.repeated(task.backdoors[name].train, chosen),
        per_batch=config.per_batch(name),
        epochs=config.attacker_epochs,
        rate=config.attacker_rate,
        gamma=gamma,
    )
    stack = lambda trees: jax.tree.map(lambda *a: jnp.stack(a), *trees)
    poisons = stack([one(*pair) for pair in zip(gammas, backdoors, strict=True)])
    trials = stack([jax.tree.map(jnp.asarray, backdoor.test) for backdoor in chosen])
    test = jax.tree.map(jnp.asarray, task.test)
    eta = config.participants / config.cohort if plain_mean else config.eta
    evaluate = tasks.evaluate(task)
    algorithm = round.make(
        client=stages.client_of(config, task),
        sampler=sampler,
        aggregator=mean.fedavg(eta=eta, participants=config.participants),
        attack=stages.attack_of(config, task, attackers=most, shared=shared),
        evaluate=evaluate,
    )
    many = round.repeat(algorithm.step, config.follow_rounds)

    def run(seed, cell, models, keys, people, poisons, trials, test):
        of = lambda data, *at: jax.tree.map(lambda a: a[at], data)
        model = of(models, cell, seed)
        evaluation = {"main": test, "backdoor": of(trials, cell)}
        data = round.RoundData(people, of(poisons, cell), evaluation)
        _, info = many(algorithm.init(model), data, rng.fold(keys[seed], "sweep"))
        return stages.curve(evaluate(model, evaluation), info.metrics)

    shared = (models, keys, task.population, poisons, trials, test)
    found = arms.deal(run, len(keys), len(gammas), shared)
    return Curves(*(jnp.swapaxes(found[name], 0, 1) for name in Curves._fields))


def run(
    sweeps: Sweeps,
    *,
    shown: Callable[[dict[str, Any]], None] = lambda found: None,
    kept: Kept | None = None,
) -> dict[str, Any]:
    """`gamma`, `durability`, `early and late`, `repeated`: labels, and curves for each.

    Args:
        sweeps: the settings; what they leave empty is left out.
        shown: called with what has been found so far, whenever there is more.
        kept: where parts of a run that was stopped are found and new ones left.
    """
    kept = kept or Kept()
    config = sweeps.config
    task = tasks.make(config)
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    model = Variables(*task.network.init(keys[0]))
    young, grown = kept.item(
        "checkpoints", lambda: checkpoints(config, task, keys, sweeps.early), (model, model)
    )
    full = replacement.full_scale(eta=config.eta, participants=config.participants)
    n, m = config.participants, config.cohort
    once = sampling.single_shot(n, m, attackers=[stages.ATTACKER], rounds=[0])
    repeat = lambda model, count: jax.tree.map(lambda a: jnp.stack([a] * count), model)
    common = {"config": config, "task": task, "keys": keys}

    def sweep(name: str, **settings) -> Curves:
        return kept.item(name, lambda: follow(**settings), Curves(0, 0))

    out: dict[str, Any] = {}
    count = len(sweeps.gammas)
    shorter = dataclasses.replace(config, follow_rounds=sweeps.gamma_rounds)
    out["gamma"] = (
        [f"{share:g} n/eta" for share in sweeps.gammas],
        sweep(
            "gamma",
            **{**common, "config": shorter},
            models=repeat(grown, count),
            gammas=[share * full for share in sweeps.gammas],
            backdoors=[sweeps.backdoor] * count,
            sampler=once,
        ),
    )
    shown(out)
    if sweeps.features:
        count = len(sweeps.features)
        out["durability"] = (
            list(sweeps.features),
            sweep(
                "durability",
                **common,
                models=repeat(grown, count),
                gammas=[full] * count,
                backdoors=list(sweeps.features),
                sampler=once,
            ),
        )
        shown(out)
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), young, grown)
    # At the published rate, and under the plain mean, where forgetting is ten times as fast.
    for weighing, gamma in {"": full, ", plain mean": float(m)}.items():
        out[f"early and late{weighing}"] = (
            [f"after {sweeps.early} rounds", f"after {config.pretrain_rounds} rounds"],
            sweep(
                f"early and late{weighing}",
                **common,
                models=both,
                gammas=[gamma] * 2,
                backdoors=[sweeps.backdoor] * 2,
                sampler=once,
                plain_mean=bool(weighing),
            ),
        )
        shown(out)
    labels, mains, backdoors = [], [], []
    common["config"] = dataclasses.replace(config, attacker_epochs=sweeps.repeated_epochs)
    attacks = [("poisoning", share, 1.0) for share in sweeps.poisoners]
    for name, percent, gamma in [("replacement", 1, float(m)), *attacks] if attacks else []:
        count = max(round_up(percent * n / 100), 1)
        found = sweep(
            f"{name} {percent}",
            **common,
            models=repeat(grown, 1),
            gammas=[gamma],
            backdoors=[sweeps.backdoor],
            sampler=sampling.uniform(n, m, attackers=range(count)),
            most=min(count, m),
            shared=name == "replacement",
            plain_mean=True,
        )
        labels.append(f"{name}, {percent} %")
        mains.append(found.main[0])
        backdoors.append(found.backdoor[0])
        out["repeated"] = (list(labels), Curves(np.stack(mains), np.stack(backdoors)))
        shown(out)
    return out


def round_up(value: float) -> int:
    """The next whole number."""
    return int(np.ceil(value))
