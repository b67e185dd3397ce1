"""Inputs from gradients: the records that would have caused the update that was seen.

Two objectives over candidate inputs x, both against the observed gradient g:

    squared distance        ||grad(x) - g||^2                               (DLG)
    cosine                  1 - cos(grad(x), g) + weight TV(x)              (Inverting Gradients)

and two ways to read labels off the last layer before any search.

References:
    Zhu, Liu, Han 2019, "Deep Leakage from Gradients"; Zhao, Mopuri, Bilen 2020, "iDLG"; Geiping,
    Bauermeister, Dröge, Moeller 2020, "Inverting Gradients"; Wainakh et al. 2022, "User-Level
    Label Leakage from Gradients in Federated Learning".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree

Gradient = Callable[[PyTree, Array, Array], PyTree]  # (params, x, y) -> gradient


class Reconstruction(NamedTuple):
    """What was found."""

    x: Float[Array, "batch ..."]
    loss: Float[Array, " steps"]  # of the objective on the way


def label(bias: Float[Array, " classes"]) -> Int[Array, ""]:
    """The label of a single record: the one negative entry of the last bias's gradient.

    The gradient of cross-entropy there is softmax(logits) - onehot(label) [iDLG].
    """
    return jnp.argmin(bias)


def label_counts(
    bias: Float[Array, " classes"], mean: Float[Array, " classes"], batch: int
) -> Int[Array, " classes"]:
    """How often each label occurs in a batch.

    The last bias's gradient is the mean of softmax(logits) - onehot(label), so
    `count = batch (mean - gradient)`, with the mean prediction estimated on data of the
    adversary's own. Rounded so that the counts sum to the batch: the largest remainders up. Where
    the gradient leaves nothing of any label, or is NaN, all are equally likely.

    Args:
        bias: gradient of the last bias, of a mean loss.
        mean: mean prediction of the model for such data.
        batch: records in the batch.

    Example:
        >>> import jax.numpy as jnp
        >>> print(label_counts(jnp.array([-0.2, 0.2]), jnp.array([0.52, 0.48]), 10))
        [7 3]
    """
    exact = jnp.maximum(batch * (mean - bias), 0)
    total = jnp.sum(exact)
    some = total > 1e-12
    exact = jnp.where(some, exact * (batch / jnp.where(some, total, 1.0)), batch / exact.shape[0])
    low = jnp.floor(exact)
    missing = batch - jnp.sum(low)
    order = jnp.argsort(jnp.argsort(low - exact))  # 0 = the largest remainder
    up = order.astype(jnp.float32) < missing
    return low.astype(jnp.int32) + up.astype(jnp.int32)


def squared_distance(gradient: Gradient, params: PyTree, seen: PyTree, y: Int[Array, " batch"]):
    """The objective of DLG, as a function of x; labels are known (iDLG)."""
    return lambda x: tree.squared_norm(tree.sub(gradient(params, x, y), seen))


def cosine(
    gradient: Gradient,
    params: PyTree,
    seen: PyTree,
    y: Int[Array, " batch"],
    *,
    variation: float = 0.2,
):
    """The objective of Inverting Gradients, as a function of x.

    Args:
        gradient: of the loss with respect to the parameters.
        params: the model at which the update was computed.
        seen: the update that was observed; its scale does not matter.
        y: labels.
        variation: weight of the total variation [breaching's default]; 0 for records that are no
            images.
    """
    smooth = lambda x: variation * total_variation(x) if variation else 0.0
    return lambda x: 1 - tree.cosine(gradient(params, x, y), seen) + smooth(x)


def total_variation(x: Float[Array, "batch ..."]) -> Float[Array, ""]:
    """Mean absolute difference of neighbouring pixels, down and to the right, summed.

    Args:
        x: (batch, height, width, channels).

    Raises:
        DataError: records that are no images.
    """
    if x.ndim != 4:
        raise errors.DataError(
            "total variation is of images (batch, height, width, channels), got"
            f" {x.shape}; other records take variation=0."
        )
    down, right = x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]
    return jnp.mean(jnp.abs(down)) + jnp.mean(jnp.abs(right))


def search(
    objective: Callable[[Array], Float[Array, ""]],
    start: Float[Array, "batch ..."],
    *,
    method: str = "signed adam",
    steps: int = 2000,
    rate: float = 0.1,
    low: float = 0.0,
    high: float = 1.0,
) -> Reconstruction:
    """The lowest point of the objective on the way down from `start`.

    Args:
        objective: x -> value.
        start: first guess, usually noise.
        method: `signed adam`, of which only the signs are followed (Inverting Gradients), with
            the rate falling tenfold at 3/8, 5/8 and 7/8 of the steps, inside [low, high]; or
            `lbfgs`, without bounds (DLG).
        steps: of descent.
        rate: of signed Adam.
        low, high: pixels that the first method keeps to.
    """
    errors.one_of("search", method, ("signed adam", "lbfgs"))
    if method == "lbfgs":
        return _lbfgs(objective, start, steps)
    points = {int(steps * f): 0.1 for f in (3 / 8, 5 / 8, 7 / 8)}
    rates = optax.piecewise_constant_schedule(rate, points)
    adam = optax.scale_by_adam()

    def one(carry, i):
        x, state, best, lowest = carry
        value, slope = jax.value_and_grad(objective)(x)
        better = value < lowest
        best, lowest = jnp.where(better, x, best), jnp.where(better, value, lowest)
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            update, state = adam.update(jnp.sign(slope), state)
            x = jnp.clip(x - rates(i) * update, low, high)
        return (x, state, best, lowest), value

    first = (start, adam.init(start), start, jnp.float32(jnp.inf))
    (_, _, best, _), values = jax.lax.scan(one, first, jnp.arange(steps))
    return Reconstruction(best, values)


def _lbfgs(objective, start, steps):
    descent = optax.lbfgs()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        both = optax.value_and_grad_from_state(objective)

        def one(carry, _):
            x, state = carry
            value, slope = both(x, state=state)
            update, state = descent.update(
                slope, state, x, value=value, grad=slope, value_fn=objective
            )
            moved = optax.apply_updates(x, update)
            # A failed line search must not carry NaN on.
            moved = jnp.where(jnp.all(jnp.isfinite(moved)), moved, x)
            return (moved, state), value

        (x, _), values = jax.lax.scan(one, (start, descent.init(start)), length=steps)
    return Reconstruction(x, values)


def noise(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """The first guess: normal, centred in [0, 1]."""
    return 0.5 + 0.1 * jax.random.normal(key, shape)


def psnr(x: Float[Array, "batch ..."], truth: Float[Array, "batch ..."]) -> Float[Array, " batch"]:
    """Peak signal-to-noise ratio of each record in dB, for values in [0, 1]."""
    error = jnp.mean(jnp.square(jnp.clip(x, 0, 1) - truth).reshape(x.shape[0], -1), axis=1)
    return -10 * jnp.log10(jnp.maximum(error, 1e-12))


def match(x: Float[Array, "batch ..."], truth: Float[Array, "batch ..."]) -> Any:
    """The order in which reconstructions fit the originals best: a gradient has no order.

    Returns:
        (batch,) indices into x (Hungarian method on squared errors).
    """
    from scipy import optimize

    flat = lambda a: a.reshape(a.shape[0], -1)
    errors_of = jnp.sum(jnp.square(flat(x)[:, None] - flat(truth)[None]), axis=2)
    rows, columns = optimize.linear_sum_assignment(jax.device_get(errors_of))
    order = rows.copy()
    order[columns] = rows
    return order
