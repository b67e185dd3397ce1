"""Normalisation layers."""

import jax
import jax.numpy as jnp
from flax import nnx

from fl_jax.core.types import Array, Float
from fl_jax.nn import barrier


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last [Ioffe & Szegedy 2015], as PyTorch has it.

    The running variance is the unbiased one and moves by `momentum` towards the batch's. With a
    `mask`, masked examples count neither in the statistics nor in their size, so a batch that is
    filled up with padding gives what the short batch would give.
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
        wide = lambda a: a.reshape((1,) * (x.ndim - 1) + a.shape)  # as x, to broadcast openly
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
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
            self.mean[...] += self.momentum * (mean - self.mean[...])
            self.var[...] += self.momentum * (unbiased - self.var[...])
        factor = jax.lax.rsqrt(var + self.eps) * self.scale[...]
        return (x - wide(mean)) * wide(factor) + wide(self.bias[...])
