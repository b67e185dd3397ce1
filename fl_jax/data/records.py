"""Tables of records with a class: the sets on which membership and property leakage are measured.

Looked for as `$FL_JAX_DATA/<name>`; where a set cannot be had, a seeded stand-in of the same
shape can be, which says so in its `origin` and is never to be quoted beside the real set.
"""

import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.data import sources


class Records(NamedTuple):
    """Labelled records, in memory."""

    x: np.ndarray  # (n, features) uint8 for binary features, else float32
    y: np.ndarray  # (n,) int32
    classes: int
    origin: str  # where they came from, for the run's record
    real: bool = True  # False: a stand-in


class Shape(NamedTuple):
    """What a published set looks like."""

    records: int
    features: int
    classes: int


SHAPES = {
    "location30": Shape(5_010, 446, 30),
    "purchase100": Shape(197_324, 600, 100),
    "texas100": Shape(67_330, 6_169, 100),  # the public copy; the paper says 6,170
}
# The beginning of the git blob ids of the feature files in a public repository of both sets
# (xehartnort/Purchase100-Texas100-datasets, commit a30298a): SHA-1 of "blob <bytes>\0" + file.
BLOBS = {"purchase100": "aa8b5b1", "texas100": "b9be760"}
SHA256 = {
    "location30": "eb81adf04b4a1cdcd0a47537a2b656054445b9dd82b9b793b56b97f88a274627",
    "adult": "bfd65250fd407742e43059b7b269c602f3337179f32f8eea7b5dc1669128b2ff",
}


def load(name: str, *, seed: int = 0) -> Records:
    """The set of that name; where its folder is missing, the stand-in of the same shape.

    Args:
        name: location30, purchase100, texas100, adult, or purchaseN (N classes, always a
            stand-in: the paper's k-means clusters were never published).
        seed: of a stand-in.

    Raises:
        ConfigError: no such set.
        DataError: a damaged file, or no folder for a set that has no stand-in (adult).
    """
    if name in ("purchase2", "purchase10", "purchase20", "purchase50"):
        return prototypes(20_000, 600, int(name[8:]), seed=seed)
    errors.one_of("data set", name, (*SHAPES, "adult"))
    if name == "adult":
        return adult()
    if sources.folder(name):
        return location30() if name == "location30" else published(name)
    shape = SHAPES[name]
    return prototypes(min(shape.records, 20_000), shape.features, shape.classes, seed=seed)


def location30() -> Records:
    """Check-in profiles of Bangkok: 5,010 x 446 binary, 30 classes [Shokri et al. 2017]."""
    path = sources.require("location30") / "location30.npz"
    check_sha256(path, SHA256["location30"])
    with np.load(path) as data:
        x = np.unpackbits(data["packed"], axis=1)[:, : int(data["n_features"])]
        y = data["labels"].astype(np.int32) - 1
    return Records(x, y, 30, "$FL_JAX_DATA/location30")


def adult() -> Records:
    """The training half of UCI Adult: 32,561 x 108, income above 50,000 or not.

    Six numeric columns, standardised, then the categories of the others, one-hot.
    """
    folder = sources.require("adult")
    check_sha256(folder / "adult_train.npz", SHA256["adult"])
    columns = json.loads((folder / "adult_columns.json").read_text())
    parts = []
    with np.load(folder / "adult_train.npz") as data:
        for name in columns["numeric"]:
            values = data[name].astype(np.float64)
            parts.append(((values - values.mean()) / values.std())[:, None])
        for name, known in columns["categories"].items():
            if name != "Salary":
                parts.append(np.eye(len(known))[data[name]])
        y = data["Salary"].astype(np.int32)
    return Records(np.concatenate(parts, 1).astype(np.float32), y, 2, "$FL_JAX_DATA/adult")


