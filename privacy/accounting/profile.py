"""A mechanism as its privacy profile: the hockey-stick divergences of its worst neighbours.

A profile is all that composition needs. It is given for eps >= 0 in both directions; what lies
below 0 follows from D_{1/E}(P||Q) = 1 - 1/E + D_E(Q||P)/E.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from privacy.accounting.bound import Adjacency, Status

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

    def scale(self) -> float:
        """Standard deviation of the privacy loss, as a Gaussian of the same total variation."""
        total = float(self.forward(np.zeros(1))[1][0])
        return max(total / 0.39894228, 1e-12)
