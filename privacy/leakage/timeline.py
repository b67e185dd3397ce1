"""When a property enters the training data, and when it leaves."""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Float


class Window(NamedTuple):
    """The rounds first <= t < last whose scores stand out, and by how much."""

    first: int
    last: int
    contrast: float  # mean score inside less mean score outside
    explained: float  # share of the scores' variance that the window explains


def locate(scores: Float[np.ndarray, " rounds"], *, least: int = 2) -> Window:
    """The window of raised scores that explains most of their variance (least squares).

    Two levels, one inside and one outside: over all first < last it maximises
    `n_in n_out / n (mean_in - mean_out)^2` with mean_in > mean_out. O(rounds^2).

    Args:
        scores: one a round, the higher the likelier the property.
        least: shortest window, and fewest rounds outside of it.

    Example:
        >>> import numpy as np
        >>> window = locate(np.array([0.1, 0.0, 0.2, 0.9, 0.8, 0.9, 0.1, 0.0]))
        >>> window.first, window.last
        (3, 6)
    """
    errors.whole("least", least, 1)
    scores = np.asarray(scores, float)
    n = len(scores)
    if n < 2 * least or not np.all(np.isfinite(scores)):
        raise errors.DataError(
            f"a window is looked for in {2 * least} and more finite scores, got {n}."
        )
    centred = scores - scores.mean()
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    best, found = -np.inf, (0, n)
    for first in range(n - least + 1):
        last = np.arange(first + least, n + 1)
        length = last - first
        inside = sums[last] - sums[first]
        gain = np.where((inside > 0) & (n - length >= least), inside**2, -np.inf)
        # With mean 0 overall, n_in n_out / n (difference of means)^2 = inside^2 n / (n_in n_out).
        gain = gain / (length * np.maximum(n - length, 1))
        at = int(np.argmax(gain))
        if gain[at] > best:
            best, found = float(gain[at]), (first, int(last[at]))
    first, last = found
    if not np.isfinite(best):
        raise errors.DataError("the scores are all equal: no window stands out.")
    inside, outside = scores[first:last], np.append(scores[:first], scores[last:])
    total = float(np.sum(centred**2))
    return Window(first, last, float(inside.mean() - outside.mean()), best * n / total)
