"""The two stages of the protocol, each a compiled program over a grid of cells.

Stage one is a cell per seed: benign federated training to a converged model. Stage two is a cell
per (backdoor, attack, seed): one malicious round from that model, then benign rounds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.backdoor import task as tasks
from experiments.backdoor.config import Config
from fl_jax.core import errors, rng
from fl_jax.federated import client, round, sampling
from fl_jax.federated.aggregators import mean
from fl_jax.federated.attacks import anomaly, constrain_and_scale, replacement
from fl_jax.train import cohort, optimizer
from fl_jax.train import mesh as meshes
from fl_jax.train import schedule as schedules
from fl_jax.train.state import Variables

ATTACKER = 0  # the participant that is compromised


class Stage(NamedTuple):
    """What `train.loop` runs."""

    start: Callable[..., Any]  # the state of all cells before the first round
    advance: Callable[[Any, int], tuple[Any, Any]]
    rows: Callable[[Any, int], list[dict]]


class Cell(NamedTuple):
    """One attack on one backdoor in one seed, as data."""

    poison: constrain_and_scale.Poison
    backdoor: dict[str, jax.Array]  # the test draws


def stride(config: Config, rounds: int) -> int:
    """Rounds a dispatch: at most what the config says, and a divisor of all."""
    return next(s for s in range(min(config.rounds_per_dispatch, rounds), 0, -1) if not rounds % s)


class Setting(NamedTuple):
    """What both stages share."""

    config: Config
    task: tasks.Task
    keys: jax.Array  # (seeds,), one for everything random of a seed
    plan: cohort.Plan  # how clients run
    mesh: jax.sharding.Mesh | None  # devices that they are dealt over

    def put(self, values):
        """The values on every device."""
        return meshes.replicate(self.mesh, values)

    def compile(self, advance):
        """advance(state, ...) as one program that works in place; its results are everywhere."""
        everywhere = None if self.mesh is None else meshes.sharding(self.mesh)
        return jax.jit(advance, donate_argnums=0, out_shardings=everywhere)


def pretraining(setting: Setting, local: client.Client | None = None) -> round.Round:
    """A round of benign training, the rate falling along a cosine; by `client_of` unless given."""
    config, task, _, plan, mesh = setting
    decay = schedules.Schedule("cosine", decay_steps=config.pretrain_rounds, final=0.1)
    return round.make(
        client=local or client_of(config, task),
        sampler=sampling.uniform(config.participants, config.cohort),
        aggregator=mean.fedavg(eta=config.pretrain_eta, participants=config.participants),
        server=optimizer.make(optimizer.Optimizer("sgd", rate=1.0, schedule=decay)),
        evaluate=lambda variables, data: {"main": tasks.accuracy(task.test_loss, variables, data)},
        plan=plan,
        mesh=mesh,
    )


def one_round(algorithm: round.Round, models: Variables, data: round.RoundData, keys) -> Variables:
    """The models (seeds, ...) after a round of each, with a key (seeds,) each."""

    @jax.jit
    def many(models, data, keys):
        step = lambda item: algorithm.step(algorithm.init(item[0]), data, item[1])[0].variables
        return jax.lax.map(step, (models, keys))

    return many(models, data, keys)


def pretrain(setting: Setting) -> Stage:
    """Benign training, one cell per seed; `start()` draws the initial models."""
    config, task, keys, _, _ = setting
    algorithm = pretraining(setting)
    rounds = stride(config, config.pretrain_rounds)
    many = round.repeat(algorithm.step, rounds)

    def advance(states, population, test):
        data = round.RoundData(population, (), test)

        def one(cell):
            state, key = cell
            return many(state, data, rng.fold(key, "pretrain"))

        return cohort.map(one, (states, keys), plan=GRID)

    def start():
        init = lambda key: algorithm.init(Variables(*task.network.init(rng.fold(key, "init"))))
        return setting.put(jax.vmap(init)(keys))

    def rows(info, at):
        return [
            {
                "stage": "pretrain",
                "round": at - rounds + r + 1,
                "seed": config.seed + s,
                "main": info.metrics["main"][s, r],
                "loss": jnp.mean(info.loss[s, r]),
                "dropped": jnp.sum(~info.finite[s, r]),
            }
            for r in range(rounds)
            for s in range(config.seeds)
        ]

    population, test = setting.put((task.population, task.test))
    compiled = setting.compile(advance)
    return Stage(start, lambda state, step: compiled(state, population, test), on_host(rows))


def follow(setting: Setting) -> Stage:
    """The attack in the first round and what remains of it, one cell per arm and seed.

    `start(models)` takes the pre-trained `Variables`, stacked over seeds.
    """
    config, task, keys, plan, mesh = setting
    names, cells, cell_keys, seeds = _grid(config, task, keys)
    algorithm = round.make(
        client=client_of(config, task),
        sampler=sampling.single_shot(
            config.participants, config.cohort, attackers=[ATTACKER], rounds=[0]
        ),
        aggregator=mean.fedavg(eta=config.eta, participants=config.participants),
        attack=attack_of(config, task),
        evaluate=tasks.evaluate(task),
        plan=plan,
        mesh=mesh,
    )
    rounds = stride(config, config.follow_rounds)
    many = round.repeat(algorithm.step, rounds)

    def advance(states, cells, population, test):
        def one(item):
            state, cell, key = item
            evaluation = {"main": test, "backdoor": cell.backdoor}
            data = round.RoundData(population, cell.poison, evaluation)
            return many(state, data, rng.fold(key, "follow"))

        return cohort.map(one, (states, cells, cell_keys), plan=GRID)

    def start(models):
        return setting.put(jax.vmap(algorithm.init)(jax.tree.map(lambda a: a[seeds], models)))

    def rows(info, at):
        out = []
        for r in range(rounds):
            for c, (backdoor, attack, split) in enumerate(names):
                norms, malicious = info.norm[c, r], info.malicious[c, r]
                benign = norms[~malicious & info.finite[c, r]]
                row = {
                    "stage": "follow",
                    "round": at - rounds + r + 1,
                    "backdoor": backdoor,
                    "attack": attack,
                    "split": split,
                    "seed": config.seed + int(seeds[c]),
                    "main": info.metrics["main"][c, r],
                    "success": info.metrics["backdoor"][c, r],
                    "benign_norm": np.median(benign) if len(benign) else np.nan,
                    "dropped": np.sum(~info.finite[c, r]),
                }
                if malicious.any():
                    told = jax.tree.map(lambda a, c=c, r=r: a[c, r], info.attack)
                    row["attack_info"] = told._asdict()
                out.append(row)
        return out

    cells, population, test = setting.put((cells, task.population, task.test))
    compiled = setting.compile(advance)
    return Stage(start, lambda state, step: compiled(state, cells, population, test), on_host(rows))


def before(setting: Setting, models: Variables) -> list[dict]:
    """Rows of round 0: the accuracies of the pre-trained models on both tasks."""
    config, task, keys, _, _ = setting
    names, cells, _, seeds = _grid(config, task, keys)
    evaluate = tasks.evaluate(task)
    backdoors, test = setting.put((cells.backdoor, task.test))

    def measure(models, backdoors, test):
        one = lambda item: evaluate(item[0], {"main": test, "backdoor": item[1]})
        return cohort.map(one, (models, backdoors), plan=GRID)

    taken = jax.tree.map(lambda a: a[seeds], models)
    found = jax.device_get(jax.jit(measure)(taken, backdoors, test))
    return [
        {
            "stage": "follow",
            "round": 0,
            "backdoor": backdoor,
            "attack": attack,
            "split": split,
            "seed": config.seed + int(seeds[c]),
            "main": found["main"][c],
            "success": found["backdoor"][c],
        }
        for c, (backdoor, attack, split) in enumerate(names)
    ]


def curve(before, after):
    """Metrics of a model and of the rounds that start from it, leaves (rounds + 1, ...).

    Args:
        before: the model's, leaves (...).
        after: those after each round, leaves (rounds, ...).
    """
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), before, after)


GRID = cohort.Plan("scan")  # cells one after another: each fills the device by its clients


def on_host(rows):
    """rows(info, at) given NumPy arrays, fetched in one transfer."""
    return lambda info, at: rows(jax.device_get(info), at)


def client_of(config: Config, task: tasks.Task) -> client.Client:
    """What an honest participant does, or the server on a root set."""
    return client.make(
        task.train_loss, optimizer_of(config), epochs=config.epochs, batch_size=config.batch
    )


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Of an honest participant."""
    sgd = optimizer.Optimizer(
        "sgd", rate=config.rate, momentum=config.momentum, weight_decay=config.weight_decay
    )
    return optimizer.make(sgd)


