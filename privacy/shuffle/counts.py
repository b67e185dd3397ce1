"""How many reports of each of two symbols, and how many guests, the bystanders of k-RR make.

Bystanders hold symbol 1 (`ones`), symbol 2 (`twos`) or others (`rest`). A holder reports its own
symbol with probability h - p, which is a true report, and otherwise a blank: a uniform symbol. Let
u and v be the true reports of 1 and 2. Of the holders of 1 and 2, the guests are the blanks on
neither; the b holders of other symbols that report 1 or 2 are uniform on the two. So N1 - u of the
M = N1 + N2 - u - v blanks on 1 or 2 fall on 1, and b = N1 + N2 + j - ones - twos:

    Pr[N1, N2, j] = Pr[b] sum_(u,v) Pr[u] Pr[v] Pr[j | u, v] M! / (2^M (N1-u)! (N2-v)!),

where j is a sum of two binomials given u and v. With three symbols N1 and N2 are enough: M counts
all blanks, which are uniform on three, and a third factor 1/(N3-w)! joins the two.

M! is all that couples the symbols. It is an integral, M! = int e^-t t^M dt, which the trapezoid
rule in x, t = log(1 + e^x)^2, takes to thirteen digits: the integrand is nearly a Gaussian of
standard deviation 1/2. The rule is compared with M! for every M that occurs, so its error is known.
For each t the sum is a product, and a few dozen t make a matrix product. Every term is positive: a
probability of 1e-40 has as many digits as one of 0.1, which no Fourier transform would give.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from privacy.accounting import binomial, errors
from privacy.accounting.binomial import Binomial

STEP = 0.4  # of the trapezoid rule
FAR = 41.0  # terms below e^-41 of a factorial are left out
SLACK = 1e-11  # relative rounding of the pmfs and of the sums
LARGEST = 1 << 25  # numbers in a table


class Rates(NamedTuple):
    """Probabilities of a report."""

    other: float  # p, of each symbol but the own
    own: float  # h


class Span(NamedTuple):
    """Whole numbers from `first` to `last`."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    @property
    def values(self) -> np.ndarray:
        return np.arange(self.first, self.last + 1, dtype=float)


class Spans(NamedTuple):
    """Which values of every count are kept."""

    ones: Span  # N1
    twos: Span  # N2
    true: tuple[Span, ...]  # u, v and, with three symbols, w
    guests: tuple[Span, ...]  # of the holders of 1 and of 2; none are told apart with three symbols
    blanks: Span  # M

    @property
    def cells(self) -> int:
        """Numbers in the law."""
        return self.ones.size * self.twos.size * max(sum(s.size for s in self.guests) - 1, 1)

    @property
    def work(self) -> float:
        """Multiplications for one t."""
        sizes = self.ones.size, self.twos.size, self.ones.size + self.twos.size
        many = [s.size for s in self.guests] or [1, 1, 1]
        alone = zip(sizes, self.true, many, strict=False)
        return sum(n * u.size * j for n, u, j in alone) + sizes[0] * sizes[1] * many[0] * many[1]


class Law(NamedTuple):
    """Pr[N1, N2, guests] of the bystanders."""

    first: tuple[int, int, int]  # the values at the table's corner
    table: np.ndarray  # (N1, N2, guests), or (N1, N2, 1) of three symbols
    error: float  # relative, of every entry


def rates(k: int, eps0: float) -> Rates:
    """Of k-ary randomized response with local privacy loss eps0."""
    small = math.exp(-eps0)
    return Rates(small / (1 + (k - 1) * small), 1 / (1 + (k - 1) * small))


def spans(k: int, eps0: float, others: tuple[int, int, int], exponent: float) -> Spans:
    """The values that leave out at most 12 e^-exponent of the bystanders' law."""
    p, h = rates(k, eps0)
    each = np.array([[h, p], [p, h], [p, p]])
    mean, variance = np.array(others) @ each, np.array(others) @ (each * (1 - each))
    ones, twos = (_span(m, v, sum(others), exponent) for m, v in zip(mean, variance, strict=True))
    true = tuple(_binomial(n, h - p, exponent) for n in (others if k == 3 else others[:2]))
    guests, total = (), Span(sum(others), sum(others))
    if k > 3:
        guests = tuple(_binomial(n, (k - 2) * p, exponent) for n in others[:2])
        total = Span(ones.first + twos.first, ones.last + twos.last)
    least = total.first - sum(s.last for s in true)
    most = total.last - sum(s.first for s in true)
    return Spans(ones, twos, true, guests, Span(max(least, 0), most))


def _span(mean, variance, most, exponent):
    """Bernstein's inequality on either side, for a sum of `most` Bernoulli variables."""
    third = exponent / 3
    reach = third + math.sqrt(third * third + 2 * variance * exponent)
    return Span(max(math.floor(mean - reach), 0), min(math.ceil(mean + reach), most))


