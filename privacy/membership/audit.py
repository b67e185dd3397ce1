"""Lower bounds on eps from what an attack got right.

Training runs once with m canaries, each IN by a fair coin. The attacker guesses r of the coins
and abstains on the rest. If training is (eps, delta)-DP, each guess is right with probability at
most e^eps / (1 + e^eps), whatever the others were: too many right guesses refute the claim. The
classical audit by many runs, or by many independent canaries, compares rates instead.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

from fl_jax.core import errors
from privacy.membership import metrics

CEILING = 200.0  # eps beyond which nothing is looked for
LOUDEST = 1e8  # mu of a Gaussian mechanism that nobody would call private


def _check(correct: int, guesses: int, canaries: int, delta: float, significance: float) -> None:
    if not 0 <= correct <= guesses <= canaries or guesses == 0:
        raise errors.DataError(
            "an audit needs 0 <= correct <= guesses <= canaries and one guess at least, got"
            f" {correct}, {guesses} and {canaries}."
        )
    _check_claim(delta, significance)


def _check_claim(delta: float, significance: float) -> None:
    if not 0 <= delta < 1 or not 0 < significance < 1:
        raise errors.ConfigError(
            f"delta lies in [0, 1) and significance in (0, 1), got {delta} and {significance}."
        )


def p_value(eps: float, correct: int, guesses: int, canaries: int, delta: float) -> float:
    """How likely so many right guesses are at most, were training (eps, delta)-DP.

        beta = Pr[Bin(r, q) >= W],  q = e^eps / (1 + e^eps)
        alpha = max_{1 <= i <= W} (Pr[Bin(r, q) >= W - i] - beta) / i
        p = min(1, beta + 2 m delta alpha)

    [Steinke, Nasr, Jagielski, NeurIPS 2023, Theorem 5.2].
    """
    law = stats.binom(guesses, special.expit(eps))
    beta = float(law.sf(correct - 1))
    if delta == 0 or correct == 0:
        return beta
    i = np.arange(1, correct + 1)
    alpha = max(0.0, float(np.max((law.sf(correct - i - 1) - beta) / i)))
    return min(1.0, beta + 2 * canaries * delta * alpha)


def one_run(
    correct: int, guesses: int, canaries: int, *, delta: float, significance: float = 0.05
) -> float:
    """The largest eps that one training run refutes, 0 if none.

    Args:
        correct: W, guesses that were right.
        guesses: r, canaries that were guessed; how many must not depend on the outcome.
        canaries: m, each IN independently with probability 1/2.
        delta: of the claim.
        significance: chance of a bound that is too large.

    Example:
        >>> round(one_run(100, 100, 100, delta=0.0), 2)
        3.49
    """
    _check(correct, guesses, canaries, delta, significance)
    excess = lambda eps: p_value(eps, correct, guesses, canaries, delta) - significance
    return _largest(excess)


def _largest(excess, ceiling: float = CEILING) -> float:
    """The root of a function that grows with eps; 0 if it is above 0 from the start."""
    if excess(0.0) >= 0:
        return 0.0
    high = 1.0
    while excess(high) < 0:
        if high > ceiling:
            return high
        high *= 2
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-13, rtol=1e-14))


def one_run_gaussian(
    correct: int, guesses: int, canaries: int, *, delta: float, significance: float = 0.05
) -> float:
    """As `one_run`, against the claim that training is a Gaussian mechanism of that (eps, delta).

    A stronger claim is easier to refute: f-DP with the Gaussian trade-off curve f bounds the
    number of right guesses more tightly than its single (eps, delta) does
    [Mahloujifar, Melis, Chaudhuri 2024, arXiv 2410.22235, Algorithm 3].
    """
    _check(correct, guesses, canaries, delta, significance)
    if not delta > 0:
        raise errors.ConfigError("the Gaussian mechanism has no eps at delta = 0; give delta > 0.")

    def refuted(eps):
        mu = gdp_from_epsilon(eps, delta)
        return -_slack(mu, correct, guesses, canaries, significance)

    return _largest(refuted)


def _slack(mu, correct, guesses, canaries, significance) -> float:
    """Above 0: no mu-GDP training gives so many right guesses with more than `significance`.

    r and h are the probability mass of "at least i right" among cases that count a right and a
    wrong guess, carried down from i = W by the trade-off curve.
    """
    curve = lambda mass: special.ndtr(special.ndtri(mass) - mu)
    right = significance * correct / canaries
    wrong = significance * (guesses - correct) / canaries
    for i in range(correct - 1, -1, -1):
        least = max(wrong, float(curve(right)))
        if least == wrong:
            break
        right = min(right + i / (guesses - i) * (least - wrong), 1.0)
        wrong = least
    return right + wrong - guesses / canaries


class Guesses(NamedTuple):
    """What an attacker that guesses the extremes got right."""

    correct: int
    guesses: int
    canaries: int


def extremes(scores: np.ndarray, member: np.ndarray, *, top: int, bottom: int) -> Guesses:
    """The `top` highest scores guessed IN and the `bottom` lowest OUT, the rest passed over.

    Args:
        scores: (canaries,) larger for members.
        member: (canaries,) bool, the coins.
        top, bottom: fixed before the coins are looked at.

    Raises:
        DataError: more guesses than canaries, a canary without a coin, or scores that are NaN.
    """
    scores, member = np.asarray(scores, np.float64), np.asarray(member, bool)
    count = len(scores)
    if member.shape != scores.shape or top < 0 or bottom < 0 or not 0 < top + bottom <= count:
        raise errors.DataError(
            f"guessing {top} IN and {bottom} OUT needs as many canaries and a coin for each, got"
            f" scores {scores.shape} and coins {member.shape}."
        )
    _no_nan(scores)
    order = np.argsort(scores, kind="stable")
    right = int(member[order[count - top :]].sum()) + int((~member[order[:bottom]]).sum())
    return Guesses(right, top + bottom, count)


def _no_nan(scores: np.ndarray) -> None:
    if np.isnan(scores).any():
        raise errors.DataError(
            f"{int(np.isnan(scores).sum())} scores are NaN, which no order has; look for a model"
            " that diverged."
        )


def rates(
    scores: np.ndarray,
    member: np.ndarray,
    *,
    delta: float,
    significance: float = 0.05,
    seed: int = 0,
) -> float:
    """eps = log((TPR_low - delta) / FPR_high) at a threshold chosen on one half of the records.

    Clopper-Pearson bounds on the other half, the significance shared between the two rates. The
    records' scores must be independent (one run each), or the bound is an estimate only.

    Args:
        scores: (records,) larger for members; infinite ones are the farthest.
        member: (records,) bool.
        delta: of the claim.
        significance: chance of a bound that is too large.
        seed: of the halves.

    Raises:
        DataError: scores that are NaN, not one membership a score, or a half without members or
            without non-members.

    References:
        Jagielski, Ullman, Oprea, NeurIPS 2020.
    """
    _check_claim(delta, significance)
    scores, member = np.asarray(scores, np.float64), np.asarray(member, bool)
    if scores.ndim != 1 or member.shape != scores.shape:
        raise errors.DataError(
            f"every score needs a membership, got scores {scores.shape} and members {member.shape}."
        )
    _no_nan(scores)
    if not np.isfinite(scores).all():  # between which no quantile lies: their order is enough
        scores = np.unique(scores, return_inverse=True)[1].astype(float)
    half = np.random.default_rng(seed).random(len(scores)) < 0.5
    value = lambda part, cut: _from_rates(scores[part], member[part], cut, delta, significance)
    if not half.any():
        raise errors.DataError("an audit by rates needs members and non-members in both halves.")
    cuts = np.unique(np.quantile(scores[half], np.linspace(0.01, 0.99, 99)))
    best = max(cuts, key=lambda cut: value(half, cut))
    return value(~half, best)


def _from_rates(scores, member, cut, delta, significance) -> float:
    inside, outside = int(member.sum()), int((~member).sum())
    if not inside or not outside:
        raise errors.DataError("an audit by rates needs members and non-members in both halves.")
    accused = scores >= cut
    level = 1 - significance  # two-sided intervals at this level leave half of it on each side
    low = metrics.interval(int((accused & member).sum()), inside, level).low
    high = metrics.interval(int((accused & ~member).sum()), outside, level).high
    return max(0.0, math.log((low - delta) / high)) if low > delta + high else 0.0


def gdp_from_rates(tpr_low: float, fpr_high: float) -> float:
    """mu of the Gaussian trade-off through (FPR, TPR): Phi^-1(TPR) - Phi^-1(FPR), at least 0.

    From the ends of confidence intervals it is a lower bound on mu [Nasr et al. 2023].
    """
    if tpr_low <= fpr_high:
        return 0.0
    return max(0.0, float(special.ndtri(tpr_low) - special.ndtri(fpr_high)))


def gdp_delta(eps: float, mu: float) -> float:
    """delta(eps) of mu-GDP: Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu) [Dong et al. 2022]."""
    if mu <= 0:
        return 0.0
    first = special.log_ndtr(mu / 2 - eps / mu)
    second = eps + special.log_ndtr(-mu / 2 - eps / mu)
    return float(np.exp(first) * -np.expm1(min(second - first, 0.0)))


def gdp_epsilon(mu: float, delta: float) -> float:
    """eps of mu-GDP at delta.

    Example:
        >>> round(gdp_epsilon(1.0, 1e-5), 3)
        4.377
    """
    _between(delta)
    if not 0 <= mu <= LOUDEST:
        raise errors.ConfigError(f"mu lies in [0, {LOUDEST:g}], got {mu}.")
    return _largest(lambda eps: delta - gdp_delta(eps, mu), math.inf)


def gdp_from_epsilon(eps: float, delta: float) -> float:
    """mu with `gdp_epsilon(mu, delta) == eps`.

    Args:
        eps: in [0, `LOUDEST`^2].
        delta: in (0, 1).
    """
    _between(delta)
    if not 0 <= eps <= LOUDEST**2:
        raise errors.ConfigError(f"eps lies in [0, {LOUDEST**2:g}], got {eps}.")
    low, high = 0.0, 1.0
    while gdp_delta(eps, high) < delta:
        low, high = high, 2 * high
    below = lambda mu: gdp_delta(eps, mu) - delta
    return float(optimize.brentq(below, low, high, xtol=1e-15, rtol=1e-14))


def _between(delta: float) -> None:
    if not 0 < delta < 1:
        raise errors.ConfigError(f"delta lies between 0 and 1, got {delta}.")
