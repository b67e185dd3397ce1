"""How a model does with each participant: the spread that a mean over all hides."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int
from fl_jax.federated.population import Population
from fl_jax.train import cohort
from fl_jax.train.state import Variables
from fl_jax.train.step import Loss

Evaluate = Callable[..., dict[str, Float[Array, " participants"]]]


def by_participant(
    loss: Loss,
    *,
    batch_size: int,
    plan: cohort.Plan = cohort.Plan("scan"),
    mesh: Mesh | None = None,
) -> Evaluate:
    """Loss and metrics on every participant's own examples, each a mean over its share.

    Args:
        loss: (variables, batch, key) -> (loss, (batch_stats, metrics)), means over the examples
            whose `mask` is 1, as `loss.classification(network, train=False)` gives them.
        batch_size: examples at a time.
        plan: how the participants run.
        mesh: a mesh with a `clients` axis to deal them over.

    Returns:
        evaluate(variables, population, ids=None) -> {"loss": (participants,), metric: ...}; pure,
        so that it goes through `jax.jit` and into `round.make(evaluate=...)`. `ids` are those to
        evaluate, all by default; ConfigError of ids that are no participants (where they are
        concrete), which indexing would clamp in silence.
    """
    errors.whole("batch_size", batch_size, least=1)

    def one(ident, variables: Variables, people: Population):
        start, size = people.start[ident], people.size[ident]

        def measure(b):
            place = b * batch_size + jnp.arange(batch_size)
            rows = start + jnp.minimum(place, size - 1)
            batch = jax.tree.map(lambda leaf: leaf[rows], people.examples)
            mask = (place < size).astype(jnp.float32)
            value, (_, metrics) = loss(variables, {**batch, "mask": mask}, jax.random.key(0))
            return tree.scale(jnp.sum(mask), {"loss": value, **metrics})

        add = lambda b, total: tree.add(total, measure(b))
        none = tree.zeros_like(jax.eval_shape(measure, jnp.int32(0)))
        batches = (size + batch_size - 1) // batch_size
        total = jax.lax.fori_loop(0, batches, add, none)
        return tree.scale(1 / size.astype(jnp.float32), total)

    def evaluate(variables: Variables, people: Population, ids: Int[Array, " some"] | None = None):
        count = people.size.shape[0]
        ids = jnp.arange(count) if ids is None else ids
        if not isinstance(ids, jax.core.Tracer):
            wrong = [i for i in ids.tolist() if not 0 <= i < count]
            if wrong:
                raise errors.ConfigError(
                    f"participant {wrong[0]} is not one of the participants 0..{count - 1}."
                )
        return cohort.map(
            one,
            ids,
            shared=(variables, people),
            plan=plan,
            mesh=mesh,
            cost=people.size[ids],
            stage="evaluation",
        )

    return evaluate
