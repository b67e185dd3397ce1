"""An attack on shuffled reports, and the privacy loss that it proves from below.

The attacker knows every record but the victim's, sees the shuffled reports and guesses which of
two records the victim had. If a rejection region has true-positive rate t and false-positive rate
f then any (eps, delta)-DP mechanism has eps >= log((t - delta)/f); Clopper-Pearson intervals make
that a statement at a given confidence [Jagielski, Ullman, Oprea, NeurIPS 2020].
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fl_jax.core import intervals, rng
from fl_jax.core.types import Array, Float, Key, PyTree
from privacy.accounting.errors import PrivacyError, probability
from privacy.shuffle import federated
from privacy.shuffle.randomizers import Randomizer


def lower_bound(
    with_first: np.ndarray, with_second: np.ndarray, delta: float, *, confidence: float = 0.95
) -> float:
    """eps that the scores prove, at this confidence.

    Args:
        with_first, with_second: (trials,) the attacker's score under either record, high for the
            first; infinite ones are the farthest.
        delta: of the claim that is audited.
        confidence: that the mechanism loses as much, in (0, 1).

    The threshold is chosen on the first half of the trials and judged on the second, in both
    directions; the confidence is split between the two directions and the two rates.

    Raises:
        PrivacyError: NaN among the scores, other than one score a trial, fewer than four trials of
            either kind, delta or confidence outside (0, 1).
    """
    delta, confidence = probability("delta", delta), probability("confidence", confidence)
    with_first, with_second = np.asarray(with_first, float), np.asarray(with_second, float)
    if with_first.ndim != 1 or with_second.ndim != 1:
        raise PrivacyError(
            f"an audit takes one score a trial, got shapes {with_first.shape} and"
            f" {with_second.shape}."
        )
    if np.isnan(with_first).any() or np.isnan(with_second).any():
        raise PrivacyError("some scores are NaN, which no threshold tells apart; correct `score`.")
    if min(with_first.size, with_second.size) < 4:
        raise PrivacyError("an audit needs at least four trials of either kind.")
    # only the order of the scores counts
    _, ranks = np.unique(np.concatenate([with_first, with_second]), return_inverse=True)
    with_first, with_second = np.split(ranks.astype(float), [with_first.size])
    level = (1 - confidence) / 4
    best = 0.0
    for a, b in ((with_first, with_second), (-with_second, -with_first)):
        half_a, half_b = a.size // 2, b.size // 2
        cut = max(
            np.quantile(np.concatenate([a[:half_a], b[:half_b]]), np.linspace(0.05, 0.95, 37)),
            key=lambda c: _estimate(a[:half_a], b[:half_b], c, delta, level),
        )
        best = max(best, _estimate(a[half_a:], b[half_b:], cut, delta, level))
    return best


def _estimate(a, b, cut, delta, level):
    true, _ = intervals.clopper_pearson(int((a >= cut).sum()), a.size, level)
    _, false = intervals.clopper_pearson(int((b >= cut).sum()), b.size, level)
    return math.log((true - delta) / false) if true > delta + false else 0.0


def scores(
    randomizer: Randomizer,
    victim: Any,
    bystanders: PyTree,
    score: Callable[[PyTree], Float[Array, ""]],
    key: Key[Array, ""],
    *,
    trials: int,
) -> np.ndarray:
    """(trials,) scores of the shuffled reports of the victim and the bystanders.

    Args:
        randomizer: what every user runs.
        victim: one record; `bystanders`: records stacked on a leading axis.
        score: shuffled reports -> number.
        key: of all trials.
        trials: how many times everyone reports.
    """
    data = jax.tree.map(
        lambda v, rest: np.concatenate([np.asarray(v)[None], np.asarray(rest)]), victim, bystanders
    )
    people = jax.tree.leaves(data)[0].shape[0]

    def one(trial):
        keys = jax.random.split(rng.fold(trial, "report"), people)
        reports = jax.vmap(randomizer.randomize)(keys, data)
        return score(federated.shuffle(reports, rng.fold(trial, "shuffle")))

    keys = jax.random.split(key, trials)
    return np.asarray(jax.jit(lambda k: jax.lax.map(one, k, batch_size=64))(keys))
