"""Shuffled k-ary randomized response, k >= 3, with given bystanders: delta from both sides.

The victim holds symbol 1 in one data set and 2 in the other; `ones` bystanders hold 1, `twos` hold
2 and `rest` hold other symbols, the same or different ones. The lower end is attained where these
are unanimous; the upper end holds whatever they hold.

Of c reports outside {1, 2}, j are guests: the victim's, and those of holders of 1 and 2. A guest is
uniform on the k - 2 other symbols. Given N1, N2 (and so c) let kappa_j be the coefficient of "j
guests" in P - e^eps Q; delta(eps) is the sum over N1, N2 and all histograms of the c reports of the
positive part of sum_j kappa_j Pr[histogram | j guests].

Lemma. For c <= rest that is largest when the holders of other symbols are unanimous.
Proof. Let a holder's report y carry a label, the holder's symbol v, and let each guest take the
label of one of the holders that did report 1 or 2, drawn without replacement. The labels are then a
uniformly random c of all, whatever j is, and the guests sit at uniformly random places among them;
whether y = v has a probability that depends on being a guest and not on v. So the labelled reports
say as much about j as the number of agreements does, which is all that unanimous bystanders show;
and the histogram is what is left of the labelled reports when the labels are forgotten.

For c > rest at least c - rest of the guests find no label. The upper end shows the attacker so many
random ones of them, which are noise, and the lemma applies to the others. With three symbols there
is nothing to tell in a histogram of one symbol, and delta is exact.

The law of the counts and of the guests is a table of positive sums (`counts`), the victim's report
shifts it, and the guests' disagreements are positive sums as well (`agreements`): P and E Q are
known to a relative error, which is what is added and taken off cell by cell. A delta of 1e-30 is as
certain as one of 1e-3.
"""

import math
from typing import NamedTuple

import numpy as np

from privacy.shuffle import agreements, counts


class Cells(NamedTuple):
    """Pr[N1, N2, guests] of all reports, the victim's among them, in both data sets."""

    first: tuple[int, int, int]  # the values at the tables' corner
    p: np.ndarray
    q: np.ndarray
    error: float  # relative, of every entry


def exponent(eps0: float, tail: float) -> float:
    """Of what every inequality may leave out so that P + e^eps Q loses at most `tail`."""
    return math.log(16 / tail) + np.logaddexp(0.0, eps0)


def delta(
    k: int, eps0: float, eps: float, others: tuple[int, int, int], tail: float
) -> tuple[float, float]:
    """Certified (lower, upper) of delta(eps).

    Args:
        k, eps0, eps: symbols, local and central privacy loss, eps <= eps0.
        others: bystanders (ones, twos, rest).
        tail: how much of P + e^eps Q may be left out.

    Raises:
        PrivacyError: the counts, or a table of agreements, are too many.
    """
    law = counts.law(k, eps0, others, exponent(eps0, tail))
    cells = _with_victim(counts.rates(k, eps0), k, law)
    moved = 4e-16 * (sum(others) + 8)  # by the rounding of the probabilities themselves
    pair = _Pair(math.exp(eps), cells.error + moved)
    if k == 3:
        low, high = pair.positive(cells.p, cells.q)
    else:
        low, high = _agreeing(k, eps0, others, cells, pair, tail)
    return max(low - tail, 0.0), high + tail


class _Pair(NamedTuple):
    """How P and Q are compared."""

    factor: float  # e^eps
    error: float  # relative, of both

    def positive(self, p: np.ndarray, q: np.ndarray) -> tuple[float, float]:
        """Certified (lower, upper) of the sum of (p - factor q)_+."""
        q = self.factor * q
        off = self.error * (p + q)
        return (
            float(np.maximum(p - q - off, 0).sum()),
            float(np.maximum(p - q + off, 0).sum()),
        )


def _with_victim(rates, k, law):
    """The law with the victim's report: symbol 1 is its own under P, symbol 2 under Q."""
    p, h = rates
    guest = (0, 0, 0 if k == 3 else 1)  # with three symbols, guests are not counted
    grow = lambda *by: np.pad(law.table, [(b, g - b) for b, g in zip(by, (1, 1, guest[2]), strict=True)])  # fmt: skip # noqa: E501
    one, two, third = grow(1, 0, 0), grow(0, 1, 0), (k - 2) * p * grow(*guest)
    return Cells(law.first, h * one + p * two + third, p * one + h * two + third, law.error)


def _agreeing(k, eps0, others, cells, pair, tail):
    """(unanimous, any) delta: what the disagreements of the c other reports show of the guests.

    Every user disagrees with probability (k-3)p, whatever it holds; so many disagreements that they
    are beyond the tables are given to the attacker.
    """
    p, h = counts.rates(k, eps0)
    reports, rest = sum(others) + 1, others[2]
    ones, twos, guests = (f + np.arange(n) for f, n in zip(cells.first, cells.p.shape, strict=True))
    loses = (cells.p > pair.factor * (1 - 4 * pair.error) * cells.q).any(axis=2)
    i, j = np.nonzero(loses)  # elsewhere no histogram has more of P
    c = reports - (ones[i] + twos[j])
    i, j, c = (v[c >= 0] for v in (i, j, c))
    if not c.size:
        return 0.0, tail
    least, most = int(c.min()), int(c.max())
    if most > rest:
        least = min(least, rest)
    wrong = _beyond(reports, (k - 3) * p, exponent(eps0, tail))
    own, guest = h / (1 - 2 * p), 1 / (k - 2)
    tables = agreements.tables(own, guest, least, most, int(guests[-1]) + 1, wrong)
    low = high = 0.0
    for each in np.unique(c):
        laws = [of[i[c == each], j[c == each]] for of in (cells.p, cells.q)]
        shown = pair.positive(*_shown(laws, tables[each - least], guests[0], each))
        low += shown[0]
        if each > rest:  # so many guests more than there are labels
            first = guests[0] - (each - rest)
            shown = pair.positive(*_shown(laws, tables[rest - least], first, rest))
        high += shown[1]
    return low, high + tail


def _shown(laws, table, first, c):
    """Laws of the disagreements, given those of `first` guests and more; c are the most."""
    guests = first + np.arange(laws[0].shape[1])
    possible = (guests >= 0) & (guests <= c)
    table = table[guests[possible]]
    return [law[:, possible] @ table for law in laws]


def _beyond(n, p, exponent):
    """The least w with Pr[Bin(n, p) >= w] <= e^-exponent by Bernstein's inequality."""
    third = exponent / 3
    reach = third + math.sqrt(third * third + 2 * n * p * (1 - p) * exponent)
    return min(math.ceil(n * p + reach) + 1, n + 1)
