"""Training a geocoder: texts and where they are in, a geocoder out.

    made = train.train(texts, lat, lon)
    calibrate.fit(made, other_texts, other_lat, other_lon)
    store.save(made, "geocoder")

Three kinds of texts are mixed in every batch: the texts themselves, their parts (a name or a
description alone), and texts generated from the gazetteer's names. The texts also give what
others are looked up in: the cells, and the phrases with the places of the texts that have them;
a text's own place is taken out of these when it is trained on.
"""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from fl_jax.core import errors, rng
from fl_jax.core.types import PyTree
from fl_jax.data import bpe, tokenizer
from fl_jax.geocoding import (
    cells,
    evidence,
    examples,
    gazetteer,
    network,
    phrases,
    placehood,
    s2,
    telling,
)
from fl_jax.geocoding import texts as texts_
from fl_jax.geocoding import words as words_
from fl_jax.geocoding.geocoder import Geocoder
from fl_jax.geocoding.settings import Settings
from fl_jax.t5.config import Config as T5
from fl_jax.train import checkpoint, loop, metrics, optimizer, pieces, schedule, state, step

SPECIAL = {"<pad>": 0, "</s>": 1, "<unk>": 2}
NAMES = 6000  # places whose names the tokenizer is trained on at most
TOLD = 12_000  # texts that names are told from words by at most
MADE = 1000  # texts that are generated for that at least; else half as many


class Corpus(NamedTuple):
    """What a geocoder is trained on."""

    text: Sequence[str]
    lat: np.ndarray  # (texts,) degrees
    lon: np.ndarray
    parts: Sequence[tuple[str, str]]  # name and description of each text; empty: none are known
    places: gazetteer.Gazetteer
    rows: np.ndarray  # of the gazetteer, from which texts are generated


class Start(NamedTuple):
    """What is made of a corpus before training."""

    known: evidence.Knowledge
    words: tokenizer.Tokenizer
    net: network.Config

    def geocoder(self, params: PyTree) -> Geocoder:
        """The geocoder with these parameters, not calibrated."""
        return Geocoder(params, self.net, self.known, self.words)


class Training(NamedTuple):
    """Training texts as arrays, and the batch of each step."""

    parts: tuple[examples.Examples, ...]
    shares: tuple[float, ...]  # of a batch
    size: int
    seed: int

    def batch(self, step: int) -> dict:
        """The batch of a step: a pure function of the seed and the step."""
        draws = np.random.default_rng((self.seed, step))
        sizes = [round(share * self.size) for share in self.shares[1:]]
        sizes = [self.size - sum(sizes), *sizes]
        rows = [
            examples.take(part, draws.integers(0, len(part.leaf), size))
            for part, size in zip(self.parts, sizes, strict=True)
        ]
        return examples.batch(examples.join(rows), np.arange(self.size))


def train(
    texts: Sequence[str],
    lat: np.ndarray,
    lon: np.ndarray,
    *,
    parts: Sequence[tuple[str, str]] = (),
    places: gazetteer.Gazetteer | None = None,
    rows: np.ndarray | None = None,
    placeless: Sequence[str] = (),
    prose: Sequence[str] = (),
    settings: Settings | None = None,
    folder=None,
    resume: bool = False,
) -> Geocoder:
    """The geocoder of these texts, not calibrated: `calibrate.fit` does that with other texts.

    Args:
        texts: any that say where something is.
        lat, lon: (texts,) where it is, in degrees.
        parts: name and description of each text, either may be empty; each is trained on alone
            as well.
        places: the gazetteer; `gazetteer.load()` unless given. Whoever loads the geocoder again
            needs the same.
        rows: of the gazetteer, from which texts are generated; all unless given.
        placeless: sentences that name no place, in any languages: what `mention` knows of words.
        prose: texts whose words without a capital are no places, likewise.
        settings: of cells, network and training; `Settings()` unless given.
        folder: for checkpoints and metrics.jsonl; nothing is written without one.
        resume: goes on from the newest checkpoint in the folder.

    Raises:
        DataError: no texts, or something that is no place or no parts for each.
        ConfigError: settings that cannot work.
    """
    corpus = check(texts, lat, lon, parts, places, rows)
    settings = settings or Settings()
    if not settings.steps > settings.warmup >= 0:
        raise errors.ConfigError(
            f"a training of {settings.steps} steps is over before its warmup of"
            f" {settings.warmup}; take fewer steps of warmup, or more steps."
        )
    start = prepare(settings, corpus)
    made = start.geocoder(fit(settings, corpus, start, folder, resume))
    made.told = tell(corpus, start.known, placeless, prose, seed=settings.seed)
    return made


