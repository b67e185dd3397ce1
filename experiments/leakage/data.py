"""Readers of the sets that are not images in NumPy files: faces, texts, CIFAR-100."""

import collections
import io
import re
import tarfile
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.data import files, sources

RACES = ("Asian", "White", "Black")


class Faces(NamedTuple):
    """Labeled Faces in the Wild, cropped as in the authors' code."""

    images: np.ndarray  # (n, 62, 47, 3) uint8
    gender: np.ndarray  # (n,) 1 = male, 0 = female
    race: np.ndarray  # (n,) place in RACES, -1 = no score above -0.1
    smile: np.ndarray  # (n,) 1 = smiling
    origin: str


def lfw() -> Faces:
    """LFW from its own archive, $FL_JAX_DATA/lfw/lfw.tgz, with lfw_attributes.txt beside it.

    Gender and smile are the signs of their attribute scores; race is the largest score of its
    group. Rows 70:195 and columns 78:172 of each image, halved.

    Raises:
        DataError: the folder or one of its files is not there, or holds something else.
    """
    from PIL import Image

    folder = sources.require("lfw")
    archive, table = folder / "lfw.tgz", folder / "lfw_attributes.txt"
    for path in (archive, table):
        if not path.is_file():
            raise errors.DataError(
                f"LFW needs lfw.tgz (the images) and lfw_attributes.txt (the attribute scores) in"
                f" {folder}, but {path.name} is missing; put the published files there."
            )
    lines = [line for line in table.read_text().splitlines() if line.strip()]
    names = next((ln for ln in lines if ln.startswith("#") and "\t" in ln), "").lstrip("# \t")
    columns = names.split("\t")
    wanted = ("person", "imagenum", "Male", "Smiling", *RACES)
    if not set(wanted) <= set(columns):
        raise errors.DataError(
            f"lfw_attributes.txt should name the columns {', '.join(wanted)}, but it names"
            f" {', '.join(columns[:8])}; put the published file in its place."
        )
    scores = {}
    for line in lines:
        if not line.startswith("#"):
            row = dict(zip(columns, line.split("\t"), strict=True))
            key = f"{row['person'].replace(' ', '_')}_{int(row['imagenum']):04d}"
            scores[key] = [float(row[name]) for name in wanted[2:]]
    images, found = [], []
    with tarfile.open(archive) as file:
        for member in file:
            key = member.name.rpartition("/")[2].removesuffix(".jpg")
            if key in scores:
                picture = Image.open(io.BytesIO(file.extractfile(member).read())).convert("RGB")
                face = np.asarray(picture, np.float32)[70:195, 78:172]
                halved = face[:124, :94].reshape(62, 2, 47, 2, 3).mean(axis=(1, 3))
                images.append(np.round(halved).astype(np.uint8))
                found.append(scores[key])
    if not images:
        raise errors.DataError("no image of lfw.tgz has a row in lfw_attributes.txt.")
    score = np.array(found)
    race = np.where(score[:, 2:].max(axis=1) < -0.1, -1, score[:, 2:].argmax(axis=1))
    sign = lambda column: (score[:, column] > 0).astype(np.int32)
    return Faces(np.stack(images), sign(0), race, sign(1), "$FL_JAX_DATA/lfw")


def cifar100() -> tuple[np.ndarray, np.ndarray, str]:
    """(images (n, 32, 32, 3) uint8, coarse labels 0..19, origin), prepared by TFDS."""
    rows = prepared("cifar100", ("train", "test"))
    x = np.stack([row["image"] for row in rows])
    label = np.array([row["coarse_label"] for row in rows], np.int32)
    return x, label, "TensorFlow Datasets cifar100"


def prepared(name: str, splits: tuple[str, ...]) -> list[dict]:
    """The rows of a data set that TensorFlow Datasets has prepared as array_record."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, file_format="array_record")
        found = [builder.as_data_source(split=part) for part in splits]
    except Exception as error:
        raise errors.DataError(
            f"{name} is not prepared as array_record for TensorFlow Datasets; prepare it where"
            " TensorFlow is installed (tfds build --file_format=array_record) or choose a data"
            " set that needs none, such as digits."
        ) from error
    return [row for part in found for row in part]


class Texts(NamedTuple):
    """Records of words."""

    words: np.ndarray  # (n, length) int32, ranks in the vocabulary, each once a text; -1 = padding
    labels: np.ndarray  # (n,) int32
    classes: int
    vocabulary: list[str]  # the most frequent word first
    origin: str


def texts(dataset: str, *, vocabulary: int, length: int, seed: int = 0) -> Texts:
    """Texts as sets of words.

    Args:
        dataset: `shakespeare` ($FL_JAX_DATA/tinyshakespeare): speeches, which of ten speakers
            (the nine that speak most, and the rest); `yelp` (TFDS): reviews, good or bad;
            `zipf`: words drawn with frequencies 1 / rank, labels from a random linear rule.
        vocabulary: most frequent words kept; the paper's Yelp set has 5,000.
        length: distinct words kept of a text.
        seed: of the drawn ones.
    """
    errors.one_of("text set", dataset, ("shakespeare", "yelp", "zipf"))
    if dataset == "zipf":
        return _zipf(vocabulary, length, seed)
    if dataset == "shakespeare":
        path = sources.require("tinyshakespeare") / "input.txt.gz"
        speeches = [part.partition(":\n") for part in files.text(path).split("\n\n")]
        speeches = [(who, said) for who, colon, said in speeches if colon and len(said) > 40]
        most = [w for w, _ in collections.Counter(who for who, _ in speeches).most_common(9)]
        labels = [most.index(who) if who in most else 9 for who, _ in speeches]
        return _index(
            [s for _, s in speeches], labels, 10, vocabulary, length, f"{path.parent.name}"
        )
    rows = prepared("yelp_polarity_reviews", ("test",))
    said = [row["text"].decode() for row in rows]
    labels = [int(row["label"]) for row in rows]
    return _index(said, labels, 2, vocabulary, length, "TensorFlow Datasets yelp_polarity_reviews")


def _index(said, labels, classes, vocabulary, length, origin) -> Texts:
    split = [re.findall(r"[a-z']+", text.lower()) for text in said]
    counts = collections.Counter(word for words in split for word in words)
    kept = [word for word, _ in counts.most_common(vocabulary)]
    rank = {word: i for i, word in enumerate(kept)}
    rows = np.full((len(split), length), -1, np.int32)
    for row, words in zip(rows, split, strict=True):
        known = list(dict.fromkeys(rank[word] for word in words if word in rank))[:length]
        row[: len(known)] = known
    some = rows[:, 0] >= 0
    return Texts(rows[some], np.array(labels, np.int32)[some], classes, kept, origin)


def _zipf(vocabulary: int, length: int, seed: int, count: int = 4000) -> Texts:
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, vocabulary + 1)
    drawn = rng.choice(vocabulary, (count, length), p=chance / chance.sum())
    sizes = rng.integers(length // 4, length + 1, count)
    rows = np.full((count, length), -1, np.int32)
    for row, words, size in zip(rows, drawn, sizes, strict=True):
        distinct = np.unique(words[:size])
        row[: len(distinct)] = distinct
    side = rng.normal(size=vocabulary)
    labels = (np.where(rows >= 0, side[rows], 0).sum(axis=1) > 0).astype(np.int32)
    names = [f"word{i}" for i in range(vocabulary)]
    return Texts(rows, labels, 2, names, "drawn: Zipf's law")
