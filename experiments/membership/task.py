"""What is attacked: records, network, training, and who is a member of what."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.membership.config import Config
from fl_jax.core import errors
from fl_jax.data import records, sources
from fl_jax.nn import conv, network
from fl_jax.train import optimizer
from privacy.membership import design, shadow

IMAGES = {
    "digits": 16.0,
    "mnist": 255.0,
    "cifar10": 255.0,
    "cifar100": 255.0,
}  # largest pixel value


class MLP(nnx.Module):
    """One hidden layer of tanh units [Shokri et al. 2017, VI-C]."""

    def __init__(self, inputs: int, hidden: int, classes: int, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(inputs, hidden, rngs=rngs)
        self.out = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, x):
        return self.out(jnp.tanh(self.hidden(x.reshape(x.shape[0], -1))))


class CNN(nnx.Module):
    """Two convolutions, each with a 2 x 2 max-pool, one dense layer; tanh [paper, CIFAR]."""

    def __init__(self, side: int, channels: int, hidden: int, classes: int, rngs: nnx.Rngs):
        self.first = conv.Conv(channels, 32, (3, 3), rngs=rngs)
        self.second = conv.Conv(32, 32, (3, 3), rngs=rngs)
        self.dense = nnx.Linear((side // 4) ** 2 * 32, hidden, rngs=rngs)
        self.out = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, x):
        for layer in (self.first, self.second):
            x = jnp.tanh(layer(x))
            n, h, w, c = x.shape
            x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
        return self.out(jnp.tanh(self.dense(x.reshape(x.shape[0], -1))))


class Split(NamedTuple):
    """One repetition's roles of the records, as row numbers."""

    train: np.ndarray  # the target's members
    test: np.ndarray  # evaluated non-members
    population: np.ndarray  # RMIA's z: nobody trains on them, nobody is evaluated on them
    pool: np.ndarray  # what shadows are drawn from


class Task(NamedTuple):
    """Data and training of one experiment."""

    x: np.ndarray
    y: np.ndarray
    classes: int
    origin: str
    real: bool
    network: network.Network
    prepare: Any
    fit: shadow.Fit

    @property
    def examples(self) -> dict[str, jax.Array]:
        """All records, resident."""
        return {"x": jnp.asarray(self.x), "y": jnp.asarray(self.y)}


def make(config: Config) -> Task:
    """The task of a config.

    Raises:
        ConfigError: an unknown data set or network.
    """
    return from_records(load(config.dataset, config.seed), config)


def load(name: str, seed: int = 0) -> records.Records:
    """Records of a name; images with their training and test halves together."""
    if name not in IMAGES:
        return records.load(name, seed=seed)
    found = sources.images(name)
    x = np.concatenate([found.train_x, found.test_x])
    y = np.concatenate([found.train_y, found.test_y])
    return records.Records(x, y, found.classes, found.origin)


def from_records(data: records.Records, config: Config) -> Task:
    """The task on these records, whatever the config calls its data set."""
    errors.one_of("network", config.network, ("mlp", "cnn"))
    high = IMAGES.get(config.dataset, 1.0) if data.x.ndim > 2 else 1.0
    inputs = int(np.prod(data.x.shape[1:]))
    if config.network == "mlp":
        build = lambda rngs: MLP(inputs, config.hidden, data.classes, rngs)
    elif data.x.ndim != 4:
        raise errors.ConfigError("the network cnn is for images; take mlp for tables of records.")
    else:
        side, channels = data.x.shape[1], data.x.shape[3]
        build = lambda rngs: CNN(side, channels, config.hidden, data.classes, rngs)
    net = network.from_nnx(build)
    prepare = lambda x: x.astype(jnp.float32) / high
    adam = optimizer.make(optimizer.Optimizer("adam", rate=config.rate))
    fit = shadow.make(net, adam, batch=config.batch, prepare=prepare)
    return Task(data.x, data.y, data.classes, data.origin, data.real, net, prepare, fit)


def split(task: Task, config: Config, seed: int) -> Split:
    """Permutes the records and deals out the roles.

    Raises:
        DataError: fewer records than the roles need.
    """
    train, test = config.target_train, config.target_test
    need = train + test + 2 * config.shadow_train
    if len(task.y) < need:
        raise errors.DataError(
            f"{task.origin} has {len(task.y)} records, but target and shadows need {need}"
            " (target_train + target_test + 2 * shadow_train); make them smaller."
        )
    if not 0 < config.population < test:
        raise errors.ConfigError(
            f"population must lie between 1 and target_test - 1, got {config.population}."
        )
    order = np.random.default_rng(seed).permutation(len(task.y)).astype(np.int32)
    rest = order[train : train + test]
    evaluated = test - config.population
    return Split(order[:train], rest[:evaluated], rest[evaluated:], order[train + test :])


def shadows(task: Task, config: Config, seed: int, count: int, pool: np.ndarray):
    """(train, out) rows of the shadows of a repetition, checked against the target's."""
    own = split(task, config, seed)
    design.check_disjoint("the shadow pool", pool, "the target's members", own.train)
    return design.shadow_splits(pool, count, config.shadow_train, seed=seed)