def attack_of(config: Config, task: tasks.Task, *, attackers: int = 1, shared: bool = True):
    """What the paper's attacker does, alone or several with one poison or one each."""
    unit_rate = optimizer.Optimizer(
        "sgd", rate=1.0, momentum=config.momentum, weight_decay=config.weight_decay
    )
    return constrain_and_scale.constrain_and_scale(
        task.train_loss,
        optimizer.make(unit_rate),
        batch_size=config.batch,
        anomaly=anomaly.by_name(config.anomaly),
        test_loss=task.test_loss,
        drop_every=config.attacker_drop_every,
        attackers=attackers,
        shared=shared,
    )


def _grid(config: Config, task: tasks.Task, keys: jax.Array):
    """(backdoor, attack, split) of the cells, cells, keys, seed numbers; one entry per cell."""
    scale = config.gamma or replacement.full_scale(eta=config.eta, participants=config.participants)
    clean = attackers_share(config, task)
    hard = {
        "epochs": config.attacker_epochs,
        "rate": config.attacker_rate,
        "gamma": scale,
        "stop": config.stop,
    }
    settings = {
        "data poisoning": {**hard, "gamma": 1.0},
        "model replacement": hard,
        "constrain-and-scale": {**hard, "alpha": config.alpha},
    }
    for attack in config.attacks:
        errors.one_of("attack", attack, settings)
    every = [(s, name, b) for s, found in enumerate(task.splits) for name, b in found.items()]
    names, cells, seeds = [], [], []
    for split, backdoor_name, backdoor in every:
        repeated = tasks.repeated(backdoor.train, [b for _, _, b in every])
        for attack in config.attacks:
            poison = constrain_and_scale.poison(
                clean, repeated, per_batch=config.per_batch(backdoor_name), **settings[attack]
            )
            for s in range(config.seeds):
                names.append((backdoor_name, attack, split))
                cells.append(Cell(poison, jax.tree.map(jnp.asarray, backdoor.test)))
                seeds.append(s)
    seeds = np.array(seeds)
    return names, jax.tree.map(lambda *a: jnp.stack(a), *cells), keys[seeds], seeds


def attackers_share(config: Config, task: tasks.Task):
    """The clean examples of the attacker: its own share, or as many as the config says."""
    if config.attacker_examples:
        draw = np.random.default_rng(config.seed)
        count = min(config.attacker_examples, len(task.pool["y"]))
        chosen = draw.choice(len(task.pool["y"]), count, replace=False)
        return {k: v[chosen] for k, v in task.pool.items()}
    start, size = (int(a[ATTACKER]) for a in (task.population.start, task.population.size))
    return {k: v[start : start + size] for k, v in task.population.examples.items()}
