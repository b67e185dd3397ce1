"""FLARE: trust goes to models whose inner representations are near those of many others."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked, against_model
from fl_jax.federated.statistics import discrepancy, gram


def votes(
    apart: Float[Array, "cohort cohort"], arrived: Bool[Array, " cohort"]
) -> Float[Array, " cohort"]:
    """How many have each among the nearest floor(m / 2) others; of the m who arrived."""
    size = apart.shape[0]
    usable = arrived[None, :] & ~jnp.eye(size, dtype=bool)
    rank = jnp.argsort(jnp.argsort(jnp.where(usable, apart, jnp.inf), axis=1), axis=1)
    given = usable & arrived[:, None] & (rank < jnp.sum(arrived) // 2)
    return jnp.sum(given, axis=0).astype(jnp.float32)


def flare(
    *,
    features: Callable[[PyTree, Array], Array],
    root: PyTree,
    temperature: float = 1.0,
) -> Aggregator:
    """sum_i S_i x_i with the trust S = softmax(C / tau) of the votes C.

    Every local model represents the auxiliary examples by what its last layer sees (PLR); between
    two models stands the maximum mean discrepancy of the two sets; every model votes for the
    nearest half of the others.

    One width of the Gaussian kernel serves all pairs: the median distance between the global
    model's representations, which no update of the round can move. Public code takes 1, or a
    median for each pair. Half of the others is the paper's; that tau is 1 and that counts are not
    divided by their mean is from public code.

    Args:
        features: (variables, examples) -> (examples, ...), what the last layer sees, in test mode.
        root: auxiliary examples, one array (examples, ...), two or more; labels are not needed.
        temperature: tau, > 0.

    Raises:
        ConfigError: fewer than two examples, a temperature that is not positive.

    References:
        Wang, Xiao, Chen, Hu, Lou, Hou 2022, "FLARE: Defending Federated Learning against Model
        Poisoning Attacks via Latent Space Representations".
    """
    if len(root) < 2:
        raise errors.ConfigError(
            f"FLARE needs two auxiliary examples or more that models represent, got {len(root)};"
            f" give a larger `root`, or choose a rule that needs no data."
        )
    errors.positive("the temperature of FLARE (tau)", temperature)
    root = jnp.asarray(root)

    def represent(variables):
        return features(variables, root).reshape(root.shape[0], -1)

    def of_each(updates, model):
        return jax.lax.map(lambda update: represent(tree.add(model, update)), updates)

    def update(seen: Stacked, model):
        arrived, width = seen.weights > 0, discrepancy.usual_width(represent(model))
        found = of_each(seen.updates, model)
        apart = jax.lax.map(lambda own: discrepancy.to_each(own, found, width), found)
        logits = jnp.where(arrived, votes(apart, arrived) / temperature, -jnp.inf)
        top = jnp.max(jnp.where(arrived, logits, 0.0))
        trust = jnp.where(arrived, jnp.exp(logits - top), 0.0)
        total = jnp.sum(trust)
        share = trust / jnp.where(total > 0, total, 1.0)
        return gram.combine(share, seen.updates), model

    def score(update, others: Stacked, model):
        """The mean discrepancy to the nearest half of the others."""
        there, width = others.weights > 0, discrepancy.usual_width(represent(model))
        found = of_each(others.updates, model)
        own = discrepancy.to_each(represent(tree.add(model, update)), found, width)
        return gram.nearest_half(own, there)

    return against_model(update, score, frozenset({"permutation", "equal"}))
