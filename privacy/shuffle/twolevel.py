"""The privacy blanket of a two-level randomizer, exactly.

A two-level randomizer gives every output either a low density or e^eps0 times it. Seen from two
inputs x0, x1 an output is high for x0 only, for x1 only, for both or for neither; write
`only`, `both`, `neither` for the probabilities of the first, third and fourth kind under the
*low* density (so (e^eps0 + 1) only + e^eps0 both + neither = 1). Reports carry their kind and
nothing else, and the blanket decomposition [Balle, Bell, Gascon, Nissim, CRYPTO 2019, Lemma 5.3]

    delta(eps) <= E[(sum of m blanket slots)_+] / (gamma n)

becomes, by size-biasing the count s of reports that are high for exactly one of the two,

    delta(eps) <= only (e^eps0 - 1) (1 + e^eps) E[ call(s, y) ],   s - 1 ~ Bin(n-1, 2 only),
    y = tanh(eps/2)/tanh(eps0/2) * (1 + 2/(e^eps0+1) * W/s),       W = e^eps0 B + N,

(B, N) the counts of `both` and `neither` among the other n - s reports' blanket parts. call is
convex and decreasing in W, so chords over blocks of W bound it from above (Edmundson-Madansky)
and block means from below (Jensen).

Replacing W by its mean merges all uninformative outputs into one symbol. With reports of real
bystanders instead of blanket parts that is post-processing of a real data set, hence a lower bound
on the loss (`merged`). As an upper bound it is wrong for k >= 4 symbols: the erratum.
"""

import math
from typing import NamedTuple

import numpy as np

from privacy.shuffle import binomial, mixture, pair
from privacy.shuffle.binomial import Binomial


class TwoLevel(NamedTuple):
    """Probabilities of the kinds of output under the low density of a two-level randomizer."""

    eps0: float
    only: float  # high for the one of the two inputs and not for the other
    both: float  # high for both
    neither: float  # high for none

    @property
    def gamma(self) -> float:
        """Weight of the blanket: total low density."""
        return 2 * self.only + self.both + self.neither


