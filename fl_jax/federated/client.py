"""What a participant does in a round: a few epochs of its own optimizer from the global model."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Int, PyTree
from fl_jax.train import step
from fl_jax.train.state import Variables


class Client(NamedTuple):
    """Local training as a pure function, with what the round must know about it."""

    train: Callable[..., tuple[Variables, "ClientInfo"]]
    """(variables, examples, start, size, key, *, longest, drift=None) -> (local variables, info);
    `longest` is a static bound of `size`, and `drift` a tree of parameters that is added to every
    gradient"""
    steps: Callable[[Int[Array, "..."]], Int[Array, "..."]]
    """share size -> optimizer steps it takes: what a client costs"""
    remember: Callable[[Variables], PyTree] | None = None
    """global variables -> what a participant keeps from round to round, at the start; `train` then
    takes it as `own=` and returns (local variables, info, what it keeps)"""


class ClientInfo(NamedTuple):
    """What a participant reports."""

    loss: Float[Array, ""]  # mean training loss over its steps


def make(
    loss: step.Loss,
    optimizer: optax.GradientTransformation,
    *,
    epochs: int,
    batch_size: int,
    proximal: float = 0.0,
) -> Client:
    """Local training: `epochs` passes over the own share in shuffled batches, the short one last.

    The optimizer starts afresh each round. The number of steps follows the share's own size (a
    loop of dynamic length), so no step is spent on padding; only the last, short batch is filled
    up and masked. A client's result depends on its share and its key alone, not on the longest
    share, not on who trains beside it.

    Args:
        loss: (variables, batch, key) -> (loss, (batch_stats, metrics)); the batch has a leaf
            `mask` (batch_size,) beside the examples' own.
        optimizer: the local optimizer.
        epochs: passes over the share; 0 returns the global model.
        batch_size: examples a step.
        proximal: mu of FedProx, whose gradients get mu (w - G) added; 0 = FedAvg.

    References:
        McMahan et al. 2017, Algorithm 1 (ClientUpdate); Bagdasaryan et al. 2020, eq. 1; Li et al.
        2020, "Federated Optimization in Heterogeneous Networks", Algorithm 2 (FedProx).
    """
    errors.whole("epochs", epochs)
    errors.whole("batch_size", batch_size, least=1)
    errors.not_negative("the proximal term of FedProx", proximal)

    def batches(size):
        return (size + batch_size - 1) // batch_size

    def pulled(base, drift) -> optax.GradientTransformation:
        """The optimizer, its gradients pulled towards `base` and by `drift`."""
        if not proximal and drift is None:
            return optimizer

        def pull(grads, params):
            if proximal:
                grads = tree.add(grads, tree.scale(proximal, tree.sub(params, base)))
            return grads if drift is None else tree.add(grads, drift)

        return optax.chain(optax.stateless(pull), optimizer)

    def train(variables, examples: PyTree, start, size, key, *, longest: int, drift=None):
        if not isinstance(examples, Mapping):
            raise errors.DataError(
                "a participant's examples are a dict of arrays, such as {'x': inputs, 'y': labels},"
                f" to which a batch adds its `mask`, but {type(examples).__name__} came."
            )
        local = pulled(variables.params, drift)

        def epoch(e, carry):
            # Draw i of a stream does not depend on how many are drawn: padding changes nothing.
            scores = jax.random.uniform(rng.fold(key, "shuffle", e), (longest,))
            order = jnp.argsort(jnp.where(jnp.arange(longest) < size, scores, jnp.inf))

            def one(b, carry):
                variables, opt_state, total = carry
                place = b * batch_size + jnp.arange(batch_size)
                mask = (place < size).astype(jnp.float32)
                taken = start + order[jnp.minimum(place, size - 1)]
                batch = jax.tree.map(lambda leaf: leaf[taken], examples)
                variables, opt_state, value = step.descend(
                    loss,
                    local,
                    variables,
                    opt_state,
                    {**batch, "mask": mask},
                    rng.fold(key, "step", e * batches(size) + b),
                )
                return variables, opt_state, total + value

            return jax.lax.fori_loop(0, batches(size), one, carry)

        carry = (variables, local.init(variables.params), jnp.float32(0))
        variables, _, total = jax.lax.fori_loop(0, epochs, epoch, carry)
        steps = jnp.maximum(epochs * batches(size), 1)
        return variables, ClientInfo(total / steps.astype(jnp.float32))

    return Client(train, lambda size: epochs * batches(size))
