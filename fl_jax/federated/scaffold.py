"""SCAFFOLD: every participant's drift is measured once and taken out of its gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.federated import sampling
from fl_jax.federated.client import Client
from fl_jax.federated.population import Population
from fl_jax.federated.round import Round, RoundData
from fl_jax.federated.sampling import Sampler
from fl_jax.train import cohort
from fl_jax.train.state import Variables


class ScaffoldState(NamedTuple):
    """Everything the next round needs."""

    round: Int[Array, ""]
    variables: Variables
    control: PyTree  # c, like the parameters
    controls: PyTree  # c_i, leaves (participants, ...)


class ScaffoldInfo(NamedTuple):
    """What a round reports."""

    ids: Int[Array, " cohort"]
    loss: Float[Array, " cohort"]
    norm: Float[Array, " cohort"]
    metrics: PyTree


def make(
    *,
    client: Client,
    rate: float,
    sampler: Sampler,
    server_rate: float = 1.0,
    evaluate: Callable[[Variables, Any], PyTree] = lambda variables, data: {},
    memory: int = 2**32,
    plan: cohort.Plan = cohort.Plan("scan"),
    mesh: Mesh | None = None,
) -> Round:
    """Rounds of SCAFFOLD, with the cheap control variates (option II).

    y <- y - rate (g(y) - c_i + c) locally, K steps; c_i' = c_i - c + (x - y) / (K rate). The server
    moves x by the mean of y - x and c by the sum of c_i' - c_i over all participants' number.

    Args:
        client: local training by plain SGD at `rate` (no momentum: K rate must be the distance).
        rate: the client's learning rate.
        sampler: who takes part; updates that do not arrive leave no trace.
        server_rate: eta_g.
        memory: bytes that the n control variates may take.

    Raises:
        ConfigError: the control variates do not fit `memory` (when the state is made).

    References:
        Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated
        Learning", Algorithm 1.
    """
    errors.positive("rate", rate)
    errors.positive("server_rate", server_rate)
    participants = sampler.participants  # whose control variates are kept

    def init(variables: Variables) -> ScaffoldState:
        needed = participants * tree.nbytes(variables.params)
        if needed > memory:
            raise errors.ConfigError(
                f"SCAFFOLD keeps a control variate for each of {participants} participants, which"
                f" takes {needed:,} bytes, but `memory` allows {memory:,}; raise it, or choose"
                " FedAvg or FedProx, which keep none."
            )
        each = jax.tree.map(
            lambda a: jnp.zeros((participants, *a.shape), a.dtype), variables.params
        )
        zeros = tree.zeros_like(variables.params)
        return ScaffoldState(jnp.zeros((), jnp.int32), variables, zeros, each)

    def step(state: ScaffoldState, data: RoundData, key: Key[Array, ""]):
        key = rng.fold(key, "round", state.round)
        selected = sampler.draw(rng.fold(key, "sample"), state.round)
        people: Population = data.population
        sampling.check_population(people, sampler)
        own = jax.tree.map(lambda a: a[selected.ids], state.controls)

        def one(item, state, people, key):
            ident, control, arrives = item
            size = people.size[ident]
            drift = tree.sub(state.control, control)
            local, info = client.train(
                state.variables,
                people.examples,
                people.start[ident],
                size,
                rng.fold(key, "client", ident),
                longest=people.longest,
                drift=drift,
            )
            moved = tree.sub(local, state.variables)
            steps = jnp.maximum(client.steps(size), 1).astype(jnp.float32)
            change = tree.sub(tree.scale(-1 / (steps * rate), moved.params), state.control)
            good = arrives & tree.all_finite(moved)
            moved = tree.where(good, moved, tree.zeros_like(moved))
            change = tree.where(good, change, tree.zeros_like(change))
            report = (info.loss, tree.norm(moved), tree.add(control, change))
            return (moved, change, good.astype(jnp.float32)), report

        (moved, change, count), (loss, norm, controls) = cohort.sum(
            one,
            (selected.ids, own, selected.active),
            shared=(state, people, key),
            plan=plan,
            mesh=mesh,
            cost=client.steps(people.size[selected.ids]),
            stage="local training",
        )
        factor = server_rate / jnp.maximum(count, 1)
        variables = tree.add(state.variables, tree.scale(factor, moved))
        new = ScaffoldState(
            state.round + 1,
            variables,
            tree.add(state.control, tree.scale(1 / participants, change)),
            jax.tree.map(lambda a, u: a.at[selected.ids].set(u), state.controls, controls),
        )
        metrics = evaluate(variables, data.evaluation)
        return new, ScaffoldInfo(selected.ids, loss, norm, metrics)

    return Round(init, step)
