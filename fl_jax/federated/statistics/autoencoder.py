"""A variational autoencoder of the differences between a round's updates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.train import optimizer

BATCH = 8  # differences a step
RATE = 1e-3  # of Adam
SAMPLES = 10  # of the latent vector, for an error


class Size(NamedTuple):
    """Widths of the layers."""

    inputs: int
    hidden: int
    latent: int


def init(key: Key[Array, ""], size: Size) -> PyTree:
    """Weights N(0, 2 / inputs), biases uniform within 1 / sqrt(inputs) of 0."""
    inputs, hidden, latent = size
    shapes = {
        "encode1": (inputs, hidden),
        "encode2": (hidden, hidden),
        "mean": (hidden, latent),
        "spread": (hidden, latent),
        "decode1": (latent, hidden),
        "decode2": (hidden, hidden),
        "decode3": (hidden, inputs),
    }

    def layer(key, shape):
        one, two = jax.random.split(key)
        weight = jax.random.normal(one, shape) * (2 / shape[0]) ** 0.5
        return weight, jax.random.uniform(two, shape[1:], minval=-1.0) * shape[0] ** -0.5

    keys = jax.random.split(key, len(shapes))
    return {name: layer(k, s) for k, (name, s) in zip(keys, shapes.items(), strict=True)}


def _affine(layer, x):
    return x @ layer[0] + layer[1][None, :]


def encode(
    weights: PyTree, x: Float[Array, "many inputs"]
) -> tuple[Float[Array, "many latent"], Float[Array, "many latent"]]:
    """(mean, log variance) of the latent vector; the latter is a softplus, so not below 0."""
    x = jax.nn.relu(_affine(weights["encode1"], x))
    x = jax.nn.relu(_affine(weights["encode2"], x))
    return _affine(weights["mean"], x), jax.nn.softplus(_affine(weights["spread"], x))


def decode(weights: PyTree, z: Float[Array, "many latent"]) -> Float[Array, "many inputs"]:
    """The reconstruction, in (0, 1)."""
    z = jax.nn.relu(_affine(weights["decode1"], z))
    z = jax.nn.relu(_affine(weights["decode2"], z))
    return jax.nn.sigmoid(_affine(weights["decode3"], z))


def loss(
    weights: PyTree,
    x: Float[Array, "many inputs"],
    there: Bool[Array, " many"],
    noise: Float[Array, "many latent"],
) -> Float[Array, ""]:
    """Squared errors plus Kullback-Leibler divergence to N(0, 1), summed over who is there."""
    mean, spread = encode(weights, x)
    errors = jnp.sum(jnp.square(decode(weights, mean + jnp.exp(spread / 2) * noise) - x), axis=1)
    divergence = -0.5 * jnp.sum(1 + spread - jnp.square(mean) - jnp.exp(spread), axis=1)
    return jnp.sum(jnp.where(there, errors + divergence, 0.0))


def differences(
    rows: Float[Array, "cohort inputs"], first: Int[Array, " many"], second: Int[Array, " many"]
) -> Float[Array, "many inputs"]:
    """sigmoid(x_first - x_second): what the autoencoder sees."""
    return jax.nn.sigmoid(rows[first] - rows[second])


def train(
    weights: PyTree,
    rows: Float[Array, "cohort inputs"],
    chosen: Bool[Array, " cohort"],
    key: Key[Array, ""],
    epochs: int,
) -> PyTree:
    """After `epochs` of Adam, begun anew, over the differences of all pairs of the chosen."""
    size, latent = rows.shape[0], weights["mean"][1].shape[0]
    pairs = chosen[:, None] & chosen[None, :] & ~jnp.eye(size, dtype=bool)
    count, adam = jnp.sum(pairs), optimizer.make(optimizer.Optimizer("adam", rate=RATE))
    spare = -(size * size) % BATCH

    def epoch(e, found):
        shuffle, noises = jax.random.split(jax.random.fold_in(key, e))
        drawn = jax.random.uniform(shuffle, (size * size,))
        order = jnp.pad(jnp.argsort(jnp.where(pairs.reshape(-1), drawn, 2.0)), (0, spare))

        def step(b, found):
            weights, state = found
            index = jax.lax.dynamic_slice_in_dim(order, b * BATCH, BATCH)
            there = b * BATCH + jnp.arange(BATCH) < count
            noise = jax.random.normal(jax.random.fold_in(noises, b), (BATCH, latent))
            x = differences(rows, index // size, index % size)
            gradient = jax.grad(loss)(weights, x, there, noise)
            moved, state = adam.update(gradient, state, weights)
            return optax.apply_updates(weights, moved), state

        return jax.lax.fori_loop(0, (count + BATCH - 1) // BATCH, step, found)

    return jax.lax.fori_loop(0, epochs, epoch, (weights, adam.init(weights)))[0]


def errors_of_pairs(
    weights: PyTree, rows: Float[Array, "cohort inputs"], key: Key[Array, ""]
) -> Float[Array, "cohort cohort"]:
    """The squared error of every difference x_i - x_j, in the mean over samples."""
    size, latent = rows.shape[0], weights["mean"][1].shape[0]

    def one(pair):
        i, key = pair
        x = differences(rows, jnp.full(size, i), jnp.arange(size))
        mean, spread = encode(weights, x)

        def sample(key):
            z = mean + jnp.exp(spread / 2) * jax.random.normal(key, (size, latent))
            return jnp.sum(jnp.square(decode(weights, z) - x), axis=1)

        return jnp.mean(jax.vmap(sample)(jax.random.split(key, SAMPLES)), axis=0)

    return jax.lax.map(one, (jnp.arange(size), jax.random.split(key, size)))
