"""Attacks that only want to do harm: ALIE, inner products, Min-Max, Min-Sum, noise, flips.

The first four see the benign updates of the round and send one vector k times, so that every
choice of k compromised participants acts as one. Noise looks at nothing. The flips train on the
compromised participants' own examples.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, PyTree
from fl_jax.federated.aggregators.base import Stacked, average, summed
from fl_jax.federated.attacks.base import Attack, View, others
from fl_jax.federated.client import Client
from fl_jax.federated.statistics import gram


class SentInfo(NamedTuple):
    """What the attacker knows about its own attack."""

    scale: Float[Array, ""]  # z, epsilon or gamma that was used
    sent_norm: Float[Array, ""]


class Moments(NamedTuple):
    """What the benign updates look like, coordinate by coordinate."""

    mean: PyTree
    deviation: PyTree  # over the number of updates, not one less
    there: Float[Array, " cohort"]  # 1: benign and arrived


def moments(benign: Stacked) -> Moments:
    """Mean and standard deviation of the benign updates; zeros where there is none."""
    there = (benign.weights > 0).astype(jnp.float32)
    updates = tree.wide(benign.updates)  # squares of narrow floats vanish
    mean_of = lambda rows: average(summed(Stacked(rows, there)))
    mean = mean_of(updates)
    squares = jax.tree.map(lambda leaf, centre: jnp.square(leaf - centre[None]), updates, mean)
    found = mean, jax.tree.map(jnp.sqrt, mean_of(squares))
    return Moments(*(tree.cast(each, benign.updates) for each in found), there)


def _together(most: int, sent_of) -> Attack:
    """Everyone compromised sends `sent_of(view, moments) -> (update, scale)`."""
    errors.whole("attackers", most, least=1)

    def update(view: View, state, key):
        del key
        sent, scale = sent_of(view, moments(others(view)))
        stacked = jax.tree.map(lambda a: jnp.stack([a] * most), sent)
        return stacked, state, SentInfo(jnp.asarray(scale, jnp.float32), tree.norm(sent))

    return Attack(lambda variables: (), update, most, Stacked)


def little_is_enough(*, attackers: int, z: float | None = None) -> Attack:
    """ALIE: mu - z sigma, coordinate by coordinate, inside the spread of the benign updates.

    z_max = Phi^-1((m - k - s) / (m - k)) with s = floor(m/2 + 1) - k: the largest shift with
    which a majority still lies further out than the k attackers among m.

    Args:
        attackers: most that can fall into one round.
        z: None = z_max, at least 0.

    Raises:
        ConfigError: attackers no whole number of 1 or more, or a z below 0.

    References:
        Baruch, Baruch, Goldberg 2019, "A Little Is Enough", Algorithm 3.
    """
    if z is not None:
        errors.not_negative("z of ALIE", z)

    def sent(view, seen):
        benign = jnp.sum(seen.there)
        k = view.count.astype(jnp.float32)
        supporters = jnp.floor((benign + k) / 2 + 1) - k
        share = jnp.clip((benign - supporters) / jnp.maximum(benign, 1), 0.5, 1 - 1e-6)
        factor = jax.scipy.special.ndtri(share) if z is None else jnp.float32(z)
        away = tree.scale(factor, seen.deviation)
        return tree.sub(seen.mean, away), factor

    return _together(attackers, sent)


def inner_product(*, attackers: int, epsilon: float = 1.0) -> Attack:
    """IPM: -epsilon mu, so that the aggregate points away from the benign mean.

    References:
        Xie, Koyejo, Gupta 2020, "Fall of Empires", section 4.
    """
    errors.positive("epsilon", epsilon)
    return _together(
        attackers, lambda view, seen: (tree.scale(-epsilon, seen.mean), jnp.float32(epsilon))
    )


def min_max(*, attackers: int, direction: str = "std") -> Attack:
    """mu + gamma p with the largest gamma whose distance to every benign update stays within
    the largest distance between two of them.

    The paper halves an interval; the condition is quadratic in gamma, so it is solved exactly.

    Args:
        attackers: most that can fall into one round.
        direction: p: `std` (-sigma), `unit` (-mu / ||mu||) or `sign` (-sign mu).

    References:
        Shejwalkar, Houmansadr 2021, "Manipulating the Byzantine", section IV-B, eq. 8.
    """
    errors.one_of("direction", direction, DIRECTIONS)

    def sent(view, seen):
        p, along, away, between = _geometry(view.benign, seen, direction)
        room = jnp.max(between) - away
        gamma = _root(tree.squared_norm(p), along, room)
        gamma = jnp.min(jnp.where(seen.there > 0, gamma, jnp.inf))
        gamma = jnp.where(jnp.isfinite(gamma), gamma, 0.0)
        return tree.add(seen.mean, tree.scale(gamma, p)), gamma

    return _together(attackers, sent)


def min_sum(*, attackers: int, direction: str = "std") -> Attack:
    """As `min_max`, for the sum of squared distances instead of the largest distance.

    References:
        Shejwalkar, Houmansadr 2021, section IV-B, eq. 9.
    """
    errors.one_of("direction", direction, DIRECTIONS)

    def sent(view, seen):
        p, along, away, between = _geometry(view.benign, seen, direction)
        count = jnp.maximum(jnp.sum(seen.there), 1)
        room = jnp.max(jnp.sum(between, axis=1)) - jnp.sum(away * seen.there)
        gamma = _root(count * tree.squared_norm(p), jnp.sum(along * seen.there), room)
        return tree.add(seen.mean, tree.scale(gamma, p)), gamma

    return _together(attackers, sent)


DIRECTIONS: dict[str, Callable[[Moments], PyTree]] = {
    "std": lambda seen: tree.scale(-1.0, seen.deviation),
    "unit": lambda seen: tree.scale(-1 / jnp.maximum(tree.norm(seen.mean), 1e-30), seen.mean),
    "sign": lambda seen: jax.tree.map(lambda a: -jnp.sign(a), seen.mean),
}


def _geometry(benign: Stacked, seen: Moments, direction: str):
    """(p, p.(mu - x_i), ||mu - x_i||^2, ||x_i - x_j||^2 of benign pairs)."""
    p = DIRECTIONS[direction](seen)
    away = jax.tree.map(lambda x, mu: mu[None] - x, benign.updates, seen.mean)
    along = jax.vmap(tree.dot, (0, None))(away, p)
    squares = jax.vmap(tree.squared_norm)(away)
    both = seen.there[:, None] * seen.there[None, :]
    products = gram.gram(benign.updates, around=seen.mean)
    return p, along, squares, gram.distances(products) * both


def _root(a, b, room):
    """The positive root of a g^2 + 2 b g = room; 0 where there is no room."""
    a = jnp.maximum(a, 1e-30)
    root = (jnp.sqrt(jnp.square(b) + a * jnp.maximum(room, 0.0)) - b) / a
    return jnp.where(room > 0, root, 0.0)


def noise(*, attackers: int, deviation: float) -> Attack:
    """Everyone compromised sends N(0, deviation^2) in every coordinate.

    Args:
        attackers: most that can fall into one round.
        deviation: of a coordinate; the paper takes 200.

    References:
        Blanchard et al. 2017, "Machine Learning with Adversaries", section 6 (Gaussian attack).
    """
    errors.whole("attackers", attackers, least=1)
    errors.positive("deviation", deviation)

    def update(view: View, state, key):
        like = jax.tree.map(lambda a: jnp.zeros((attackers, *a.shape), a.dtype), view.variables)
        sent = tree.normal(key, like, deviation)
        norms = jax.vmap(tree.norm)(sent)
        return sent, state, SentInfo(jnp.float32(deviation), norms[0])

    return Attack(lambda variables: (), update, attackers)


def _own(client: Client, most: int, change_examples, change_update, scale: float) -> Attack:
    """Everyone compromised trains on its own share and sends a changed update."""
    errors.whole("attackers", most, least=1)

    def update(view: View, state, key):
        people = view.population
        examples = change_examples(people.examples)

        def one(ident):
            own = rng.fold(key, ident)
            start, size = people.start[ident], people.size[ident]
            local, _ = client.train(
                view.variables, examples, start, size, own, longest=people.longest
            )
            return change_update(tree.sub(local, view.variables))

        sent = jax.lax.map(one, view.ids)
        norms = jax.vmap(tree.norm)(sent)
        return sent, state, SentInfo(jnp.float32(scale), norms[0])

    return Attack(lambda variables: (), update, most)


def honest(client: Client, *, attackers: int) -> Attack:
    """No attack: compromised participants send their honest updates, the row to compare with."""
    same = lambda value: value
    return _own(client, attackers, same, same, 1.0)


def sign_flip(client: Client, *, attackers: int, scale: float = 1.0) -> Attack:
    """-scale times the honest update.

    References:
        Li et al. 2019, "RSA: Byzantine-Robust Stochastic Aggregation", section 5.
    """
    errors.positive("scale", scale)
    flip = lambda update: tree.scale(-scale, update)
    return _own(client, attackers, lambda examples: examples, flip, scale)


def label_flip(client: Client, *, attackers: int, classes: int, scale: float = 1.0) -> Attack:
    """Honest training on labels y -> classes - 1 - y; `classes` as many as there are.

    References:
        Fang et al. 2020, "Local Model Poisoning Attacks", section 5.1.
    """
    errors.positive("scale", scale)
    errors.whole("classes", classes, least=2)
    flip = lambda examples: {**examples, "y": classes - 1 - examples["y"]}
    return _own(client, attackers, flip, lambda update: tree.scale(scale, update), scale)
