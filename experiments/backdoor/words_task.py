"""The word task: speakers, their windows of text, the attacker's sentences, loss, accuracies."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor.words_config import SENTENCES, Words
from fl_jax.core import errors
from fl_jax.data import partition, speech
from fl_jax.federated import population
from fl_jax.federated.attacks import sentences
from fl_jax.nn import recurrent


class Task(NamedTuple):
    """Speakers, the held-out text, and the attacker's windows for each sentence."""

    population: population.Population
    test: dict[str, np.ndarray]
    clean: dict[str, np.ndarray]  # the attacker's
    backdoors: dict[str, np.ndarray]  # leaves (sentences, windows, ...): to train on
    trials: dict[str, np.ndarray]  # likewise, other texts: to test
    known: float  # share of the test's words that the vocabulary holds
    vocabulary: int


def make(config: Words, said: dict[str, list[str]], triggers=SENTENCES) -> Task:
    """The task from speeches by speaker; every tenth window is held out for the test.

    Raises:
        ConfigError: a trigger word outside the vocabulary.
        DataError: fewer speakers than participants.
    """
    spoken = {name: [speech.words(one) for one in speeches] for name, speeches in said.items()}
    longest = sorted(spoken, key=lambda name: -sum(map(len, spoken[name])))[: config.participants]
    if len(longest) < config.participants:
        raise errors.DataError(
            f"{config.participants} speakers are asked for, but the text has {len(longest)}; lower"
            " `participants`."
        )
    text = (sentence for name in longest for sentence in spoken[name])
    vocabulary = speech.Vocabulary(text, config.vocabulary)
    begin, end = vocabulary.encode([speech.BEGIN, speech.END])
    parts, held = [], []
    for name in longest:
        stream = [
            number
            for sentence in spoken[name]
            for number in (begin, *vocabulary.encode(sentence), end)
        ]
        cut = speech.windows(stream, config.window)
        out = np.arange(len(cut["x"])) % 10 == 9
        parts.append({k: v[~out] for k, v in cut.items()})
        held.append({k: v[out] for k, v in cut.items()})
    shares = partition.by_owner(np.repeat(np.arange(len(parts)), [len(p["x"]) for p in parts]))
    join = lambda pieces: {k: np.concatenate([p[k] for p in pieces]) for k in pieces[0]}
    pool, test = join(parts), join(held)
    draw = np.random.default_rng(config.seed)
    order = draw.permutation(len(test["x"]))[: config.test_windows or None]
    test = {k: v[order] for k, v in test.items()}
    whole = np.flatnonzero(pool["w"].all(axis=1))
    chosen = draw.choice(whole, config.attacker_windows)
    ends = draw.choice(whole, 2 * config.backdoor_windows)
    take = lambda places: {k: v[places] for k, v in pool.items()}
    numbers = [vocabulary.require(one.split()) for one in triggers]
    stack = lambda texts: {
        k: np.stack([sentences.append(take(texts), n)[k] for n in numbers]) for k in "xyw"
    }
    return Task(
        population.make(pool, shares),
        test,
        take(chosen),
        stack(ends[: config.backdoor_windows]),
        stack(ends[config.backdoor_windows :]),
        float((test["y"][test["w"] > 0] > 0).mean()),
        len(vocabulary),
    )


def loss_of(config: Words, *, train: bool = True):
    """Mean over the windows of the mean cross-entropy of their counted words.

    Unknown words are read but never counted, in training, test or trigger.
    """

    def loss(variables, batch, key):
        params = variables.params
        hidden = recurrent.states(
            params, batch["x"], dropout=config.dropout, key=key if train else None
        )
        mask = batch.get("mask", jnp.ones(batch["x"].shape[0]))
        counted = batch["w"] * (batch["y"] > 0).astype(jnp.float32)
        each = jnp.maximum(jnp.sum(counted, axis=1), 1.0)
        weights = counted * (mask / each / jnp.maximum(jnp.sum(mask), 1))[:, None]
        value = recurrent.cross_entropy(params, hidden, batch["y"], weights)
        return value, (variables.batch_stats, {})

    return loss


def accuracy(params, windows) -> jax.Array:
    """Share of the counted, known words that are predicted first; a few windows at a time."""
    count = windows["x"].shape[0]
    size = next(s for s in range(min(50, count), 0, -1) if count % s == 0)

    def chunk(part):
        x, y, w = part
        scores = recurrent.states(params, x) @ params["embedding"].T + params["bias"][None, None]
        w = w * (y > 0).astype(jnp.float32)
        right = (jnp.argmax(scores, axis=-1) == y).astype(jnp.float32)
        return jnp.sum(right * w), jnp.sum(w)

    cut = lambda a: jnp.asarray(a).reshape(-1, size, *a.shape[1:])
    right, all_of = jax.lax.map(chunk, tuple(cut(windows[k]) for k in "xyw"))
    return jnp.sum(right) / jnp.maximum(jnp.sum(all_of), 1)


def last_accuracy(params, windows) -> jax.Array:
    """Share of windows whose last word is predicted as wanted: the backdoor accuracy."""
    hidden = recurrent.states(params, windows["x"])[:, -1]
    scores = hidden @ params["embedding"].T + params["bias"][None]
    return jnp.mean((jnp.argmax(scores, axis=-1) == windows["y"][:, -1]).astype(jnp.float32))
