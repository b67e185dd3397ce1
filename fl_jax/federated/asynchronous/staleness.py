"""What an update is worth that began some server steps ago: s(age), 1 of a fresh one.

References:
    Xie, Koyejo, Gupta 2019, "Asynchronous Federated Optimization", section 5.2.
"""

from collections.abc import Callable

import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Float, Int

Discount = Callable[[Int[Array, "*many"]], Float[Array, "*many"]]


def constant() -> Discount:
    """1, whatever the age."""
    return lambda age: jnp.ones(jnp.shape(age), jnp.float32)


def polynomial(exponent: float = 0.5) -> Discount:
    """(1 + age)^-a.

    Args:
        exponent: a >= 0; 1/2 is what Nguyen et al. 2022 take, 0 is `constant`.

    Example:
        >>> print(polynomial(0.5)(jnp.array([0, 3, 8])).round(4))
        [1.     0.5    0.3333]
    """
    errors.not_negative("the exponent of staleness", exponent)
    return lambda age: (1 + jnp.asarray(age, jnp.float32)) ** jnp.float32(-exponent)


def hinge(slope: float = 10.0, free: int = 4) -> Discount:
    """1 up to an age of b, then 1 / (a (age - b) + 1).

    Args:
        slope: a > 0.
        free: b, whole server steps.

    Example:
        >>> print(hinge(1.0, 1)(jnp.array([0, 1, 2, 4])))
        [1.   1.   0.5  0.25]
    """
    errors.positive("the slope of staleness", slope)
    errors.whole("the age that costs nothing", free)

    def discount(age):
        beyond = jnp.maximum(jnp.asarray(age, jnp.float32) - free, 0.0)
        return 1 / (jnp.float32(slope) * beyond + 1)

    return discount
