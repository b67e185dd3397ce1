"""What phrases of the training texts say about place: a gazetteer learned from the data.

"Meurthe-et-Moselle" is in no list of cities, but in sixty descriptions of places that are all
near each other. For every run of words the places of the texts that hold it are kept, as counts
of leaves. A training text must not be told its own place this way: whoever looks a phrase up
for one takes its own count out again (`fl_jax.geocoding.network` does), which makes it exactly
what a new text would see.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fl_jax.geocoding import words

LONGEST = 4  # words of a phrase
SHRINK = 2.0  # texts that the prior counts as, when phrases are ranked


class Phrases(NamedTuple):
    """Counts of leaves for each phrase, by the hash of its words."""

    hashes: np.ndarray  # (phrases,) int64, sorted
    total: np.ndarray  # (phrases,) int32, texts that have it
    gain: np.ndarray  # (phrases,) float32, KL divergence of its leaves from all, in nats
    start: np.ndarray  # (phrases + 1,) int32, where its leaves begin
    leaf: np.ndarray  # int32, the most frequent first
    count: np.ndarray  # int32
    mean: np.ndarray  # (phrases, 3) float32, mean of the unit vectors of its texts' places

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """The phrase of each hash, -1 where there is none."""
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.int64)
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[place] == hashes, place, -1)


def learn(texts: Sequence[str], leaves: np.ndarray, points: np.ndarray, prior: np.ndarray):
    """The phrases of the texts, each text counting once.

    Args:
        texts: of the training items.
        leaves: (texts,) the leaf of each.
        points: (texts, 3) unit vectors of their places.
        prior: (leaves,) probabilities, all above 0.
    """
    hashes, owners = [], []
    for n, text in enumerate(texts):
        own = {h for _, _, h in words.grams(words.split(text), LONGEST)}
        hashes.extend(own)
        owners.extend([n] * len(own))
    hashes, owners = np.array(hashes, np.int64), np.array(owners, np.int64)
    kept, place, number = np.unique(hashes, return_inverse=True, return_counts=True)
    size = len(prior)
    code, count = np.unique(place * size + leaves[owners], return_counts=True)
    phrase, leaf = code // size, code % size
    order = np.lexsort((-count, phrase))
    phrase, leaf, count = phrase[order], leaf[order], count[order]
    share = count / number[phrase]
    gain = np.bincount(phrase, share * np.log(share / prior[leaf]), len(kept))
    mean = np.stack([np.bincount(place, points[owners, a], len(kept)) for a in range(3)], 1)
    start = np.searchsorted(phrase, np.arange(len(kept) + 1))
    as_int = lambda a: a.astype(np.int32)
    return Phrases(
        kept, as_int(number), gain.astype(np.float32), as_int(start), as_int(leaf), as_int(count),
        (mean / number[:, None]).astype(np.float32),
    )  # fmt: skip


def rank(phrases: Phrases, rows: np.ndarray, held_out: bool) -> np.ndarray:
    """How much each phrase tells, shrunk by how few texts have it; 0 if only the own one does."""
    number = phrases.total[rows] - (1 if held_out else 0)
    return number / (number + SHRINK) * phrases.gain[rows]
