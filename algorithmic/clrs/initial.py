"""Initial values: truncated normals of the reference (haiku's `TruncatedNormal`)."""

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float, Key


def normal(key: Key[Array, ""], shape: tuple[int, ...], fan_in: int) -> Float[Array, "..."]:
    """Truncated at two standard deviations of 1 / sqrt(fan_in), as `hk.Linear` starts."""
    return jax.random.truncated_normal(key, -2.0, 2.0, shape, jnp.float32) / fan_in**0.5


def linear(key: Key[Array, ""], fan_in: int, fan_out: int) -> dict[str, Array]:
    """Weights and a zero bias of y = x w + b."""
    return {"w": normal(key, (fan_in, fan_out), fan_in), "b": jnp.zeros(fan_out)}


def apply(params: dict[str, Array], x: Float[Array, "*batch i"]) -> Float[Array, "*batch o"]:
    """x w + b."""
    y = x @ params["w"]
    return y + params["b"].reshape((1,) * (y.ndim - 1) + (-1,))
