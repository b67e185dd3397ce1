"""Condition (*), under which the stronger clone is proved.

(*)  R(x)(y) >= (R(x0)(y) + R(x1)(y)) / (e^eps0 + 1)   for all x, x0, x1 and every output y.

Proof that it suffices. Q0 = (e^eps0 R(x0) - R(x1))/(e^eps0 - 1) and Q1, the same with x0 and x1
exchanged, are distributions because R is eps0-LDP; R(x0) = (e^eps0 Q0 + Q1)/(e^eps0 + 1), and (*)
says R(x) >= (Q0 + Q1)/(e^eps0 + 1): every other user is a clone with probability 2/(e^eps0 + 1).

Binary and k-ary randomized response satisfy it, and so does every two-level randomizer whose
outputs are high for at most one input. Subset selection with two or more elements, RAPPOR, OUE,
Hadamard response, local hashing and PrivUnit do not: an output can be high for x0 and x1 and low
for x. Laplace satisfies it for the two extreme inputs and fails it for near ones.
"""

import math

import numpy as np

from privacy.accounting.errors import PrivacyError


def local_epsilon(matrix: np.ndarray) -> float:
    """The eps0 of a finite randomizer: max over outputs of log max_x R(x)(y) / min_x R(x)(y).

    Args:
        matrix: (inputs, outputs) float, rows are distributions.

    Raises:
        PrivacyError: a row is not a distribution.
    """
    matrix = np.asarray(matrix, float)
    rows = matrix.ndim == 2 and matrix.size > 0 and bool((matrix >= 0).all())  # not so of NaN
    if not rows or np.abs(matrix.sum(1) - 1).max() > 1e-9:
        raise PrivacyError(
            "a finite randomizer is a matrix (inputs, outputs) whose rows are distributions."
        )
    used = matrix.max(0) > 0
    low = matrix[:, used].min(0)
    return math.inf if (low == 0).any() else float(np.log(matrix[:, used].max(0) / low).max())


def satisfies(matrix: np.ndarray, eps0: float | None = None, slack: float = 1e-12) -> bool:
    """Whether (*) holds for a finite randomizer, exactly up to `slack`.

    Args:
        matrix: (inputs, outputs) float, rows are distributions.
        eps0: the level at which it is used; its own local epsilon unless given.
        slack: relative rounding that is forgiven.

    Example:
        >>> import numpy as np
        >>> e = np.exp(1.0)
        >>> krr = (np.ones((4, 4)) + (e - 1) * np.eye(4)) / (e + 3)
        >>> satisfies(krr)
        True
    """
    matrix = np.asarray(matrix, float)
    own = local_epsilon(matrix)
    eps0 = own if eps0 is None else eps0
    if own > eps0 * (1 + 1e-12) + 1e-12:
        return False
    # for each output the worst pair is the two largest entries, the worst x the smallest
    top = np.sort(matrix, axis=0)[-2:] if matrix.shape[0] > 1 else np.repeat(matrix, 2, 0)
    return bool(np.all(matrix.min(0) * (math.exp(eps0) + 1) >= top.sum(0) * (1 - slack)))
