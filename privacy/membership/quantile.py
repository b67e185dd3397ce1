"""Quantile regression: how well should a model know this record if it had not seen it?

One regressor of the record's features, trained on non-members' scores with the pinball loss,
replaces all shadow models: score > q_alpha(x) has a false-positive rate near 1 - alpha for every
kind of record [Bertran et al., NeurIPS 2023].
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Float, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Config:
    """The regressor."""

    alphas: tuple[float, ...] = (0.5, 0.9, 0.99)  # quantiles, each with an output of its own
    hidden: int = 64  # ReLU units of its one hidden layer
    rate: float = 1e-3  # of Adam
    steps: int = 2000  # optimizer steps
    batch: int = 100  # records a step, drawn with replacement
    weight_decay: float = 1e-3  # decoupled


class Quantiles(NamedTuple):
    """A trained regressor, and the scale of the scores that it was trained on."""

    params: PyTree
    centre: Float[Array, ""]
    scale: Float[Array, ""]


def pinball(error: Array, alpha: Array) -> Array:
    """max(alpha e, (alpha - 1) e): least in expectation where alpha of the errors are negative.

    Args:
        error: target - prediction.
        alpha: of the quantile, in (0, 1).
    """
    return jnp.maximum(alpha * error, (alpha - 1) * error)


def fit(
    x: np.ndarray, scores: np.ndarray, key: Key[Array, ""], config: Config = Config()
) -> Quantiles:
    """Trains on records that the target has not seen.

    Args:
        x: (records, features) numbers.
        scores: (records,) the target's phi on them.
        key: of everything random.
        config: of the regressor.

    Raises:
        ConfigError: a quantile outside (0, 1), or no steps, units or records in a batch.
        DataError: features or scores that are not finite, no records, not one score a record, or
            a regressor that diverged.
    """
    _one_each(x, scores)
    if not len(x):
        raise errors.DataError("quantiles are learnt from non-members, and there are none.")
    for name in ("hidden", "steps", "batch"):
        errors.whole(name, getattr(config, name), 1)
    for alpha in config.alphas:
        if not 0 < alpha < 1:
            raise errors.ConfigError(f"quantiles lie between 0 and 1, got {alpha}.")
    x = np.asarray(x, np.float32).reshape(len(x), -1)
    if not (np.isfinite(x).all() and np.isfinite(scores).all()):
        raise errors.DataError(
            "some features or scores are not finite; remove such records, or look for a model that"
            " diverged."
        )
    centre, scale = float(np.mean(scores)), float(np.std(scores)) or 1.0
    y = jnp.asarray((scores - centre) / scale, jnp.float32)
    params = _train(jnp.asarray(x), y, key, config)
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params)):
        raise errors.DataError("the quantile regressor diverged; lower its rate, or scale x.")
    return Quantiles(params, jnp.float32(centre), jnp.float32(scale))


@functools.partial(jax.jit, static_argnames="config")
def _train(x, y, key, config):
    optimizer = optax.adamw(config.rate, weight_decay=config.weight_decay)
    first, second = jax.random.split(rng.fold(key, "init"))
    size = (x.shape[1], config.hidden, len(config.alphas))
    draw = lambda k, a, b: jax.random.normal(k, (a, b)) * jnp.float32((2 / a) ** 0.5)
    params = {
        "in": draw(first, *size[:2]),
        "in_bias": jnp.zeros(size[1]),
        "out": draw(second, *size[1:]) * 0.1,
        "out_bias": jnp.zeros(size[2]),
    }
    alphas = jnp.asarray(config.alphas, jnp.float32)[None]

    def loss(params, at):
        return jnp.mean(pinball(y[at][:, None] - _apply(params, x[at]), alphas))

    def descend(i, carry):
        params, state = carry
        at = jax.random.randint(rng.fold(key, i), (config.batch,), 0, x.shape[0])
        updates, state = optimizer.update(jax.grad(loss)(params, at), state, params)
        return optax.apply_updates(params, updates), state

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        carry = (params, optimizer.init(params))
        return jax.lax.fori_loop(0, config.steps, descend, carry)[0]


def _apply(params, x):
    hidden = jax.nn.relu(x @ params["in"] + params["in_bias"][None])
    return jnp.sort(hidden @ params["out"] + params["out_bias"][None], axis=-1)  # never crossing


def predict(model: Quantiles, x: np.ndarray) -> np.ndarray:
    """(records, alphas) the quantiles of a non-member's score, in increasing order.

    Raises:
        DataError: features that are not finite, or more or fewer than the regressor was fitted to.
    """
    x, fitted = np.asarray(x, np.float32).reshape(len(x), -1), model.params["in"].shape[0]
    if x.shape[1] != fitted or not np.isfinite(x).all():
        raise errors.DataError(
            f"the regressor takes {fitted} finite features a record, got {x.shape[1]}"
            f"{'' if np.isfinite(x).all() else ', some not finite'}."
        )
    x = jnp.asarray(x)
    return np.asarray(_apply(model.params, x) * model.scale + model.centre, np.float64)


def _one_each(x, scores) -> None:
    if np.shape(scores) != (len(x),):
        raise errors.DataError(
            f"every record needs one score, but {len(x)} records and scores {np.shape(scores)}"
            " came; give the scores of these records, in their order."
        )


def attack(model: Quantiles, x: np.ndarray, scores: np.ndarray, *, which: int = -1) -> np.ndarray:
    """(records,) score - q_alpha(x), of the quantile `which`; larger means member."""
    _one_each(x, scores)
    found = predict(model, x)
    if not -found.shape[1] <= which < found.shape[1]:
        raise errors.ConfigError(f"the regressor has {found.shape[1]} quantiles, got {which}.")
    return np.asarray(scores, np.float64) - found[:, which]
