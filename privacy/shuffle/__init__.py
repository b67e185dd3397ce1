"""Certified privacy amplification by shuffling: bounds in NumPy and SciPy, nothing of JAX.

`epsilon`, `delta`, `rdp` and the inverses `local_epsilon` and `clients` return
`privacy.accounting.bound.Bound` objects. Randomizers, shuffled federated learning, the audit and
the entry for use inside `jax.jit` are the modules `randomizers`, `federated`, `audit` and `device`.
"""

from privacy.shuffle.amplification import clients, delta, epsilon, local_epsilon
from privacy.shuffle.renyi import rdp

__all__ = ["clients", "delta", "epsilon", "local_epsilon", "rdp"]
