"""AlignIns: updates whose direction agrees with the model and with most signs as usual."""

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, against_model
from fl_jax.federated.statistics import gram, largest
from fl_jax.federated.statistics import norms as lengths

SOFT = 0.1  # of the update's root mean square: where the score's sign turns from -1 to 1


def _flat(update: PyTree) -> Float[Array, " size"]:
    return jnp.concatenate([a.astype(jnp.float32).reshape(-1) for a in jax.tree.leaves(update)])


def principal(updates: PyTree) -> PyTree:
    """sign(sum_j sign(x_j)) at every coordinate; rows of zeros have no vote."""
    return jax.tree.map(lambda a: jnp.sign(jnp.sum(jnp.sign(a), axis=0)), updates)


def alignment(update: PyTree, signs: PyTree, share: float) -> Float[Array, ""]:
    """The share of an update's largest coordinates whose sign is the principal one (MPSA).

    Args:
        signs: of `principal`.
        share: of the coordinates that count as largest; with equal ones at the border, all.
    """
    x = _flat(update)
    top = jnp.abs(x) >= largest.threshold(x, max(int(share * x.size), 1))
    agrees = top & (jnp.sign(x) == _flat(signs))
    return jnp.sum(agrees).astype(jnp.float32) / jnp.sum(top).astype(jnp.float32)


def _spread(values, arrived):
    there = arrived.astype(jnp.float32)
    count = jnp.maximum(jnp.sum(there), 1.0)
    return jnp.sqrt(there @ jnp.square(values - there @ values / count) / count)


def departures(
    values: Float[Array, " cohort"], arrived: Bool[Array, " cohort"]
) -> Float[Array, " cohort"]:
    """|value - median| / standard deviation of those who arrived (MZ-scores); 0 where all agree."""
    spread = _spread(values, arrived)
    away = jnp.abs(values - gram.median_of(values, arrived))
    return jnp.where(spread > 0, away / jnp.where(spread > 0, spread, 1.0), 0.0)


def alignins(*, share: float = 0.3, signs: float = 1.0, direction: float = 1.0) -> Aggregator:
    """The mean of the updates that pass, clipped to the median norm of those who pass.

    Two numbers of each update are held against their median, in standard deviations of the round:
    the cosine with the global model (TDA), and the share of its largest coordinates whose sign is
    that of most updates (MPSA). Both must be nearer than the bounds; a round in which nobody is
    moves nothing. Of two updates each is one deviation off: with the bounds given, they are none.

    Args:
        share: of the coordinates that count as largest, in (0, 1].
        signs: lambda_s, > 0, the bound of the sign alignment.
        direction: lambda_c, > 0, the bound of the cosine.

    Raises:
        ConfigError: a number out of its range.

    References:
        Xu, Zhang, Hu 2025, "Detecting Backdoor Attacks in Federated Learning via Direction
        Alignment Inspection"; the three numbers as in public code of it.
    """
    if not 0 < share <= 1:
        raise errors.ConfigError(
            f"the share of coordinates whose signs AlignIns counts lies in (0, 1], got {share}."
        )
    errors.positive("the bound of the signs of AlignIns (lambda_s)", signs)
    errors.positive("the bound of the direction of AlignIns (lambda_c)", direction)

    def update(seen: Stacked, model):
        arrived, most = seen.weights > 0, principal(seen.updates)
        # One client after another: magnitudes of the whole stack would be a copy of it.
        aligned = jax.lax.map(lambda x: alignment(x, most, share), seen.updates)
        turned = jax.vmap(tree.cosine, (0, None))(seen.updates, model)
        passed = arrived & (departures(aligned, arrived) < signs)
        passed &= departures(turned, arrived) < direction
        norms = lengths.of_each(seen.updates)
        bound = gram.median_of(norms, passed)
        return lengths.clipped_mean(seen.updates, passed, norms, bound), model

    def score(update, others: Stacked, model):
        """The larger departure of the two from the others' medians, in bounds, with softened
        signs, and what its norm is beyond their median."""
        there, most = others.weights > 0, principal(others.updates)

        def softly(update):
            x = _flat(update)
            top = jnp.abs(x) >= largest.threshold(x, max(int(share * x.size), 1))
            # An attacker begins at the model itself: no update agrees by half, with a small slope.
            size = tree.norm(x)
            turn = jnp.where(size > 0, SOFT * size / x.size**0.5, 1.0)
            agrees = (1 + x / (jnp.abs(x) + turn) * _flat(most)) / 2
            return jnp.sum(jnp.where(top, agrees, 0.0)) / jnp.sum(top).astype(jnp.float32)

        def away(own, rest, bound):
            middle = gram.median_of(rest, there)
            return jnp.abs(own - middle) / (bound * (_spread(rest, there) + 1e-6))

        rest = jax.lax.map(softly, others.updates)
        turned = jax.vmap(tree.cosine, (0, None))(others.updates, model)
        by_sign = away(softly(update), rest, signs)
        by_turn = away(tree.cosine(update, model), turned, direction)
        bound = gram.median_of(lengths.of_each(others.updates), there)
        return jnp.maximum(by_sign, by_turn) + lengths.beyond(update, bound)

    return against_model(update, score, frozenset({"permutation", "equal", "scale"}))
