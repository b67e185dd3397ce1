"""The likelihood-ratio attack [Carlini et al., S&P 2022]: two Gaussians per record.

    online:  log N(phi; mu_in, s_in) - log N(phi; mu_out, s_out)
    offline: Pr[N(mu_out, s_out) < phi], on a log scale

with phi of `signals.logit`, mu and s from the shadow models that did (IN) and did not (OUT)
train on the record. With augmented queries, the mean over them.
"""

import numpy as np
from scipy import special

from fl_jax.core import errors
from privacy.membership import table

SPREADS = ("example", "pooled", "released")
CENTRES = ("median", "mean")
SMALLEST = 1e-30  # added to deviations [TF Privacy]
BLOCK = 512  # records at a time


def online(scores: table.Scores, *, spread: str = "example", centre: str = "median") -> np.ndarray:
    """(records,) log-likelihood ratios; larger means member.

    Args:
        scores: phi, with at least two IN and two OUT models for every record (one of each if the
            spread is pooled).
        spread: `example`, a deviation per record and side (many models); `pooled`, one per side
            from all records' deviations from their own centre (few models); `released`, the
            fixed variance of the authors' code, which takes the deviation of all IN scores
            together, between records too, for both sides.
        centre: `median` as the authors' code, or `mean` as the paper.

    Raises:
        DataError: a record with too few models of one kind.
    """
    least = 2 if spread == "example" else 1
    table.require(scores.member, inside=least, outside=least)
    return _run(_online, scores, spread, centre)


def offline(
    scores: table.Scores,
    *,
    spread: str = "example",
    centre: str = "median",
    two_sided: bool = False,
) -> np.ndarray:
    """(records,) scores from OUT models alone; larger means member.

    Args:
        scores, spread, centre: as `online`; `released` takes the OUT scores.
        two_sided: minus the log-density under OUT, as the authors' code has it, in which a
            record that is surprisingly badly known counts as a member as well.

    Returns:
        log-odds of Pr[N(mu_out, s_out) < phi], which keep their order where the probability
        itself rounds to 1; or minus the log-density.
    """
    table.require(scores.member, inside=0, outside=2 if spread == "example" else 1)

    def one(scores, spread, centre):
        mu, s = _sides(scores, ~scores.member, spread, centre)
        z = (scores.target - mu) / s
        if two_sided:
            return z * z / 2 + np.log(s)
        return special.log_ndtr(z) - special.log_ndtr(-z)

    return _run(one, scores, spread, centre)


def _online(scores, spread, centre):
    mu_in, s_in = _sides(scores, scores.member, spread, centre)
    mu_out, s_out = _sides(scores, ~scores.member, spread, centre)
    if spread == "released":
        s_out = s_in
    z_in, z_out = (scores.target - mu_in) / s_in, (scores.target - mu_out) / s_out
    return 0.5 * (z_out * z_out - z_in * z_in) + np.log(s_out / s_in)


def _run(attack, scores, spread, centre):
    errors.one_of("spread", spread, SPREADS)
    errors.one_of("centre", centre, CENTRES)
    return table.over_queries(lambda one: _blocks(attack, one, spread, centre), scores)


def _blocks(attack, scores, spread, centre):
    if spread != "example":  # deviations that all records share
        return attack(scores, spread, centre)
    # Each record by itself: blocks of them stay in the cache.
    blocks = range(0, max(len(scores.target), 1), BLOCK)
    part = lambda start: table.Scores(*(a[start : start + BLOCK] for a in scores))
    return np.concatenate([attack(part(start), spread, centre) for start in blocks])


def _sides(scores, mask, spread, centre):
    """((records,) centres, deviation per record or for all) of one side."""
    values, kept = compact(scores.shadow, mask)
    if kept is None:  # the usual case: every record has as many, no masks needed
        mu = _median(values) if centre == "median" else values.mean(1)
        if spread == "example":
            return mu, values.std(1) + SMALLEST
        if spread == "released":
            return mu, values.std() + SMALLEST
        return mu, _pooled(values, mu, np.ones(values.shape, bool))
    count = kept.sum(1)
    mean = np.where(kept, values, 0).sum(1) / count
    mu = _masked_median(values, kept, count) if centre == "median" else mean
    if spread == "example":
        square = np.where(kept, np.square(values - mean[:, None]), 0).sum(1) / count
        return mu, np.sqrt(square) + SMALLEST
    if spread == "released":
        return mu, values[kept].std() + SMALLEST
    return mu, _pooled(values, mu, kept)


def _pooled(values, mu, kept):
    """One deviation: squares from each record's own mean, degrees of freedom counted."""
    count = kept.sum(1)
    mean = np.where(kept, values, 0).sum(1) / count
    free = np.sum(np.maximum(count - 1, 0))
    if free == 0:  # one model: the spread between records is all there is
        return (values - np.median(mu))[kept].std() + SMALLEST
    return np.sqrt(np.where(kept, np.square(values - mean[:, None]), 0).sum() / free) + SMALLEST


def compact(shadow: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The masked scores of each record side by side, (records, n), and None; or all and the mask.

    A balanced design has one n for all records, and then nothing else need be carried.
    """
    count = mask.sum(1)
    if count.size and count.min() == count.max():
        return shadow[mask].reshape(len(shadow), count[0]), None
    return shadow, mask


def _median(values):
    """Of finite numbers, so without the search for NaN that np.median makes."""
    low, high = (values.shape[1] - 1) // 2, values.shape[1] // 2
    ordered = np.partition(values, sorted({low, high}), axis=1)
    return 0.5 * (ordered[:, low] + ordered[:, high])


def _masked_median(values, kept, count):
    ordered = np.sort(np.where(kept, values, np.inf), axis=1)
    pick = lambda place: np.take_along_axis(ordered, place[:, None], 1)[:, 0]
    return 0.5 * (pick((count - 1) // 2) + pick(count // 2))
