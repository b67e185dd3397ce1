"""BackdoorIndicator: the server plants labels of its own, which only a backdoor keeps alive."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int, PyTree
from fl_jax.federated import client, population
from fl_jax.federated.aggregators.base import Aggregator, Stacked, Summed, average
from fl_jax.federated.statistics import gram
from fl_jax.federated.statistics import norms as lengths
from fl_jax.train import optimizer
from fl_jax.train.state import Variables
from fl_jax.train.step import Loss


class Planted(NamedTuple):
    """The round's global model with the indicator in it."""

    variables: Variables  # what is sent out: planted parameters, the model's own statistics
    batch_stats: PyTree  # those that planting left, with which the indicator is looked at


def balanced(count: int, classes: int, *, seed: int = 0) -> Int[np.ndarray, " count"]:
    """Random labels, every class as often as every other, or once more."""
    return np.random.default_rng(seed).permutation(np.arange(count, dtype=np.int32) % classes)


def indicator(
    *,
    loss: Loss,
    apply: Callable[[PyTree, Array], Float[Array, "batch classes"]],
    images: Array | np.ndarray,
    labels: Array | np.ndarray,
    classes: int,
    rate: float = 8e-4,
    epochs: int = 50,
    batch_size: int = 64,
    pull: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    threshold: float = 0.85,
    clip: bool = False,
) -> Aggregator:
    """The mean of the updates that have forgotten what the server planted.

    Before anyone trains, the server trains the global model G on images from elsewhere under random
    labels, by SGD on

        cross-entropy + mu/2 ||X - G||^2,

    and sends out what it gets, with G's batch statistics. Honest training forgets these labels; a
    backdoor that sends anything strange to its target keeps those of the target alive. An update is
    dropped if the model it leads to, with the batch statistics that planting left, still has the
    labels of some class right on a share of `threshold` or more of its images.

    A running sum, unless it clips. A round in which nothing is accepted leaves the planted model,
    and planting that ends in numbers that are not finite is left out. What is planted stays in the
    global model as far as those who are accepted do not train it away.

    Defaults are of the authors' configurations (800 images, thresholds from 85 % on); in a public
    benchmark (BackFed) it is rate 0.005, at most 200 epochs, 95 % and `clip`. Both lower the rate
    on the way, which is left out here, and take mu/2 times the norm, not its square. The median is
    of the accepted, as in the benchmark; the authors' is of all. A share of the images must resolve
    `threshold`, and images that honest training does not forget make every update an alarm: look at
    rounds without an attacker first.

    Args:
        loss: as of `client.make`, in training mode; the batch has `x`, `y` and `mask`.
        apply: (variables, images) -> logits, in test mode.
        images: (images, ...) as `loss` and `apply` take them, from another distribution than the
            participants' data.
        labels: (images,) integers in 0..classes-1, each at least once; secret, as from `balanced`.
        classes: of the model.
        rate, epochs, batch_size, momentum, weight_decay: of planting.
        pull: mu.
        threshold: in (0, 1].
        clip: whether the accepted are clipped to their median norm, which needs the stack.

    Raises:
        ConfigError: a number out of its range.
        DataError: no image of a class, labels that are no classes or not one an image, images that
            float32 does not hold.

    References:
        Li, Dai 2024, "BackdoorIndicator: Leveraging OOD Data for Proactive Backdoor Detection in
        Federated Learning".
    """
    errors.whole("classes of the indicator", classes, least=2)
    errors.whole("epochs of planting the indicator", epochs, least=1)
    errors.not_negative("the pull of planting the indicator to the model (mu)", pull)
    if not 0 < threshold <= 1:
        raise errors.ConfigError(f"the indicator's threshold must lie in (0, 1], got {threshold}.")
    images, labels = np.asarray(images), np.asarray(labels)
    _check(images, labels, classes)
    count, shares = len(labels), np.bincount(labels)
    needed = np.ceil(threshold * shares - 1e-6).astype(np.float32)  # right ones that are an alarm
    members = np.eye(classes, dtype=np.float32)[labels]
    x, y = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
    sgd = optimizer.Optimizer("sgd", rate=rate, momentum=momentum, weight_decay=weight_decay)
    server = client.make(
        loss, optimizer.make(sgd), epochs=epochs, batch_size=batch_size, proximal=pull
    )

    def init(variables):
        return Planted(tree.zeros_like(variables), tree.zeros_like(variables.batch_stats))

    def begin(variables, state, key):
        del state
        first, size = jnp.int32(0), jnp.int32(count)
        local, _ = server.train(variables, {"x": x, "y": y}, first, size, key, longest=count)
        local = tree.where(tree.all_finite(local), local, variables)
        return Planted(variables._replace(params=local.params), local.batch_stats)

    def seen_by(update, state: Planted):
        """The logits of the model that an update leads to."""
        params = tree.add(state.variables.params, update.params)
        return tree.wide(apply(Variables(params, state.batch_stats), x))

    def arrive(update, state: Planted):
        right = (jnp.argmax(seen_by(update, state), axis=-1) == y).astype(jnp.float32)
        forgotten = jnp.all(right @ members < needed)
        return update, forgotten.astype(jnp.float32)

    def update(seen: Summed, state: Planted):
        return average(seen), state

    def clipped(seen: Stacked, state: Planted):
        accepted, norms = seen.weights > 0, lengths.of_each(seen.updates)
        bound = gram.median_of(norms, accepted)
        return lengths.clipped_mean(seen.updates, accepted, norms, bound), state

    def score(update, others: Stacked, state: Planted):
        """The largest of the classes' mean probabilities of their labels."""
        del others
        given = jax.nn.softmax(seen_by(update, state), axis=-1)
        own = jnp.take_along_axis(given, y[:, None], axis=-1)[:, 0]
        return jnp.max(own @ members / shares.astype(np.float32))

    return Aggregator(
        init,
        clipped if clip else update,
        Stacked if clip else Summed,
        begin=begin,
        broadcast=lambda variables, state: state.variables,
        arrive=arrive,
        score=score,
        memory="gram" if clip else "sum",
    )


def _check(images, labels, classes: int) -> None:
    """Refuses images and labels that are no indicator of these classes."""
    if labels.shape != images.shape[:1]:
        raise errors.DataError(
            f"an indicator has one label an image, got labels of shape {labels.shape} and images of"
            f" shape {images.shape}; give as many labels as images (`balanced` draws them)."
        )
    population.check_labels(labels, classes)
    missing = np.setdiff1d(np.arange(classes), labels)
    if len(missing):
        raise errors.DataError(
            f"an indicator needs images of each of the {classes} classes, but none of its"
            f" {len(labels)} has the label {missing[0]}; give more images, or balanced labels."
        )
    if not (np.abs(images.astype(np.float64)) <= np.finfo(np.float32).max).all():
        raise errors.DataError(
            "the images of an indicator must be numbers that float32 holds, but some are NaN,"
            " infinite or too large; leave those out."
        )
