"""The numbers behind the paper's figures, with every competing bound."""

import math

import numpy as np

from experiments.shuffle.config import Config
from privacy import shuffle
from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError
from privacy.accounting.ledger import Ledger
from privacy.shuffle import closed_form, mixture, twolevel
from privacy.shuffle.events import ShuffledReports
from privacy.shuffle.mechanisms import RandomizedResponse

K = 10  # symbols of the randomized response that is drawn


def _or_none(function, *arguments):
    try:
        return function(*arguments)
    except PrivacyError:
        return None


def variation_ratio(eps0: float, n: int, delta: float, k: int) -> float:
    """What a variation-ratio analysis claims for k-RR: the merged pair, taken for an upper bound.

    Not a bound for k >= 4 (see RESULTS.md); drawn because it is published.
    """
    p = RandomizedResponse(k).level(eps0).only
    maker = lambda blocks, exponent: twolevel.merged(eps0, n, p, p, blocks, exponent)
    first = twolevel.guess(twolevel.TwoLevel(eps0, p, 0.0, 0.0), n, delta)
    return mixture.solve(maker, eps0, n, delta, guess=first).upper


def point(eps0: float, n: int, delta: float) -> dict:
    """Every bound at one (eps0, n)."""
    standard = shuffle.epsilon(eps0, n, delta)
    stronger = shuffle.epsilon(eps0, n, delta, bound="stronger")
    krr = shuffle.epsilon(eps0, n, delta, mechanism=RandomizedResponse(K))
    return {
        "eps0": eps0,
        "n": n,
        "standard": [standard.lower, standard.upper],
        "stronger": [stronger.lower, stronger.upper],
        "attained": standard.attained,
        "closed standard (FOCS 2021)": _or_none(closed_form.standard, eps0, n, delta),
        "closed stronger (SODA 2023)": _or_none(closed_form.stronger, eps0, n, delta),
        "SODA 2019": _or_none(closed_form.first, eps0, n, delta),
        "k-RR blanket": [krr.lower, krr.upper],
        "k-RR attained": krr.attained,
        "k-RR variation ratio": variation_ratio(eps0, n, delta, K),
    }


def compute(config: Config) -> dict:
    """All figures' numbers, as JSON values."""
    delta = config.figure_delta
    middle_n = config.figure_clients[len(config.figure_clients) // 2]
    middle_eps0 = config.figure_eps0[len(config.figure_eps0) // 2]
    by_eps0 = [point(e, middle_n, delta) for e in config.figure_eps0]
    by_n = [point(middle_eps0, n, delta) for n in config.figure_clients]
    rdp = []
    for alpha in config.figure_orders:
        row = {"alpha": alpha}
        for bound in ("standard", "stronger"):
            found = shuffle.rdp(alpha, 1.0, 10_000, bound=bound)
            row[bound] = [found.lower, found.upper]
        rdp.append(row)
    composition = []
    for times in config.figure_rounds:
        row = {"rounds": times}
        for bound in ("standard", "stronger"):
            event = ShuffledReports(1.0, 10_000, bound=bound)
            ledger = Ledger(Adjacency.REPLACE).record(event, times)
            found = ledger.epsilon(delta)
            row[bound] = [found.lower, found.upper]
            row[f"{bound} by Renyi"] = ledger.rdp_epsilon(delta, 1 + np.geomspace(0.5, 300, 14))
        composition.append(row)
    return {
        "delta": delta,
        "by_eps0": by_eps0,
        "by_n": by_n,
        "rdp": rdp,
        "composition": composition,
        "counterexample": counterexample(),
    }


def counterexample() -> list[dict]:
    """True delta of shuffled k-RR, by enumeration, over the merged pair's: above 1 refutes it."""
    rows = []
    for n, k, eps0 in ((6, 5, 2.0), (6, 6, 2.0), (6, 4, 1.0), (6, 3, 2.0)):
        matrix = RandomizedResponse(k).matrix(eps0)
        p = float(matrix[0, 1])
        others = [2] * (n - 1)  # all hold a third symbol
        laws = [_histogram(matrix, [victim, *others]) for victim in (0, 1)]
        part = twolevel.merged(eps0, n, p, p, 64, 60.0)
        for share in (0.1, 0.3, 0.6, 0.85):
            eps = share * eps0
            true = math.fsum(
                max(laws[0][h] - math.exp(eps) * laws[1].get(h, 0.0), 0.0) for h in laws[0]
            )
            claimed = float(mixture.bracket(part, np.array([eps]), n)[1][0])
            rows.append(
                {"n": n, "k": k, "eps0": eps0, "eps/eps0": share, "true/claimed": true / claimed}
            )
    return rows


def _histogram(matrix, data):
    law = {(0,) * matrix.shape[1]: 1.0}
    for x in data:
        new: dict = {}
        for counts, mass in law.items():
            for y, probability in enumerate(matrix[x]):
                key = (*counts[:y], counts[y] + 1, *counts[y + 1 :])
                new[key] = new.get(key, 0.0) + mass * float(probability)
        law = new
    return law
