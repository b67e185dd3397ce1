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

from privacy.accounting import errors, roots
from privacy.shuffle import convex, lattice, mixture, pair


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

    @property
    def rest(self) -> float:
        """1 - gamma, which with many symbols is far smaller than the rounding of gamma."""
        return math.expm1(self.eps0) * (self.only + self.both)


class Saddle(NamedTuple):
    """Where delta(eps) is made: what the blocks and nodes are laid around."""

    tilt: float  # of the number of informative reports, as `pair.edges` takes it
    pull: float  # e^(-pull W) is how W is weighted


def saddle(level: TwoLevel, n: int, eps: float) -> Saddle:
    """The most likely (s, W) of the worst case, by fixed-point iteration."""
    e0, kappa = math.exp(level.eps0), math.tanh(level.eps0 / 2)
    y0, scale = math.tanh(eps / 2) / kappa, 2 / (1 + e0)
    rate = 2 * level.only
    rest = level.rest
    tilt = pull = 0.0
    for _ in range(30):
        parts = (
            rate * math.exp(-tilt),
            level.both * math.exp(-min(pull * e0, 600.0)),
            level.neither * math.exp(-pull),
        )
        total = max(sum(parts) + rest, 1e-300)
        s = 1 + (n - 1) * parts[0] / total
        w = (n - 1) * (e0 * parts[1] + parts[2]) / total
        y = min(y0 * (1 + scale * w / s), 0.98)
        slope = math.atanh(y)  # of the rate I(y) = y atanh(y) + log(1 - y^2)/2
        power = y * slope + math.log1p(-y * y) / 2
        # s I(y0 + y0 scale W/s): its derivatives in s and in W
        tilt = 0.5 * (tilt + power - slope * (y - y0))
        pull = 0.5 * (pull + slope * y0 * scale)
    return Saddle(min(max(tilt, -5.0), 5.0), pull)


def _nodes(n: np.ndarray, p: float, count: int, exponent: float, pull: float) -> np.ndarray:
    """(rows, nodes) whole numbers from 0 to n, dense where Bin(n, p) e^(-pull W) lives.

    The lowest but 0 lies where e^-exponent of the probability is left: below it calls are dear.
    """
    n = np.asarray(n, float)[..., None]
    q = 1 - p
    mean, variance = n * p, n * p * q
    third = exponent / 3
    reach = np.minimum(
        third + np.sqrt(third**2 + 2 * variance * exponent), np.sqrt(2 * mean * exponent)
    )
    shrink = math.exp(-min(pull, 600.0))
    centre = n * (p * shrink) / (q + p * shrink)
    low, high = np.maximum(mean - reach, 0.0), mean + 7 * np.sqrt(variance) + 3
    near = 2.5 * np.sqrt(variance) + 1
    u = np.linspace(-1, 1, max(count - 1, 3))
    side = np.where(u < 0, np.maximum(centre - low, 0.0), np.maximum(high - centre, 0.0))
    step = np.minimum(near, side)
    nodes = np.round(centre + step * u + (side - step) * u**3)
    nodes = np.clip(nodes, 0, n)
    return np.concatenate([np.zeros(n.shape), nodes, n], axis=-1)


