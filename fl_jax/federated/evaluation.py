"""How a model does with each participant: the spread that a mean over all hides."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Int, Key
from fl_jax.federated.client import Client
from fl_jax.federated.population import Population
from fl_jax.train import cohort
from fl_jax.train.state import Variables
from fl_jax.train.step import Loss

Evaluate = Callable[..., dict[str, Float[Array, " participants ..."]]]


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
    on_share = _on_share(loss, batch_size)

    def one(ident, variables: Variables, people: Population):
        return on_share(variables, people, ident)

    def evaluate(variables: Variables, people: Population, ids: Int[Array, " some"] | None = None):
        ids = _chosen(ids, people)
        shared, cost = (variables, people), people.size[ids]
        return cohort.map(
            one, ids, shared=shared, plan=plan, mesh=mesh, cost=cost, stage="evaluation"
        )

    return evaluate


def adapted(
    client: Client,
    loss: Loss,
    *,
    batch_size: int,
    plan: cohort.Plan = cohort.Plan("scan"),
    mesh: Mesh | None = None,
) -> Evaluate:
    """The same of models of their own: the global one after a participant's local training.

    Args:
        client: how a participant adapts the model, from `client.make`.
        loss, batch_size, plan, mesh: as for `by_participant`.

    Returns:
        evaluate(variables, population, held_out, key, ids=None) -> as `by_participant`: participant
        i trains on its share of `population` and is measured on its share of `held_out`, another
        population of the same participants. Both may be the same, which measures the fit.
        ConfigError, when it is traced: populations of different sizes.

    Raises:
        ConfigError: a client that remembers something from round to round, which is not known here.

    References:
        Yu, Bagdasaryan, Shmatikov 2020, "Salvaging Federated Learning by Local Adaptation": its
        fine-tuning.
    """
    if client.remember is not None:
        raise errors.ConfigError(
            "models are adapted by a client that keeps nothing from round to round; take one of"
            " client.make."
        )
    on_share = _on_share(loss, batch_size)

    def one(ident, variables: Variables, people: Population, held: Population, key):
        own, _ = client.train(
            variables,
            people.examples,
            people.start[ident],
            people.size[ident],
            rng.fold(key, "adapt", ident),
            longest=people.longest,
        )
        return on_share(own, held, ident)

    def evaluate(
        variables: Variables,
        people: Population,
        held_out: Population,
        key: Key[Array, ""],
        ids: Int[Array, " some"] | None = None,
    ):
        if people.size.shape != held_out.size.shape:
            raise errors.ConfigError(
                f"what is held out belongs to {held_out.size.shape[0]} participants, but"
                f" {people.size.shape[0]} train; give both the same participants."
            )
        ids = _chosen(ids, people)
        shared, cost = (variables, people, held_out, key), client.steps(people.size[ids])
        return cohort.map(
            one, ids, shared=shared, plan=plan, mesh=mesh, cost=cost, stage="adaptation"
        )

    return evaluate


def _on_share(loss: Loss, batch_size: int):
    """(variables, population, participant) -> loss and metrics, means over its share."""
    errors.whole("batch_size", batch_size, least=1)

    def on_share(variables: Variables, people: Population, ident):
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

    return on_share


def _chosen(ids, people: Population) -> Int[Array, " some"]:
    """The participants to evaluate, all of them if none are named."""
    count = people.size.shape[0]
    ids = jnp.arange(count) if ids is None else ids
    if not isinstance(ids, jax.core.Tracer):
        wrong = [i for i in ids.tolist() if not 0 <= i < count]
        if wrong:
            raise errors.ConfigError(
                f"participant {wrong[0]} is not one of the participants 0..{count - 1}."
            )
    return ids
