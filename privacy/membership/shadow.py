"""Training hundreds of models as one program: shadows, targets, and variants of both.

A model is a `Recipe`, plain data: which rows, how many epochs, how much L2. All of them read one
resident array of examples, so a single compiled program trains the target, its shadows, the
shadows on noisy or synthetic records, and the mitigated ones. Model i's randomness belongs to
its id: it comes out the same alone, beside others, on any number of devices and after a resume.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.nn.loss import cross_entropy, masked_mean
from fl_jax.nn.network import Network
from fl_jax.train import cohort, loop, step
from fl_jax.train.state import Variables

KEPT = 16  # programs that are kept for further calls; a sweep over trainings makes more


class Recipe(NamedTuple):
    """What one model is made of; many of them have a leading axis on every field."""

    id: Int[Array, "*models"]  # its randomness belongs to this number
    rows: Int[Array, "*models capacity"]  # of the examples; the first `size` count
    size: Int[Array, "*models"]  # training examples
    epochs: Int[Array, "*models"]
    l2: Float[Array, "*models"]  # weight of the sum of squares of matrices, added to the loss


def recipes(
    ids: Sequence[int],
    rows: Sequence[np.ndarray],
    *,
    epochs: int | Sequence[int],
    l2: float | Sequence[float] = 0.0,
    capacity: int | None = None,
) -> Recipe:
    """Stacked recipes, rows filled up to one length.

    Args:
        ids: one number a model, different ones.
        rows: one array of row numbers a model (of a mask: `np.flatnonzero`).
        epochs, l2: of all, or one a model.
        capacity: length of the rows; that of the longest by default.

    Raises:
        DataError: a model without rows, rows that are no whole numbers or more than the capacity,
            an id given twice, or ids or epochs that are no whole numbers of 32 bits.
    """
    rows = [np.asarray(own) for own in rows]
    sizes = np.array([len(r) for r in rows], np.int32)
    if not len(sizes) or sizes.min() == 0:
        raise errors.DataError("every model needs at least one training record.")
    if len(set(ids)) != len(sizes):
        raise errors.DataError(
            f"models need different ids, one each: got {len(set(ids))} for {len(sizes)} models."
        )
    strange = next((own.dtype for own in rows if not np.issubdtype(own.dtype, np.integer)), None)
    if strange is not None:
        raise errors.DataError(
            f"rows are row numbers, whole numbers, but {strange} came; of a mask take"
            " np.flatnonzero."
        )
    capacity = int(sizes.max()) if capacity is None else capacity
    if sizes.max() > capacity:
        raise errors.DataError(
            f"a capacity of {capacity} rows does not hold the {sizes.max()} of the largest model;"
            " raise it, or leave it out."
        )
    filled = np.zeros((len(rows), capacity), np.int32)
    for place, own in zip(filled, rows, strict=True):
        place[: len(own)] = own
    for what, given in (("ids", ids), ("epochs", epochs)):
        each = np.asarray(given)
        if not np.issubdtype(each.dtype, np.integer) or each.min() < 0 or each.max() >= 2**31:
            raise errors.DataError(
                f"{what} must be whole numbers from 0 to {2**31 - 1}, got {given!r}."
            )
    many = lambda value, dtype: np.broadcast_to(np.asarray(value, dtype), (len(rows),)).copy()
    return Recipe(
        np.asarray(ids, np.int32), filled, sizes, many(epochs, np.int32), many(l2, np.float32)
    )


Fit = Callable[[Recipe, PyTree, Any], Variables]
"""(recipe, examples, key) -> the trained model"""


def make(
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    batch: int,
    prepare: Callable[[Array], Array] = lambda x: x,
    augment: Callable[[Array, Array], Array] = lambda key, x: x,
) -> Fit:
    """Training of one model: shuffled passes over its rows, the short batch last.

    Args:
        network: its outputs are logits.
        optimizer: from `train.optimizer.make`.
        batch: examples a step.
        prepare: rows of `examples["x"]` -> what the network takes.
        augment: (key, prepared) -> prepared, in training only.

    Returns:
        fit(recipe, {"x": (n, ...), "y": (n,)}, key), pure and unbatched.
    """
    errors.positive("batch", batch)

    def fit(recipe: Recipe, examples: PyTree, key: Key[Array, ""]) -> Variables:
        key = rng.fold(key, "model", recipe.id)
        capacity = recipe.rows.shape[0]
        steps = (recipe.size + batch - 1) // batch

        def loss(variables, taken, key):
            noise, dropout = jax.random.split(key)
            x = augment(noise, prepare(taken["x"]))
            params, stats = variables
            logits, stats = network.apply(
                params, stats, x, train=True, mask=taken["mask"], key=dropout
            )
            value = masked_mean(cross_entropy(logits, taken["y"]), taken["mask"])
            matrices = [p for p in jax.tree.leaves(params) if p.ndim >= 2]
            decay = sum((jnp.sum(jnp.square(p)) for p in matrices), jnp.float32(0))
            return value + recipe.l2 * decay, (stats, {})

        def epoch(e, carry):
            draws = jax.random.uniform(rng.fold(key, "shuffle", e), (capacity,))
            order = jnp.argsort(jnp.where(jnp.arange(capacity) < recipe.size, draws, jnp.inf))

            def one(b, carry):
                variables, opt_state = carry
                place = b * batch + jnp.arange(batch)
                rows = recipe.rows[order[jnp.minimum(place, recipe.size - 1)]]
                mask = (place < recipe.size).astype(jnp.float32)
                taken = {"x": examples["x"][rows], "y": examples["y"][rows], "mask": mask}
                variables, opt_state, _ = step.descend(
                    loss, optimizer, variables, opt_state, taken, rng.fold(key, "step", e, b)
                )
                return variables, opt_state

            return jax.lax.fori_loop(0, steps, one, carry)

        variables = Variables(*network.init(rng.fold(key, "init")))
        carry = (variables, optimizer.init(variables.params))
        return jax.lax.fori_loop(0, recipe.epochs, epoch, carry)[0]

    return fit


def train(
    fit: Fit,
    recipes: Recipe,
    examples: PyTree,
    key: Key[Array, ""],
    *,
    plan: cohort.Plan = cohort.Plan("scan"),
    mesh: Mesh | None = None,
    stride: int = 8,
    checkpoints=None,
    save_every: int | None = None,
    progress=None,
) -> Variables:
    """All models, stacked in the order of the recipes.

    Args:
        fit: from `make`.
        recipes: from `recipes`.
        examples: {"x", "y"}, resident on the device.
        key: of all of them.
        plan, mesh: how a dispatch of models runs (`cohort.map`).
        stride: models a dispatch; a run that was killed goes on from the last saved one.
        checkpoints, progress: as `loop.run`, whose step is the number of models done.
        save_every: models between two saves.

    Raises:
        DataError: rows that the examples do not have, examples of several lengths, labels below 0,
            or a model that is not finite.
    """
    _check(recipes, examples)
    count = len(recipes.id)
    stride = min(stride, count)
    total = -(-count // stride) * stride

    def pad(leaf):  # the last dispatch is filled up with models of no epochs, which cost nothing
        return jnp.asarray(np.concatenate([leaf, np.repeat(leaf[-1:], total - count, axis=0)]))

    padded = jax.tree.map(pad, recipes)
    padded = padded._replace(epochs=jnp.where(jnp.arange(total) < count, padded.epochs, 0))
    shapes = jax.eval_shape(fit, jax.tree.map(lambda leaf: leaf[0], padded), examples, key)
    empty = jax.tree.map(lambda a: jnp.zeros((total, *a.shape), a.dtype), shapes)

    dispatch = _dispatch(fit, plan, mesh)

    def advance(models, done):
        items = jax.tree.map(lambda leaf: leaf[done : done + stride], padded)
        return _put(models, dispatch(items, examples, key), jnp.int32(done)), ()

    models = loop.run(
        advance,
        empty,
        steps=total,
        stride=stride,
        checkpoints=checkpoints,
        save_every=save_every,
        progress=progress,
    )
    models = jax.tree.map(lambda leaf: leaf[:count], models)
    check_finite(models)
    return models


def _check(recipes, examples):
    """Rows and labels once on the host: inside a program they would be clamped in silence."""
    rows, many = np.asarray(recipes.rows), len(examples["y"])
    if len(examples["x"]) != many:
        raise errors.DataError(
            f"examples need a label each, but x has {len(examples['x'])} rows and y {many}."
        )
    if rows.min() < 0 or rows.max() >= many:
        raise errors.DataError(
            f"rows must lie in 0..{many - 1}, the examples, but they range from {rows.min()} to"
            f" {rows.max()}; number them by their place in the examples."
        )
    least = int(np.asarray(examples["y"]).min())
    if least < 0:
        raise errors.DataError(f"labels must be >= 0, but one is {least}; relabel them.")


@functools.lru_cache(KEPT)  # one program for all calls that train alike
def _dispatch(fit: Fit, plan: cohort.Plan, mesh: Mesh | None):
    @jax.jit
    def dispatch(items, examples, key):
        cost = items.epochs * items.size
        return cohort.map(
            fit, items, shared=(examples, key), plan=plan, mesh=mesh, cost=cost, stage="shadow"
        )

    return dispatch


@functools.partial(jax.jit, donate_argnums=0)
def _put(all, new, at):
    write = lambda a, n: jax.lax.dynamic_update_slice_in_dim(a, n, at, 0)
    return jax.tree.map(write, all, new)


def check_finite(models: Variables) -> None:
    """Refuses a stack of models some of which diverged.

    Raises:
        DataError: it names the first.
    """
    leaves = [a for a in jax.tree.leaves(models) if jnp.issubdtype(a.dtype, jnp.inexact)]
    good = np.ones(leaves[0].shape[0], bool)
    for leaf in leaves:
        good &= np.asarray(jnp.all(jnp.isfinite(leaf.reshape(leaf.shape[0], -1)), axis=1))
    if not good.all():
        raise errors.DataError(
            f"model {int(np.flatnonzero(~good)[0])} of {len(good)} is not finite"
            f" ({int((~good).sum())} in all); lower the learning rate, or look at its data:"
            " features that are not finite, labels that the network has no output for."
        )


def measure(
    fit: Fit,
    recipes: Recipe,
    examples: PyTree,
    key: Key[Array, ""],
    *,
    models: int,
    mesh: Mesh | None = None,
    epochs: int = 2,
) -> tuple[cohort.Plan, dict[str, float]]:
    """The plan under which so many models train fastest here, and the seconds of each.

    Side by side is not free on a CPU: it was slower there for networks of matrix products, and
    it is the point of an accelerator. Each candidate trains a few epochs of the first recipes.
    """
    models = min(models, len(recipes.id))
    items = jax.tree.map(lambda leaf: jnp.asarray(leaf[:models]), recipes)
    items = items._replace(epochs=jnp.minimum(items.epochs, epochs))
    runner = lambda plan: lambda: _dispatch(fit, plan, mesh)(items, examples, key)
    plans = cohort.candidates(jax.default_backend(), models)
    return cohort.fastest(runner, plans, repeats=2)


def answers(
    network: Network,
    models: Variables,
    x: Array,
    *,
    prepare: Callable[[Array], Array] = lambda x: x,
    plan: cohort.Plan = cohort.Plan("scan"),
) -> np.ndarray:
    """(models, records, classes) float32 logits of every model on the same records.

    On the host: a table of 256 models and 50,000 records is larger than what trains them.
    """

    return np.asarray(_answers(network, prepare, plan)(models, x))


@functools.lru_cache(KEPT)
def _answers(network: Network, prepare: Callable[[Array], Array], plan: cohort.Plan):
    def one(variables, x):
        return network.apply(*variables, prepare(x))[0]

    return jax.jit(lambda models, x: cohort.map(one, models, shared=(x,), plan=plan))
