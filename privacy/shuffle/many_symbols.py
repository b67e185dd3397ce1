"""Shuffled k-ary randomized response, k >= 3, with given bystanders: delta from both sides.

The victim holds symbol 1 in one data set and 2 in the other; `ones` bystanders hold 1, `twos` hold
2, and the `rest` hold one third symbol. That is no restriction:

Theorem. Among bystanders that hold neither 1 nor 2 the loss is largest when all hold the same.
Proof. Let every such bystander's report y outside {1, 2} carry a label, the holder's symbol v, and
tell whether y = v. Any other report outside {1, 2} - the victim's, or that of a holder of 1 or 2;
it is uniform on the k - 2 symbols - takes the label of one of the labelled bystanders that did
report 1 or 2, drawn at random without replacement, and a third symbol when none is left. Given the
number of reports outside {1, 2} the multiset of labels is then the same in both data sets, namely a
uniformly random subset, and a report agrees with its label with a probability that does not depend
on the label. So the labelled reports say as much as the numbers of ones, twos, agreements and
disagreements do, which is what unanimous bystanders show; the histogram is what is left of the
labelled reports when labels are forgotten, and so says no more.

With l_v the linear form sum_y Pr[y | v] z_y, delta(eps) is the sum of the positive coefficients of
(l_1 - e^eps l_2) l_1^ones l_2^twos l_3^rest in z_1, z_2, z_3 (the other symbols' variables are 1):
one Fourier transform on a window that holds all but a stated part of the mass.
"""

import math

import numpy as np
from scipy import fft

from privacy.accounting import errors

LARGEST = 1 << 21  # cells of a transform


def window(k: int, eps0: float, eps: float, others: tuple[int, int, int], tail: float) -> list[int]:
    """How many values of each count are told apart; arguments as in `delta`."""
    p, h = _probabilities(k, eps0)
    own, n = np.array(others)[: 3 if k > 3 else 2], sum(others)
    variance = own * h * (1 - h) + (n - own) * p * (1 - p) + 0.25
    # Bernstein's inequality, either side of each count
    exponent = math.log(2 * own.size * (1 + math.exp(eps)) / tail)
    third = exponent / 3
    reach = third + np.sqrt(third * third + 2 * variance * exponent)
    return [fft.next_fast_len(min(math.ceil(2 * r) + 3, n + 2), real=True) for r in reach]


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
        PrivacyError: the window has more than LARGEST cells.
    """
    widths = window(k, eps0, eps, others, tail)
    if math.prod(widths) > LARGEST:
        raise errors.PrivacyError(f"a window of {widths} cells is out of reach.")
    n, axes = sum(others), len(widths)
    precise = np.longdouble if extended(n, tail) else np.float64
    p, h = (precise(value) for value in _probabilities(k, eps0))
    extra, high = np.exp(precise(eps)), h - p
    z = [_roots(w, axis, axes, precise) for axis, w in enumerate(widths)]
    common = p * sum(z) + (k - axes) * p
    forms = [common + high * one for one in (z[0], z[1], z[2] if k > 3 else 1.0)]
    spectrum = forms[0] - extra * forms[1]
    for form, count in zip(forms, others, strict=True):
        spectrum = _times_power(spectrum, form, count)
    cells = fft.irfftn(spectrum, s=widths)
    value = float(np.maximum(cells, 0).sum())
    # rounding: of the powers and of the transform, in the 2-norm; the sum feels sqrt(cells) of it
    norm = math.sqrt(float(np.sum(cells * cells)))
    unit = float(np.finfo(precise).eps) / 2
    error = math.sqrt(cells.size) * norm * unit * (16 * (n + 1) + 8 * math.log2(cells.size))
    return max(value - error, 0.0), value + error + tail


def _times_power(product, form, count):
    """product * form**count by squaring: a fraction of a complex power's time."""
    while count:
        if count & 1:
            product = product * form
        count >>= 1
        form = form * form if count else form
    return product


def _probabilities(k, eps0):
    """(of each symbol but the own, of the own)."""
    small = math.exp(-eps0)
    return small / (1 + (k - 1) * small), 1 / (1 + (k - 1) * small)


def _roots(width, axis, axes, real):
    """The roots of unity at which an axis is evaluated, along that axis; half of the last one's."""
    count = width // 2 + 1 if axis == axes - 1 else width
    angle = 2 * np.arccos(real(-1)) * np.arange(count).astype(real) / width
    return (np.cos(angle) - 1j * np.sin(angle)).reshape(
        [-1 if i == axis else 1 for i in range(axes)]
    )
