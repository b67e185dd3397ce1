"""Data sets with a main task and a property that is independent of it."""

import json
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.data import sources
from privacy.leakage import networks, split

DATASETS = ("digits", "mnist", "cifar10", "adult", "lfw", "cifar100")


class Task(NamedTuple):
    """What participants learn, and what is inferred."""

    x: np.ndarray  # (n, ...) float32
    y: np.ndarray  # (n,) int32, the main label
    holds: np.ndarray  # (n,) bool, whether the record has the property
    classes: int
    main: str  # what the main task asks
    property: str  # what is inferred
    correlation: float  # Pearson's, of the two
    origin: str


def make(dataset: str, *, balanced: bool = True, seed: int = 0) -> Task:
    """The task on a data set.

    Args:
        dataset: digits (embedded); mnist, cifar10, adult ($FL_JAX_DATA); lfw, cifar100.
        balanced: leave property records out until every class of the main task has as large a
            share of them.
        seed: of which are left out.
    """
    from experiments.leakage import data

    errors.one_of("data set", dataset, DATASETS)
    if dataset == "adult":
        x, y, holds, origin = _adult()
        words = ("income above 50,000", "a woman")
    elif dataset == "lfw":
        found = data.lfw()
        known = found.gender >= 0
        x = found.images[known].astype(np.float32) / 255
        y, holds = found.gender[known], found.race[known] == data.RACES.index("Black")
        words, origin = ("gender", "race is Black"), found.origin
    else:
        x, label, origin = _images(dataset)
        if dataset in ("digits", "mnist"):
            y, holds = label % 2, label < 2
            words = ("the digit is odd", "the digit is 0 or 1")
        elif dataset == "cifar10":
            y, holds = np.isin(label, (2, 3, 4, 5, 6, 7)), np.isin(label, (0, 2))
            words = ("an animal", "it flies (airplane or bird)")
        else:  # coarse labels: 8 large carnivores, 11 large omnivores; 18, 19 vehicles
            y, holds = np.isin(label, (8, 11, 12, 16)), np.isin(label, (18, 8))
            chosen = y | np.isin(label, (18, 19))
            x, y, holds = x[chosen], y[chosen], holds[chosen]
            words = ("an animal", "vehicle of kind 1 or large carnivore")
    y, holds = y.astype(np.int32), holds.astype(bool)
    if balanced:
        kept = split.balance(y, holds, seed=seed)
        x, y, holds = x[kept], y[kept], holds[kept]
    found = split.correlation(y, holds)
    return Task(x, y, holds, 2, *words, found, origin)


def model(
    task: Task, *, channels: tuple[int, ...], hidden: int, dropout: float, method: str
) -> networks.Model:
    """The network for a task: convolutions for images, one hidden layer for tables."""
    if task.x.ndim == 2:
        return networks.make(
            networks.MLP,
            features=task.x.shape[1],
            classes=task.classes,
            hidden=hidden,
            dropout=dropout,
        )
    return networks.make(
        networks.ConvNet,
        shape=task.x.shape[1:],
        classes=task.classes,
        channels=channels,
        hidden=hidden,
        dropout=dropout,
        method=method,
    )


def _images(dataset: str) -> tuple[np.ndarray, np.ndarray, str]:
    """All labelled images of a set, in [0, 1]: the attack makes its own split."""
    if dataset == "cifar100":
        from experiments.leakage import data

        x, label, origin = data.cifar100()
    else:
        found = sources.images(dataset)
        x = np.concatenate([found.train_x, found.test_x])
        label, origin = np.concatenate([found.train_y, found.test_y]), found.origin
    scale = 16 if dataset == "digits" else 255
    return x.astype(np.float32) / scale, label, origin


def _adult() -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """(records (n, 105), income, whether a woman, origin); sex and kinship are left out.

    Numbers are standardised, categories one-hot. `Relationship` holds wives and husbands, so it
    would spell the property out; it stays out of the record as sex itself does.
    """
    folder = sources.require("adult")
    about = json.loads((folder / "adult_columns.json").read_text())
    with np.load(folder / "adult_train.npz") as file:
        columns = {name: file[name] for name in file.files}
    spelled = {name.lower(): name for name in columns}
    hidden = {spelled["sex"], spelled["relationship"], spelled["salary"]}
    parts = []
    for name in about["columns"]:
        if name in hidden:
            continue
        values = columns[name]
        if name in about["numeric"]:
            values = values.astype(np.float64)
            parts.append(((values - values.mean()) / values.std())[:, None])
        else:
            parts.append(np.eye(len(about["categories"][name]))[values])
    x = np.concatenate(parts, axis=1).astype(np.float32)
    women = about["categories"][spelled["sex"]].index("Female")
    holds = columns[spelled["sex"]] == women
    return x, columns[spelled["salary"]].astype(np.int32), holds, "$FL_JAX_DATA/adult"
