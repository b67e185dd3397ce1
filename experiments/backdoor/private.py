"""DP-FedAvg against the backdoor: what a noise multiplier costs and buys, with its epsilon.

From the converged models of the main experiment, rounds of DP-FedAvg with each noise multiplier:
once with honest participants alone, through secure aggregation (they clip themselves, the server
sees their sum and adds the noise), once with compromised ones who replace whenever they are drawn.
Epsilon is that of these rounds for a participant who is exchanged for another one: cohorts have a
fixed size. The pre-training is not part of it. Beside it DP-FTRL at the same epsilon: cohorts come
from blocks in turn, which amplifies nothing, and the noise is correlated over rounds.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import grid, grid_config, stages, summary, sweeps
from experiments.backdoor import task as tasks
from experiments.backdoor.config import SMALL, SMOKE, Config
from fl_jax.core import rng
from fl_jax.federated import correlated_noise, round, sampling, secure_aggregation
from fl_jax.federated.aggregators import dp_fedavg, dp_ftrl
from fl_jax.federated.attacks import constrain_and_scale as scaling
from privacy.accounting import calibrate
from privacy.accounting.bound import Adjacency, Bound
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Ledger
from privacy.factorization import sensitivity, toeplitz, workload


@dataclasses.dataclass(frozen=True)
class Private:
    """What is compared."""

    config: Config = SMALL  # data, network, pre-training, the attack
    multipliers: tuple[float, ...] = (0.1, 0.5, 2.0, 8.0)  # z: noise of the sum over the bound
    cohort: int = 30  # m, participants a round
    attackers: int = 2  # of all participants
    rounds: int = 20
    clip: float = 1.0  # the bound, over the median norm of benign updates
    epochs: int = 3  # of the attackers
    delta: float = 1e-3

    @property
    def blocks(self) -> int:
        """From which DP-FTRL takes its cohorts in turn: as many as hold one."""
        return self.config.participants // self.cohort


SMALL_PRIVATE = Private()
SMOKE_PRIVATE = Private(SMOKE, multipliers=(1.0,), cohort=6, rounds=2, epochs=1)


def spent(private: Private, multiplier: float) -> Bound:
    """Epsilon of the rounds with this noise multiplier at `delta`.

    Example:
        >>> bound = spent(Private(cohort=10, rounds=60), 1.0)
        >>> bool(18.71 < bound.lower <= bound.upper < 18.72)
        True
    """
    rate = private.cohort / private.config.participants
    event = SampledGaussian(multiplier, rate, "fixed")
    return Ledger(Adjacency.REPLACE).record(event, private.rounds).epsilon(private.delta)


class Correlated(NamedTuple):
    """DP-FTRL at a budget."""

    coefficients: np.ndarray  # of C
    multiplier: float  # deviation of z over the bound
    noise: float  # of the model, root mean square over rounds, before it is divided by the cohort


def correlated(private: Private, budget: float) -> Correlated:
    """As many bands as blocks, optimised, and the least noise.

    Example:
        >>> found = correlated(Private(cohort=10, rounds=20), 5.0)
        >>> found.coefficients.shape, bool(found.noise < found.multiplier * np.sqrt(10.5))
        ((10,), True)
    """
    rounds = private.rounds
    models = workload.momentum(rounds)  # a server that adds what it gets
    c = toeplitz.optimise(models, min(private.blocks, rounds), private.blocks)
    sens = sensitivity.toeplitz(c, rounds, private.blocks)
    ledger = lambda z: Ledger(Adjacency.REPLACE).record(sensitivity.event(z, sens))
    z, _ = calibrate.calibrate(ledger, budget, private.delta, 1e-3, 1e6, grows=False)
    return Correlated(c, z, z * math.sqrt(toeplitz.squared_error(models, c) / rounds))


def run(private: Private) -> list[dict[str, Any]]:
    """One row a noise multiplier; accuracies in percent, [mean over seeds, margin]."""
    config = private.config
    task = tasks.make(config)
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    _, models = sweeps.checkpoints(config, task, keys, 0)
    bound = private.clip * grid.benign_norm(grid_config.Grid(config), task, models, keys)
    honest = sampling.uniform(config.participants, private.cohort)
    compromised = sampling.uniform(
        config.participants, private.cohort, attackers=range(private.attackers)
    )
    in_turn = sampling.cyclic(config.participants, private.cohort, private.blocks)
    attack = stages.attack_of(config, task, attackers=private.attackers)
    rows = []
    for z in private.multipliers:
        rule = dp_fedavg.dp_fedavg(bound=bound, noise_multiplier=z, expected=private.cohort)
        # No coordinate of an update is longer than the bound, so that nothing is cut.
        sums = secure_aggregation.make(clip=bound)
        common = {"private": private, "task": task, "models": models, "keys": keys, "rule": rule}
        alone, info = follow(**common, sampler=honest, secure=sums)
        attacked, _ = follow(**common, sampler=compromised, attack=attack)
        epsilon = spent(private, z)
        other = correlated(private, epsilon.upper)
        common["rule"] = dp_ftrl.dp_ftrl(
            bound=bound,
            noise_multiplier=other.multiplier,
            expected=private.cohort,
            correlation=correlated_noise.banded(other.coefficients, private.rounds),
            separation=private.blocks,
        )
        ftrl, _ = follow(**common, sampler=in_turn, secure=sums)
        noise = z * math.sqrt((private.rounds + 1) / 2), other.noise
        spread = lambda v: [float(100 * v.mean()), summary.margin(100 * v)]
        rows.append(
            {
                "noise multiplier": z,
                "epsilon": [epsilon.lower, epsilon.upper],
                "main before": spread(alone["main"][:, 0]),
                "main": spread(alone["main"][:, -1]),
                "main, DP-FTRL": spread(ftrl["main"][:, -1]),
                "noise multiplier of DP-FTRL": other.multiplier,
                "noise of the model over the bound": [v / private.cohort for v in noise],
                "clipped": int(info.secure.clipped.sum()),
                "recovered": bool(info.secure.recovered.all()),
                "main, attacked": spread(attacked["main"][:, -1]),
                "backdoor before": spread(attacked["backdoor"][:, 0]),
                "backdoor": spread(attacked["backdoor"][:, -1]),
            }
        )
    return rows


def follow(private: Private, task: tasks.Task, models, keys, *, rule, sampler, **parts):
    """(accuracies (seeds, rounds + 1), the rounds' infos) of one rule and schedule."""
    config = private.config
    backdoor = task.backdoors["pixel pattern"]
    poison = scaling.poison(
        stages.attackers_share(config, task),
        backdoor.train,
        per_batch=config.per_batch("pixel pattern"),
        epochs=private.epochs,
        rate=config.attacker_rate,
        gamma=float(private.cohort),  # n/eta of the plain mean
    )
    evaluate = tasks.evaluate(task)
    evaluation = jax.tree.map(jnp.asarray, {"main": task.test, "backdoor": backdoor.test})
    algorithm = round.make(
        client=stages.client_of(config, task),
        sampler=sampler,
        aggregator=rule,
        evaluate=evaluate,
        **parts,
    )
    many = round.repeat(algorithm.step, private.rounds)

    @jax.jit
    def run(models, keys):
        def seed(item):
            model, key = item
            data = round.RoundData(task.population, poison, evaluation)
            _, info = many(algorithm.init(model), data, rng.fold(key, "private"))
            return stages.curve(evaluate(model, evaluation), info.metrics), info

        return jax.lax.map(seed, (models, keys))

    return jax.device_get(run(models, keys))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    show = lambda v: f"{v[0]:.1f}{summary.plus(v[1])}"
    lines = [
        "| z | epsilon | main, honest | DP-FTRL | model noise / DP-FTRL | main, attacked"
        " | backdoor before | backdoor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        keys = "main", "main, DP-FTRL", "main, attacked", "backdoor before", "backdoor"
        shown = [show(row[k]) for k in keys]
        noise = row["noise of the model over the bound"]
        shown.insert(2, f"{noise[0]:.3g} / {noise[1]:.3g}")
        lines.append(
            f"| {row['noise multiplier']:g} | {np.ceil(10 * row['epsilon'][1]) / 10:,.1f} | "
            + " | ".join(shown)
            + " |"
        )
    return "\n".join(lines)
