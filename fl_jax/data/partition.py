"""How a data set is split over participants: lists of example indices, one per participant."""

import numpy as np

from fl_jax.core import errors


def _classes(labels: np.ndarray) -> np.ndarray:
    """The labels, one class for each example; refuses what would be cut wrongly in silence."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or (labels.dtype.kind == "f" and np.isnan(labels).any()):
        what = f"{labels.ndim} axes" if labels.ndim != 1 else "NaN among them"
        raise errors.DataError(
            f"labels are one row with the class of each example, got {what}; give whole numbers"
            " (np.argmax of one-hot rows), and leave out examples without a label."
        )
    return labels


def dirichlet(
    labels: np.ndarray,
    participants: int,
    *,
    alpha: float = 0.9,
    seed: int = 0,
    original: bool = False,
) -> list[np.ndarray]:
    """Non-iid shares: every class is dealt out in proportions of its own.

    For every class, p ~ Dirichlet(alpha, ..., alpha) over the participants, and the shuffled class
    is cut at the cumulated p, so that every example has an owner.

    Args:
        labels: (n,) integer classes.
        participants: number of shares.
        alpha: concentration, finite; smaller is less even. The paper has 0.9.
        seed: of the split.
        original: the rule of the code of Bagdasaryan et al. 2020 instead: participant i takes the
            next min(left, round(p_i * s)) examples of a class, where s is the size of class 0 for
            every class. Nobody owns what is left: a few examples by rounding where classes are
            about equal, most of a class that is much larger than class 0; and the last
            participants get little of a smaller one.

    Returns:
        One sorted array of indices per participant; they are disjoint.

    Raises:
        ConfigError: alpha or participants not above 0, or alpha infinite.
        DataError: labels with NaN, or not one for each example.
    """
    errors.positive("alpha", alpha)
    errors.whole("participants", participants, least=1)
    if np.isinf(alpha):
        raise errors.ConfigError(
            "alpha of a Dirichlet split must be finite; give 1e6 for classes in equal parts, or"
            " take partition.iid."
        )
    labels = _classes(labels)
    rng = np.random.default_rng(seed)
    shares: list[list[int]] = [[] for _ in range(participants)]
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    for members in classes:
        members = rng.permutation(members)
        p = rng.dirichlet(np.full(participants, alpha))
        if original:
            ends = np.minimum(np.cumsum(np.round(p * len(classes[0])).astype(int)), len(members))
        else:
            ends = np.round(np.cumsum(p) * len(members)).astype(int)
        for share, start, end in zip(shares, [0, *ends[:-1]], ends, strict=True):
            share.extend(members[start:end])
    return [np.sort(np.array(share, np.int64)) for share in shares]


def iid(examples: int, participants: int, *, seed: int = 0) -> list[np.ndarray]:
    """Equal random shares of the examples 0..`examples` - 1; they differ by one at most."""
    errors.whole("examples", examples, least=1)
    errors.whole("participants", participants, least=1)
    order = np.random.default_rng(seed).permutation(examples)
    return [np.sort(share) for share in np.array_split(order, participants)]


def shards(
    labels: np.ndarray, participants: int, *, each: int = 2, seed: int = 0
) -> list[np.ndarray]:
    """Shares of few classes: the examples sorted by label, cut into equal shards, dealt at random.

    Args:
        labels: (n,) integer classes.
        participants: number of shares.
        each: shards a participant gets; with 2 of them most see two classes.
        seed: of the deal.

    Returns:
        One sorted array of indices per participant; together they are all examples. Shards differ
        by one example at most.

    Raises:
        ConfigError: participants or each not above 0, or more shards than examples.
        DataError: labels with NaN, or not one for each example.

    References:
        McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized
        Data", section 3: 100 clients with 2 shards of 300 digits.
    """
    errors.whole("participants", participants, least=1)
    errors.whole("the shards of each participant", each, least=1)
    labels = _classes(labels)
    count = participants * each
    if count > len(labels):
        raise errors.ConfigError(
            f"{participants} participants with {each} shards each need {count} examples or more,"
            f" got {len(labels)}; take fewer participants or shards."
        )
    pieces = np.array_split(np.argsort(labels, kind="stable"), count)
    dealt = np.random.default_rng(seed).permutation(count).reshape(participants, each)
    return [np.sort(np.concatenate([pieces[i] for i in own])) for own in dealt]


def by_owner(owners: np.ndarray) -> list[np.ndarray]:
    """The natural split: one share per distinct owner, such as a writer or a speaker.

    Args:
        owners: (n,) names or numbers, whose each example is.

    Returns:
        One sorted array of indices per owner, in the order of `np.unique(owners)`.

    Raises:
        DataError: not one owner for each example.
    """
    owners = np.asarray(owners)
    if owners.ndim != 1:
        raise errors.DataError(
            f"owners are one row with the name or number of each example's owner, got"
            f" {owners.ndim} axes."
        )
    names, owner = np.unique(owners, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.cumsum(np.bincount(owner, minlength=len(names)))[:-1])
