"""A small multilayer perceptron on the same rows: the emulator that is differentiable everywhere.

Standardised features to standardised log10 abundances, Adam on the mean squared error, the weights
of the best validation epoch kept; validation rows are whole disks.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algorithmic.disks import table, validation
from algorithmic.disks.broadcast import broadcasts
from fl_jax.core import errors
from fl_jax.train import optimizer
from fl_jax.train import schedule as schedules

VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class MLP:
    """Weights and the scaling of features and targets."""

    features: tuple[str, ...]
    species: tuple[str, ...]
    layers: Any  # [(weights, bias), ...] float32
    x_mean: np.ndarray
    x_scale: np.ndarray
    y_mean: np.ndarray
    y_scale: np.ndarray

    @broadcasts
    def apply(self, features):
        """log10 abundances (rows, species) at (rows, d) features; pure, under jit and grad."""
        x = (features - self.x_mean) / self.x_scale
        return forward(self.layers, x.astype(jnp.float32)) * self.y_scale + self.y_mean

    def save(self, path) -> None:
        """A .npz without pickle."""
        header = {"version": VERSION, "features": self.features, "species": self.species}
        arrays = {k: getattr(self, k) for k in ("x_mean", "x_scale", "y_mean", "y_scale")}
        for i, (w, b) in enumerate(self.layers):
            arrays |= {f"w{i}": np.asarray(w), f"b{i}": np.asarray(b)}
        table.write_npz(path, header, **arrays)

    @classmethod
    def load(cls, path) -> "MLP":
        """What `save` wrote.

        Raises:
            DataError: the file is missing or holds something else.
        """
        header, a = table.read_npz(path, VERSION, ("w0", "b0", "x_mean", "y_scale"))
        count = sum(k.startswith("w") for k in a)
        layers = [(jnp.asarray(a[f"w{i}"]), jnp.asarray(a[f"b{i}"])) for i in range(count)]
        names = tuple(header["features"]), tuple(header["species"])
        return cls(*names, layers, *(a[k] for k in ("x_mean", "x_scale", "y_mean", "y_scale")))


def forward(layers, x):
    """(rows, d) float32 to (rows, species), tanh-approximated GELU between layers."""
    for w, b in layers[:-1]:
        x = jax.nn.gelu(x @ w + b[None])
    w, b = layers[-1]
    return x @ w + b[None]


def fit(
    rows: table.Table,
    *,
    features: Sequence[str],
    species: Sequence[str],
    hidden: Sequence[int] = (128, 128),
    epochs: int = 200,
    batch: int = 256,
    rate: float = 3e-3,
    seed: int = 0,
) -> MLP:
    """The network trained on most disks, stopped on the others.

    Args:
        rows: the training table; a tenth of its disks (at least one) is for validation.
        features: names, see `table.Table.features`.
        species: targets.
        hidden: widths.
        epochs: passes over the rows.
        batch: rows a step.
        rate: of Adam, falling along a cosine.
        seed: of weights and batches.

    Raises:
        DataError: fewer than two disks, or no epoch with a finite error.
    """
    x, y = rows.features(features), rows.targets(species)
    disks = len(np.unique(rows.columns["disk"]))
    if disks < 2:
        raise errors.DataError(
            f"training needs one disk to learn from and one to stop on, but {disks} came."
        )
    held = validation.folds(rows.columns["disk"], min(10, disks)) == 0
    scale = lambda a: (a[~held].mean(0), np.maximum(a[~held].std(0), 1e-6))
    (x_mean, x_scale), (y_mean, y_scale) = scale(x), scale(y)
    u = jnp.asarray((x - x_mean) / x_scale, jnp.float32)
    v = jnp.asarray((y - y_mean) / y_scale, jnp.float32)
    sizes = (x.shape[1], *hidden, y.shape[1])
    keys = jax.random.split(jax.random.key(seed), len(sizes))
    layers = [
        (jax.random.normal(k, (a, b)) * np.float32(np.sqrt(2 / a)), jnp.zeros(b))
        for k, a, b in zip(keys[1:], sizes, sizes[1:], strict=False)
    ]
    batch = min(batch, int((~held).sum()))
    best, least = _train(
        layers, u[~held], v[~held], u[held], v[held], keys[0], epochs=epochs, batch=batch, rate=rate
    )
    if not np.isfinite(least):
        raise errors.DataError(
            f"no epoch had a finite error on the disks left out; lower the rate of {rate:g}."
        )
    names = tuple(features), tuple(species)
    return MLP(*names, best, x_mean, x_scale, y_mean, y_scale)


@functools.partial(jax.jit, static_argnames=("epochs", "batch", "rate"))
def _train(layers, x, y, x_held, y_held, key, *, epochs, batch, rate):
    steps = len(x) // batch
    decay = schedules.Schedule("cosine", decay_steps=epochs * steps, final=0.01)
    chosen = optimizer.make(optimizer.Optimizer("adam", rate=rate, schedule=decay))
    loss = lambda layers, x, y: jnp.mean((forward(layers, x) - y) ** 2)

    def epoch(carry, key):
        layers, state, best, least = carry
        order = jax.random.permutation(key, len(x))[: steps * batch].reshape(steps, batch)

        def step(carry, rows):
            layers, state = carry
            grads = jax.grad(loss)(layers, x[rows], y[rows])
            updates, state = chosen.update(grads, state, layers)
            return (optax.apply_updates(layers, updates), state), None

        (layers, state), _ = jax.lax.scan(step, (layers, state), order)
        held = loss(layers, x_held, y_held)
        better = held < least
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), layers, best)
        return (layers, state, best, jnp.minimum(held, least)), held

    start = (layers, chosen.init(layers), layers, jnp.inf)
    (_, _, best, least), _ = jax.lax.scan(epoch, start, jax.random.split(key, epochs))
    return best, least
