"""Normalisation layers."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from fl_jax.core import dtypes
from fl_jax.core.types import Array, Float
from fl_jax.nn import barrier


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last [Ioffe & Szegedy 2015], as PyTorch has it.

    The running variance is the unbiased one and moves by `momentum` towards the batch's. With a
    `mask`, masked examples count neither in the statistics nor in their size, so a batch that is
    filled up with padding gives what the short batch would give. Statistics are taken, and the
    result comes, in float32 (float64 for float64); parameters and running statistics may be
    narrower.
    """

    def __init__(self, features: int, *, momentum: float = 0.1, eps: float = 1e-5, rngs: nnx.Rngs):
        """Statistics start at mean 0 and variance 1, scale at 1 and bias at 0."""
        del rngs
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.momentum = momentum
        self.eps = eps
        self.use_running_average = False  # set by module.train() and module.eval()

    def __call__(
        self,
        x: Float[Array, "batch ... features"],
        *,
        mask: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch ... features"]:
        x = x.astype(dtypes.wide(x.dtype))  # a sum of 80,000 ones is infinite in float16
        own = lambda variable: variable[...].astype(x.dtype)
        wide = lambda a: a.reshape((1,) * (x.ndim - 1) + a.shape)  # as x, to broadcast openly
        if self.use_running_average:
            # Noise that a server adds to an aggregate can take a running variance below 0.
            mean, var = own(self.mean), jnp.maximum(own(self.var), 0)
        else:
            axes = tuple(range(x.ndim - 1))
            places = x.size // (x.shape[0] * x.shape[-1])
            if mask is None:
                count = jnp.asarray(x.shape[0] * places, x.dtype)
                weigh = lambda a: a
            else:
                count = jnp.maximum(jnp.sum(mask), 1) * places
                weigh = lambda a: a * mask.reshape(-1, *[1] * (x.ndim - 1))
            mean = jnp.sum(weigh(x), axis=axes) / count
            # The deviations are taken from the true mean: E[x^2] - E[x]^2 loses digits.
            var = jnp.sum(weigh(jnp.square(x - wide(mean))), axis=axes) / count
            # XLA would otherwise recompute both reductions in every fusion that reads them.
            mean, var = barrier.materialize(mean), barrier.materialize(var)
            unbiased = var * (count / jnp.maximum(count - 1, 1))
            for running, found in ((self.mean, mean), (self.var, unbiased)):
                moved = own(running) + self.momentum * (found - own(running))
                running[...] = moved.astype(running[...].dtype)
        factor = jax.lax.rsqrt(var + self.eps) * own(self.scale)
        return (x - wide(mean)) * wide(factor) + wide(own(self.bias))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " features"],
    bias: Float[Array, " features"],
    eps: float = 1e-5,
) -> Float[Array, "*batch features"]:
    """Layer normalisation over the last axis [Ba et al. 2016, arXiv 1607.06450].

    (x - mean) / sqrt(var + eps) * scale + bias with the biased variance, statistics in float32
    (float64 for float64), the result in the dtype of x. The derivative is written out, and the
    statistics are fenced off: XLA would otherwise recompute the reductions inside every fusion
    that reads them, which on a CPU costs more than the matrix products of a small model.
    """
    return _layer_norm_forward(x, scale, bias, eps)[0]


def _layer_norm_forward(x, scale, bias, eps):
    wide = x.astype(dtypes.wide(x.dtype))
    mean = jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(wide - mean), axis=-1, keepdims=True)
    mean, rstd = (barrier.materialize(a) for a in (mean, jax.lax.rsqrt(variance + eps)))
    widened = lambda p: jnp.broadcast_to(p.astype(wide.dtype), wide.shape)
    y = (wide - mean) * rstd * widened(scale) + widened(bias)
    return y.astype(x.dtype), (x, scale, bias, mean, rstd)


def _layer_norm_backward(eps, residuals, dy):
    del eps
    x, scale, bias, mean, rstd = residuals
    wide = x.astype(mean.dtype)
    dy = dy.astype(mean.dtype)
    normal = (wide - mean) * rstd
    rows = tuple(range(x.ndim - 1))
    dscale, dbias = jnp.sum(dy * normal, axis=rows), jnp.sum(dy, axis=rows)
    g = dy * jnp.broadcast_to(scale.astype(mean.dtype), dy.shape)
    means = jnp.mean(g, axis=-1, keepdims=True), jnp.mean(g * normal, axis=-1, keepdims=True)
    g_mean, g_normal = (barrier.materialize(a) for a in means)
    dx = rstd * (g - g_mean - normal * g_normal)
    return dx.astype(x.dtype), dscale.astype(scale.dtype), dbias.astype(bias.dtype)


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(
    x: Float[Array, "*batch features"], scale: Float[Array, " features"], eps: float = 1e-6
) -> Float[Array, "*batch features"]:
    """x / sqrt(mean(x^2) + eps) * scale over the last axis [Zhang & Sennrich 2019].

    Statistics in float32 (float64 for float64), the result in the dtype of x; its derivative is
    written out and fenced off for the reason given at `layer_norm`.
    """
    return _rms_norm_forward(x, scale, eps)[0]


def _rms_norm_forward(x, scale, eps):
    wide = x.astype(dtypes.wide(x.dtype))
    rstd = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + eps)
    rstd = barrier.materialize(rstd)
    y = wide * rstd * jnp.broadcast_to(scale.astype(wide.dtype), wide.shape)
    return y.astype(x.dtype), (x, scale, rstd)


def _rms_norm_backward(eps, residuals, dy):
    del eps
    x, scale, rstd = residuals
    dy = dy.astype(rstd.dtype)
    normal = x.astype(rstd.dtype) * rstd
    dscale = jnp.sum(dy * normal, axis=tuple(range(x.ndim - 1)))
    g = dy * jnp.broadcast_to(scale.astype(rstd.dtype), dy.shape)
    g_normal = barrier.materialize(jnp.mean(g * normal, axis=-1, keepdims=True))
    return (rstd * (g - normal * g_normal)).astype(x.dtype), dscale.astype(scale.dtype)


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)
