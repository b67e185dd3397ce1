"""The geocoder: texts in, places with probabilities out."""

import functools
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import PyTree
from fl_jax.data import tokenizer
from fl_jax.geocoding import (
    area,
    calibrate,
    cells,
    density,
    estimate,
    evidence,
    examples,
    gazetteer,
    network,
    placehood,
    posterior,
    words,
)

LENGTHS = (32, 128)  # tokens of a text; the shortest that holds it is taken, the rest cut off
BATCHES = (1, 8, 64)  # texts computed together, filled up to one of these sizes
# Texts from which on a size is worth it: a batch costs the same however full it is, so a few
# texts are sooner done one by one, and forty in five eights than in one of 64.
LEAST = (1, 5, 49)
CAPACITIES = (32, 128, None)  # nodes expanded at each depth, tried in turn, in large trees
SMALL_TREE = 800  # inner nodes up to which expanding all at once is faster than trying less first
LIMIT = 10_000  # characters of a text


class Answer(NamedTuple):
    """Where a text is."""

    text: str
    lat: float  # degrees; NaN where the geocoder abstains
    lon: float
    confidence: float  # probability that the truth is within 161 km of the point
    place: int  # row of the gazetteer that the point is, -1 if it is none
    alternatives: tuple[tuple[int, float], ...]  # (row, probability) of the places named
    nested: tuple[tuple[int, float], ...]  # (node, p) from the face down
    cells: estimate.Cells  # the posterior
    points: density.Points  # that the text points at
    residual: float  # mass on inner cells

    @property
    def found(self) -> bool:
        """Whether there is an answer at all."""
        return not np.isnan(self.lat)


class Inference(NamedTuple):
    """What the network says of one text."""

    logs: np.ndarray  # (nodes,) log p of every cell that was reached
    stopped: np.ndarray  # (nodes,) cells that the mass lies on
    residual: float
    points: np.ndarray  # (candidates, 3) unit vectors
    pointer: np.ndarray  # (candidates,) probability that one is the place
    places: np.ndarray  # (candidates,) row of the gazetteer, -1 where none
    evidence: bool  # whether anything in the text is known

    @property
    def pointed(self) -> density.Points:
        """The candidates as a density takes them."""
        return density.Points(self.points, self.pointer, (self.places < 0).astype(np.int64))


