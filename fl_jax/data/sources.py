"""Where examples come from.

A source is looked for in this order: `$FL_JAX_DATA/<name>`, a folder already prepared by
TensorFlow Datasets (read without TensorFlow), a default that a dependency embeds. What is
returned says which one it was.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors


class Images(NamedTuple):
    """Labelled images, in memory.

    `index` gives each image's position in the published order of its data set, so that published
    index lists (backdoor images, member lists) can be looked up in a subset.
    """

    train_x: np.ndarray  # (n, height, width, channels) uint8
    train_y: np.ndarray  # (n,) int32
    train_index: np.ndarray  # (n,) int64
    test_x: np.ndarray  # (m, height, width, channels) uint8
    test_y: np.ndarray  # (m,) int32
    classes: int
    origin: str  # where they came from, for the run's record


def folder(name: str) -> pathlib.Path | None:
    """`$FL_JAX_DATA/<name>` if it is there."""
    root = os.environ.get("FL_JAX_DATA")
    path = pathlib.Path(root) / name if root else None
    return path if path and path.is_dir() else None


def require(name: str) -> pathlib.Path:
    """`$FL_JAX_DATA/<name>`, or a DataError that says what to do."""
    path = folder(name)
    if path is None:
        root = os.environ.get("FL_JAX_DATA")
        came = f"FL_JAX_DATA is {root!r}, which has no folder {name!r}" if root else "it is unset"
        raise errors.DataError(
            f"this run needs the data folder {name!r} under $FL_JAX_DATA, but {came}; set"
            " FL_JAX_DATA to the folder that holds it, or ask for data that need no folder."
        )
    return path


def images(name: str) -> Images:
    """The data set `digits`, `mnist`, `cifar10` or `cifar100` (fine labels; by TFDS alone).

    Raises:
        ConfigError: no data set of that name.
        DataError: it is nowhere to be found.
    """
    errors.one_of("data set", name, ("digits", "mnist", "cifar10", "cifar100"))
    if name == "digits":
        return _digits()
    if name != "cifar100" and folder(name):
        return _mnist() if name == "mnist" else _cifar10()
    return _tfds(name)


def cifar10_backdoor() -> tuple[np.ndarray, np.ndarray]:
    """The 64 semantic backdoor images of Bagdasaryan et al. in CIFAR-10's training set.

    Returns:
        (images (64, 32, 32, 3) uint8, group (64,): 0 = racing stripes, 1 = green car,
        2 = vertically striped wall behind).
    """
    with np.load(require("cifar10") / "semantic_backdoor.npz") as data:
        return data["x"], data["group"].astype(np.int32)


def cifar10_backdoor_index() -> np.ndarray:
    """Positions of these 64 images in CIFAR-10's training set, in the same order."""
    with np.load(require("cifar10") / "semantic_backdoor.npz") as data:
        return data["index"].astype(np.int64)


def crops(count: int, side: int, *, seed: int = 0) -> np.ndarray:
    """Grey squares cut out of scikit-learn's two photographs (a temple, a flower).

    Place and scale are drawn, the scale evenly in its logarithm: from pixel by pixel to means over
    as large blocks as fit. Contrast is stretched: every square reaches from 0 to 1, unless it is
    of one grey.

    Args:
        count: how many.
        side: pixels; at most the photographs' 427.

    Returns:
        (count, side, side, 1) float32 in [0, 1].

    Raises:
        ConfigError: a count or a side out of its range.
        DataError: Pillow, which reads the photographs, is not installed.
    """
    errors.whole("crops", count, least=1)
    errors.whole("the side of a crop", side, least=1)
    photographs = _photographs()
    largest = min(min(photograph.shape) for photograph in photographs) // side
    if not largest:
        raise errors.ConfigError(
            f"crops of {side} pixels a side are larger than the photographs; give 427 at most."
        )
    draw = np.random.default_rng(seed)
    out = np.zeros((count, side, side, 1), np.float32)
    for i in range(count):
        photograph = photographs[draw.integers(len(photographs))]
        block = int(np.exp(draw.uniform(0, np.log(largest + 1))))
        row, column = (draw.integers(length - side * block + 1) for length in photograph.shape)
        cut = photograph[row : row + side * block, column : column + side * block]
        square = cut.reshape(side, block, side, block).mean(axis=(1, 3))
        span = np.ptp(square)
        out[i, :, :, 0] = (square - square.min()) / (span if span > 0 else 1.0)
    return out


def _photographs() -> list[np.ndarray]:
    """scikit-learn's photographs in grey (the weights of Rec. 601), values 0..255."""
    from sklearn import datasets

    try:
        images = datasets.load_sample_images().images
    except ImportError as error:
        raise errors.DataError(
            "scikit-learn's photographs are read by Pillow, which is not installed; install it"
            " (matplotlib brings it along)."
        ) from error
    return [image.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) for image in images]


def _digits() -> Images:
    """scikit-learn's 1,797 handwritten digits, 8 x 8, values 0..16; a fifth is the test set."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    x = bunch.images.astype(np.uint8)[..., None]
    y = bunch.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(x))  # the split is part of the data set
    test, train = order[: len(x) // 5], order[len(x) // 5 :]
    return Images(x[train], y[train], train, x[test], y[test], 10, "scikit-learn digits")


def _mnist() -> Images:
    path = require("mnist") / "mnist.npz"
    with np.load(path) as data:
        expected = {"x_train", "y_train", "x_test", "y_test"}
        if not expected <= set(data.files):
            raise errors.DataError(
                f"{path.name} should hold {sorted(expected)}, but it holds {sorted(data.files)};"
                " put the published file in its place."
            )
        train_x, test_x = (data[k].reshape(-1, 28, 28, 1) for k in ("x_train", "x_test"))
        train_y, test_y = (data[k].astype(np.int32) for k in ("y_train", "y_test"))
    index = np.arange(len(train_x))
    return Images(train_x, train_y, index, test_x, test_y, 10, "$FL_JAX_DATA/mnist")


def _cifar10() -> Images:
    """All real images at hand: pixel-exact ones and JPEG copies, shuffled together by the user."""
    path = require("cifar10")

    def load(*names):
        parts = []
        for name in names:
            with np.load(path / name) as data:
                parts.append((data["x"], data["y"].astype(np.int32), data["index"]))
        x, y, index = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(index, kind="stable")
        return x[order], y[order], index[order].astype(np.int64)

    train_x, train_y, index = load("train_exact.npz", "train_jpeg.npz")
    test_x, test_y, _ = load("test_exact.npz", "test_jpeg.npz")
    return Images(train_x, train_y, index, test_x, test_y, 10, "$FL_JAX_DATA/cifar10")


def _tfds(name: str) -> Images:
    """An array_record folder that TensorFlow Datasets has prepared, if there is one."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, file_format="array_record")
        splits = {split: builder.as_data_source(split=split) for split in ("train", "test")}
    except Exception as error:
        raise errors.DataError(
            f"{name} is neither under $FL_JAX_DATA/{name} nor prepared as array_record for"
            " TensorFlow Datasets; set FL_JAX_DATA to the folder that holds it, or choose the"
            " preset 'small', which needs no data folder."
        ) from error
    arrays = []
    for split in splits.values():
        rows = [(row["image"], row["label"]) for row in split]
        arrays += [np.stack([r[0] for r in rows]), np.array([r[1] for r in rows], np.int32)]
    index = np.arange(len(arrays[0]))
    classes = 100 if name == "cifar100" else 10
    return Images(arrays[0], arrays[1], index, *arrays[2:], classes, f"TensorFlow Datasets {name}")
