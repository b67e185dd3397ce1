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

The coefficients of (l_1 - e^eps l_2) l_1^ones l_2^twos l_3^rest, l_v the linear form that counts
what a holder of v reports, are one Fourier transform on a window that holds all but a stated part
of the mass.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import fft

from privacy.accounting import errors
from privacy.shuffle import agreements

LARGEST = 1 << 22  # cells of a transform


class Window(NamedTuple):
    """Which values of each count are told apart: ones, twos and, for k > 3, guests."""

    first: tuple[int, ...]
    width: tuple[int, ...]

    @property
    def cells(self) -> int:
        return math.prod(self.width)


def window(k: int, eps0: float, eps: float, others: tuple[int, int, int], tail: float) -> Window:
    """The window that leaves at most `tail` of P + e^eps Q outside; arguments as in `delta`."""
    rates, n = np.array(_rates(k, eps0)), sum(others)
    mean = np.array(others) @ rates + 0.5
    variance = np.array(others) @ (rates * (1 - rates)) + 0.25
    # Bernstein's inequality, either side of each count
    third = math.log(2 * variance.size * (1 + math.exp(eps)) / tail) / 3
    reach = 1 + third + np.sqrt(third * third + 6 * variance * third)  # 1: the victim's report
    most = [n + 1, n + 1, others[0] + others[1] + 1][: mean.size]
    first = [max(math.floor(m - r), 0) for m, r in zip(mean, reach, strict=True)]
    last = [min(math.ceil(m + r), top) for m, r, top in zip(mean, reach, most, strict=True)]
    width = [fft.next_fast_len(b - a + 1, real=True) for a, b in zip(first, last, strict=True)]
    return Window(tuple(first), tuple(width))


def _rates(k, eps0):
    """Probabilities of the counted reports of a holder of 1, of 2, and of another symbol."""
    p, h = _probabilities(k, eps0)
    guest = (k - 2) * p
    return ((h, p), (p, h), (p, p)) if k == 3 else ((h, p, guest), (p, h, guest), (p, p, 0.0))


def _probabilities(k, eps0):
    """(of each symbol but the own, of the own)."""
    small = math.exp(-eps0)
    return small / (1 + (k - 1) * small), 1 / (1 + (k - 1) * small)


def extended(n: int, tail: float) -> bool:
    """Whether rounding in float64 would be felt beside `tail`."""
    return 1e-14 * n > 10 * tail


def delta(
    k: int, eps0: float, eps: float, others: tuple[int, int, int], tail: float
) -> tuple[float, float]:
    """Certified (lower, upper) of delta(eps).

    Where rounding in float64 would be felt beside `tail`, extended precision is used (about five
    times slower; where the platform has none, the certificate is wider).

    Args:
        k, eps0, eps: symbols, local and central privacy loss.
        others: bystanders (ones, twos, rest).
        tail: of P + e^eps Q, how much may lie outside the window.

    Raises:
        PrivacyError: the window, or a table of agreements, is too large.
    """
    seen = window(k, eps0, eps, others, tail)
    if seen.cells > LARGEST:
        raise errors.PrivacyError(f"a window of {seen.width} cells is out of reach.")
    real = np.longdouble if extended(sum(others), tail) else np.float64
    cells = _coefficients(_rates(k, eps0), eps, others, seen.width, real)
    # rounding: of the powers and of the transform, in the 2-norm; the sum feels sqrt(cells) of it
    norm, unit = math.sqrt(float(np.sum(cells * cells))), float(np.finfo(real).eps) / 2
    error = 16 * (sum(others) + 1) + 8 * math.log2(cells.size)
    error = math.sqrt(cells.size) * norm * unit * error
    if k == 3:
        low = high = float(np.maximum(cells, 0).sum())
    else:
        low, high = _agreeing(k, eps0, others, seen, cells.astype(float), tail)
        error += 1e-14 * math.sqrt(cells.size) * norm
    moved = 4e-16 * (sum(others) + 8)  # by the rounding of the probabilities themselves
    return max(low - error, 0.0) * (1 - moved), (high + error) * (1 + moved) + tail


def _coefficients(rates, eps, others, width, real):
    """kappa on the window, each count modulo its width."""
    z = [_roots(w, axis, len(width), real) for axis, w in enumerate(width)]
    forms = []
    for each in rates:
        exact = [real(rate) for rate in each]
        forms.append(sum(r * one for r, one in zip(exact, z, strict=True)) + (1 - sum(exact)))
    spectrum = forms[0] - np.exp(real(eps)) * forms[1]
    for form, count in zip(forms, others, strict=True):
        spectrum = _times_power(spectrum, form, count)
    return fft.irfftn(spectrum, s=width)


def _times_power(product, form, count):
    """product * form**count by squaring: a fraction of a complex power's time."""
    while count:
        if count & 1:
            product = product * form
        count >>= 1
        form = form * form if count else form
    return product


def _roots(width, axis, axes, real):
    """The roots of unity at which an axis is evaluated, along that axis; half of the last one's."""
    count = width // 2 + 1 if axis == axes - 1 else width
    angle = 2 * np.arccos(real(-1)) * np.arange(count).astype(real) / width
    shape = [-1 if i == axis else 1 for i in range(axes)]
    return (np.cos(angle) - 1j * np.sin(angle)).reshape(shape)


def _agreeing(k, eps0, others, seen, cells, tail):
    """(unanimous, any) delta from the coefficients: the guests' number shows in disagreements."""
    p, h = _probabilities(k, eps0)
    reports, rest = sum(others) + 1, others[2]
    guests = 1 << (seen.first[2] + seen.width[2] - 1).bit_length()
    # every user disagrees with probability (k-3)p, whatever it holds
    wrong = _beyond(reports, (k - 3) * p, math.log(1 / tail))
    tables = agreements.tables(h / (1 - 2 * p), 1 / (k - 2), reports, guests, wrong)
    for axis, first in enumerate(seen.first):  # from remainders to values, ascending
        cells = np.roll(cells, -(first % seen.width[axis]), axis)
    ones, twos = (seen.first[axis] + np.arange(seen.width[axis]) for axis in (0, 1))
    sums = np.add.outer(ones, twos)
    low = high = 0.0
    for total in np.unique(sums[sums <= reports]):
        kappa, c = cells[sums == total], reports - int(total)
        shown = _shown(kappa, tables[c], seen.first[2], c)
        low += shown
        if c > rest:  # so many guests more than there are labels
            shown = _shown(kappa, tables[rest], seen.first[2] - (c - rest), rest)
        high += shown
    return low, high + tail


def _shown(kappa, table, guests, c):
    """Sum over cells and disagreements of (sum_j kappa_j Pr[d | j])_+, j from `guests` to c."""
    kappa = kappa[:, max(-guests, 0) : max(c - guests + 1, 0)]
    start = max(guests, 0)
    return float(np.maximum(kappa @ table[start : start + kappa.shape[1]], 0).sum())


def _beyond(n, p, exponent):
    """The least w with Pr[Bin(n, p) >= w] <= e^-exponent by Bernstein's inequality."""
    third = exponent / 3
    reach = third + math.sqrt(third * third + 2 * n * p * (1 - p) * exponent)
    return min(math.ceil(n * p + reach) + 1, n + 1)
