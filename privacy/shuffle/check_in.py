"""Clone pairs when users check in independently and the server sees how many came.

Given the count m the participants are a uniform subset, so the round's privacy profile is the mean
over m ~ Bin(n, q) of (m/n) delta_m(eps_m), e^eps_m = 1 + (e^eps - 1) n/m [Balle, Barthe, Gaboardi,
NeurIPS 2018, Theorem 11]. Size-biasing m, and with C clones and R other participants beside the
victim, it is

    q E[ F(C, C + 1 + R) ],   C ~ Bin(n-1, q rate),   R | C ~ Bin(n-1-C, q (1-rate)/(1 - q rate)),
    F(c, m) = kappa (2 + w) call(c + 1, w/((2 + w) kappa)),   w = (e^eps - 1) n/m.

F falls with c and rises with m, and m F(c, m) = E[(2 m kappa Y - (e^eps - 1) n (1 - kappa Y))_+]
is convex in m and 0 at 0. Hence over a block of R with probability P and mean count m', between
the counts l and r: F is at most the chord of m F at m', over m', and at least F at the harmonic
mean of the block, which is at least l r/(l + r - m'). Both err with the square of the block. Over
blocks of C the ends are taken, with the other end's R, since C + R rises with C in law.
"""

import math
from typing import NamedTuple

import numpy as np

from privacy.accounting.binomial import Binomial
from privacy.accounting.profile import Curve
from privacy.shuffle import convex, mixture, option, pair
from privacy.shuffle.pair import Pair

AT_ONCE = 400_000  # calls that are evaluated together, to bound memory


class _Terms(NamedTuple):
    weight: np.ndarray
    size: np.ndarray  # reports that tell the inputs apart, the victim's included
    count: np.ndarray  # participants


def _nodes(n: np.ndarray, p: float, nodes: int, exponent: float) -> np.ndarray:
    """(rows, nodes + 2) whole numbers from 0 to n, dense where Bin(n, p) lives."""
    n = n[:, None]
    mean, spread = n * p, np.sqrt(n * p * (1 - p))
    reach = exponent / 3 + np.sqrt((exponent / 3) ** 2 + 2 * exponent * spread**2)
    low, high = np.maximum(mean - reach, 0.0), np.minimum(mean + reach, n)
    u = np.linspace(-1, 1, nodes)
    side = np.where(u < 0, mean - low, high - mean)
    near = np.minimum(3.5 * spread + 1, side)
    inner = np.clip(np.round(mean + near * u + (side - near) * u**5), 0, n)
    return np.concatenate([np.zeros(n.shape), inner, n], axis=1)


def _terms(part: Pair, rate: float, blocks: int, nodes: int, exponent: float):
    """(upper terms, lower terms, probability outside)."""
    n, q = part.n, rate
    active = Binomial(n - 1.0, q * part.rate, (1 - q) + q * part.rest)
    other = q * part.rest / active.q if active.q > 0 else 0.0
    seen = Pair(part.eps0, n, active.p, active.q)
    ends, weight, left, right, _ = pair.blocks_of(seen, blocks, exponent)
    first, last = ends[:-1] + 1.0, ends[1:] * 1.0

    rest = n - last
    at = _nodes(rest, other, nodes, exponent)
    centre, mass = convex.means(rest, other, at)
    counts = last[:, None] + at
    low, high = counts[:, :-1], counts[:, 1:]
    middle = np.clip(last[:, None] + centre, low, high)
    width = np.maximum(high - low, 1.0)
    share = np.where(high > low, (middle - low) / width, 0.0)
    to_low, to_high = mass * (1 - share) * low / middle, mass * share * high / middle
    weights = np.zeros(counts.shape)
    weights[:, :-1] += to_low
    weights[:, 1:] += to_high
    upper = _Terms(weight[:, None] * weights, np.broadcast_to(first[:, None], counts.shape), counts)

    rest = n - first
    at = _nodes(rest, other, nodes, exponent)
    centre, mass = convex.means(rest, other, at)
    counts = first[:, None] + at
    low, high = counts[:, :-1], counts[:, 1:]
    middle = np.clip(first[:, None] + centre, low, high)
    harmonic = low * high / (low + high - middle)
    lower = _Terms(weight[:, None] * mass, np.broadcast_to(last[:, None], mass.shape), harmonic)

    upper, dropped = _kept(upper, exponent)
    lower, _ = _kept(lower, exponent)
    return upper, lower, left + right + dropped


def _kept(terms, exponent):
    """(terms whose probability can matter, flat; the probability of the others)."""
    kept = terms.weight > math.exp(max(-exponent, -690.0)) / terms.weight.size
    return _Terms(*(a[kept] for a in terms)), float(terms.weight[~kept].sum())


def _sum(terms, part, eps, rule):
    """sum of weight * F at a vector of eps."""
    kappa, less = math.tanh(part.eps0 / 2), 2 / (math.exp(part.eps0) + 1)  # less = 1 - kappa
    with np.errstate(over="ignore", invalid="ignore"):
        rise = np.expm1(eps)[:, None]
        w = np.minimum(rise * part.n / terms.count, 1e290)
        y = w / ((2 + w) * kappa)
        # e^eps0 - 1 - w, which at eps0 is nothing but rounding unless the powers are taken apart
        left = (np.exp(eps) * np.expm1(part.eps0 - eps))[:, None]
        left = left - rise * ((part.n - terms.count) / terms.count)
        z = less * left / ((2 + w) * kappa)
    calls = np.exp(option.log_call(terms.size, y, z, rule))
    return kappa * ((2 + w) * calls) @ terms.weight


def curve(
    part: Pair,
    rate: float,
    *,
    blocks: int = 128,
    nodes: int = 24,
    exponent: float,
    rule: option.Rule = option.COARSE,
) -> Curve:
    """eps (vector, >= 0) -> certified (lower, upper) of delta.

    Args:
        part: the clone pair of all n users, checked in or not.
        rate: q, with which each of them checks in.
        blocks: of the number of clones; nodes: of the number of other participants.
        exponent: e^-exponent of probability may lie outside on each side.
        rule: quadrature of the calls.
    """
    upper, lower, outside = _terms(part, rate, blocks, nodes, exponent)
    slack = mixture.budget(part.n) + rule.error
    rows = max(AT_ONCE // max(upper.weight.size, 1), 1)

    def evaluate(eps):
        eps = np.atleast_1d(np.asarray(eps, float))
        alone = -np.expm1(np.minimum(eps - part.eps0, 0.0))  # of any eps0-DP mechanism
        parts = np.array_split(eps, range(rows, eps.size, rows))
        low, high = (
            np.concatenate([_sum(t, part, e, rule) for e in parts]) for t in (lower, upper)
        )
        high = rate * (high * (1 + slack) + outside * alone)
        return rate * low * (1 - slack), np.minimum(high, rate * alone)

    return evaluate
