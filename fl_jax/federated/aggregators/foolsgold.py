"""FoolsGold: participants whose histories resemble each other lose their weight."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, stateless
from fl_jax.federated.statistics import gram


def weights(
    cosines: Float[Array, "cohort cohort"], arrived: Bool[Array, " cohort"]
) -> Float[Array, " cohort"]:
    """What each participant weighs, in [0, 1], from the cosines of the histories.

    v_i = max_j c_ij; c_ij <- c_ij v_i / v_j where v_i < v_j (pardoning); a_i = 1 - max_j c_ij,
    over its maximum; then ln(a / (1 - a)) + 1/2, clipped to [0, 1]. The maxima are at least 0, as
    in the authors' code: whoever resembles nobody has v_i = 0. Finite for every input: where all
    histories are equal, all weights are 0.
    """
    own = jnp.eye(cosines.shape[0], dtype=bool)
    usable = arrived[:, None] & arrived[None, :] & ~own
    c = jnp.where(usable, cosines, 0.0)  # so the maxima are not negative
    v = jnp.max(c, axis=1)
    ratio = v[:, None] / jnp.where(v[None, :] == 0, 1.0, v[None, :])
    pardoned = jnp.where(v[:, None] < v[None, :], c * ratio, c)
    a = jnp.clip(1 - jnp.max(pardoned, axis=1), 0.0, 1.0)
    a = jnp.where(arrived & (a > 1e-5), a, 0.0)  # a cosine is 1 to float32's last digits
    top = jnp.max(a)
    a = jnp.where(top > 0, a / jnp.where(top > 0, top, 1.0), 0.0)
    inside = jnp.clip(a, 1e-6, 0.99)
    logit = jnp.log(inside / (1 - inside)) + 0.5
    return jnp.where(arrived & (a > 0), jnp.clip(logit, 0.0, 1.0), 0.0)


class History(NamedTuple):
    """The sum of the updates that each participant has sent so far."""

    sums: PyTree  # leaves (participants, ...), of the selected part


def foolsgold(
    *, participants: int | None = None, select: Callable[[PyTree], PyTree] = lambda update: update
) -> Aggregator:
    """(1/m) sum_i a_i x_i, with the weights a_i of `weights`.

    Args:
        participants: n, whose histories are kept; None compares the updates of the round alone.
        select: (update) -> the part that histories are kept of, such as the last layer, which
            its authors recommend; memory is n times that part.

    References:
        Fung, Yoon, Beschastnikh 2020, "The Limitations of Federated Learning in Sybil
        Settings", Algorithm 1.
    """
    if participants is not None:
        errors.whole("participants", participants, least=1)

    def init(variables):
        if participants is None:
            return stateless(variables)
        part = tree.wide(select(variables))  # small updates vanish in a long sum of narrow floats
        return History(jax.tree.map(lambda a: jnp.zeros((participants, *a.shape), a.dtype), part))

    def update(seen: Stacked, state):
        arrived = seen.weights > 0
        part = tree.wide(jax.vmap(select)(seen.updates))
        if participants is not None:
            if seen.ids is None:
                raise errors.ConfigError(
                    "FoolsGold with a history needs to know who sent what, but the updates come"
                    " without ids; leave `participants` out."
                )
            added = jax.tree.map(lambda h, u: h.at[seen.ids].add(u), state.sums, part)
            state = History(added)
            part = jax.tree.map(lambda h: h[seen.ids], added)
        found = weights(gram.cosines(gram.gram(part)), arrived)
        count = jnp.maximum(jnp.sum(arrived), 1).astype(jnp.float32)
        return gram.combine(found / count, seen.updates), state

    def score(update, others: Stacked, state):
        """The largest cosine to another update of the round."""
        del state
        cosine = jax.vmap(lambda other: tree.cosine(select(update), select(other)))
        return jnp.max(jnp.where(others.weights > 0, cosine(others.updates), -1.0))

    return Aggregator(init, update, Stacked, score=score, memory="gram")
