"""A mechanism as its privacy profile: the hockey-stick divergences of its worst neighbours.

A profile is all that composition needs. It is given for eps >= 0 in both directions; what lies
below 0 follows from D_{1/E}(P||Q) = 1 - 1/E + D_E(Q||P)/E.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from privacy.accounting.bound import Adjacency, Status
from privacy.accounting.errors import PrivacyError

Curve = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""eps (vector, >= 0) -> certified (lower, upper) of delta; both convex in e^eps"""


@dataclass(frozen=True)
class Profile:
    """delta(eps) of the worst pair (P, Q), between two certified curves."""

    forward: Curve  # D(P||Q)
    adjacency: Adjacency
    status: Status
    theorem: str
    backward: Curve | None = None  # D(Q||P); None = mirror images, or a supremum over both
    reach: float = float("inf")  # delta is 0 from here on
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def scale(self) -> float:
        """Standard deviation of the privacy loss, as a Gaussian of the same total variation."""
        total = float(self.forward(np.zeros(1))[1][0])
        return max(total / 0.39894228, 1e-12)

    def epsilon(self, delta: float, rtol: float = 1e-7) -> tuple[float, float]:
        """Certified (lower, upper) of the smallest eps >= 0 with delta(eps) <= `delta`, one round.

        Args:
            delta: in (0, 1).
            rtol: relative precision of either end.

        Raises:
            PrivacyError: delta is above `delta` as far as 1e15.
        """
        found = []
        for side in (0, 1):
            above = lambda eps, side=side: self.forward(eps)[side] > delta
            low, high = 0.0, min(self.reach, 1.0)
            if not above(np.zeros(1))[0]:
                found.append(0.0)
                continue
            while high < self.reach and above(np.array([high]))[0]:
                low, high = high, min(2 * high, self.reach)
                if high > 1e15:
                    raise PrivacyError(f"this profile does not fall to delta = {delta:g}.")
            while high - low > rtol * high:
                points = np.linspace(low, high, 10)[1:-1]
                over = above(points)
                low = max(points[over].max(initial=low), low)
                high = min(points[~over].min(initial=high), high)
            found.append(float(high if side else low))
        return found[0], found[1]


def between(function, eps: np.ndarray, slack: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Certified (lower, upper) of a delta that is computed to a relative error.

    Args:
        function: eps (vector, >= 0) -> delta, falling.
        eps: where.
        slack: the relative error.
    """
    nudge = 4e-16 * (1 + np.abs(eps))  # rounding of eps itself, where delta ends steeply
    low = function(eps + nudge) * (1 - slack)
    return np.maximum(low, 0.0), np.minimum(function(np.maximum(eps - nudge, 0)) * (1 + slack), 1.0)
