"""The accountant inside `jax.jit`: a callback to the host, because accelerators lack float64.

float32 cannot hold a certificate (log-gamma of a million has a spacing of 1), so the bound is
computed by NumPy on the host and only the result goes to the device, rounded away from the truth.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core.types import Array, Float
from privacy.accounting import errors
from privacy.shuffle import amplification, question


def epsilon(
    eps0: Float[Array, "..."],
    n: Float[Array, "..."],
    delta: Float[Array, "..."],
    *,
    bound: str | None = None,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Certified (lower, upper) eps, float32, under jit and vmap.

    Args:
        eps0, n, delta: arrays that broadcast together; the float32 values are what is answered
            for. Values outside the accountant's domain give (0, inf): traced values cannot raise.
            More than `question.MOST` users count as that many, who have no less privacy to lose.
        bound: as in `privacy.shuffle.epsilon`: `standard`, `stronger`, `conjecture` or a closed
            form; outside a closed form's region the answer is (0, inf).

    Raises:
        PrivacyError: a bound that there is not, or that is about one mechanism.
    """
    question.check(1.0, 1, None, bound)  # inside the callback it would be a failure of XLA
    shape = jnp.broadcast_shapes(jnp.shape(eps0), jnp.shape(n), jnp.shape(delta))
    result = jax.ShapeDtypeStruct(shape, jnp.float32)

    def host(eps0, n, delta):
        values = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (eps0, n, delta)))
        e, k, d = (v.ravel() for v in values)
        low, high = np.zeros(e.shape), np.full(e.shape, np.inf)
        good = np.isfinite(e) & (e > 0) & np.isfinite(k) & (k >= 1) & (d > 0) & (d < 1)
        for i in np.flatnonzero(good):
            users = min(math.floor(k[i]), question.MOST)
            try:
                found = amplification.epsilon(e[i], users, d[i], bound=bound)
            except errors.RegionError:
                continue
            low[i], high[i] = found.lower if k[i] <= question.MOST else 0.0, found.upper
        down = np.nextafter(low.astype(np.float32), np.float32(-np.inf))
        up = np.nextafter(high.astype(np.float32), np.float32(np.inf))
        return np.maximum(down, np.float32(0)).reshape(values[0].shape), up.reshape(values[0].shape)

    arrays = (jnp.asarray(v, jnp.float32) for v in (eps0, n, delta))
    return jax.pure_callback(host, (result, result), *arrays, vmap_method="broadcast_all")
