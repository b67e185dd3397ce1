"""Membership from the embedding layer: which texts stood in a batch."""

import functools
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.leakage import data
from experiments.leakage.config import Config
from fl_jax.nn import loss as losses
from privacy.leakage import collaborative, draws, embedding, networks

PROBES = 20  # rounds whose batch is attacked, evenly over the run
RATE = 1.0  # of SGD: embeddings' gradients are small


def run(config: Config, done: Collection[tuple[str, int]] = ()) -> Iterator[dict]:
    """A row a batch size, vocabulary and seed: precision, recall, accuracy of the main task.

    Args:
        config: of the experiment.
        done: (name, seed) of rows that there are and that are not made again.
    """
    texts = data.texts(
        config.texts, vocabulary=config.vocabulary, length=config.length, seed=config.seed
    )
    for size in (config.vocabulary, *config.truncated):
        for batch in config.word_batches if size == config.vocabulary else config.word_batches[:1]:
            name = f"batch {batch}, vocabulary {size}"
            for seed in range(config.seed, config.seed + config.seeds):
                if (name, seed) in done:
                    continue
                found = attack(config, texts, min(size, len(texts.vocabulary)), batch, seed)
                yield {
                    "name": name,
                    "seed": seed,
                    "batch": batch,
                    "vocabulary": size,
                    "texts": texts.origin,
                    **found,
                }


class Program(NamedTuple):
    """The compiled parts, one for all seeds."""

    start: Any
    advance: Any
    predict: Any
    contains: Any


@functools.cache
def program(size: int, classes: int) -> Program:
    """Two participants train on words; of each round the observed vocabulary is kept."""
    model = networks.make(networks.BagOfWords, vocabulary=size, classes=classes)
    protocol = collaborative.synchronised_sgd(losses.classification(model.network), rate=RATE)
    learning = collaborative.make(protocol, np.ones(2))
    view = collaborative.view("participant", protocol, 2)

    def record(before, after, info, examples, batch, key):
        seen = view.observe(before, after, info)["embedding"]
        return embedding.vocabulary(seen).support

    return Program(
        jax.jit(lambda key: learning.init(model.network.init(key)[0], ())),
        jax.jit(collaborative.run(learning, record)),
        jax.jit(lambda params, x: jnp.argmax(model.network.apply(params, {}, x)[0], axis=-1)),
        jax.jit(embedding.members),
    )


def attack(config: Config, texts: data.Texts, size: int, batch: int, seed: int) -> dict:
    """Two participants train; the adversary differences models and reads the vocabulary."""
    compiled = program(size, texts.classes)
    rows = np.asarray(embedding.truncate(jnp.asarray(texts.words), size))
    order = np.random.default_rng(seed).permutation(len(rows))
    cut = len(order) // 3
    # The victim's, the adversary's, and texts of nobody's: of these the non-members are drawn.
    pools = np.split(order, [cut, 2 * cut])
    held = {"x": jnp.asarray(rows), "y": jnp.asarray(texts.labels)}
    streams = [draws.Stream(pool, str(i), seed=seed) for i, pool in enumerate(pools[:2])]
    rounds = range(config.word_rounds)
    taken = np.stack([np.stack([s.take(t * batch, batch) for s in streams]) for t in rounds])

    key = jax.random.key(seed)
    end, support = compiled.advance(compiled.start(key), held, {"participants": taken}, key)
    every = max(config.word_rounds // PROBES, 1)
    draw = np.random.default_rng((seed, 1))
    quality = []
    for t in rounds[every - 1 :: every]:
        outside = draw.choice(pools[2], batch, replace=len(pools[2]) < batch)
        inside, wrong = (
            compiled.contains(support[t], held["x"][i]) for i in (taken[t, 0], outside)
        )
        quality.append(embedding.quality(inside, wrong))
    right = np.asarray(compiled.predict(end.params, held["x"][pools[2]])) == texts.labels[pools[2]]
    return {
        "precision": float(np.mean([q.precision for q in quality])),
        "recall": float(np.mean([q.recall for q in quality])),
        "accuracy": float(np.mean(right)),
        "majority": float(np.bincount(texts.labels[pools[2]]).max() / len(pools[2])),
    }
