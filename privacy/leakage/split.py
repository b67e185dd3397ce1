"""Who holds which records: the authors' split between victim, adversary and the others."""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Bool, Int


class Split(NamedTuple):
    """Indices of records, disjoint between all participants and the adversary's auxiliary data."""

    victim_property: np.ndarray
    victim_rest: np.ndarray  # of the victim, without the property
    shares: list[np.ndarray]  # of participants 1 ... K-1, without the property; the adversary first
    auxiliary_property: np.ndarray
    auxiliary_rest: np.ndarray
    evaluation: np.ndarray  # for the main task's accuracy: the test split, with and without

    def sizes(self) -> np.ndarray:
        """(K,) examples that each participant trains on."""
        victim = len(self.victim_property) + len(self.victim_rest)
        return np.array([victim, *(len(share) for share in self.shares)])


def balance(labels: Int[np.ndarray, " n"], holds: np.ndarray, *, seed: int) -> np.ndarray:
    """Indices of a subset in which the property is as frequent in every class.

    Property records of classes that have too many are left out, at random, so that labels and
    property are uncorrelated and what leaks is not the main task.

    Example:
        >>> import numpy as np
        >>> labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
        >>> holds = np.array([1, 0, 0, 1, 1, 0, 0, 0], bool)
        >>> kept = balance(labels, holds, seed=0)
        >>> len(kept), round(correlation(labels[kept], holds[kept]), 2)
        (7, -0.09)
    """
    _check(labels, holds)
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    odds = min(np.sum(holds[labels == c]) / max(np.sum(~holds[labels == c]), 1) for c in classes)
    if holds.all():
        raise errors.DataError("every record has the property, so there is nothing to tell apart.")
    if odds == 0:
        raise errors.DataError(
            "a class of the main task has no record with the property, so the two cannot be made"
            " independent; choose another property, or do without balancing."
        )
    kept = [np.flatnonzero(~holds)]
    for c in classes:
        have = np.flatnonzero(holds & (labels == c))
        wanted = round(odds * np.sum(~holds & (labels == c)))
        kept.append(rng.permutation(have)[:wanted])
    return np.sort(np.concatenate(kept))


def _check(labels, holds) -> None:
    if holds.dtype != bool or holds.shape != labels.shape:
        raise errors.DataError(
            f"the property must be a bool mask of the {len(labels)} records, got {holds.dtype} of"
            f" shape {holds.shape}; compare it with 0."
        )


def correlation(labels: Int[np.ndarray, " n"], holds: Bool[np.ndarray, " n"]) -> float:
    """Pearson's correlation of main label and property."""
    return float(np.corrcoef(labels.astype(float), holds.astype(float))[0, 1])


def make(
    labels: Int[np.ndarray, " n"],
    holds: np.ndarray,
    participants: int,
    *,
    seed: int,
    test: float = 0.3,
    adversary: float = 0.3,
    share: float = 0.5,
) -> Split:
    """The split of the authors' code.

    Test records are drawn within each class. Of the property records that remain, the adversary
    takes its part and the victim the rest; the victim adds records without the property; what
    then remains is dealt to the others. The adversary's auxiliary data are its own property
    records and the test split.

    Args:
        labels: main task.
        holds: (n,) bool, whether a record has the property.
        participants: K.
        seed: of all draws.
        test: part of the records set aside [authors' code].
        adversary: part of the property records that the adversary owns [authors' code].
        share: of property records in the victim's data, in (0, 1] [authors' code].

    Raises:
        ConfigError: K < 2, a share outside (0, 1], parts outside (0, 1), or too few records for so
            many participants.
        DataError: a property that is no bool mask of the records.
    """
    labels, holds = np.asarray(labels), np.asarray(holds)
    _check(labels, holds)
    if participants < 2:
        raise errors.ConfigError(f"inference needs K >= 2 participants, got K = {participants}.")
    errors.whole("participants", participants)
    for name, part in (("test", test), ("adversary", adversary)):
        if not 0 < part < 1:
            raise errors.ConfigError(f"the part {name} lies between 0 and 1, got {part}.")
    if not 0 < share <= 1:
        raise errors.ConfigError(
            f"the victim's property share lies in (0, 1], got {share}; 0.5 is the paper's."
        )
    rng = np.random.default_rng(seed)
    testing = np.zeros(len(labels), bool)
    for c in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == c))
        testing[members[: round(test * len(members))]] = True
    owned, given = [], []  # stratified: the property pools must not differ in the main task
    for c in np.unique(labels):
        members = rng.permutation(np.flatnonzero(holds & ~testing & (labels == c)))
        cut = round(adversary * len(members))
        owned.append(members[:cut])
        given.append(members[cut:])
    owned, victim = rng.permutation(np.concatenate(owned)), rng.permutation(np.concatenate(given))
    rest = rng.permutation(np.flatnonzero(~holds & ~testing))
    wanted = round(len(victim) * (1 - share) / share)
    victim_rest, rest = rest[:wanted], rest[wanted:]
    if min(len(owned), len(victim)) == 0 or len(rest) < participants - 1:
        raise errors.ConfigError(
            f"{int(np.sum(holds))} property records and {int(np.sum(~holds))} others do not serve"
            f" {participants} participants; take more records or fewer participants."
        )
    tested = np.flatnonzero(testing)
    return Split(
        victim_property=victim,
        victim_rest=victim_rest,
        shares=np.array_split(rest, participants - 1),
        auxiliary_property=np.concatenate([owned, tested[holds[tested]]]),
        auxiliary_rest=tested[~holds[tested]],
        evaluation=tested,
    )