def make(
    level: TwoLevel, n: int, blocks: int, exponent: float, at: Saddle, inner: int = 12
) -> mixture.Mixture:
    """The blanket bound as a certified mixture; `inner` nodes of W for every block of s."""
    rate = 2 * level.only
    front = level.only * math.expm1(level.eps0)
    silent = level.rest + level.neither + level.both  # 1 - rate
    seen = pair.Pair(level.eps0, n, rate, silent)
    ends, weight, left, right, exact = pair.blocks_of(seen, blocks, exponent, at.tilt)
    first, last = ends[:-1] + 1.0, ends[1:] * 1.0  # s = clones + 1
    e0 = math.exp(level.eps0)
    scale = 2 / (1 + e0)
    unlike = level.rest + level.neither
    both, few = level.both / silent, unlike / silent
    apart, real = level.neither / unlike, level.rest / unlike
    if n == 1 or both + level.neither / silent <= 1e-15:
        upper = mixture.Terms(weight, first, 0.0)
        lower = mixture.Terms(weight, last, 0.0)
        return mixture.Mixture(level.eps0, front, upper, lower, left, right, exact)
    some = 2 + inner // 2 if both > 0 else 1
    # Upper: calls shrink as s grows, and so does W/s; W itself is largest in law for the
    # smallest s, so within a block W comes from the last s and the call from the first.
    b_edges = _nodes(n - last, both, some, exponent, at.pull * e0) if both > 0 else None
    b_nodes, b_weights = _none(last)
    if both > 0:
        b_nodes, b_weights = b_edges, convex.chords(n - last, both, b_edges, few)
    others = n - last[:, None] - b_nodes
    n_nodes = _nodes(others, apart, inner, exponent, at.pull)
    n_weights = convex.chords(others, apart, n_nodes, real)
    upper, dropped = _terms(
        weight[:, None, None] * b_weights[..., None] * n_weights,
        first[:, None, None],
        scale * (e0 * b_nodes[..., None] + n_nodes) / last[:, None, None],
        exponent,
    )
    # Lower: Jensen in blocks, W from the first s and the call from the last. The number N of
    # `neither` given B depends on B: it is split into draws that every B of a block leaves, whose
    # blocks are independent of B, and the few others, which count with their mean.
    if both > 0:
        b_edges = _nodes(n - first, both, some, exponent, at.pull * e0)
        b_means, b_weights = convex.means(n - first, both, b_edges, few)
        b_most = np.concatenate([b_edges[:, 1:-1] - 1, b_edges[:, -1:]], axis=1)
        b_most = np.maximum(b_most, np.concatenate([0 * b_edges[:, :1], b_edges[:, 1:-1]], axis=1))
    else:
        b_means, b_weights = _none(first)
        b_most = b_means
    sure = n - first[:, None] - b_most
    n_nodes = _nodes(sure, apart, inner, exponent, at.pull)
    n_means, n_weights = convex.means(sure, apart, n_nodes, real)
    extra = np.maximum(b_most - b_means, 0.0) * apart
    lower, _ = _terms(
        weight[:, None, None] * b_weights[..., None] * n_weights,
        last[:, None, None],
        scale * ((e0 * b_means + extra)[..., None] + n_means) / first[:, None, None],
        exponent,
    )
    return mixture.Mixture(level.eps0, front, upper, lower, left, right + dropped, False)


def _none(s):
    """No output is high for both: one value, 0."""
    return np.zeros((s.size, 1)), np.ones((s.size, 1))


def _terms(mass, size, ratio, exponent):
    """(flat terms, what was dropped): those whose probability cannot matter are left out."""
    kept = mass > math.exp(max(-exponent, -690.0)) / mass.size
    size = np.broadcast_to(size, mass.shape)
    return mixture.Terms(mass[kept], size[kept], ratio[kept]), float(mass[~kept].sum())


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


def _inner(blocks: int) -> int:
    """Nodes of W: chords err with the square of their spacing, blocks of s with the spacing."""
    return int(12 * math.sqrt(max(blocks / 48, 1.0)))


STEEP = 30.0  # eps0 up to which the lattice's numbers stay in double range


def by_lattice(level: TwoLevel, n: int, eps: float, fine: float) -> tuple[float, float]:
    """Certified (lower, upper) of the blanket bound's delta(eps), by an n-fold convolution.

    Undoing the size bias, delta <= (e^eps0 - 1)(1 + e^eps)/(2 n) E[(Z_1 + ... + Z_n)_+] with
    independent Z = 1 - y0 or -1 - y0 (`only` each), -y0 r e^eps0 (`both`), -y0 r (`neither`) or 0,
    y0 = tanh(eps/2)/tanh(eps0/2) and r = 2/(e^eps0+1). In O(sqrt n log n), where blocks are free
    of n but need many more of them for a small delta.

    Args:
        fine: lattice step, against the atoms' +-1.

    Raises:
        PrivacyError: the lattice would be too long.
    """
    y, z = (float(v[0]) for v in mixture.strike(np.array([eps]), level.eps0))
    small = 2 / (math.exp(level.eps0) + 1)
    a = y * small
    masses = np.array([level.only, level.only, level.both, level.neither])
    law = lattice.Law(
        np.array([z, -1 - y, -y * (2 - small), -a, 0.0]),
        np.append(masses, level.rest),
    )
    # the most frequent small atom on the lattice, if that does not cost much
    step = a / math.ceil(a / fine) if a > fine / 8 else fine
    theta = lattice.tilt(law, n)
    step = min(step, 1 / theta)  # the scale of what lies above 0
    if lattice.length(law, n, theta, step) > lattice.LONGEST:
        raise errors.PrivacyError("the lattice would be too long.")
    front = math.expm1(level.eps0) * (1 + math.exp(eps)) / (2 * n)
    ends = [front * side(law, n, theta, step) for side in (lattice.lower, lattice.upper)]
    return ends[0] * (1 - 1e-12), min(ends[1] * (1 + 1e-12), 1.0)


