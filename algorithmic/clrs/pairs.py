"""The heavy parts of a step, all pairs of nodes at once, each with a derivative of its own.

Features come first and the batch last: nodes are (h, N, B), pairs (h, N, N, B) with the sender on
the first of the two node axes. So every linear map is one matrix product (o, i) x (i, N N B) whose
forward, backward and weight directions all have fast kernels, and every maximum or sum over nodes
adds whole contiguous rows.

Products take operands of the weight's dtype (float32 or bfloat16) and give float32. Of arrays over
pairs only one per block is kept for the backward pass, beside the place of each maximum; the
others are made again, which costs no more than to store and load them.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core.types import Array, Float

BIG = 1e6  # what a maximum sees in place of a node that is not there [clrs, processors]
UNROLLED = 24  # maxima over up to so many nodes are one expression, larger ones a loop


class Weight(NamedTuple):
    """A matrix as the three products need it; made once, outside the loop over steps."""

    master: Float[Array, "i o"]  # what the gradient belongs to
    forth: Float[Array, "o i"]
    back: Float[Array, "i o"]


def weight(w: Float[Array, "i o"], dtype=jnp.float32) -> Weight:
    """The matrix for `product`; operands are rounded to `dtype`."""
    rounded = jax.lax.stop_gradient(w).astype(dtype)
    return Weight(w, rounded.T, rounded)


def product(w: Weight, x: Float[Array, "i ..."]) -> Float[Array, "o ..."]:
    """The linear map of the first axis, float32."""
    if 0 in w.master.shape:
        return jnp.zeros((w.master.shape[1], *x.shape[1:]))
    return _product(w, x.astype(w.forth.dtype))


@jax.custom_vjp
def _product(w, x):
    return _times(w.forth, x)


def _product_forward(w, x):
    return _times(w.forth, x), (w, x)


def _product_backward(saved, g):
    w, x = saved
    g = g.astype(x.dtype)
    return Weight(_outer(x, g), None, None), _times(w.back, g).astype(x.dtype)


_product.defvjp(_product_forward, _product_backward)


def _times(w, x):
    """(o, i) x (i, *rest) in float32."""
    flat = x.reshape(x.shape[0], -1)
    out = jnp.matmul(w, flat, preferred_element_type=jnp.float32)
    return out.reshape(w.shape[0], *x.shape[1:])


def _outer(x, g):
    """Sum over everything but the first axes: (i, *rest), (o, *rest) -> (i, o)."""
    flat = lambda v: v.reshape(v.shape[0], -1)
    contracted = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(flat(x), flat(g), contracted, preferred_element_type=jnp.float32)


def _channels(w, x):
    """(C, h), (C, N, N, B) -> (h, N, N, B): few channels, so one fused sum and no product."""
    total = jnp.zeros((w.shape[1], 1, 1, 1))
    for c in range(x.shape[0]):
        total = total + w[c][:, None, None, None] * x[c][None]
    return total


def _channels_backward(w, x, d):
    """(dx, dw) of `_channels`."""
    if not x.shape[0]:
        return jnp.zeros_like(x), jnp.zeros_like(w)
    return _times(w.astype(d.dtype), d), _outer(x.astype(d.dtype), d)


def _relu_cast(x, dtype):
    # Fenced: fused with the product's flat view of it, XLA on CPU does not vectorise this.
    return jax.lax.optimization_barrier(jnp.maximum(x, 0).astype(dtype))


def _stored(x):
    """bfloat16 as bits: on CPU, XLA would turn a whole stack of steps to float32 and back."""
    return jax.lax.bitcast_convert_type(x, jnp.uint16) if x.dtype == jnp.bfloat16 else x


def _loaded(x):
    return jax.lax.bitcast_convert_type(x, jnp.bfloat16) if x.dtype == jnp.uint16 else x


@jax.custom_vjp
def messages(
    x: Float[Array, "C N N B"],
    wx: Float[Array, "C h"],
    sender: Float[Array, "h N B"],
    receiver: Float[Array, "h N B"],
    w1: Weight,
    b1: Float[Array, " h"],
    w2: Weight,
    b2: Float[Array, " h"],
    allowed: Array,
) -> Float[Array, "h N B"]:
    """max over i of W2 relu(W1 relu(sender_i + receiver_j + wx x_ij) + b1) + b2.

    Args:
        x: edges as channels.
        wx: the map of the channels to messages, encoder and processor composed.
        sender: (h, N, B), with everything that does not depend on the receiver.
        receiver: (h, N, B).
        w1: first layer.
        b1: its bias.
        w2: second layer.
        b2: its bias.
        allowed: (N, N, B) or (N, 1, B) bool, from whom j hears.

    Returns:
        (h, N, B); -1e6 where nobody is heard. Its derivative goes to the first that attains the
        maximum.
    """
    m, _ = _all_messages(x, wx, sender, receiver, w1, b1, w2, allowed)
    return jnp.max(m, axis=1) + b2[:, None, None]


def _first_layer(x, wx, sender, receiver, dtype):
    return _relu_cast(sender[:, :, None] + receiver[:, None] + _channels(wx, x), dtype)


def _all_messages(x, wx, sender, receiver, w1, b1, w2, allowed):
    """(every message, the second layer's input)."""
    dtype = w1.forth.dtype
    r1 = _first_layer(x, wx, sender, receiver, dtype)
    r2 = _relu_cast(_times(w1.forth, r1) + b1[:, None, None, None], dtype)
    return jnp.where(allowed[None], _times(w2.forth, r2), -BIG), r2


def _messages_forward(x, wx, sender, receiver, w1, b1, w2, b2, allowed):
    m, r2 = _all_messages(x, wx, sender, receiver, w1, b1, w2, allowed)
    best, index = fold_max(lambda i: _row(m, i), m.shape[1])
    saved = (x, wx, sender, receiver, w1, w2, _stored(r2), index, best > -BIG)
    return best + b2[:, None, None], saved


def _messages_backward(saved, g):
    x, wx, sender, receiver, w1, w2, r2, index, heard = saved
    r2 = _loaded(r2)
    dtype = r2.dtype
    r1 = _first_layer(x, wx, sender, receiver, dtype)
    db2 = jnp.sum(g, (1, 2))
    g = jnp.where(heard, g, 0)
    at = jnp.arange(x.shape[1], dtype=index.dtype)[None, :, None, None]
    dm = jnp.where(index[:, None] == at, g[:, None], 0).astype(dtype)
    da = jnp.where(r2 > 0, _times(w2.back, dm), 0).astype(dtype)
    du = jnp.where(r1 > 0, _times(w1.back, da), 0).astype(dtype)
    dx, dwx = _channels_backward(wx, x, du)
    total = lambda v, *axes: jnp.sum(v, axes, dtype=jnp.float32)
    return (
        dx, dwx, total(du, 2), total(du, 1),
        Weight(_outer(r1, da), None, None), total(da, 1, 2, 3),
        Weight(_outer(r2, dm), None, None), db2,
        None,
    )  # fmt: skip


messages.defvjp(_messages_forward, _messages_backward)


class Outputs(NamedTuple):
    """Edge outputs o = relu(W t + b), and what they are made from."""

    o: Float[Array, "h N N B"]
    t: Float[Array, "f N N B"]
    w: Weight
    b: Float[Array, " h"]


def edge_outputs(w: Weight, b: Float[Array, " h"], t: Float[Array, "f N N B"]) -> Outputs:
    """Edge outputs from triplet maxima, in the weight's dtype."""
    return Outputs(_relu_map(w, b, t), *jax.lax.stop_gradient((t, w, b)))


@jax.custom_vjp
def _relu_map(w, b, t):
    return _relu_cast(
        _times(w.forth, t.astype(w.forth.dtype)) + b[:, None, None, None], w.forth.dtype
    )


def _relu_map_forward(w, b, t):
    return _relu_map(w, b, t), (w, b, t)


def _relu_map_backward(saved, g):
    w, b, t = saved
    d = jnp.where(_relu_map(w, b, t) > 0, g, jnp.zeros((), g.dtype))
    dw = Weight(_outer(t.astype(d.dtype), d), None, None)
    return dw, jnp.sum(d, (1, 2, 3), dtype=jnp.float32), _times(w.back, d)


_relu_map.defvjp(_relu_map_forward, _relu_map_backward)


@jax.custom_vjp
def pointer_scores(
    x: Float[Array, "C N N B"],
    wx: Float[Array, "C h"],
    outputs: Outputs | None,
    wo: Weight | None,
    first: Float[Array, "h N B"],
    second: Float[Array, "h N B"],
    score: Float[Array, " h"],
) -> Float[Array, "N N B"]:
    """score_ji = s max(first_i, second_j + wx x_ji + Wo o_ji): row j = the target, column i = who
    points, so that edges need no transposition.

    Args:
        x: edges as channels.
        wx: their map, encoder and decoder composed.
        outputs: edge outputs, None without triplets.
        wo: the map of the edge outputs.
        first: of the node that points.
        second: of the target, with the biases.
        score: the last layer.
    """
    return _pointer_forward(x, wx, outputs, wo, first, second, score)[0]


def _pointer_forward(x, wx, outputs, wo, first, second, score):
    third = second[:, :, None] + _channels(wx, x)
    dtype = jnp.float32
    if wo is not None:
        third, dtype = third + _times(wo.forth, outputs.o), wo.forth.dtype
    takes = first[:, None] > third
    v = jnp.where(takes, first[:, None], third).astype(dtype)
    made_from = None if wo is None else outputs[1:]
    return _times(score[None].astype(dtype), v)[0], (x, wx, made_from, wo, _stored(v), takes, score)


def _pointer_backward(saved, g):
    x, wx, made_from, wo, v, takes, score = saved
    v = _loaded(v)
    dv = score[:, None, None, None] * g[None]
    d_first = jnp.sum(jnp.where(takes, dv, 0), 1)
    d = jnp.where(takes, 0, dv).astype(v.dtype)
    dx, dwx = _channels_backward(wx, x, d)
    d_outputs = d_wo = None
    if wo is not None:
        t, w, b = made_from
        o = _relu_map(w, b, t)
        d_outputs = Outputs(_times(wo.back, d).astype(o.dtype), None, None, None)
        d_wo = Weight(_outer(o, d), None, None)
    d_score = _outer(v, g[None].astype(v.dtype))[:, 0]
    return dx, dwx, d_outputs, d_wo, d_first, jnp.sum(d, 2, dtype=jnp.float32), d_score


pointer_scores.defvjp(_pointer_forward, _pointer_backward)


@jax.custom_vjp
def tropical(
    a: Float[Array, "f N N B"], b: Float[Array, "f N N B"], mask: Array
) -> Float[Array, "f N N B"]:
    """max over i of a_ij + b_ik, per feature: a max-plus matrix product without rank five.

    Its derivative goes to the first i that attains the maximum.
    """
    return _tropical(a, b, mask, indexed=False)[0]


def _tropical(a, b, mask, *, indexed):
    a = jnp.where(mask[None, :, None], a, -BIG)
    row = lambda i: _row(a, i)[:, :, None] + _row(b, i)[:, None]
    return fold_max(row, a.shape[1], indexed=indexed)


def _tropical_forward(a, b, mask):
    best, index = _tropical(a, b, mask, indexed=True)
    return best, index


def _tropical_backward(index, g):
    n = index.shape[1]

    def row(i):
        here = jnp.where(index == i, g, 0)
        return jnp.sum(here, axis=2), jnp.sum(here, axis=1)

    if n <= UNROLLED:
        rows = [row(i) for i in range(n)]
        da, db = (jnp.stack(part, axis=1) for part in zip(*rows, strict=True))
        return da, db, None
    da, db = jax.lax.map(row, jnp.arange(n, dtype=index.dtype))
    return jnp.moveaxis(da, 0, 1), jnp.moveaxis(db, 0, 1), None


tropical.defvjp(_tropical_forward, _tropical_backward)


def _row(v, i):
    return jax.lax.dynamic_index_in_dim(v, i, axis=1, keepdims=False)


def fold_max(row: Callable, n: int, *, indexed: bool = True) -> tuple[Array, Array | None]:
    """(max over i of row(i), the first i that attains it, None if not asked for)."""
    dtype = jnp.int8 if n < 128 else jnp.int16
    best = row(0)
    index = jnp.zeros(best.shape, dtype) if indexed else None

    def step(i, carry):
        best, index = carry
        new = row(i)
        if index is None:
            return jnp.maximum(best, new), None
        better = new > best
        return jnp.where(better, new, best), jnp.where(better, jnp.asarray(i, dtype), index)

    if n > UNROLLED:
        return jax.lax.fori_loop(1, n, step, (best, index))
    for i in range(1, n):
        best, index = step(i, (best, index))
    return best, index
