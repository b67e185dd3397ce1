"""The parameter with which a ledger keeps to a budget: always the safe end."""

import dataclasses
import math
from collections.abc import Callable

from privacy.accounting.bound import Adjacency, Bound
from privacy.accounting.errors import PrivacyError, non_negative, positive, probability
from privacy.accounting.events import Gaussian, SampledGaussian
from privacy.accounting.ledger import Ledger


def calibrate(
    ledger: Callable[[float], Ledger],
    eps: float,
    delta: float,
    low: float,
    high: float,
    *,
    grows: bool,
    rtol: float = 1e-3,
) -> tuple[float, Bound]:
    """(value, its bound) with `ledger(value)` certified to be (eps, delta)-DP.

    Where the end of the search is safe, it is the value, and a note says so.

    Args:
        ledger: value of the parameter -> ledger.
        eps, delta: the budget.
        low, high: where to look, 0 <= low < high. A point that cannot be evaluated counts as not
            safe; a parameter that must be whole is rounded by `ledger`.
        grows: True if privacy loss grows with the parameter (eps0, rounds, sampling rate), and
            the largest value is wanted; False if it shrinks (noise), and the smallest is.
        rtol: relative precision of the value.

    Raises:
        PrivacyError: no value between low and high keeps to the budget.
    """
    eps, delta = positive("eps", eps), probability("delta", delta)
    low, high = non_negative("low", low), positive("high", high)
    if low >= high:
        raise PrivacyError(f"low must be below high, got {low:g} and {high:g}.")
    value = lambda x: ledger(x).epsilon(delta, rtol=rtol)

    def attempt(x):
        try:
            found = value(x)
        except PrivacyError:
            return None
        return found if found.upper <= eps else None

    safe, other = (low, high) if grows else (high, low)
    bound = value(safe)
    if bound.upper > eps:
        raise PrivacyError(
            f"even at {safe:g} the certified eps is {bound.upper:.4g}, above the budget {eps:g};"
            " allow more noise, fewer rounds or more users."
        )
    last = attempt(other)
    if last is not None:
        note = f"{other:g} is the end of what was searched"
        return other, dataclasses.replace(last, notes=(*last.notes, note))
    while abs(other - safe) > rtol * min(abs(other), abs(safe)) / 2:
        least, most = min(other, safe), max(other, safe)
        # by ratios, but from 0 on by halves
        middle = math.sqrt(least * most) if 0 < 4 * least < most else 0.5 * (least + most)
        found = attempt(middle)
        if found is not None:
            safe, bound = middle, found
        else:
            other = middle
    return safe, bound


def noise_multiplier(
    eps: float,
    delta: float,
    rate: float,
    rounds: int,
    *,
    adjacency: Adjacency = Adjacency.ADD_REMOVE,
    most: float = 1e4,
    rtol: float = 1e-3,
) -> tuple[float, Bound]:
    """Smallest noise multiplier with which rounds of the sampled Gaussian keep to (eps, delta).

    Args:
        eps, delta: the budget.
        rate: Poisson sampling rate; 1 = everyone in every round.
        rounds: how many.
        adjacency: of the claim.
        most: largest noise multiplier that is tried.
        rtol: relative precision.

    Returns:
        (noise multiplier, certified bound at it), rounded up to the safe side.

    Example:
        >>> sigma, bound = noise_multiplier(1.0, 1e-5, 1.0, 10)
        >>> bool(11.7 < sigma < 11.9 and bound.upper <= 1.0)
        True
    """
    event = lambda s: Gaussian(s) if rate == 1 else SampledGaussian(s, rate)
    ledger = lambda s: Ledger(adjacency).record(event(s), rounds)
    return calibrate(ledger, eps, delta, 0.1, most, grows=False, rtol=rtol)
