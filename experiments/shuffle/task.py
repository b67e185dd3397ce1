"""One-image clients, fixed features, a linear classifier."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from experiments.shuffle.config import Config
from fl_jax.core import errors
from fl_jax.data import sources
from fl_jax.federated import client, population
from fl_jax.train.state import Variables


class Task(NamedTuple):
    """What a run trains on."""

    population: population.Population
    test: dict  # x (m, features), y (m,)
    client: client.Client
    initial: Variables
    origin: str


def images(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]:
    """(train x, train y, test x, test y, origin); x (n, height, width) in [0, 1]."""
    if name == "mnist" and sources.folder("mnist"):
        with np.load(sources.require("mnist") / "mnist.npz") as data:
            # both spellings of the names are in use
            get = lambda part, what: data[
                f"{what}_{part}" if f"{what}_{part}" in data.files else f"{part}_{what}"
            ]
            parts = [get("train", "x"), get("train", "y"), get("test", "x"), get("test", "y")]
        scale, origin = 255.0, "$FL_JAX_DATA/mnist"
    else:
        found = sources.images(name)
        parts = [found.train_x, found.train_y, found.test_x, found.test_y]
        scale, origin = (16.0 if name == "digits" else 255.0), found.origin
    x, y, test_x, test_y = parts
    square = lambda a: a.reshape(len(a), a.shape[1], a.shape[2]).astype(np.float32) / scale
    return square(x), y.astype(np.int32), square(test_x), test_y.astype(np.int32), origin


def features(x: np.ndarray, cells: int, bins: int) -> np.ndarray:
    """Oriented gradients summed over cells x cells fields: fixed, so they cost no privacy.

    Handcrafted features are what private learning works best with on small data [Tramer, Boneh,
    ICLR 2021]. Square roots, unit norm, less a constant; unit norm again.
    """
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    gx = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    gy = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    size = np.hypot(gx, gy)
    angle = np.arctan2(gy, gx) % np.pi / np.pi * bins
    below = np.floor(angle).astype(int) % bins
    share = angle - np.floor(angle)
    side = x.shape[1] // cells
    if not side:
        raise errors.ConfigError(
            f"cells are at most the {x.shape[1]} pixels of an image's side, got {cells}."
        )
    fields = []
    for b in range(bins):
        weight = size * ((below == b) * (1 - share) + ((below + 1) % bins == b) * share)
        weight = weight[:, : side * cells, : side * cells]
        fields.append(weight.reshape(len(x), cells, side, cells, side).sum((2, 4)))
    h = np.sqrt(np.stack(fields, 1).reshape(len(x), -1))
    h /= np.linalg.norm(h, axis=1, keepdims=True) + 1e-9
    h -= 0.9 / np.sqrt(h.shape[1])
    return (h / np.linalg.norm(h, axis=1, keepdims=True)).astype(np.float32)


def make(config: Config) -> Task:
    """The task of a config."""
    x, y, test_x, test_y, origin = images(config.dataset)
    train, test = (features(a, config.cells, config.bins) for a in (x, test_x))

    def loss(variables, batch, key):
        del key
        logits = batch["x"] @ variables.params["kernel"]
        each = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
        return jnp.sum(each * batch["mask"]) / jnp.sum(batch["mask"]), (variables.batch_stats, {})

    count = len(train)
    people = population.Population(
        {"x": jnp.asarray(train), "y": jnp.asarray(y)},
        jnp.arange(count, dtype=jnp.int32),
        jnp.ones(count, jnp.int32),
        longest=1,
    )
    local = client.make(loss, optax.sgd(1.0), epochs=1, batch_size=1)
    kernel = jnp.zeros((train.shape[1], 10), jnp.float32)
    held = {"x": jnp.asarray(test), "y": jnp.asarray(test_y)}
    return Task(people, held, local, Variables({"kernel": kernel}, {}), origin)


def accuracy(variables: Variables, test: dict):
    """Share of test images that are classified rightly."""
    guess = jnp.argmax(test["x"] @ variables.params["kernel"], axis=1)
    return jnp.mean((guess == test["y"]).astype(jnp.float32))
