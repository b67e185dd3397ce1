"""A3FL: a trigger that is optimised so that the model cannot easily unlearn it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Key
from fl_jax.train import step
from fl_jax.train.state import Variables


def optimise_trigger(
    loss: step.Loss,
    variables: Variables,
    examples: dict[str, Array],
    key: Key[Array, ""],
    *,
    trigger: Float[Array, "height width channels"],
    mask: Float[Array, "..."],
    target: int,
    rounds: int = 10,
    trigger_steps: int = 10,
    trigger_rate: float = 0.05,
    unlearn_steps: int = 5,
    unlearn_rate: float = 0.05,
    balance: float = 0.2,
    batch_size: int = 64,
    apply: Callable | None = None,
) -> Float[Array, "height width channels"]:
    """A trigger for the model G that also works on a model which has tried to unlearn it.

    Alternates: theta' descends on (x + trigger, true label) from G for `unlearn_steps`; the
    trigger then descends by signed steps on CE(G) + balance * cos(theta', G) * CE(theta') towards
    the target.

    Args:
        loss: (variables, {"x", "y"}, key) -> (loss, ...), in test mode.
        variables: G.
        examples: the attacker's clean examples, `x` (count, height, width, channels) in the
            trigger's units (float) and `y`.
        trigger: where to start, values in [0, 1].
        mask: 1 where the trigger may be, 0 elsewhere.
        target: the label wanted.
        rounds: of the alternation.
        trigger_rate: of a signed step, in units of [0, 1].
        balance: weight of the unlearning model.
        apply: (x, trigger, mask) -> stamped x; None blends in [0, 1].

    Returns:
        The trigger, in [0, 1] where mask is 1.

    References:
        Zhang et al. 2023, "A3FL: Adversarially Adaptive Backdoor Attacks to Federated Learning",
        Algorithm 1.
    """
    errors.positive("trigger_rate", trigger_rate)
    errors.positive("unlearn_rate", unlearn_rate)
    if mask.shape != trigger.shape:
        raise errors.ConfigError(
            f"the trigger has shape {trigger.shape}, but its mask {mask.shape}; give both the"
            " shape of an image."
        )
    count = examples["y"].shape[0]
    stamp = apply or (lambda x, trigger, mask: x * (1 - mask) + trigger * mask)

    def draw(key):
        place = jax.random.randint(key, (batch_size,), 0, count)
        return jax.tree.map(lambda a: a[place], examples)

    def value(params, trigger, batch, labels, key):
        stamped = {**batch, "x": stamp(batch["x"], trigger[None], mask[None]), "y": labels}
        found, _ = loss(variables._replace(params=params), stamped, key)
        return found

    def unlearn(trigger, key):
        def one(s, params):
            own = rng.fold(key, "unlearn", s)
            batch = draw(own)
            grads = jax.grad(value)(params, trigger, batch, batch["y"], own)
            return tree.sub(params, tree.scale(unlearn_rate, grads))

        return jax.lax.fori_loop(0, unlearn_steps, one, variables.params)

    def alternate(r, trigger):
        own = rng.fold(key, "alternate", r)
        against = unlearn(trigger, own)
        weight = balance * tree.cosine(against, variables.params)

        def objective(trigger, batch, step_key):
            labels = jnp.full_like(batch["y"], target)
            here = value(variables.params, trigger, batch, labels, step_key)
            there = value(against, trigger, batch, labels, step_key)
            return here + weight * there

        def one(s, trigger):
            step_key = rng.fold(own, "trigger", s)
            slope = jax.grad(objective)(trigger, draw(step_key), step_key)
            return jnp.clip(trigger - trigger_rate * jnp.sign(slope) * mask, 0.0, 1.0)

        return jax.lax.fori_loop(0, trigger_steps, one, trigger)

    return jax.lax.fori_loop(0, rounds, alternate, trigger)