def _binomial(n, share, exponent):
    """The same for one binomial."""
    first, last = binomial.window(Binomial(float(n), share, 1 - share), exponent)
    return Span(int(first), int(last))


@functools.lru_cache(maxsize=8)
def law(k: int, eps0: float, others: tuple[int, int, int], exponent: float) -> Law:
    """The joint law, but for at most 12 e^-exponent of it.

    Args:
        k, eps0: symbols, at least 3, and local privacy loss.
        others: bystanders (ones, twos, rest).
        exponent: of what is left out.

    Raises:
        PrivacyError: the table is too large.
    """
    kept = spans(k, eps0, others, exponent)
    if kept.cells > LARGEST:
        raise errors.PrivacyError(f"a table of {kept.cells:.3g} counts is out of reach.")
    t, weight, error = _factorials(kept.blanks)
    table = (_three if k == 3 else _more)(k, eps0, others, kept, t, weight)
    first = kept.ones.first, kept.twos.first, sum(s.first for s in kept.guests)
    return Law(first, table, error + SLACK)


def _factorials(blanks: Span) -> tuple[np.ndarray, np.ndarray, float]:
    """(t, weights, error): the sum of weight e^-t t^M / M! is 1 within `error` for every M."""
    x = np.arange(-22.0, math.sqrt(blanks.last) + 8.0, STEP)
    root = np.logaddexp(0.0, x)
    t, weight = root * root, STEP * 2 * root / (1 + np.exp(-x))
    terms = weight * np.exp(binomial.log_poisson(blanks.values[:, None], t))
    used = terms.max(axis=0) > math.exp(-FAR)
    return t[used], weight[used], float(np.abs(terms[:, used].sum(axis=1) - 1).max())


def _three(k, eps0, others, kept, t, weight):
    """(N1, N2, 1) of three symbols."""
    p, h = rates(k, eps0)
    n = sum(others)
    third = Span(n - kept.ones.last - kept.twos.last, n - kept.ones.first - kept.twos.first)
    sides = []
    for held, counted, true in zip(others, (*kept[:2], third), kept.true, strict=True):
        joint = np.exp(binomial.log_pmf(true.values, Binomial(float(held), h - p, k * p)))
        sides.append(_blanked(joint[:, None], counted, true, t / 3)[:, :, 0])
    one, two, rest = sides
    one = one * weight[:, None]
    rest = rest[:, ::-1]  # N3 falls as N1 and N2 rise
    rows = [
        np.einsum("t,tj,tj->j", one[:, i], two, rest[:, i : i + two.shape[1]])
        for i in range(one.shape[1])
    ]
    return np.stack(rows)[:, :, None]


def _more(k, eps0, others, kept, t, weight):
    """(N1, N2, guests) of four symbols or more."""
    p, h = rates(k, eps0)
    sides = []
    for held, counted, true, guests in zip(others, kept[:2], kept.true, kept.guests, strict=False):
        u, j = true.values[:, None], guests.values
        joint = binomial.log_pmf(u, Binomial(float(held), h - p, k * p))
        joint = joint + binomial.log_pmf(j, Binomial(held - u, (k - 2) / k, 2 / k))
        sides.append(_blanked(np.exp(joint), counted, true, t / 2))
    table = _convolved(sides[0] * weight[:, None, None], sides[1])
    first = kept.ones.first + kept.twos.first + sum(s.first for s in kept.guests)
    b = first - others[0] - others[1] + np.arange(sum(table.shape) - 2)
    moved = np.exp(binomial.log_pmf(b, Binomial(float(others[2]), 2 * p, 1 - 2 * p)))
    return table * moved[sum(np.ogrid[tuple(slice(size) for size in table.shape)])]


def _blanked(joint, counted, true, mean):
    """sum over u of joint[u, j] Poisson(N - u; mean), as (t, N, j): true reports and blanks."""
    between = np.arange(counted.first - true.last, counted.last - true.first + 1)
    poisson = np.exp(binomial.log_poisson(between, mean[:, None]))
    shifted = np.lib.stride_tricks.sliding_window_view(poisson, true.size, axis=1)
    joint = joint[::-1]  # u descends where N - u ascends
    return np.stack([each @ joint for each in shifted])


def _convolved(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """sum over t and i of one[t, :, i] two[t, :, j - i], as (N1, N2, j)."""
    nodes, left, many = one.shape
    right, more = two.shape[1:]
    one = np.ascontiguousarray(one.transpose(1, 2, 0)).reshape(left, -1)
    two = np.ascontiguousarray(two[:, :, ::-1].transpose(1, 2, 0)).reshape(right, -1)
    out = np.empty((left, right, many + more - 1))
    for j in range(many + more - 1):
        lo, hi = max(0, j - more + 1), min(j, many - 1) + 1
        at = slice(lo * nodes, hi * nodes)
        back = slice((lo + more - 1 - j) * nodes, (hi + more - 1 - j) * nodes)
        out[:, :, j] = one[:, at] @ two[:, back].T
    return out
