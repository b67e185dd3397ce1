"""The accountant inside `jax.jit`: a callback to the host, because accelerators lack float64.

float32 cannot hold a certificate (log-gamma of a million has a spacing of 1), so the bound is
computed by NumPy on the host and only the result goes to the device, rounded away from the truth.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core.types import Array, Float
from privacy.shuffle import grid, question


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
        bound: as in `privacy.shuffle.grid.epsilons`.
    """
    shape = jnp.broadcast_shapes(jnp.shape(eps0), jnp.shape(n), jnp.shape(delta))
    result = jax.ShapeDtypeStruct(shape, jnp.float32)

    def host(eps0, n, delta):
        values = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (eps0, n, delta)))
        e, k, d = (v.ravel() for v in values)
        low, high = np.zeros(e.shape), np.full(e.shape, np.inf)
        good = np.isfinite(e) & (e > 0) & np.isfinite(k) & (k >= 1) & (d > 0) & (d < 1)
        if good.any():
            users = np.minimum(np.floor(k[good]), question.MOST)
            low[good], high[good] = grid.epsilons(e[good], users, d[good], bound=bound)
            low[k > question.MOST] = 0.0
        down = np.nextafter(low.astype(np.float32), np.float32(-np.inf))
        up = np.nextafter(high.astype(np.float32), np.float32(np.inf))
        return np.maximum(down, np.float32(0)).reshape(values[0].shape), up.reshape(values[0].shape)

    arrays = (jnp.asarray(v, jnp.float32) for v in (eps0, n, delta))
    return jax.pure_callback(host, (result, result), *arrays, vmap_method="broadcast_all")
