"""What noise leaves in a model at a given epsilon: independent, correlated, and sampled as well.

No training: deviations of a model coordinate, root mean square over rounds, of a server that adds
what it gets. Cohorts are a share of the participants. `DP-FedAvg` draws them by Poisson sampling;
`DP-FTRL` takes them in turn, which amplifies nothing, with as many bands as there are turns;
`BandMF` draws within blocks in turn and takes the best of a few numbers of them, from one block,
DP-FedAvg, to as many as there are turns, where everyone of a block is drawn. Neighbours add or
remove a participant.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from privacy.accounting import calibrate
from privacy.accounting.bound import Adjacency
from privacy.accounting.ledger import Ledger
from privacy.factorization import banded, buffered, sensitivity, toeplitz, tree, workload


@dataclasses.dataclass(frozen=True)
class Noise:
    """What is compared."""

    rounds: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)  # of the factors
    separations: tuple[int, ...] = (8, 16)  # rounds from one turn to the next, and bands
    free: int = 256  # factors that are not Toeplitz up to so many rounds
    schedules: tuple[tuple[float, int], ...] = ((0.1, 100), (0.01, 1000))  # (share, rounds)
    epsilons: tuple[float, ...] = (0.5, 2.0, 8.0, 32.0)
    delta: float = 1e-6
    blocks: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)  # of BandMF, beside as many as turns


SMALL_NOISE = Noise()
SMOKE_NOISE = Noise(rounds=(16,), separations=(4,), schedules=((0.25, 8),), epsilons=(8.0,))


def factors(noise: Noise) -> list[dict[str, Any]]:
    """`rmse` of every factor of prefix sums; z is such that the sensitivity is 1."""
    rows = []
    for n in noise.rounds:
        models = workload.momentum(n)
        for s in noise.separations:
            of = lambda c, models=models, s=s: toeplitz.rmse(models, c, s)
            row = {
                "rounds": n,
                "separation": s,
                "independent": of(np.ones(1)),
                "tree": tree.rmse(n, s),
                "tree, refined": tree.rmse(n, s, refined=True),
                "square root": of(toeplitz.square_root(models, n)),
                "square root, banded": of(toeplitz.square_root(models, s)),
                "one buffer": of(buffered.coefficients(buffered.optimise(models, 1, s), n)),
                "banded Toeplitz": of(toeplitz.optimise(models, s, s)),
            }
            if n <= noise.free:
                row["banded"] = banded.rmse(models, banded.optimise(models, s), s)
            rows.append(row)
    return rows


def budgets(noise: Noise) -> list[dict[str, Any]]:
    """Deviation of the model times the cohort, over the bound, at each epsilon."""
    rows = []
    for rate, n in noise.schedules:
        counts = [b for b in sorted({*noise.blocks, round(1 / rate)}) if b * rate <= 1]
        for epsilon in noise.epsilons:
            found = {b: blocks(noise, rate, n, epsilon, b) for b in counts}
            best = min(found, key=found.get)
            rows.append(
                {
                    "share": rate,
                    "rounds": n,
                    "epsilon": epsilon,
                    "DP-FedAvg": found[1],
                    "DP-FTRL": turns(noise, rate, n, epsilon),
                    "BandMF": found[best],
                    "blocks": best,
                }
            )
    return rows


def turns(noise: Noise, rate: float, rounds: int, epsilon: float) -> float:
    """Cohorts in turn: banded Toeplitz, no amplification."""
    models, s = workload.momentum(rounds), round(1 / rate)
    c = toeplitz.optimise(models, min(s, rounds), s)
    sens = sensitivity.toeplitz(c, rounds, s)
    ledger = lambda z: Ledger(Adjacency.ADD_REMOVE).record(sensitivity.event(z, sens))
    return _least(noise, ledger, epsilon) * _deviation(models, c)


def blocks(noise: Noise, rate: float, rounds: int, epsilon: float, count: int) -> float:
    """Poisson sampling within so many blocks in turn, as many bands.

    Example:
        >>> bool(blocks(Noise(), 0.1, 20, 8.0, 4) < blocks(Noise(), 0.1, 20, 8.0, 1))
        True
    """
    models = workload.momentum(rounds)
    c = toeplitz.optimise(models, count, count, 1)

    def ledger(z):
        event, times = sensitivity.sampled(z, c, rounds, count, rate * count)
        return Ledger(Adjacency.ADD_REMOVE).record(event, times)

    return _least(noise, ledger, epsilon) * _deviation(models, c)


def _least(noise, ledger, epsilon):
    return calibrate.calibrate(ledger, epsilon, noise.delta, 0.2, 1e4, grows=False)[0]


def _deviation(models, c):
    return math.sqrt(toeplitz.squared_error(models, c) / models.size)


def table(of_factors: list[dict[str, Any]], of_budgets: list[dict[str, Any]]) -> str:
    """Both in Markdown."""
    parts = []
    for rows in (of_factors, of_budgets):
        names = list(rows[0])
        shown = lambda v: "-" if v is None else f"{v:.4g}"
        parts.append(
            "\n".join(
                [
                    f"| {' | '.join(names)} |",
                    "|" + "---|" * len(names),
                    *(f"| {' | '.join(shown(row.get(k)) for k in names)} |" for row in rows),
                ]
            )
        )
    return "\n\n".join(parts)
