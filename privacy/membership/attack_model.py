"""The attack of Shokri et al.: a classifier of the target's answers, one per class.

Shadow models whose members are known give rows (answer, class, in or out); for every class a
small network learns to tell in from out; applied to the target's answer, it says "member" with a
probability. All classes train side by side in one program.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Key, PyTree
from fl_jax.nn.loss import cross_entropy
from fl_jax.train import cohort
from privacy.membership import signals


@dataclasses.dataclass(frozen=True)
class Config:
    """The attack networks; defaults are the paper's as far as they are remembered."""

    hidden: int = 64  # ReLU units of the one hidden layer [paper, from memory]; 0 = softmax alone
    rate: float = 3e-3  # of Adam
    steps: int = 500  # optimizer steps
    batch: int = 100  # rows a step, in shuffled passes over the class's rows
    inputs: str = "answers"  # as they come [paper]; or "angles", as `angles` makes of them
    l2: float = 0.0  # sum of squares, added to the loss; 1e-6 in the released code


class Rows(NamedTuple):
    """Attack training data."""

    answers: np.ndarray  # (rows, classes) the shadow models' answers, behind any mitigation
    labels: np.ndarray  # (rows,) int true classes
    member: np.ndarray  # (rows,) bool


class Attack(NamedTuple):
    """Trained attack networks, one per class on the leading axis."""

    params: PyTree
    classes: int
    inputs: str  # what the networks see of an answer


INPUTS = ("answers", "angles")


def angles(answers: np.ndarray) -> np.ndarray:
    """2 arcsin(sqrt(p)) of every probability, then the same values in rising order.

    The angle stretches both ends of [0, 1], where a sure answer's entries crowd; unlike a
    logarithm it stays bounded there. In order, the second sure class stands in one place,
    whichever class it is. On Location-30 both together say more than the answers do
    (`experiments/membership/RESULTS.md`, Beside ART).

    Args:
        answers: (..., classes) probabilities; rounding beyond [0, 1] is cut.

    Returns:
        (..., 2 classes), in [0, pi].

    Example:
        >>> print(angles(np.array([0.75, 0.25])).round(3))
        [2.094 1.047 1.047 2.094]
    """
    found = 2 * np.arcsin(np.sqrt(np.clip(answers, 0, 1)))
    return np.concatenate([found, np.sort(found, axis=-1)], axis=-1)


def _inputs(answers, inputs: str) -> np.ndarray:
    return np.asarray(answers if inputs == "answers" else angles(answers), np.float32)


def fit(rows: Rows, key: Key[Array, ""], config: Config = Config()) -> Attack:
    """Trains one binary classifier per class.

    Args:
        rows: from the shadow models' own training and test records.
        key: of everything random.
        config: of the networks.

    Raises:
        DataError: rows of several lengths, labels outside the classes, a mask that is not boolean,
            answers that are not finite, or a class without members or without non-members: nothing
            can be learnt there.
        ConfigError: unknown inputs, or no steps or rows in a batch.
    """
    errors.one_of("attack input", config.inputs, INPUTS)
    errors.whole("steps", config.steps, 1)
    errors.whole("batch", config.batch, 1)
    answers, labels, member = (np.asarray(a) for a in rows)
    if answers.ndim != 2:
        raise errors.DataError(f"attack rows are answers (rows, classes), got {answers.shape}.")
    classes = answers.shape[1]
    _finite(answers)
    if not len(answers) == len(labels) == len(member) or labels.ndim != 1 or member.ndim != 1:
        raise errors.DataError(
            "attack rows need an answer, a label and a membership each, got answers"
            f" {answers.shape}, labels {labels.shape} and members {member.shape}."
        )
    if member.dtype != bool:
        raise errors.DataError(
            f"`member` must be a bool mask of the rows, got {member.dtype}; compare it with 0."
        )
    signals.check_labels(labels, classes)
    members = np.bincount(labels[member], minlength=classes)
    others = np.bincount(labels[~member], minlength=classes)
    if min(members.min(), others.min()) == 0:
        kind, worst = min(
            (("members", members), ("non-members", others)), key=lambda pair: pair[1].min()
        )
        raise errors.DataError(
            f"class {int(np.argmin(worst))} of {classes} has no {kind} among the shadow rows;"
            " take larger shadow sets, more shadows, or leave the class out."
        )
    walks = _walks(labels, classes, config.steps * config.batch, rng.fold(key, "order"))
    x, y = jnp.asarray(_inputs(answers, config.inputs)), jnp.asarray(member.astype(np.int32))
    params = _train(x, y, walks.reshape(classes, config.steps, config.batch), key, config)
    return Attack(params, classes, config.inputs)


