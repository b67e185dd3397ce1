"""Federated learning through a shuffler: what the server sees is a set of noisy reports.

    train each client -> flatten its update -> randomize it on the client -> shuffle the reports
    -> unbiased mean -> server step                                      (and the ledger, outside)

The randomizer runs inside the client's own function, keyed by the client's id; the shuffle is an
explicit permutation of the array of reports under a key of its own, after which nothing links a
report to its sender. What the server's code receives is `Reports`, and nothing else.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

from fl_jax.core import rng, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.federated.client import Client
from fl_jax.federated.population import Population
from fl_jax.train import cohort
from fl_jax.train.state import Variables
from privacy.accounting.errors import PrivacyError, count
from privacy.shuffle.randomizers import Randomizer


class State(NamedTuple):
    """Everything the next round needs."""

    round: Int[Array, ""]
    variables: Variables
    server: optax.OptState


class Info(NamedTuple):
    """What a round reports. `loss` is for the experimenter: no server would see it."""

    loss: Float[Array, " cohort"]
    step: Float[Array, ""]  # norm of the debiased mean
    metrics: PyTree


class ShuffledRound(NamedTuple):
    """A federated learning algorithm in the shuffle model."""

    init: Callable[[Variables], State]
    reports: Callable[..., tuple[PyTree, Float[Array, " cohort"]]]
    """(state, population, key) -> (shuffled reports, losses): what reaches the server"""
    step: Callable[..., tuple[State, Info]]
    """(state, (population, evaluation data), key) -> (state, info)"""


def shuffle(reports: PyTree, key: Key[Array, ""]) -> PyTree:
    """The reports in uniformly random order, the same for every leaf."""
    size = jax.tree.leaves(reports)[0].shape[0]
    order = jax.random.permutation(key, size)
    return jax.tree.map(lambda leaf: leaf[order], reports)


def make(
    *,
    client: Client,
    randomizer: Callable[[int], Randomizer],
    clients: int,
    participants: int | None = None,
    server: optax.GradientTransformation,
    evaluate: Callable[[Variables, Any], PyTree] = lambda variables, data: {},
    plan: cohort.Plan = cohort.Plan("vmap"),
    mesh: Mesh | None = None,
) -> ShuffledRound:
    """Rounds in which `clients` of the participants report through the shuffler.

    Args:
        client: local training, from `fl_jax.federated.client`.
        randomizer: dimension of the flat update -> local randomizer of updates.
        clients: reports per round; a uniform subset of the participants.
        participants: size of the population; None = `clients`, everyone every round.
        server: optimizer that takes minus the debiased mean for a gradient.
        evaluate: (variables, evaluation data) -> metrics of the new model.
        plan, mesh: how the clients run (`fl_jax.train.cohort`).

    The privacy of T rounds is T times `privacy.shuffle.events.ShuffledReports(eps0, clients)`, or
    `SampledShuffledReports` where participants > clients, in a ledger.

    Raises:
        PrivacyError: more clients than participants, or, in a round, a population of fewer users
            than participants.
    """
    count("clients", clients)
    everyone = count("participants", clients if participants is None else participants)
    if clients > everyone:
        raise PrivacyError(
            f"{clients} reports a round cannot come from {everyone} participants; the accountant"
            " would count reports that nobody sends."
        )

    def init(variables: Variables) -> State:
        start = State(jnp.zeros((), jnp.int32), variables, server.init(variables.params))
        return tree.apart(start)  # the server's state may begin with the parameters

    def dimension(variables):
        return tree.size(variables.params)

    def reports(state: State, population: Population, key: Key[Array, ""]):
        if population.start.shape[0] < everyone:
            raise PrivacyError(
                f"the population has {population.start.shape[0]} users and {everyone} take part;"
                " some would report more than once."
            )
        key = rng.fold(key, "round", state.round)
        local = randomizer(dimension(state.variables))
        ids = jax.random.permutation(rng.fold(key, "sample"), everyone)[:clients]

        def one(ident):
            trained, info = client.train(
                state.variables,
                population.examples,
                population.start[ident],
                population.size[ident],
                rng.fold(key, "client", ident),
                longest=population.longest,
            )
            ends = tree.wide(trained.params), tree.wide(state.variables.params)
            update, _ = ravel_pytree(tree.sub(*ends))
            # a broken update must not show that it is: it becomes the zero record
            update = jnp.where(jnp.all(jnp.isfinite(update)), update, 0.0)
            return local.randomize(rng.fold(key, "report", ident), update), info.loss

        sent, loss = cohort.map(one, ids, plan=plan, mesh=mesh, stage="local randomizer")
        return shuffle(sent, rng.fold(key, "shuffle")), loss

    def step(state: State, data: tuple[Population, Any], key: Key[Array, ""]):
        population, evaluation = data
        seen, loss = reports(state, population, key)
        mean = randomizer(dimension(state.variables)).estimate(seen)
        before = state.variables.params
        _, unravel = ravel_pytree(tree.wide(before))
        updates, opt = server.update(tree.cast(unravel(-mean), before), state.server, before)
        params = optax.apply_updates(before, updates)
        variables = state.variables._replace(params=params)
        metrics = evaluate(variables, evaluation)
        new = State(state.round + 1, variables, opt)
        return new, Info(loss, jnp.linalg.norm(mean), metrics)

    return ShuffledRound(init, reports, step)
