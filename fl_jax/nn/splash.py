"""Causal attention by the TPU's splash kernel, at any length and on any mesh.

The kernel takes whole blocks, so what is shorter is filled up behind, where no query looks. The
compiler cannot split it either: on a mesh (`jax.set_mesh`), examples are dealt by hand over `data`
and `fsdp`, heads over `tensor`.
"""

import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from fl_jax.core.types import Array, Float, Int
from fl_jax.nn import chunked_loss

HEADS_AXES = ("tensor",)
BLOCK = 128  # tokens of a block, and lanes of a register: the kernel takes multiples of both


def attention(
    q: Float[Array, "batch time heads folded"],
    k: Float[Array, "batch time heads folded"],
    v: Float[Array, "batch time heads width"],
    segments: Int[Array, "batch time"] | None = None,
    *,
    interpret: bool = False,
) -> Float[Array, "batch time heads width"]:
    """softmax(q k^T) v over the keys up to the query's own.

    Args:
        q, k, v: one dtype; q is multiplied by the scale of the scores already.
        segments: a query sees only keys of its own; -1 is also what the fill is.
        interpret: compute the kernel step by step on any device, for tests.
    """
    time, width = v.shape[1], v.shape[-1]
    q, k, v = (_fill(a) for a in (q, k, v))
    arguments = [a.transpose(0, 2, 1, 3) for a in (q, k, v)]
    if segments is not None:
        fill = [(0, 0), (0, -time % BLOCK)]
        arguments.append(jnp.pad(segments, fill, constant_values=-1))

    def local(q, k, v, segments=None):
        """One device's examples and heads."""
        run = _kernel(q.shape[1], q.shape[2], interpret)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return jax.vmap(run)(q, k, v, segments)

    batch, heads = arguments[0].shape[:2]
    out = _dealt(local, batch, heads, len(arguments))(*arguments)
    return out.transpose(0, 2, 1, 3)[:, :time, :, :width]


def _fill(a):
    """Zeros behind time and width, up to whole blocks."""
    return jnp.pad(a, [(0, 0), (0, -a.shape[1] % BLOCK), (0, 0), (0, -a.shape[-1] % BLOCK)])


def _kernel(heads: int, time: int, interpret: bool):
    """(q, k, v, segments) of one example, heads first -> its output."""
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernel,
    )
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    causal = masks.MultiHeadMask([masks.CausalMask((time, time))] * heads)
    run = kernel.make_splash_mha_single_device(causal, interpret=interpret)

    def one(q, k, v, segments):
        return run(q, k, v, None if segments is None else kernel.SegmentIds(segments, segments))

    return one


def _dealt(local, batch: int, heads: int, count: int):
    """`local` on the mesh in use, by hand over every axis that is not so yet."""
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    free = {name for name, kind in kinds if kind.name != "Manual"}
    if not free:
        return local

    def over(axes, size):
        """The axes to split over; none where they do not divide, and each device does all."""
        axes = tuple(name for name in axes if name in free)
        return axes if size % math.prod(mesh.shape[name] for name in axes) == 0 else ()

    rows = over(chunked_loss.BATCH_AXES, batch)
    of_heads = PartitionSpec(rows, over(HEADS_AXES, heads))
    specs = [of_heads] * 3 + [PartitionSpec(rows)] * (count - 3)
    # check_vma: the kernel does not say over which axes its results vary.
    return jax.shard_map(
        local, in_specs=tuple(specs), out_specs=of_heads, axis_names=free, check_vma=False
    )
