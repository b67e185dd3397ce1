"""The data of a run: gazetteer, items, their split."""

import itertools
import pathlib
from typing import NamedTuple

import numpy as np

from experiments.geocoding.config import Config
from fl_jax.core import errors
from fl_jax.data import sources
from fl_jax.geocoding import gazetteer, texts, train, wikidata


class Split(NamedTuple):
    """Items of one part, as columns."""

    label: list[str]
    description: list[str]
    lat: np.ndarray
    lon: np.ndarray

    @property
    def text(self) -> list[str]:
        """Label and description as one text."""
        return [", ".join(part for part in pair if part) for pair in self.parts]

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Label and description of each."""
        return list(zip(self.label, self.description, strict=True))


class Task(NamedTuple):
    """Everything that is known before training."""

    gazetteer: gazetteer.Gazetteer
    train: Split
    dev: Split
    test: Split
    train_places: np.ndarray  # rows of the gazetteer that training texts are made of
    test_places: np.ndarray
    origin: str

    @property
    def corpus(self) -> train.Corpus:
        """What is trained on."""
        own = self.train
        return train.check(own.text, own.lat, own.lon, own.parts, self.gazetteer, self.train_places)


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
        why = (
            "too few to train, calibrate and evaluate on; give a file of a hundred at least."
            if len(items) < 100
            else "whose ids put none in one of the three parts; give each an id of its own."
        )
        raise errors.DataError(f"{path.name} holds {len(items)} items, {why}")
    origin = f"{places.origin}, {path.name if config.items else 'wikidata-geo'}"
    return Task(places, *(_columns(p) for p in parts), train_places, test_places, origin)


def _columns(rows) -> Split:
    label, description, lat, lon = zip(*rows, strict=True)
    return Split(list(label), list(description), np.array(lat), np.array(lon))
