"""The attacker's local training: backdoor examples mixed into every batch of clean ones."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import rng, tree
from fl_jax.core.types import Array, Int, Key, PyTree
from fl_jax.train import step
from fl_jax.train.state import Variables


def train(
    loss: step.Loss,
    optimizer: optax.GradientTransformation,
    start: Variables,
    clean: PyTree,
    backdoor: PyTree,
    key: Key[Array, ""],
    *,
    batch_size: int,
    per_batch,
    epochs,
    rate: Callable,
    mask: PyTree | None = None,
    project: Callable[[PyTree], PyTree] = lambda params: params,
    done: Callable[[Variables], Array] = lambda variables: jnp.bool_(False),
) -> tuple[Variables, Int[Array, ""]]:
    """(trained variables, epochs taken).

    The clean examples come in shuffled batches, the short one last; the first `per_batch` places
    of each are taken by backdoor examples, drawn with replacement.

    Args:
        loss: sees batches with a leaf `mask` beside the examples' own.
        optimizer: at a learning rate of 1.
        start: where training begins.
        clean: leaves (clean, ...).
        backdoor: leaves (backdoor, ...), like those of `clean`.
        per_batch: backdoor examples a batch.
        epochs: passes over the clean examples at most; it may be traced.
        rate: epoch -> what the optimizer's updates are multiplied by.
        mask: 1 for parameters that may move, 0 for those that may not; None = all may.
        project: parameters -> parameters, after every step.
        done: variables -> whether training ends, asked before every epoch.

    References:
        Bagdasaryan et al. 2020, Algorithm 1 (its inner loop).
    """
    count = jax.tree.leaves(clean)[0].shape[0]
    held = jax.tree.leaves(backdoor)[0].shape[0]
    steps = -(-count // batch_size)

    def one(s, carry):
        epoch, order, variables, opt_state = carry
        place = s * batch_size + jnp.arange(batch_size)
        taken = jax.tree.map(lambda a: a[order[jnp.minimum(place, count - 1)]], clean)
        draws = rng.fold(key, "draw", epoch * steps + s)
        drawn = jax.random.randint(draws, (batch_size,), 0, held)
        poisoned = jnp.arange(batch_size) < per_batch

        def mix(a, b):
            return jnp.where(poisoned.reshape(-1, *[1] * (a.ndim - 1)), b[drawn], a)

        batch = jax.tree.map(mix, taken, backdoor)
        batch["mask"] = ((place < count) | poisoned).astype(jnp.float32)
        step_key = rng.fold(key, "step", epoch * steps + s)
        (_, (stats, _)), grads = step.gradient(loss, variables, batch, step_key)
        updates, opt_state = optimizer.update(grads, opt_state, variables.params)
        if mask is not None:
            updates = jax.tree.map(jnp.multiply, updates, mask)
        params = project(tree.add(variables.params, tree.scale(rate(epoch), updates)))
        return epoch, order, Variables(params, stats), opt_state

    def epoch_of(carry):
        epoch, variables, opt_state = carry
        order = jax.random.permutation(rng.fold(key, "shuffle", epoch), count)
        carry = (epoch, order, variables, opt_state)
        _, _, variables, opt_state = jax.lax.fori_loop(0, steps, one, carry)
        return epoch + 1, variables, opt_state

    def goes_on(carry):
        epoch, variables, _ = carry
        return (epoch < epochs) & ~done(variables)

    begin = (jnp.int32(0), start, optimizer.init(start.params))
    taken, local, _ = jax.lax.while_loop(goes_on, epoch_of, begin)
    return local, taken