class Geocoder:
    """A trained network with all that it knows.

    Args:
        params: of the network.
        config: of the network.
        known: gazetteer, phrases, partition.
        words: the tokenizer.
        calibration: from a held-out split.
        told: what tells names from words, from `telling.fit`; `mention` needs it.
    """

    def __init__(
        self,
        params: PyTree,
        config: network.Config,
        known: evidence.Knowledge,
        words: tokenizer.Tokenizer,
        calibration: calibrate.Calibration | None = None,
        told: placehood.Placehood | None = None,
    ):
        self.params, self.config, self.known, self.words = params, config, known, words
        self.told = told
        self.calibrate(calibration or calibrate.identity(known.partition.depth))

    @property
    def partition(self) -> cells.Partition:
        """The cells."""
        return self.known.partition

    @property
    def gazetteer(self) -> gazetteer.Gazetteer:
        """The places."""
        return self.known.gazetteer

    @functools.cached_property
    def grid(self) -> density.Grid:
        """The leaves divided where the gazetteer's places lie: made when it is first asked for."""
        return density.grid(self.partition, self.gazetteer.lat, self.gazetteer.lon)

    @functools.cached_property
    def people(self) -> np.ndarray:
        """(regions,) float64, how many live in the places of each."""
        places = self.gazetteer
        found = np.zeros(len(places.regions))
        for column in (places.country, places.admin1):
            known = column >= 0
            np.add.at(found, column[known], places.population[known])
        return found

    def inside(self, own: estimate.Cells, points: density.Points) -> density.Density:
        """How the mass of an answer (`Answer.cells`, `Answer.points`) lies inside the cells."""
        mass = cells.leaf_mass(self.partition, own.node, own.mass)
        return density.spread(self.grid, mass, points, self.calibration.spread)

    def calibrate(self, calibration: calibrate.Calibration) -> None:
        """Takes these temperatures and masses from now on."""
        self.calibration = calibration
        self.tables = network.tables(self.known, calibration.temperature)

    def warm(self, *, lengths: Sequence[int] = LENGTHS, batches: Sequence[int] = BATCHES) -> None:
        """Makes everything that a service may need, so that no query waits for it."""
        _ = self.grid
        for length in lengths:
            for size in batches:
                data = examples.encode(self.known, self.words, ["London"] * size, length=length)
                encoded = self._encode(data, size)[1]
                for capacity in self._capacities(0.05):
                    jax.block_until_ready(self._expand(encoded, capacity))

    def geocode(
        self,
        texts: Sequence[str],
        *,
        residual: float = 0.05,
        snap: bool = True,
        abstain: bool = True,
        within: area.Area = area.Area(),
    ) -> list[Answer]:
        """Where the texts are.

        Args:
            texts: any; empty ones have no place.
            residual: posterior mass that may stay on inner cells; 0 = every leaf.
            snap: whether the answer may be a place of the gazetteer.
            abstain: whether an answer that is too uncertain is withheld.
            within: where the places that are meant lie; an answer that is no place may lie outside.

        Raises:
            DataError: a text longer than `LIMIT` characters, or what is no list of texts.
            ConfigError: a residual or an area that cannot be.
        """
        texts = words.strings(texts)
        if not isinstance(residual, numbers.Real) or not 0 <= residual < 1:
            raise errors.ConfigError(f"residual is a mass from 0 to below 1, got {residual!r}.")
        if not isinstance(within, area.Area):
            raise errors.ConfigError(f"within is an area.Area, got {type(within).__name__}.")
        for text in texts:
            if len(text) > LIMIT:
                raise errors.DataError(
                    f"a text has {len(text)} characters and the limit is {LIMIT}; send the part"
                    " that names the place."
                )
        found = self.infer(texts, residual, within)
        pairs = zip(texts, found, strict=True)
        return [self.answer(text, own, snap=snap, abstain=abstain) for text, own in pairs]

    def encode(
        self,
        texts: Sequence[str],
        weights: np.ndarray | None = None,
        names: Sequence[tuple[int, int]] | None = None,
    ) -> tuple[examples.Examples, network.Encoded]:
        """The texts after the encoder, filled up to a size that is compiled already.

        Args:
            texts: any.
            weights: (places,) as for `evidence.look_up`.
            names: as for `examples.encode`.
        """
        return self._encode(self._examples(texts, weights, names), self._fill(len(texts)))

    def expand(
        self, encoded: network.Encoded, count: int, residual: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(log p (count, nodes), stopped (count, nodes), residual (count,)) of encoded texts.

        The texts whose residual is too large are expanded again with more room.
        """
        todo = np.arange(count)
        logs = stopped = left = None
        for capacity in self._capacities(residual):
            padded = self._fill(len(todo))
            rows = np.concatenate([todo, np.zeros(padded - len(todo), todo.dtype)])
            whole = len(todo) == count and encoded.mixture.shape[0] == padded
            found = self._expand(encoded if whole else take(encoded, rows), capacity)
            own = [np.asarray(a)[: len(todo)] for a in found]
            if logs is None:
                logs, stopped, left = (a.copy() for a in own)
            else:
                logs[todo], stopped[todo], left[todo] = own
            todo = np.flatnonzero(left > residual)
            if not len(todo):
                break
        return logs, stopped, left

    def infer(
        self, texts: Sequence[str], residual: float, within: area.Area = area.Area()
    ) -> list["Inference"]:
        """The posteriors of texts, from which any answer can be made without computing again.

        Args:
            texts, residual, within: as for `geocode`, of any length.

        Raises:
            DataError: what is no list of texts.
        """
        texts = words.strings(texts)
        weights = within.weights(self.gazetteer)
        found: list[Any] = [None] * len(texts)
        for rows in self._chunks(texts):
            data, encoded = self.encode([texts[r] for r in rows], weights)
            logs, stopped, left = self.expand(encoded, len(rows), residual)
            pointer = np.asarray(encoded.pointer)[: len(rows)] / self.calibration.pointer
            pointer = np.exp(pointer - np.logaddexp.reduce(pointer, axis=1, keepdims=True))
            points = examples.unit(evidence.candidates(data.evidence.points).astype(np.float64))
            present = evidence.candidates(data.evidence.there)
            fill = [(0, 0), (0, evidence.PHRASES)]
            places = np.pad(data.evidence.place, fill, constant_values=-1)
            for n, row in enumerate(rows):
                there = np.flatnonzero(present[n])
                found[row] = Inference(
                    logs[n], stopped[n], float(left[n]), points[n, there],
                    pointer[n, there].astype(np.float64), places[n, there],
                    bool(data.evidence.there[n].any()),
                )  # fmt: skip
        return found

    def answer(self, text: str, found: "Inference", *, snap=True, abstain=True) -> Answer:
        """The answer that an inference leads to; arguments as for `geocode`."""
        own = estimate.distribution(found.logs, found.stopped)
        choice = estimate.choose(self.partition, own, found.points, found.pointer, snap=snap)
        lat, lon = estimate.coordinates(choice.point)
        place = -1 if choice.spot < 0 else int(found.places[choice.spot])
        if place >= 0:  # as the gazetteer has it, whose points came through float32
            lat, lon = float(self.gazetteer.lat[place]), float(self.gazetteer.lon[place])
        mass = cells.leaf_mass(self.partition, own.node, own.mass)
        near = density.near(self.grid, mass, found.pointed, choice.point, calibrate.RIGHT_KM)
        silent = not found.evidence or near < self.calibration.abstain
        if abstain and (silent or not text.strip()):
            lat = lon = np.nan
        named = [
            (int(row), float(p))
            for row, p in zip(found.places, found.pointer, strict=True)
            if row >= 0
        ]
        named.sort(key=lambda pair: -pair[1])
        nested = tuple(estimate.nested(self.partition, found.logs))
        return Answer(
            text, lat, lon, near, place, tuple(named), nested, own, found.pointed,
            found.residual,
        )  # fmt: skip

    def _chunks(self, texts):
        """Rows that are computed together: texts of one length class, in sizes that pay."""
        classes: dict[int, list[int]] = {}
        for row, text in enumerate(texts):
            classes.setdefault(self._length(text), []).append(row)
        for rows in classes.values():
            while rows:
                pairs = zip(BATCHES[::-1], LEAST[::-1], strict=True)
                size = next(n for n, least in pairs if len(rows) >= least)
                yield rows[:size]
                rows = rows[size:]

    def _length(self, text) -> int:
        size = len(self.words.encode(text[: 8 * LENGTHS[-1]]))
        return next((n for n in LENGTHS if size <= n), LENGTHS[-1])

    def _examples(self, texts, weights=None, names=None) -> examples.Examples:
        length = max((self._length(t) for t in texts), default=LENGTHS[0])
        return examples.encode(
            self.known, self.words, texts, length=length, weights=weights, names=names
        )

    def _encode(self, data, fill):
        batch = examples.batch(data, np.arange(len(data.leaf)), fill=fill)
        kept = {k: batch[k] for k in _READ}
        return data, posterior.encode(self.params, self.config, self.tables, kept)

    def _expand(self, encoded, capacity) -> posterior.Posterior:
        widths = posterior.widths(self.partition, capacity)
        return posterior.expand(self.params, self.config, self.tables, encoded, widths)

    def _capacities(self, residual) -> tuple[int | None, ...]:
        inner = len(self.partition.level) - len(self.partition.leaves)
        return CAPACITIES if residual > 0 and inner > SMALL_TREE else (None,)

    def _fill(self, count) -> int:
        return next((n for n in BATCHES if count <= n), count)


_READ = ("tokens", "mask", "dense", "phrase", "features", "points", "there")


def take(encoded: network.Encoded, rows: np.ndarray) -> network.Encoded:
    """Some texts of a batch."""
    memory = encoded.memory
    memory = memory._replace(k=memory.k[:, rows], v=memory.v[:, rows], mask=memory.mask[rows])
    return network.Encoded(
        memory, encoded.weights[rows], encoded.mixture[rows], encoded.pointer[rows]
    )