def _finite(answers) -> None:
    if not np.isfinite(answers).all():
        raise errors.DataError("some answers are not finite; look for a model that diverged.")


def _walks(labels, classes: int, count: int, key) -> np.ndarray:
    """(classes, count) row numbers: each class's rows pass after pass, every pass shuffled."""
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    walks = np.empty((classes, count), np.int32)
    for c in range(classes):
        own = np.flatnonzero(labels == c)
        passes = [draw.permutation(own) for _ in range(-(-count // len(own)))]
        walks[c] = np.concatenate(passes)[:count]
    return walks


def _init(key, inputs, hidden):
    if not hidden:
        return {"out": jnp.zeros((inputs, 2)), "out_bias": jnp.zeros(2)}
    first, second, bias = jax.random.split(key, 3)

    def draw(key, shape, units):  # Glorot uniform
        limit = (6.0 / units) ** 0.5
        return jax.random.uniform(key, shape, jnp.float32, -limit, limit)

    return {
        "in": draw(first, (inputs, hidden), inputs + hidden),
        # Answers sum to 1: without biases every unit would bend at the same point, the origin.
        "in_bias": draw(bias, (hidden,), inputs + hidden),
        "out": draw(second, (hidden, 2), hidden + 2),
        "out_bias": jnp.zeros(2),
    }


def _logits(params, x):
    if "in" in params:
        x = jax.nn.relu(x @ params["in"] + params["in_bias"][None])
    return x @ params["out"] + params["out_bias"][None]


@jax.jit(static_argnames="config")
def _train(x, y, walks, key, config):
    optimizer = optax.adam(config.rate)

    def one(item):
        label, walk = item
        own = rng.fold(key, "attack", label)

        def loss(params, at):
            matrices = [p for p in jax.tree.leaves(params) if p.ndim == 2]
            decay = sum((jnp.sum(jnp.square(p)) for p in matrices), jnp.float32(0))
            return jnp.mean(cross_entropy(_logits(params, x[at]), y[at])) + config.l2 * decay

        def descend(i, carry):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params, walk[i]), state)
            return optax.apply_updates(params, updates), state

        params = _init(rng.fold(own, "init"), x.shape[1], config.hidden)
        return jax.lax.fori_loop(0, config.steps, descend, (params, optimizer.init(params)))[0]

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        labels = jnp.arange(walks.shape[0], dtype=jnp.int32)
        return cohort.map(one, (labels, jnp.asarray(walks)), plan=cohort.Plan("vmap"))


@jax.jit
def _score(params, answers, labels):
    own = lambda label, x: _logits(jax.tree.map(lambda p: p[label], params), x[None])[0]
    logits = jax.vmap(own)(labels, answers)
    return logits[:, 1] - logits[:, 0]


def score(attack: Attack, answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(records,) log-odds of "member", by the network of each record's true class; 0 is even.

    Args:
        attack: from `fit`.
        answers: (records, classes) of the target.
        labels: (records,) true classes.

    Raises:
        DataError: another number of classes than the attack was trained on, labels outside or
            not one an answer, or answers that are not finite.
    """
    if answers.shape[1] != attack.classes:
        raise errors.DataError(
            f"the attack was trained on answers over {attack.classes} classes, got"
            f" {answers.shape[1]}."
        )
    if np.shape(labels) != (len(answers),):
        raise errors.DataError(
            f"every answer needs the true class of its record, but {len(answers)} answers and"
            f" labels {np.shape(labels)} came."
        )
    _finite(answers)
    x = jnp.asarray(_inputs(answers, attack.inputs))
    labels = signals.check_labels(labels, attack.classes)
    found = _score(attack.params, x, jnp.asarray(labels, jnp.int32))
    return np.asarray(found, np.float64)