def _solve_by_lattice(level, n, delta, rtol, first):
    """A bracket of eps; as good as a lattice of reasonable length makes it."""
    best = mixture.Solution(0.0, level.eps0, False)
    last, fine, tol = level.eps0 * (1 - 1e-12), 0.1, min(rtol / 8, 1e-3)
    logs = lambda side: (
        lambda eps: math.log(max(by_lattice(level, n, eps, fine)[side], 1e-320) / delta)
    )
    x, slope = first
    try:
        for _ in range(4):
            high = roots.bracket(logs(1), 0.0, last, tol, x, slope)[1]
            high = min(high, level.eps0)
            low = roots.bracket(logs(0), 0.0, min(high, last), tol, high * (1 - tol), slope)[0]
            best = mixture.Solution(max(best.lower, low), min(best.upper, high), False)
            if high == 0.0 or best.upper <= best.lower * (1 + rtol):
                break
            x = 0.5 * (low + high)
            gap = high / low - 1 if low > 0 else 1.0
            fine *= min(max(0.7 * math.sqrt(rtol / gap), 0.05), 0.5)
    except errors.PrivacyError:
        pass
    return best


def _most(level: TwoLevel) -> int:
    """Blocks that are affordable."""
    return 192 if level.both > 0 else 2048


def epsilon(level: TwoLevel, n: int, delta: float, rtol: float = 1e-3) -> mixture.Solution:
    """Certified bracket of the blanket bound's eps: by blocks, by a lattice, or by both."""
    first = guess(level, n, delta)
    at = saddle(level, n, first[0])
    maker = lambda blocks, exponent: make(level, n, blocks, exponent, at, _inner(blocks))
    by_blocks = lambda most: mixture.solve(
        maker, level.eps0, n, delta, rtol=rtol, guess=first, most=most
    )
    found = by_blocks(48 if level.both > 0 else 192)
    if level.eps0 <= STEEP and found.upper > found.lower * (1 + rtol):
        found = _meet(found, _solve_by_lattice(level, n, delta, rtol, first))
    if found.upper > found.lower * (1 + rtol):
        found = _meet(found, by_blocks(_most(level)))
    return found


def _meet(one, other):
    """What two brackets leave."""
    low, high = max(one.lower, other.lower), min(one.upper, other.upper)
    return mixture.Solution(low, high, one.exact or other.exact)


def delta(level: TwoLevel, n: int, eps: float, rtol: float = 1e-3) -> tuple[float, float]:
    """Certified (lower, upper) of the blanket bound's delta(eps)."""
    if eps >= level.eps0:
        return 0.0, 0.0
    at = saddle(level, n, eps)
    maker = lambda blocks, exponent: make(level, n, blocks, exponent, at, _inner(blocks))
    by_blocks = lambda most: mixture.delta(maker, level.eps0, n, eps, rtol, blocks=48, most=most)
    low, high = by_blocks(48 if level.both > 0 else 192)
    if high < 1e-250:  # nothing more to know
        return low, high
    try:
        for fine in (0.1, 0.02, 0.005, 0.001) if level.eps0 <= STEEP else ():
            if high <= low * (1 + rtol):
                break
            found = by_lattice(level, n, eps, fine)
            low, high = max(low, found[0]), min(high, found[1])
    except errors.PrivacyError:
        pass
    if high > low * (1 + rtol):
        found = by_blocks(_most(level))
        low, high = max(low, found[0]), min(high, found[1])
    return low, high


def guess(level: TwoLevel, n: int, delta: float) -> tuple[float, float]:
    """As `pair.guess`, through the clone pair of the same chi-square."""
    # chi2 of the clone pair with this rate: kappa^2 / (n rate) * 2; here: only (e0-1)^2 / n * 2
    log_rate = -math.log(max(level.only, 1e-300)) - 2 * np.logaddexp(0.0, level.eps0)
    rate = math.exp(min(log_rate, 0.0))
    return pair.guess(pair.Pair(level.eps0, n, rate, 1 - rate), delta)
