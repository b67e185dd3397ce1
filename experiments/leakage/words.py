"""Membership from the embedding layer: which texts stood in a batch."""

import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.leakage import data
from experiments.leakage.config import Config
from fl_jax.nn import loss as losses
from privacy.leakage import collaborative, draws, embedding, networks

PROBES = 20  # rounds whose batch is attacked, evenly over the run
RATE = 1.0  # of SGD: embeddings' gradients are small


def run(config: Config, task, directory: pathlib.Path) -> Iterator[dict]:
    """A row a batch size and vocabulary: precision, recall, accuracy of the main task."""
    del task, directory
    texts = data.texts(
        config.texts, vocabulary=config.vocabulary, length=config.length, seed=config.seed
    )
    for size in (config.vocabulary, *config.truncated):
        for batch in config.word_batches if size == config.vocabulary else config.word_batches[:1]:
            for seed in range(config.seed, config.seed + config.seeds):
                found = attack(config, texts, min(size, len(texts.vocabulary)), batch, seed)
                yield {
                    "name": f"batch {batch}, vocabulary {size}",
                    "seed": seed,
                    "batch": batch,
                    "vocabulary": size,
                    "texts": texts.origin,
                    **found,
                }


def attack(config: Config, texts: data.Texts, size: int, batch: int, seed: int) -> dict:
    """Two participants train; the adversary differences models and reads the vocabulary."""
    model = networks.make(networks.BagOfWords, vocabulary=size, classes=texts.classes)
    protocol = collaborative.synchronised_sgd(losses.classification(model.network), rate=RATE)
    learning = collaborative.make(protocol, np.ones(2))
    view = collaborative.view("participant", protocol, 2)
    rows = np.asarray(embedding.truncate(jnp.asarray(texts.words), size))
    order = np.random.default_rng(seed).permutation(len(rows))
    cut = len(order) // 3
    # The victim's, the adversary's, and texts of nobody's: of these the non-members are drawn.
    pools = np.split(order, [cut, 2 * cut])
    held = {"x": jnp.asarray(rows), "y": jnp.asarray(texts.labels)}
    streams = [draws.Stream(pool, str(i), seed=seed) for i, pool in enumerate(pools[:2])]
    rounds = range(config.word_rounds)
    taken = np.stack([np.stack([s.take(t * batch, batch) for s in streams]) for t in rounds])

    def record(before, after, info, examples, batch, key):
        seen = view.observe(before, after, info)["embedding"]
        return embedding.vocabulary(seen).support

    many = jax.jit(collaborative.run(learning, record))
    params, _ = model.network.init(jax.random.key(seed))
    end, support = many(
        learning.init(params, ()), held, {"participants": taken}, jax.random.key(seed)
    )
    every = max(config.word_rounds // PROBES, 1)
    draw = np.random.default_rng((seed, 1))
    quality = []
    for t in rounds[every - 1 :: every]:
        outside = draw.choice(pools[2], batch, replace=len(pools[2]) < batch)
        inside = embedding.members(support[t], held["x"][taken[t, 0]])
        quality.append(embedding.quality(inside, embedding.members(support[t], held["x"][outside])))
    logits, _ = model.network.apply(end.params, {}, held["x"][pools[2]])
    right = jnp.argmax(logits, axis=-1) == held["y"][pools[2]]
    return {
        "precision": float(np.mean([q.precision for q in quality])),
        "recall": float(np.mean([q.recall for q in quality])),
        "accuracy": float(jnp.mean(right.astype(jnp.float32))),
        "majority": float(np.bincount(texts.labels[pools[2]]).max() / len(pools[2])),
    }
