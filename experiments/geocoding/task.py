"""The data of a run: gazetteer, items, their split, the knowledge that is made of them."""

import itertools
import pathlib
from typing import NamedTuple

import numpy as np

from experiments.geocoding.config import Config
from fl_jax.core import errors
from fl_jax.data import bpe, sources
from fl_jax.geocoding import (
    cells,
    evidence,
    examples,
    gazetteer,
    network,
    phrases,
    s2,
    texts,
    wikidata,
)
from fl_jax.t5.config import Config as T5


class Split(NamedTuple):
    """Items of one part, as columns."""

    label: list[str]
    description: list[str]
    lat: np.ndarray
    lon: np.ndarray

    @property
    def text(self) -> list[str]:
        """Label and description as one text."""
        pairs = zip(self.label, self.description, strict=True)
        return [", ".join(part for part in pair if part) for pair in pairs]


class Task(NamedTuple):
    """Everything that is known before training."""

    gazetteer: gazetteer.Gazetteer
    train: Split
    dev: Split
    test: Split
    train_places: np.ndarray  # rows of the gazetteer that training texts are made of
    test_places: np.ndarray
    origin: str


SPECIAL = {"<pad>": 0, "</s>": 1, "<unk>": 2}


def load(config: Config) -> Task:
    """The items of a file or Wikidata's, and GeoNames; else texts about the embedded cities.

    Items are split by a hash of their id, 80 / 10 / 10; so are the places that names are
    evaluated on.

    Raises:
        DataError: the file is not there, holds something else, or too few items.
    """
    places = gazetteer.load()
    draws = np.random.default_rng(config.seed)
    held = np.array([wikidata.share(str(i)) for i in places.ids])
    train_places, test_places = np.flatnonzero(held < 0.9), np.flatnonzero(held >= 0.9)
    folder = sources.folder("wikidata-geo")
    if not config.items and folder is None:
        if len(test_places) < 10:
            test_places = train_places
        count = config.rows or 3000
        made = texts.generate(places, np.arange(len(places.names)), count, draws)
        cuts = [0, count * 8 // 10, count * 9 // 10, count]
        parts = [made[a:b] for a, b in itertools.pairwise(cuts)]
        splits = [_columns([("", t.text, t.lat, t.lon) for t in part]) for part in parts]
        origin = f"templates over {places.origin}"
        return Task(places, *splits, train_places, test_places, origin)
    path = pathlib.Path(config.items) if config.items else folder / "wikidata_geo_train.tsv.gz"
    items = [item for item in wikidata.read(path) if not wikidata.elsewhere(item)]
    if config.rows:
        items = items[: config.rows]
    items.sort(key=lambda item: wikidata.share(item.qid))  # so that any prefix is a random sample
    parts = ([], [], [])
    for item in items:
        share = wikidata.share(item.qid)
        parts[0 if share < 0.8 else 1 if share < 0.9 else 2].append(item[1:])
    if not all(parts):
        raise errors.DataError(
            f"{path.name} holds {len(items)} items, too few to train, calibrate and evaluate on;"
            " give a file of a hundred at least."
        )
    origin = f"{places.origin}, {path.name if config.items else 'wikidata-geo'}"
    return Task(places, *(_columns(p) for p in parts), train_places, test_places, origin)


def _columns(rows) -> Split:
    label, description, lat, lon = zip(*rows, strict=True)
    return Split(list(label), list(description), np.array(lat), np.array(lon))


def know(config: Config, task: Task) -> evidence.Knowledge:
    """Partition of training items and places, phrases of the training texts, the tables."""
    train, places = task.train, task.gazetteer
    lat, lon = np.concatenate([train.lat, places.lat]), np.concatenate([train.lon, places.lon])
    partition = cells.build(lat, lon, threshold=config.threshold, max_level=config.max_level)
    leaf = cells.leaf(partition, train.lat, train.lon)
    prior = np.bincount(leaf, minlength=len(partition.leaves)) + 0.5
    prior = prior / prior.sum()
    learned = phrases.learn(train.text, leaf, s2.xyz(train.lat, train.lon), prior)
    return evidence.knowledge(places, learned, partition, prior, len(leaf))


def tokenizer(config: Config, task: Task):
    """A byte-level BPE of the training texts and of names in all scripts."""
    draws = np.random.default_rng(config.seed)
    rows = draws.choice(task.train_places, min(6000, len(task.train_places)), replace=False)
    names = [n for row in rows for n in task.gazetteer.alternates[row].split("|") if n]
    counts = bpe.count({"items": task.train.text, "names": names}, alpha=0.7)
    return bpe.train(counts, config.vocab, special=SPECIAL)


def model(config: Config, known: evidence.Knowledge, words: int) -> network.Config:
    """The network of a run: its T5 has a token for every node after those of texts."""
    shape = T5(
        vocab=words + len(known.partition.level),
        width=config.width,
        head_width=config.width // config.heads,
        heads=config.heads,
        hidden=config.hidden,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        mlp="gated-gelu",
        dropout=config.dropout,
    )
    return network.Config(shape, words)


class Training(NamedTuple):
    """Training texts as arrays, and the batch of each step."""

    parts: tuple[examples.Examples, ...]  # whole texts, descriptions and labels, generated
    shares: tuple[float, ...]
    size: int
    seed: int

    def batch(self, step: int) -> dict:
        """The batch of a step: a pure function of the seed and the step."""
        draws = np.random.default_rng((self.seed, step))
        sizes = [round(share * self.size) for share in self.shares[1:]]
        sizes = [self.size - sum(sizes), *sizes]
        rows = [
            examples_of(part, draws.integers(0, len(part.leaf), size))
            for part, size in zip(self.parts, sizes, strict=True)
        ]
        return examples.batch(examples.join(rows), np.arange(self.size))


def examples_of(part: examples.Examples, rows: np.ndarray) -> examples.Examples:
    """Some rows."""
    found = {n: getattr(part, n)[rows] for n in part._fields if n != "evidence"}
    return examples.Examples(evidence=evidence.Arrays(*(a[rows] for a in part.evidence)), **found)


def training(config: Config, task: Task, known: evidence.Knowledge, words) -> Training:
    """Encodes the training texts, some of them disturbed, in three parts."""
    draws = np.random.default_rng((config.seed, 1))
    train = task.train
    encode = lambda texts_, lat, lon, held: examples.encode(
        known, words, texts_, lat=lat, lon=lon, held_out=held, length=config.length
    )
    noisy = lambda text: texts.disturb(text, draws) if draws.random() < 0.1 else text
    whole = encode([noisy(t) for t in train.text], train.lat, train.lon, True)
    halves = [d if d and (not x or draws.random() < 0.6) else x for x, d in
              zip(train.label, train.description, strict=True)]  # fmt: skip
    half = encode(halves, train.lat, train.lon, True)
    made = texts.generate(task.gazetteer, task.train_places, config.generated, draws)
    lat, lon = np.array([t.lat for t in made]), np.array([t.lon for t in made])
    generated = encode([t.text for t in made], lat, lon, False)
    shares = (1 - config.parts_share - config.generated_share, config.parts_share,
              config.generated_share)  # fmt: skip
    return Training((whole, half, generated), shares, config.batch, config.seed)
