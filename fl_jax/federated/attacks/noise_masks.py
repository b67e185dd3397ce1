"""Noise masks: noise on the colluders' last layers that cancels in their sum."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import rng, tree
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree


class Descent(NamedTuple):
    """How masks are optimised; the defaults are the authors' code's."""

    steps: int = 30
    rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dual_rate: float = 0.1  # of the multiplier, which begins at 1
    deviation: float = 0.05  # of the noise at the start
    # For noise of this size on a layer of this width; see `weights`.
    peak_weight: float = 0.1  # c1, of the sum of 1/UP
    norm_weight: float = 0.01  # c2, of a mask's norm and of the norm of a group's sum
    inputs: int = 512  # ResNet18's; 500 in the authors' network for MNIST


def peaks(layer: PyTree) -> Float[Array, " neurons"]:
    """UP: the sum of |update| over everything that leads into a neuron, its bias too.

    The neurons lie on the last axis of every leaf.
    """
    sums = [jnp.sum(jnp.abs(a), axis=tuple(range(a.ndim - 1))) for a in jax.tree.leaves(layer)]
    return sum(sums[1:], sums[0])


def weights(layer: PyTree, descent: Descent) -> tuple[float, float]:
    """(c1, c2) with which a coordinate's slopes are what they are at `descent.inputs` inputs.

    A peak grows with the inputs, a norm with their root. With the weights as they are, noise on a
    layer of 64 inputs becomes several times as long and no longer cancels.
    """
    width = tree.size(layer) / jax.tree.leaves(layer)[0].shape[-1] / descent.inputs
    return descent.peak_weight * width**2, descent.norm_weight * width**0.5


def neurons(
    key: Key[Array, ""], groups: int, classes: int, target: int, count: int
) -> Bool[Array, "groups classes"]:
    """For each group this many neurons, drawn from all but the target's."""
    draws = jax.random.uniform(key, (groups, classes)).at[:, target].set(jnp.inf)
    return jnp.argsort(jnp.argsort(draws, axis=1), axis=1) < min(count, classes - 1)


def loss(
    masks: PyTree,
    multiplier: Float[Array, " groups"],
    layer: PyTree,
    chosen: Bool[Array, "senders classes"],
    member: Float[Array, "groups senders"],
    alpha: Float[Array, " groups"],
    descent: Descent,
) -> tuple[Float[Array, ""], Float[Array, " groups"]]:
    """(sum of what every sender's mask descends on, norms of the groups' sums).

    Sender i of group g has, with lambda the multiplier,

        (alpha c1 sum_j 1 / UP_j + (1 - alpha) c2 ||n_i|| + lambda c2 ||sum_g n||) / (1 + lambda)

    over the chosen neurons j of the update with its mask n_i; the last term counts once a group.
    """
    of_sender = lambda values: values @ member  # (groups,) -> (senders,)
    up = jax.vmap(peaks)(jax.tree.map(lambda a, n: a[None] + n, layer, masks))
    inverse = jnp.where(chosen, 1 / jnp.where(chosen, jnp.maximum(up, 1e-6), 1.0), 0.0)
    c1, c2 = weights(layer, descent)
    own = of_sender(alpha) * c1 * jnp.sum(inverse, axis=1)
    own += of_sender(1 - alpha) * c2 * jax.vmap(tree.norm)(masks)
    sums = jax.tree.map(lambda n: jnp.tensordot(member, n, axes=1), masks)
    together = jax.vmap(tree.norm)(sums)
    part = multiplier / (1 + multiplier)
    total = jnp.sum(own * of_sender(1 - part)) + jnp.sum(part * c2 * together)
    return total, together


def design(
    layer: PyTree,
    key: Key[Array, ""],
    *,
    unit: Float[Array, ""],
    alpha: Float[Array, " groups"],
    group: Int[Array, " senders"],
    there: Bool[Array, " senders"],
    target: int,
    count: int,
    descent: Descent = Descent(),
) -> PyTree:
    """Masks for all senders, stacked, to be added to their updates of the last layer.

    Noise on `count` neurons, centred in every group, then descent on `loss` with dual ascent of
    the multiplier by the norm of the group's sum. It raises the update peaks of other classes to
    the target's, stays short, and cancels among the colluders. All senders step at once, where
    the authors' code steps one after another. Someone alone in a group has no mask.

    Args:
        layer: the update of the last layer that all of them send, neurons last.
        unit: root mean square of a benign update there, which noise begins at. The optimisation
            runs in units in which that is `descent.deviation`: the authors set its size by hand
            for each task (0.05 MNIST, 0.01 CIFAR-10, 0.0005 Tiny ImageNet).
        alpha: weight of the peaks against the norm, in (0, 1).
        group: of each sender.
        there: who sends a backdoored model.
        target: the wanted class, whose neuron has no noise.
        count: neurons with noise.

    References:
        Li et al. 2023, "3DFed", the section on noise masks; constants from the authors' code.
    """
    classes = jax.tree.leaves(layer)[0].shape[-1]
    member = (group[None, :] == jnp.arange(len(alpha))[:, None]) & there[None, :]
    member = member.astype(jnp.float32)
    size = jnp.sum(member, axis=1)
    member = jnp.where(size[:, None] > 1, member, 0.0)
    chosen = neurons(rng.fold(key, "neurons"), len(alpha), classes, target, count)[group]
    chosen &= jnp.sum(member, axis=0)[:, None] > 0
    only = lambda n: n * chosen.reshape(len(group), *[1] * (n.ndim - 2), classes).astype(n.dtype)
    width = jnp.where(unit > 0, unit, 1.0) / descent.deviation
    layer = tree.scale(1 / width, layer)
    wide = jax.tree.map(lambda a: jnp.zeros((len(group), *a.shape), a.dtype), layer)
    masks = jax.tree.map(only, tree.normal(rng.fold(key, "noise"), wide, descent.deviation))
    inside = member / jnp.maximum(size, 1)[:, None]

    def centred(n):
        middle = jnp.tensordot(inside, n, axes=1)  # (groups, ...)
        return only(n - jnp.tensordot(member.T, middle, axes=1))

    masks = jax.tree.map(centred, masks)

    def one(_, carry):
        masks, speed, multiplier = carry
        slope, _ = jax.grad(loss, has_aux=True)(
            masks, multiplier, layer, chosen, member, alpha, descent
        )
        slope = tree.add(jax.tree.map(only, slope), tree.scale(descent.weight_decay, masks))
        speed = tree.add(tree.scale(descent.momentum, speed), slope)
        masks = tree.sub(masks, tree.scale(descent.rate, speed))
        _, together = loss(masks, multiplier, layer, chosen, member, alpha, descent)
        return masks, speed, multiplier + descent.dual_rate * together

    begin = (masks, tree.zeros_like(masks), jnp.ones(len(alpha)))
    masks, _, _ = jax.lax.fori_loop(0, descent.steps, one, begin)
    return tree.scale(jnp.where(unit > 0, width, 0.0), masks)
