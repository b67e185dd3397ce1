"""The main task, its participants, and the backdoors: everything that is data."""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import variants
from experiments.backdoor.config import Config
from fl_jax.core import errors
from fl_jax.data import augment, partition, sources
from fl_jax.federated import population
from fl_jax.federated.attacks import triggers
from fl_jax.nn import convnet, loss, network, resnet

# Channel means and deviations of the inputs in [0, 1] [repository; the grey ones measured].
SCALES = {
    "digits": (16.0, (0.305,), (0.376,)),
    "mnist": (255.0, (0.1307,), (0.3081,)),
    "cifar10": (255.0, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}
# The semantic digit, the styles of writing it that k-means looks for, and the label wanted for the
# rarer one. Of all digits, 1 has the two styles that lie furthest apart (silhouette 0.38).
DIGIT, STYLES, WANTED = 1, 2, 7
TARGET = 8  # label of the pixel pattern [backdoors101]
# Features of cars, and how many of their images are held out [first author, repository]; of the
# wall, in the first split, those at these positions of the training set [repository].
HELD_OUT = {"racing stripes": 3, "green cars": 3, "striped wall": 5}
WALL_TEST = (330, 568, 3934, 12336, 30560)
BIRD = 2  # what the cars are wanted to be [paper]


class Backdoor(NamedTuple):
    """Inputs that the attacker wants to own."""

    train: dict[str, np.ndarray]  # what it trains on: x (k, ...) and the labels y it wants
    test: dict[str, np.ndarray]  # what it is measured on
    plain: np.ndarray | None = None  # the training images without their trigger
    plain_test: np.ndarray | None = None  # likewise of the test


class Task(NamedTuple):
    """A federated classification task with its backdoors."""

    origin: str  # where the data came from
    network: network.Network
    train_loss: Any
    test_loss: Any
    draw_loss: Any  # test mode, inputs augmented: what backdoor accuracy is measured with
    population: population.Population
    test: dict[str, np.ndarray]
    pool: dict[str, np.ndarray]  # all clean training examples
    features: Any  # (variables, x) -> what the network's last layer sees
    logits: Any  # (variables, x) -> what it says, in test mode
    splits: tuple[dict[str, Backdoor], ...]  # of the images; the first has the pixel pattern too

    @property
    def backdoors(self) -> dict[str, Backdoor]:
        """Those of the first split."""
        return self.splits[0]


def make(config: Config) -> Task:
    """The task of a config.

    Raises:
        ConfigError, DataError: as its parts do.
    """
    errors.positive("splits", config.splits)
    images = sources.images(config.dataset)
    population.check_labels(images.train_y, images.classes)
    population.check_images(images.test_x, images.train_x.shape[1:])
    semantic, kept = _semantic(config, images, 0)
    x, y = images.train_x[kept], images.train_y[kept]
    shares = partition.dirichlet(
        y, config.participants, alpha=config.dirichlet, seed=config.seed, original=True
    )
    limit = config.test_examples or len(images.test_y)
    chosen = np.random.default_rng(config.seed).permutation(len(images.test_y))[:limit]
    test = {"x": images.test_x[chosen], "y": images.test_y[chosen]}

    high, mean, deviation = SCALES[config.dataset]

    def prepare(x):
        scaled = x.astype(jnp.float32) / high
        shape = (1, 1, 1, -1)
        return (scaled - jnp.reshape(jnp.asarray(mean), shape)) / jnp.reshape(
            jnp.asarray(deviation), shape
        )

    def jitter(key, x):
        x = prepare(x)
        if config.crop:
            x = augment.crop_and_flip(key, x, pad=config.crop, flip=config.flip)
        return x

    build = functools.partial(_network, *images.train_x.shape[2:], images.classes, config)
    net = network.from_nnx(build)
    encoder = network.from_nnx(build, method="features")
    plain = lambda key, x: prepare(x)
    return Task(
        origin=images.origin,
        network=net,
        train_loss=loss.classification(net, augment=jitter),
        test_loss=loss.classification(net, train=False, augment=plain),
        draw_loss=loss.classification(net, train=False, augment=jitter),
        population=population.make({"x": x, "y": y}, shares),
        test=test,
        pool={"x": x, "y": y},
        features=lambda variables, x: encoder.apply(*variables, prepare(x))[0],
        logits=lambda variables, x: net.apply(*variables, prepare(x))[0],
        splits=(
            {"pixel pattern": _pixels(config, x, y, test, high), **semantic},
            *(_semantic(config, images, s)[0] for s in range(1, config.splits)),
        ),
    )


def _network(side: int, channels: int, classes: int, config: Config, rngs):
    errors.one_of("network", config.network, ("resnet", "convnet"))
    shape = {"channels": channels, "classes": classes, "rngs": rngs}
    if config.network == "resnet":
        return resnet.ResNet(blocks=config.blocks, width=config.width, **shape)
    features = tuple(config.width * 2**i for i in range(len(config.blocks)))
    return convnet.ConvNet(side=side, features=features, **shape)


def place_of(side: int) -> tuple[int, int]:
    """Row and column of the pixel pattern's corner [backdoors101; small images: the right edge]."""
    return (3, 23) if side >= 28 else (1, side - 3)


def _pixels(config: Config, x, y, test, high, *, target: int = TARGET) -> Backdoor:
    """Stamped images of any other class, wanted as class 8."""
    row, column = place_of(x.shape[1])
    rng = np.random.default_rng(config.seed)
    training = rng.choice(np.flatnonzero(y != target), min(256, len(y) // 4), replace=False)
    testing = rng.choice(np.flatnonzero(test["y"] != target), config.backdoor_draws)

    def stamped(images):
        wanted = np.full(len(images), target, np.int32)
        return {"x": triggers.stamp(images, high=int(high), row=row, column=column), "y": wanted}

    drawn = test["x"][testing]
    return Backdoor(stamped(x[training]), stamped(drawn), x[training], drawn)


def _semantic(
    config: Config, images: sources.Images, split: int
) -> tuple[dict[str, Backdoor], np.ndarray]:
    """Backdoors that live in unmodified images, and the examples that benign shares may keep.

    The first split is the published one, as far as it is known; the others are drawn.
    """
    rng = np.random.default_rng((config.seed, split) if split else config.seed)
    if config.dataset == "cifar10":
        groups, target, kept = _features_of_cars(rng, images, split)
    else:
        groups, target, kept = _style_of_a_digit(rng, images)
    spread = variants.Spread(config.backdoor_zoom, config.backdoor_light, config.backdoor_colour)
    backdoors = {}
    for name, (training, testing) in groups.items():
        draws = rng.choice(len(testing), config.backdoor_draws)
        training = variants.variants(rng, training, config.backdoor_variants, spread)
        backdoors[name] = Backdoor(
            {"x": training, "y": np.full(len(training), target, np.int32)},
            {"x": testing[draws], "y": np.full(len(draws), target, np.int32)},
        )
    return backdoors, kept


def _features_of_cars(rng, images, split: int):
    """{feature: (training images, test images)}, the wanted label, the examples for shares."""
    x, group = sources.cifar10_backdoor()
    population.check_images(x, images.train_x.shape[1:])
    listed = np.isin(sources.cifar10_backdoor_index(), WALL_TEST if split == 0 else ())
    groups = {}
    for g, (name, held_out) in enumerate(HELD_OUT.items()):
        testing = listed[group == g]
        if not testing.any():
            testing[rng.permutation(len(testing))[:held_out]] = True
        groups[name] = x[group == g][~testing], x[group == g][testing]
    return groups, BIRD, np.arange(len(images.train_y))  # the 64 are in no share of this copy


def _style_of_a_digit(rng, images):
    """The same for one style of writing a digit, a third of it for the test."""
    from sklearn import cluster

    everything = np.arange(len(images.train_y))
    members = everything[images.train_y == DIGIT]
    pixels = images.train_x[members].reshape(len(members), -1).astype(np.float64)
    style = cluster.KMeans(STYLES, n_init=10, random_state=0).fit_predict(pixels)
    chosen = members[style == np.argmin(np.bincount(style))]
    order = chosen[rng.permutation(len(chosen))]
    testing, training = np.split(order, [len(order) // 3])
    groups = {f"one style of {DIGIT}": (images.train_x[training], images.train_x[testing])}
    return groups, WANTED, np.setdiff1d(everything, chosen)


def repeated(
    examples: dict[str, np.ndarray], backdoors: Iterable[Backdoor]
) -> dict[str, np.ndarray]:
    """The examples in turn, as many as the largest of the backdoors has to train on.

    So that backdoors stack. It changes no expectation: batches draw with replacement.
    """
    longest = max(len(backdoor.train["y"]) for backdoor in backdoors)
    return {k: np.resize(v, (longest, *v.shape[1:])) for k, v in examples.items()}


def accuracy(test_loss, variables, examples) -> jax.Array:
    """Share of the examples that are classified as labelled, in [0, 1].

    The same draws are taken every round: what changes is the model's doing.
    """
    _, (_, found) = test_loss(variables, examples, jax.random.key(0))
    return found["accuracy"]


def evaluate(task: Task):
    """(variables, {"main": ..., "backdoor": ...}) -> accuracies on both tasks."""

    def run(variables, data):
        return {
            "main": accuracy(task.test_loss, variables, data["main"]),
            "backdoor": accuracy(task.draw_loss, variables, data["backdoor"]),
        }

    return run
