"""How like the last aggregate updates are; in a first round, how like each other."""

import jax
import jax.numpy as jnp

from fl_jax.core import tree
from fl_jax.core.types import Array, Bool, Float, PyTree
from fl_jax.federated.statistics import gram


def direction(
    updates: PyTree, arrived: Bool[Array, " cohort"], last: PyTree
) -> Float[Array, " cohort"]:
    """cos(x_i, last); where `last` is 0, the median of x_i's cosines to those who arrived."""

    def earlier():
        return jax.vmap(tree.cosine, (0, None))(updates, last)

    def each_other():
        cosines = gram.cosines(gram.gram(updates))
        return jax.vmap(gram.median_of, (0, None))(cosines, arrived)

    return jax.lax.cond(tree.squared_norm(last) > 0, earlier, each_other)


def distance(
    updates: PyTree, arrived: Bool[Array, " cohort"], last: PyTree
) -> Float[Array, " cohort"]:
    """||x_i - last||; where `last` is 0, the sum of x_i's distances to the nearest half of those
    who arrived, itself among them."""

    def earlier():
        return jax.vmap(lambda x: tree.norm(tree.sub(x, last)))(updates)

    def each_other():
        apart = jnp.where(arrived[None, :], jnp.sqrt(gram.pairwise(updates)), jnp.inf)
        near = jnp.arange(apart.shape[0]) < jnp.sum(arrived) // 2
        return jnp.sum(jnp.where(near[None, :], jnp.sort(apart, axis=1), 0.0), axis=1)

    return jax.lax.cond(tree.squared_norm(last) > 0, earlier, each_other)