def _convex_nodes(n: np.ndarray, p: float, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, weights) whose law is larger in convex order than Bin(n, p): one row per n.

    Probability in a block of whole numbers is moved to its ends so that the mean stays.
    """
    n = np.asarray(n, float)[..., None]
    law = Binomial(n, p, 1 - p)
    if p <= 0:
        return np.zeros(n.shape), np.ones(n.shape)
    grid = np.linspace(-1, 1, blocks - 1)
    grid = 7.0 * grid * (0.35 + 0.65 * grid * grid)  # finer in the middle
    edges = np.round(law.mean + grid * law.sigma)
    edges = np.clip(edges, 0, n)
    edges = np.concatenate([np.zeros(n.shape), edges, n], axis=-1)
    upper = np.concatenate([edges[..., 1:-1], n + 1], axis=-1)  # a block is [left, next left)
    cuts = np.concatenate([np.zeros(n.shape), upper], axis=-1)
    mass = binomial.masses(cuts, law)
    moment = law.mean * binomial.masses(np.maximum(cuts - 1, 0), law._replace(n=n - 1))
    left, right = edges[..., :-1], edges[..., 1:]
    width = np.maximum(right - left, 1e-300)
    share = np.where(right > left, np.clip((moment - left * mass) / width, 0, mass), 0.0)
    weights = np.zeros(edges.shape)
    weights[..., :-1] += mass - share
    weights[..., 1:] += share
    return edges, weights


def make(
    level: TwoLevel, n: int, blocks: int, exponent: float, tilt: float = 0.0, inner: int = 24
) -> mixture.Mixture:
    """The blanket bound as a certified mixture."""
    rate = 2 * level.only
    front = level.only * math.expm1(level.eps0)
    seen = pair.Pair(level.eps0, n, rate, 1 - rate)
    ends, weight, left, right, exact = pair.blocks_of(seen, blocks, exponent, tilt)
    first, last = ends[:-1] + 1, ends[1:]  # s = clones + 1
    scale = 2 / (1 + math.exp(level.eps0))
    e0 = math.exp(level.eps0)
    both, neither = level.both / (1 - rate), level.neither / (1 - rate)
    if n == 1 or both + neither <= 1e-15:
        terms = mixture.Terms(weight, first, 0.0)
        return mixture.Mixture(
            level.eps0, front, terms, mixture.Terms(weight, last, 0.0), left, right, exact
        )
    # Upper: calls shrink as s grows, and so does W/s; W itself is largest in law for the
    # smallest s, so within a block W comes from the last s and the call from the first.
    b_nodes, b_weights = _convex_nodes(n - last, both, 2 + inner // 2)
    n_nodes, n_weights = _convex_nodes(n - last[:, None] - b_nodes, neither / (1 - both), inner)
    amount = e0 * b_nodes[..., None] + n_nodes
    mass = weight[:, None, None] * b_weights[..., None] * n_weights
    sizes = np.broadcast_to(first[:, None, None], amount.shape)
    upper = _terms(mass, sizes, scale * amount / last[:, None, None])
    if both == 0:  # Jensen block by block, from the law of W at the first s
        nodes, _ = _convex_nodes(n - first, neither, inner)
        means, share = _block_means(n - first, neither, nodes)
        lower = _terms(
            weight[:, None] * share,
            np.broadcast_to(last[:, None], means.shape),
            scale * means / first[:, None],
        )
    else:
        mean = (n - first) * (e0 * both + neither)
        lower = mixture.Terms(weight, last, scale * mean / first)
    return mixture.Mixture(level.eps0, front, upper, lower, left, right, False)


def _block_means(n, p, edges):
    """(conditional mean, probability) of Bin(n, p) in the blocks that start at the edges."""
    n = np.asarray(n, float)[:, None]
    law = Binomial(n, p, 1 - p)
    cuts = np.concatenate([np.zeros(n.shape), edges[:, 1:-1], n + 1], axis=-1)
    mass = binomial.masses(cuts, law)
    moment = law.mean * binomial.masses(np.maximum(cuts - 1, 0), law._replace(n=n - 1))
    centre = np.clip(moment / np.maximum(mass, 1e-300), cuts[:, :-1], cuts[:, 1:])
    return centre, mass


def _terms(mass, sizes, ratio):
    """Flat terms, without those whose probability cannot matter."""
    keep = mass > 0
    return mixture.Terms(mass[keep], sizes[keep], ratio[keep])


def merged(
    eps0: float, n: int, only: float, shown: float, blocks: int, exponent: float
) -> mixture.Mixture:
    """Lower bound from a data set: bystanders show either symbol with probability `shown`.

    `only` is the victim's low probability of a symbol. All other outputs are one symbol.
    """
    small = math.exp(-eps0)
    front = only * math.expm1(eps0)
    other = max(1 - only * (1 + math.exp(eps0)), 0.0)
    rate = 2 * shown
    seen = pair.Pair(eps0, n, rate, 1 - rate)
    ends, weight, left, right, exact = pair.blocks_of(seen, blocks, exponent)
    first, last = ends[:-1] + 1, ends[1:]
    scale = 2 * small / (1 + small) * (shown / only) * other / (1 - rate) if other > 0 else 0.0
    upper = mixture.Terms(weight, first, scale * (n - last) / last)
    lower = mixture.Terms(weight, last, scale * (n - first) / first)
    return mixture.Mixture(eps0, front, upper, lower, left, right, exact)


def epsilon(level: TwoLevel, n: int, delta: float, rtol: float = 1e-3) -> mixture.Solution:
    """Certified bracket of the blanket bound's eps."""
    first = guess(level, n, delta)
    tilt = _tilt(first, level, n)
    inner = 12 if rtol >= 1e-3 else 40
    maker = lambda blocks, exponent: make(level, n, blocks, exponent, tilt, inner)
    # with outputs that are high for both, the lower end is plain Jensen and more blocks are idle
    most = 96 if level.both > 0 else 512
    return mixture.solve(maker, level.eps0, n, delta, rtol=rtol, guess=first, most=most, blocks=48)


def delta(level: TwoLevel, n: int, eps: float, rtol: float = 1e-3) -> tuple[float, float]:
    """Certified (lower, upper) of the blanket bound's delta(eps)."""
    if eps >= level.eps0:
        return 0.0, 0.0
    tilt = _tilt(eps, level, n)
    exponent, blocks = 40.0, 48
    while True:
        part = make(level, n, blocks, exponent, tilt, 16 if rtol >= 1e-3 else 48)
        low, high = (float(v[0]) for v in mixture.bracket(part, np.array([eps]), n))
        needed = 30.0 - math.log(max(low, 1e-300))
        if high <= low * (1 + rtol) or blocks >= 1024:
            return low, high
        if needed > exponent + 1:
            exponent = needed
        else:
            blocks *= 4


def guess(level: TwoLevel, n: int, delta: float) -> float:
    """Roughly the eps at `delta`, through the clone pair of the same chi-square."""
    e0 = math.exp(min(level.eps0, 300.0))
    # chi2 of the clone pair with rate r: kappa^2 / (n r) * 2; of this one: only (e0-1)^2 / n * 2
    rate = 1 / (max(level.only, 1e-300) * (e0 + 1) ** 2)
    rate = min(rate, 1.0)
    return pair.guess(pair.Pair(level.eps0, n, rate, 1 - rate), delta)


def _tilt(eps, level, n):
    mean = (n - 1) * 2 * level.only + 1
    e0 = math.exp(level.eps0)
    w = (n - mean) * (e0 * level.both + level.neither) / (1 - 2 * level.only)
    y = math.tanh(eps / 2) / math.tanh(level.eps0 / 2) * (1 + 2 / (e0 + 1) * w / mean)
    return min(y * y / 2, 5.0)
