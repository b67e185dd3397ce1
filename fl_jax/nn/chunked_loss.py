"""Cross-entropy of a large vocabulary without its logits: in chunks, with its own derivative.

With V = 250,880 the logits of one micro-batch outweigh the model, so they exist only for a few
tokens at a time. `summed` computes the gradient together with the loss, chunk by chunk, and the
backward pass only scales it: three matrix products, as for the plain loss, nothing stored.
`per_token` returns every token's loss and computes the logits again going back.

On a mesh (`jax.set_mesh`), examples are split over `data` and `fsdp` and the vocabulary over
`tensor`: each device takes its rows, and only maxima, sums and the gradient of x are exchanged.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from fl_jax.core import dtypes
from fl_jax.core.types import Array, Float, Int
from fl_jax.nn import barrier, tiles

BATCH_AXES = ("data", "fsdp")
VOCAB_AXIS = "tensor"
CHUNK_LOGITS = {"cpu": 2**23}  # logits that exist at once, per device: 32 MB on a CPU
CHUNK_LOGITS_ELSE = 2**27
# Tokens of the batch in a chunk, whatever their logits take: every chunk reads the whole table and
# adds to a gradient of its size. At V = 250,880 a CPU takes a third of the time it takes with 8.
FEWEST_TOKENS = 128


def summed(
    x: Float[Array, "batch time width"],
    table: Float[Array, "vocab width"],
    labels: Int[Array, "batch time"],
    weights: Float[Array, "batch time"],
    *,
    chunk: int | None = None,
    valid: int | None = None,
) -> Float[Array, ""]:
    """sum of weight * -log softmax(x table^T)[label], float32.

    Differentiable once, with respect to x, table and weights.

    Args:
        x: states, in the dtype that the products are computed in.
        table: output matrix, in the dtype of x.
        labels: ids; where the weight is 0 they may be anything.
        weights: of the tokens, float32.
        chunk: tokens of each sequence that are taken at once; by default what keeps the chunk's
            logits below 32 MB on a CPU and 512 MB elsewhere, yet about 128 tokens of the
            batch where that is more.
        valid: rows of the table that take part, from the first; None = all. BLOOM's last 200
            are no tokens.
    """
    return _summed(x, table, labels, weights, _length(x, table, chunk), valid)


def per_token(
    x: Float[Array, "batch time width"],
    table: Float[Array, "vocab width"],
    labels: Int[Array, "batch time"],
    *,
    chunk: int | None = None,
    valid: int | None = None,
) -> Float[Array, "batch time"]:
    """-log softmax(x table^T)[label] of every token, float32; arguments as for `summed`."""
    return _per_token(x, table, labels, _length(x, table, chunk), valid)


def _length(x, table, chunk: int | None) -> int:
    """Tokens of each sequence in one chunk."""
    if chunk is not None:
        return max(1, min(chunk, x.shape[1]))
    budget = CHUNK_LOGITS.get(jax.default_backend(), CHUNK_LOGITS_ELSE)
    mesh = _mesh()
    share = 1 if mesh is None else _extent(mesh, (*BATCH_AXES, VOCAB_AXIS))
    most = max(
        1, budget * share // (x.shape[0] * table.shape[0]), FEWEST_TOKENS * share // x.shape[0]
    )
    count = -(-x.shape[1] // most)
    return -(-x.shape[1] // count)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _summed(x, table, labels, weights, chunk, valid):
    return _scan(x, table, labels, weights, None, chunk, valid, "loss")[0]


def _summed_forward(x, table, labels, weights, chunk, valid):
    total, losses, dx, dtable = _scan(x, table, labels, weights, None, chunk, valid, "both")
    return total, (losses, dx, dtable)


def _summed_backward(chunk, valid, residuals, g):
    del chunk, valid
    losses, dx, dtable = residuals
    scale = lambda a: (a * g.astype(a.dtype)).astype(a.dtype)
    return scale(dx), scale(dtable), None, losses * g


_summed.defvjp(_summed_forward, _summed_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _per_token(x, table, labels, chunk, valid):
    return _per_token_forward(x, table, labels, chunk, valid)[0]


def _per_token_forward(x, table, labels, chunk, valid):
    ones = jnp.ones(labels.shape, dtypes.wide(x.dtype))
    _, losses, sums = _scan(x, table, labels, ones, None, chunk, valid, "losses")
    return losses, (x, table, labels, sums)


def _per_token_backward(chunk, valid, residuals, g):
    x, table, labels, sums = residuals
    _, _, dx, dtable = _scan(x, table, labels, g, sums, chunk, valid, "both")
    return dx, dtable, None


_per_token.defvjp(_per_token_forward, _per_token_backward)


def _scan(x, table, labels, weights, sums, chunk, valid, what: str):
    """The chunks one after another, on each device its share.

    Args:
        sums: (batch, time) logsumexp if it is known.
        what: `loss` for (total,); `losses` for (total, losses, sums); `both` for (total,
            losses, dx, dtable).
    """
    arguments = (x, table, labels, weights) if sums is None else (x, table, labels, weights, sums)
    mesh = _mesh()
    if mesh is None:
        local = functools.partial(_local, None, (), chunk, valid, what)
        return local(*arguments)
    names = tuple(a for a in BATCH_AXES if a in mesh.axis_names)
    split = _extent(mesh, (VOCAB_AXIS,)) > 1
    local = functools.partial(_local, VOCAB_AXIS if split else None, names, chunk, valid, what)
    of_tokens = PartitionSpec(names)
    of_table = PartitionSpec(VOCAB_AXIS) if split else PartitionSpec()
    outs = {
        "loss": (PartitionSpec(),),
        "losses": (PartitionSpec(), of_tokens, of_tokens),
        "both": (PartitionSpec(), of_tokens, of_tokens, of_table),
    }
    specs = [of_tokens, of_table, *[of_tokens] * (len(arguments) - 2)]
    # check_vma: the scan's sums start from constants, which do not vary over the mesh.
    run = jax.shard_map(local, in_specs=tuple(specs), out_specs=outs[what], check_vma=False)
    return run(*arguments)


def _local(vocab_axis, batch_axes, chunk, valid, what, x, table, labels, weights, sums=None):
    """One device's tokens against its rows of the table, in chunks along time."""
    batch, time, _ = x.shape
    steps = -(-time // chunk)
    pad = steps * chunk - time

    def cut(a):
        a = jnp.pad(a, [(0, 0), (0, pad)] + [(0, 0)] * (a.ndim - 2))
        return jnp.moveaxis(a.reshape(batch, steps, chunk, *a.shape[2:]), 1, 0)

    def join(a):
        a = jnp.moveaxis(a, 0, 1)
        return a.reshape(batch, steps * chunk, *a.shape[3:])[:, :time]

    wide = dtypes.wide(x.dtype)
    inputs = [cut(x), cut(labels), cut(weights)] + ([] if sums is None else [cut(sums)])

    def step(carry, one):
        total, dtable = carry
        out = _chunk(vocab_axis, valid, what, table, *one)
        total += out.loss
        if what == "both":
            return (total, dtable + out.dtable), (out.losses, out.dx)
        return (total, dtable), (out.losses, out.sums) if what == "losses" else None

    start = (jnp.zeros((), wide), jnp.zeros(table.shape[::-1], wide) if what == "both" else None)
    if steps == 1:
        (total, dtable), stacked = step(start, [a[0] for a in inputs])
        stacked = jax.tree.map(lambda a: a[None], stacked)
        # Held: the compiler would turn a transposed product into the slow one (see `_chunk`).
        dtable = None if dtable is None else barrier.materialize(dtable)
    else:
        (total, dtable), stacked = jax.lax.scan(step, start, inputs)
    over = lambda a: jax.lax.psum(a, batch_axes) if batch_axes else a
    if what == "loss":
        return (over(total),)
    first, second = jax.tree.map(join, stacked)
    if what == "losses":
        return over(total), first, second
    if vocab_axis is not None:
        second = jax.lax.psum(second.astype(wide), vocab_axis).astype(second.dtype)
    return over(total), first, second, over(dtable).astype(table.dtype).T


class _Chunk:
    """Results of one chunk; what is not asked for stays None."""

    loss = losses = sums = dx = dtable = None


def _chunk(vocab_axis, valid, what, table, x, labels, weights, sums=None) -> _Chunk:
    wide = dtypes.wide(x.dtype)
    rows = table.shape[0]
    first = jax.lax.axis_index(vocab_axis) * rows if vocab_axis is not None else 0
    over: Callable = lambda reduce, a: a if vocab_axis is None else reduce(a, vocab_axis)
    logits = jnp.einsum("bth,vh->btv", x, table, preferred_element_type=wide)
    ids = jnp.arange(rows) + first
    if valid is not None:
        logits = jnp.where((ids < valid)[None, None], logits, -jnp.inf)
    if sums is None:
        top = over(jax.lax.pmax, jnp.max(logits, axis=-1, keepdims=True))
        total = over(jax.lax.psum, jnp.sum(jnp.exp(logits - top), axis=-1, keepdims=True))
        sums = (top + jnp.log(total))[..., 0]
    own = labels - first
    here = (own >= 0) & (own < rows)
    if within_cohort():  # where the compiler splits the vocabulary, it fails on the gather
        picked = jnp.sum(jnp.where(ids[None, None] == labels[..., None], logits, 0), axis=-1)
    else:
        place = jnp.clip(own, 0, rows - 1)
        picked = jnp.take_along_axis(logits, place[..., None], axis=-1)[..., 0]
        picked = over(jax.lax.psum, jnp.where(here, picked, 0))
    out = _Chunk()
    out.losses, out.sums = sums - picked, sums
    # A label of weight 0 may be a padding row, whose loss is infinite: 0 * inf is no zero.
    out.loss = jnp.sum(jnp.where(weights == 0, 0, weights.astype(wide) * out.losses))
    if what == "both":
        hit = (ids[None, None] == labels[..., None]).astype(wide)
        dlogits = (jnp.exp(logits - sums[..., None]) - hit) * weights.astype(wide)[..., None]
        dlogits = dlogits.astype(x.dtype)
        out.dx = jnp.einsum("btv,vh->bth", dlogits, table, preferred_element_type=wide)
        out.dx = out.dx.astype(x.dtype)
        # Written out transposed, the narrow side lets a CPU take its fast product.
        flat = x.reshape(-1, x.shape[-1])
        rows = tiles.turn(flat) if tiles.fit(x) else barrier.materialize(flat.T)
        dlogits = dlogits.reshape(rows.shape[1], -1)
        out.dtable = jnp.einsum("hn,nv->hv", rows, dlogits, preferred_element_type=wide)
    return out


def _mesh():
    """The mesh in use, if one is and it splits anything that matters here."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or any(kind.name == "Manual" for kind in mesh.axis_types):
        return None
    return mesh if _extent(mesh, (*BATCH_AXES, VOCAB_AXIS)) > 1 else None


def within_cohort() -> bool:
    """Whether this is one of several models that are dealt by hand over one axis of the mesh in
    use, and that the compiler splits over the others."""
    mesh = jax.sharding.get_abstract_mesh()
    kinds = {k.name for s, k in zip(mesh.axis_sizes, mesh.axis_types, strict=True) if s > 1}
    return "Manual" in kinds and len(kinds) > 1


def _extent(mesh, names) -> int:
    size = 1
    for name in names:
        size *= mesh.shape.get(name, 1)
    return size