def check(texts, lat, lon, parts=(), places=None, rows=None) -> Corpus:
    """The corpus of what `train` is given.

    Raises:
        DataError: as `train` does.
    """
    texts = words_.strings(texts)
    lat, lon = np.asarray(lat, np.float64), np.asarray(lon, np.float64)
    if not texts or not lat.shape == lon.shape == (len(texts),):
        raise errors.DataError(
            f"training needs texts with a latitude and a longitude for each, got {len(texts)}"
            f" texts, latitudes {lat.shape} and longitudes {lon.shape}."
        )
    wrong = np.flatnonzero(~((np.abs(lat) <= 90) & (np.abs(lon) <= 180)))
    if len(wrong):
        n = int(wrong[0])
        raise errors.DataError(
            f"text {n} lies at {lat[n]}, {lon[n]}, which is no place on Earth; give degrees,"
            " latitude first."
        )
    if len(parts) not in (0, len(texts)):
        raise errors.DataError(
            f"there are {len(texts)} texts and the parts of {len(parts)}; give the parts of each"
            " or none."
        )
    places = gazetteer.load() if places is None else places
    rows = np.arange(len(places.names)) if rows is None else rows
    return Corpus(texts, lat, lon, parts, places, rows)


def prepare(settings: Settings, corpus: Corpus) -> Start:
    """Cells, phrases, tokenizer and the shape of the network."""
    known, words = know(settings, corpus), vocabulary(settings, corpus)
    return Start(known, words, model(settings, known, words.size))


def know(settings: Settings, corpus: Corpus) -> evidence.Knowledge:
    """Partition of the texts and the places, phrases of the texts, the tables."""
    places = corpus.places
    lat, lon = np.concatenate([corpus.lat, places.lat]), np.concatenate([corpus.lon, places.lon])
    partition = cells.build(lat, lon, threshold=settings.threshold, max_level=settings.max_level)
    leaf = cells.leaf(partition, corpus.lat, corpus.lon)
    prior = np.bincount(leaf, minlength=len(partition.leaves)) + 0.5
    prior = prior / prior.sum()
    learned = phrases.learn(corpus.text, leaf, s2.xyz(corpus.lat, corpus.lon), prior)
    return evidence.knowledge(places, learned, partition, prior, len(leaf))