def published(name: str) -> Records:
    """Purchase-100 or Texas-100 in one of the forms in which they circulate.

    `$FL_JAX_DATA/<name>/<name>.npz` with `features` (n, d) and `labels` (n,) or one-hot (n, 100);
    or the first publication's text: `dataset_purchase` (label, then features, by commas), or
    `feats` and `labels`. The git blob id of the features is compared with the published one, of
    which seven digits are known; any other copy is pinned by `pinned`. What came of it stands in
    `origin`. Shape, values and labels must be right in any case.

    Raises:
        DataError: no such file, not the data set, or not the copy that was pinned.
    """
    folder, shape = sources.require(name), SHAPES[name]
    packed = folder / f"{name}.npz"
    plain = folder / ("dataset_purchase" if name == "purchase100" else "feats")
    path = packed if packed.is_file() else plain
    if not path.is_file():
        raise errors.DataError(
            f"the folder of {name} should hold {packed.name} or {plain.name}, but has neither."
        )
    if path == packed:
        with np.load(path) as data:
            x, y = data["features"], data["labels"]
        y = y.argmax(1) if y.ndim == 2 else y
    elif name == "purchase100":
        rows = np.loadtxt(path, delimiter=",", dtype=np.int16)
        x, y = rows[:, 1:], rows[:, 0]
    else:
        x = np.loadtxt(path, delimiter=",", dtype=np.int8)
        y = np.loadtxt(folder / "labels", dtype=np.int16)
    y = y.astype(np.int32) - int(y.min())
    found = Shape(len(x), x.shape[1], int(y.max()) + 1)
    binary = bool(np.isin(x, (0, 1)).all())
    if found != shape or len(y) != len(x) or not binary:
        raise errors.DataError(
            f"{path.name} should hold {shape.records} binary records of {shape.features} features"
            f" in {shape.classes} classes, but holds {found.records} of {found.features} in"
            f" {found.classes}{'' if binary else ', not binary'}; put the published file there."
        )
    files = [path] if path.name != "feats" else [path, folder / "labels"]
    known = blob(path).startswith(BLOBS[name])
    note = "checksum as published" if known else pinned(files)
    return Records(x.astype(np.uint8), y, shape.classes, f"$FL_JAX_DATA/{name} ({note})")


def prototypes(
    records: int, features: int, classes: int, *, seed: int = 0, spread: float = 1.0
) -> Records:
    """A seeded stand-in: a prototype in (0, 1)^d per class, records are Bernoulli rows of it.

    The prototype's entries are a common rate per feature, moved on the logit scale by normal
    draws of deviation `spread` per class: the larger, the easier the classes.
    """
    rng = np.random.default_rng(seed)
    common = rng.normal(-1.5, 1.0, features)
    logits = common + spread * rng.normal(size=(classes, features))
    y = rng.integers(classes, size=records).astype(np.int32)
    x = np.empty((records, features), np.uint8)
    for start in range(0, records, 4096):
        some = y[start : start + 4096]
        rate = 1 / (1 + np.exp(-logits[some]))
        x[start : start + 4096] = rng.random(rate.shape) < rate
    return Records(
        x, y, classes, f"seeded stand-in ({features} features, {classes} classes)", False
    )


def check_sha256(path, expected: str) -> None:
    """Refuses a file with another SHA-256.

    Raises:
        DataError: it names both.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise errors.DataError(
            f"{path.name} has the SHA-256 {found[:12]}..., expected {expected[:12]}...; it is"
            " damaged or another file: put the published one in its place."
        )


def pinned(files: Sequence[pathlib.Path]) -> str:
    """Records the files' SHA-256 beside them when they are first read, verifies it after.

    They stand in `SHA256SUMS`, which `sha256sum --check` reads too. For sets whose publisher gave
    no checksum: every later run is on the copy of the first.

    Returns:
        What was done.

    Raises:
        DataError: a file is not the one that was recorded; it names both.
    """
    sums = files[0].parent / "SHA256SUMS"
    lines = [line.split() for line in sums.read_text().splitlines()] if sums.is_file() else []
    recorded = {name.removeprefix("*"): digest for digest, name in lines}
    fresh = [path for path in files if path.name not in recorded]
    for path in files:
        if path.name in recorded:
            check_sha256(path, recorded[path.name])
    if not fresh:
        return "checksum as first recorded"
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in fresh}
    try:
        with sums.open("a") as file:
            file.writelines(f"{digest}  {name}\n" for name, digest in digests.items())
    except OSError:  # a folder that others own and we may only read
        return "checksum unknown: the folder cannot be written"
    return "checksum recorded"


def blob(path) -> str:
    """The id that git gives a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
