"""The numbers behind the paper's figures, with every competing bound."""

import math

import numpy as np
from scipy import special

from experiments.shuffle.config import Config
from privacy import shuffle
from privacy.accounting import pld, rdp
from privacy.accounting.bound import Adjacency, Status
from privacy.accounting.errors import PrivacyError
from privacy.accounting.ledger import Ledger
from privacy.accounting.profile import Profile
from privacy.shuffle import closed_form, mixture, option, twolevel
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


def merged_profile(eps0: float, n: int, k: int, blocks: int = 128) -> Profile:
    """The merged pair's curve, as `variation_ratio`."""
    p = RandomizedResponse(k).level(eps0).only
    part = twolevel.merged(eps0, n, p, p, blocks, 250.0)
    return Profile(
        lambda eps: mixture.bracket(part, eps, n, option.COARSE),
        Adjacency.REPLACE,
        Status.CONJECTURE,
        "merged pair",
        reach=eps0,
    )


def girgis(alpha: float, eps0: float, n: int) -> float | None:
    """Renyi bound of Girgis et al., NeurIPS 2021, for subsampled shuffling, with everyone drawn.

    For whole orders alpha >= 2; with m = floor((n-1)/(2 e^eps0)) + 1,
    log(1 + 4 C(alpha,2) (e^eps0-1)^2/(m e^eps0)
          + sum_j>=3 C(alpha,j) j Gamma(j/2) (2 (e^(2 eps0)-1)^2/(m e^(2 eps0)))^(j/2)
          + ((1 + x)^alpha - 1 - alpha x) e^(-(n-1)/(8 e^eps0)))/(alpha-1),  x = sinh(eps0).
    """
    if alpha != round(alpha) or alpha < 2:
        return None
    e0, x = math.exp(eps0), math.sinh(eps0)
    m = (n - 1) // (2 * e0) + 1
    j = np.arange(3, round(alpha) + 1)
    choose = special.gammaln(alpha + 1) - special.gammaln(j + 1) - special.gammaln(alpha - j + 1)
    terms = choose + np.log(j) + special.gammaln(j / 2) + j / 2 * math.log(8 * x * x / m)
    second = math.log(2 * alpha * (alpha - 1) * math.expm1(eps0) ** 2 / (m * e0))
    rare = alpha * math.log1p(x) - (n - 1) / (8 * e0)  # a little more than the last term
    return float(np.logaddexp.reduce(np.concatenate([[0.0, second, rare], terms]))) / (alpha - 1)


def advanced(form, eps0: float, n: int, delta: float, times: int) -> float | None:
    """A closed form at delta/(2T), in the composition of Dwork, Rothblum, Vadhan, FOCS 2010."""
    one = _or_none(form, eps0, n, delta / (2 * times))
    if one is None:
        return None
    drift = times * one * math.expm1(one)
    return min(one * math.sqrt(2 * times * math.log(2 / delta)) + drift, times * one)


def point(eps0: float, n: int, delta: float) -> dict:
    """Every bound at one (eps0, n)."""
    standard = shuffle.epsilon(eps0, n, delta)
    stronger = shuffle.epsilon(eps0, n, delta, bound="stronger")
    krr = shuffle.epsilon(eps0, n, delta, mechanism=RandomizedResponse(K), bound="blanket")
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
    eps0, n, mechanism = 1.0, 10_000, RandomizedResponse(K)
    own = ShuffledReports(eps0, n, mechanism)
    claimed = merged_profile(eps0, n, K, 512)
    table = rdp.table(claimed)
    orders = []
    for alpha in config.figure_orders:
        row = {"alpha": alpha}
        for bound in ("standard", "stronger"):
            found = shuffle.rdp(alpha, eps0, n, bound=bound)
            row[bound] = [found.lower, found.upper]
        found = own.rdp(alpha, Adjacency.REPLACE)
        row["k-RR blanket"] = [found.lower, found.upper]
        row["k-RR variation ratio"] = rdp.of_table(alpha, table)[1]
        row["Girgis 2021"] = girgis(alpha, eps0, n)
        orders.append(row)
    composition = []
    for times in config.figure_rounds:
        row = {"rounds": times}
        for bound in ("standard", "stronger"):
            event = ShuffledReports(eps0, n, bound=bound)
            ledger = Ledger(Adjacency.REPLACE).record(event, times)
            found = ledger.epsilon(delta)
            row[bound] = [found.lower, found.upper]
            row[f"{bound} by Renyi"] = ledger.rdp_epsilon(delta, 1 + np.geomspace(0.5, 300, 14))
        found = Ledger(Adjacency.REPLACE).record(own, times).epsilon(delta)
        row["k-RR blanket"] = [found.lower, found.upper]
        row["k-RR variation ratio"] = pld.bracket([(claimed, times)], delta)[1].epsilon(delta)
        for name, form in (
            ("closed standard (FOCS 2021)", closed_form.standard),
            ("closed stronger (SODA 2023)", closed_form.stronger),
        ):
            row[name] = advanced(form, eps0, n, delta, times)
        composition.append(row)
    return {
        "delta": delta,
        "by_eps0": by_eps0,
        "by_n": by_n,
        "rdp": orders,
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
