"""The robust membership attack [Zarifzadeh et al., ICML 2024]: a record against a population.

    r(x) = P(x | target) / P(x),   score(x) = Pr_z[ r(x) / r(z) > gamma ]

P(x) is what models that may or may not have seen x give it: from OUT models alone
((1 + a) mean_out + (1 - a)) / 2, from both kinds (mean_in + mean_out) / 2. The share of the
population is read off its sorted ratios, O((N + Z) log Z), instead of an N x Z matrix.
"""

import numpy as np

from fl_jax.core import errors, roc
from privacy.membership import table

A = 0.3  # offline: how far P(x) leans on the OUT models [privacy meter's default]
GAMMA = 1.0  # [privacy meter; the paper's experiments take 2, from memory]


def evidence(scores: table.Scores, *, a: float | None = None) -> np.ndarray:
    """(records,) P(x).

    Args:
        scores: probabilities p_y, not logits.
        a: in [0, 1], the offline formula; None = online, from IN and OUT models.

    Raises:
        DataError: values outside [0, 1], or a record without the models that the formula needs.
        ConfigError: a outside [0, 1].
    """
    if scores.shadow.ndim != 2:
        raise errors.DataError(
            f"P(x) is of one query, got shadow scores {scores.shadow.shape}; `attack` takes the"
            " mean over queries."
        )
    for values in (scores.target, scores.shadow):
        if values.min(initial=0.0) < 0 or values.max(initial=0.0) > 1 + 1e-6:
            raise errors.DataError(
                "this attack reads probabilities of the true label, in [0, 1], but the scores"
                f" range from {values.min():.3g} to {values.max():.3g}; take signals.confidence."
            )
    table.require(scores.member, inside=int(a is None), outside=1)
    outside = np.einsum("nm,nm->n", scores.shadow, ~scores.member, dtype=np.float64)
    counts = scores.member.sum(1)
    outside /= scores.member.shape[1] - counts
    if a is None:
        inside = np.einsum("nm,nm->n", scores.shadow, scores.member, dtype=np.float64) / counts
        return 0.5 * (inside + outside)
    if not 0 <= a <= 1:
        raise errors.ConfigError(f"a must lie in [0, 1], got {a}.")
    return 0.5 * ((1 + a) * outside + (1 - a))


def exceeding(records: np.ndarray, population: np.ndarray, gamma: float = GAMMA) -> np.ndarray:
    """Pr_z[ r(x) / r(z) > gamma ] for every x, by sorting.

    Args:
        records: (N,) r(x).
        population: (Z,) r(z).
        gamma: > 0.

    Returns:
        (N,) in [0, 1]: the share of r(z) that is below r(x) / gamma, ties not counted.

    Example:
        >>> exceeding(np.array([0.5, 2.0]), np.array([1.0, 1.5, 2.0])).tolist()
        [0.0, 0.6666666666666666]
    """
    errors.positive("gamma", gamma)
    if not len(population):
        raise errors.DataError("the population is empty; give records that no model trained on.")
    below = np.searchsorted(np.sort(population), records / gamma, side="left")
    return below / len(population)


def attack(
    scores: table.Scores,
    population: table.Scores,
    *,
    a: float | None = A,
    gamma: float = GAMMA,
    ids: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """(records,) scores; larger means member. Of augmented records, the mean over their queries.

    Args:
        scores: probabilities p_y of the audited records.
        population: the same of records z, the same models in the same columns.
        a: offline; None = online, for which every audited record needs IN and OUT models. The
            population then falls back on the models that it has.
        gamma: a record counts against z when its ratio is more than gamma times larger.
        ids: (audited, population) record numbers; given, they are checked to be disjoint.

    Raises:
        DataError: another number of models, a population that overlaps the audited records, or
            what is no table.
    """
    for what, given in (("audited", scores), ("population's", population)):
        if not isinstance(given, table.Scores):
            raise errors.DataError(
                f"the {what} records need a table of scores, but {type(given).__name__} came; make"
                " it with `table.make`."
            )
    if scores.shadow.shape[1] != population.shadow.shape[1]:
        raise errors.DataError(
            f"records and population need the same models, got {scores.shadow.shape[1]} and"
            f" {population.shadow.shape[1]} columns."
        )
    if ids is not None and np.intersect1d(*ids).size:
        raise errors.DataError(
            f"the population overlaps the audited records in {np.intersect1d(*ids).size} records;"
            " take z from records that are not audited."
        )
    return table.over_queries(lambda x, z: _attack(x, z, a, gamma), scores, population)


def _attack(scores, population, a, gamma):
    online = a is None
    prior = evidence(scores, a=a)
    seen = population.member.any(1) & ~population.member.all(1)
    other = evidence(population, a=None if online and seen.all() else 1.0 if online else a)
    return exceeding(_ratio(scores.target, prior), _ratio(population.target, other), gamma)


def _ratio(target, prior):
    return target / np.maximum(prior, 1e-300)


def tune(
    scores: table.Scores,
    population: table.Scores,
    *,
    grid: np.ndarray = np.linspace(0, 1, 11),
    gamma: float = GAMMA,
    model: int = 0,
) -> float:
    """The `a` of the grid with the best AUC when the others attack one shadow model.

    Args:
        scores: with an IN/OUT mask, or none of the models could serve as a target.
        model: the column that serves as one.

    Raises:
        DataError: that model trained on none or on all of the records.
    """

    inner, member = table.leave_one_out(scores, model)
    outer, _ = table.leave_one_out(population, model)
    found = [roc.area(attack(inner, outer, a=float(a), gamma=gamma), member) for a in grid]
    return float(grid[int(np.argmax(found))])
