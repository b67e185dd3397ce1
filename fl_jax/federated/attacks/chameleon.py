"""Chameleon: an encoder that sees backdoored images as images of the wanted class."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int, PyTree
from fl_jax.federated.attacks import mixed
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.federated.attacks.constrain_and_scale import constrain_and_scale
from fl_jax.train import step
from fl_jax.train.state import Variables


def contrast(
    features: Float[Array, "batch width"],
    labels: Int[Array, " batch"],
    mask: Float[Array, " batch"] | None = None,
    *,
    temperature: float = 0.07,
) -> Float[Array, ""]:
    """The supervised contrastive loss of a batch.

    Mean over the examples i that share their label with others p in P(i) of

        -1/|P(i)| sum_p log( exp(z_i z_p / tau) / sum_{a != i} exp(z_i z_a / tau) ),   z = f / ||f||

    and 0 where nobody shares a label.

    Args:
        features: f, of any length.
        labels: those that are wanted: a backdoored image has the attacker's.
        mask: 1 for examples that count; None = all.
        temperature: tau.

    References:
        Khosla et al. 2020, "Supervised Contrastive Learning", eq. 2.
    """
    there = jnp.ones(labels.shape) if mask is None else mask
    square = jnp.sum(jnp.square(features), axis=1, keepdims=True)
    unit = features * jax.lax.rsqrt(square + 1e-12)
    alike = jnp.matmul(unit, unit.T, precision=jax.lax.Precision.HIGHEST) / temperature
    other = there[:, None] * there[None, :] * (1 - jnp.eye(labels.shape[0]))
    peers = other * (labels[:, None] == labels[None, :]).astype(jnp.float32)
    total = jax.nn.logsumexp(jnp.where(other > 0, alike, -1e30), axis=1, keepdims=True)
    count = jnp.sum(peers, axis=1)
    each = jnp.sum(jnp.where(peers > 0, total - alike, 0.0), axis=1) / jnp.maximum(count, 1)
    return jnp.sum(each) / jnp.maximum(jnp.sum((count > 0).astype(jnp.float32)), 1)


def chameleon(
    loss: step.Loss,
    optimizer: optax.GradientTransformation,
    features: Callable[[Variables, Array], Float[Array, "batch width"]],
    *,
    batch_size: int,
    contrastive_epochs: int,
    contrastive_rate: float,
    temperature: float = 0.07,
    head: str = "head",
    **settings,
) -> Attack:
    """As `constrain_and_scale`, the encoder first, by contrast, and then the head alone.

    In the first stage the encoder pulls backdoored images to their peers of the wanted class and
    pushes them from those of the class they belong to: benign training on both kinds of peers then
    keeps the backdoor up. In the second the encoder rests and the head learns its labels.

    Args:
        loss: of the main task; sees batches with backdoor examples mixed in.
        optimizer: of both stages, at a learning rate of 1.
        features: (variables, x) -> what the head sees, as a network by
            `network.from_nnx(make, method="features")` gives it.
        batch_size: examples a step, in both stages.
        contrastive_epochs: of the first stage; `Poison.epochs` and its rate are the second's.
        contrastive_rate: learning rate of the first stage.
        temperature: of the contrast.
        head: path of the classifier among the parameters; everything else is the encoder.
        settings: of `constrain_and_scale`.

    Raises:
        ConfigError: a number out of range, or (when the round is traced) no parameters, or no
            others, at `head`.

    References:
        Dai, Li 2023, "Chameleon: Adapting to Peer Images for Planting Durable Backdoors in
        Federated Learning", section 4.
    """
    errors.whole("contrastive_epochs", contrastive_epochs, least=1)
    errors.positive("contrastive_rate", contrastive_rate)
    errors.positive("temperature", temperature)

    def start(view: View, key) -> Variables:
        def objective(variables, batch, step_key):
            del step_key
            seen = features(variables, batch["x"])
            value = contrast(seen, batch["y"], batch["mask"], temperature=temperature)
            return value, (variables.batch_stats, ())

        of_head = part(view.variables.params, head)
        encoder, _ = mixed.train(
            objective,
            optimizer,
            view.variables,
            view.data.clean,
            view.data.backdoor,
            key,
            batch_size=batch_size,
            per_batch=view.data.per_batch,
            epochs=jnp.where(view.count > 0, contrastive_epochs, 0),
            rate=lambda e: contrastive_rate,
            mask=jax.tree.map(lambda a: 1 - a, of_head),
        )
        return encoder

    def restrict(view: View, state) -> PyTree:
        del state
        return part(view.variables.params, head)

    return constrain_and_scale(
        loss, optimizer, batch_size=batch_size, start=start, restrict=restrict, **settings
    )


def part(params: PyTree, path: str) -> PyTree:
    """1 for the parameters below this path, 0 for the others.

    Raises:
        ConfigError: none of the parameters, or all of them, lie below it.
    """
    names, inside = tree.named_leaves(params), tree.below(params, path)
    if len(inside) in (0, len(names)):
        raise errors.ConfigError(
            f"the head is the part of the parameters below {path!r}, but"
            f" {'all' if inside else 'none'} of {', '.join(names)} lie there; give"
            " the path of the last layer."
        )
    return tree.map_named(lambda name, a: jnp.full_like(a, name in inside), params)