def tell(
    corpus: Corpus,
    known: evidence.Knowledge,
    placeless: Sequence[str] = (),
    prose: Sequence[str] = (),
    *,
    seed: int = 0,
) -> placehood.Placehood:
    """What tells names from words, learned from the texts and from ones that are generated."""
    draws = np.random.default_rng((seed, 2))
    count = min(TOLD, len(corpus.text))
    rows = draws.choice(len(corpus.text), count, replace=False)
    made = texts_.generate(corpus.places, corpus.rows, max(count // 2, MADE), draws)
    made = [m for m in made if m.kind != "two places"]  # one of which would be taken for a word
    return telling.fit(
        known,
        [*(corpus.text[row] for row in rows), *(m.text for m in made)],
        np.concatenate([corpus.lat[rows], [m.lat for m in made]]),
        np.concatenate([corpus.lon[rows], [m.lon for m in made]]),
        placeless=placeless,
        prose=prose,
        seed=seed,
    )


def vocabulary(settings: Settings, corpus: Corpus) -> tokenizer.Tokenizer:
    """A byte-level BPE of the texts and of names in all scripts."""
    draws = np.random.default_rng(settings.seed)
    rows = draws.choice(corpus.rows, min(NAMES, len(corpus.rows)), replace=False)
    names = [n for row in rows for n in corpus.places.alternates[row].split("|") if n]
    counts = bpe.count({"items": corpus.text, "names": names}, alpha=0.7)
    return bpe.train(counts, settings.vocab, special=SPECIAL)


def model(settings: Settings, known: evidence.Knowledge, words: int) -> network.Config:
    """The network: its T5 has a token for every node after those of texts."""
    shape = T5(
        vocab=words + len(known.partition.level),
        width=settings.width,
        head_width=settings.width // settings.heads,
        heads=settings.heads,
        hidden=settings.hidden,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers,
        mlp="gated-gelu",
        dropout=settings.dropout,
    )
    return network.Config(shape, words)


def encode(settings: Settings, corpus: Corpus, start: Start) -> Training:
    """The training texts as arrays, some of them disturbed."""
    draws = np.random.default_rng((settings.seed, 1))

    def arrays(texts, lat, lon, held_out):
        return examples.encode(
            start.known, start.words, texts, lat=lat, lon=lon, held_out=held_out,
            length=settings.length,
        )  # fmt: skip

    noisy = lambda text: texts_.disturb(text, draws) if draws.random() < 0.1 else text
    whole = arrays([noisy(t) for t in corpus.text], corpus.lat, corpus.lon, True)
    parts, shares = [whole], []
    if len(corpus.parts):
        one = [d if d and (not n or draws.random() < 0.6) else n for n, d in corpus.parts]
        parts.append(arrays(one, corpus.lat, corpus.lon, True))
        shares.append(settings.parts_share)
    if settings.generated:
        made = texts_.generate(corpus.places, corpus.rows, settings.generated, draws)
        lat, lon = np.array([t.lat for t in made]), np.array([t.lon for t in made])
        parts.append(arrays([t.text for t in made], lat, lon, False))
        shares.append(settings.generated_share)
    return Training(tuple(parts), (1 - sum(shares), *shares), settings.batch, settings.seed)


def fit(
    settings: Settings, corpus: Corpus, start: Start, folder=None, resume: bool = False
) -> PyTree:
    """The parameters after all steps.

    Args:
        settings: of the training.
        corpus: what is trained on.
        start: from `prepare`.
        folder: for `checkpoints/` and `metrics.jsonl`: the losses of the path, of the evidence
            alone and of the pointer; nothing is written without one.
        resume: goes on from the newest checkpoint in the folder.
    """
    data = encode(settings, corpus, start)
    decay = schedule.Schedule(
        "cosine", warmup=settings.warmup, decay_steps=settings.steps - settings.warmup, final=0.02
    )
    rule = optimizer.make(
        optimizer.Optimizer(
            "adamw",
            rate=settings.rate,
            weight_decay=settings.weight_decay,
            clip_norm=1.0,
            schedule=decay,
        ),
        decay_mask=optimizer.decay_matrices,
    )
    key = jax.random.key(settings.seed)
    params = network.init(rng.fold(key, "init"), start.net)
    begun = state.init(state.Variables(params, {}), rule)
    losses = network.losses(start.net, network.tables(start.known))
    compiled = jax.jit(
        step.make(losses, rule), donate_argnums=0, compiler_options=pieces.compiler_options(params)
    )

    def advance(current, at):
        infos = []
        for n in range(at, at + settings.stride):
            current, info = compiled(current, data.batch(n), rng.fold(key, "step", n))
            infos.append(info)
        return current, infos

    def rows(infos, at):
        row = {"step": at}
        for name in ("path", "evidence", "pointer"):
            row[name] = float(np.mean([float(i.metrics[name]) for i in infos]))
        return [row]

    def failed(infos):
        flags = [bool(info.finite) for info in reversed(infos)]
        return flags.index(True) if True in flags else len(flags)

    with contextlib.ExitStack() as stack:
        saved = written = None
        if folder is not None:
            folder = pathlib.Path(folder)
            saved = stack.enter_context(checkpoint.Checkpoints(folder / "checkpoints", keep=2))
            written = stack.enter_context(metrics.Metrics(folder / "metrics.jsonl"))
        end = loop.run(
            advance,
            begun,
            steps=settings.steps,
            stride=settings.stride,
            checkpoints=saved,
            save_every=settings.save_every,
            resume=resume,
            metrics=written,
            rows=rows,
            progress=stack.enter_context(metrics.Progress(settings.steps)),
            failed=failed,
        )
    return end.variables.params
