"""What the vote of noisy models is certified against, and how far attackers can move a model.

CRFL clips the model after aggregation and adds noise; at test, models with noise of their own vote
(`aggregators.crfl.votes`). Noise of deviation sigma hides where exactly the model was: a model that
lies d away gives any answer with a chance that is at most that of a normal variable shifted by
d / sigma [Neyman, Pearson 1933]. So votes that are clear enough could not have gone otherwise,
whoever moved the model by d or less in the round after which it is asked.

The paper bounds the same by Kullback-Leibler divergence, which is never larger here than what
normal distributions give exactly; its factor for the rounds between attack and vote is 1 to many
digits at any useful noise, and left out. Votes must be counted over the noise alone: the same
honest updates, other draws.
"""

import numpy as np
from scipy import special

from fl_jax.core import errors, intervals


def radius(
    counts: np.ndarray, *, noise: float, confidence: float = 0.999
) -> tuple[np.ndarray, np.ndarray]:
    """(answers, d): how far the clipped model may be moved without changing each answer.

    d = sigma (q(a) - q(b)) / 2 with q the normal quantile, a below the chance of the first class
    and b above that of any other, all at once at `confidence` (Clopper-Pearson, one bound a class).

    Args:
        counts: (examples, classes), whole numbers: votes among one number of draws.
        noise: sigma, of a parameter, > 0.
        confidence: of each example's radius, over the draws.

    Returns:
        The class of most votes, (examples,) int64, and its radius, (examples,) float64, in the
        norm of the whole model; 0 where another class may be first.

    Raises:
        ConfigError: noise or confidence out of range.
        DataError: counts that are no votes.

    References:
        Cohen, Rosenfeld, Kolter 2019, "Certified Adversarial Robustness via Randomized Smoothing",
        Theorem 1, applied to parameters; Xie, Chen, Chen, Li 2021, "CRFL", Theorem 2.

    Example:
        >>> answers, d = radius(np.array([[990, 10], [501, 499]]), noise=0.1)
        >>> answers.tolist(), [round(float(x), 3) for x in d]
        ([0, 0], [0.196, 0.0])
    """
    errors.positive("the noise of CRFL (sigma)", noise)
    if not 0 < confidence < 1:
        raise errors.ConfigError(f"confidence must lie in (0, 1), got {confidence}.")
    counts = np.asarray(counts)
    _check(counts)
    draws, classes = int(counts[0].sum()), counts.shape[1]
    level = (1 - confidence) / classes
    # One bound a class: from below if it is the first, from above otherwise.
    asked, place = np.unique(counts, return_inverse=True)
    bounds = np.array([intervals.clopper_pearson(int(k), draws, level) for k in asked])[place]
    bounds = bounds.reshape(*counts.shape, 2)
    first, row = counts.argmax(axis=1), np.arange(len(counts))
    likely, rivals = bounds[row, first, 0], bounds[:, :, 1].copy()
    rivals[row, first] = 0.0
    rival = np.minimum(rivals.max(axis=1), 1 - likely)
    gap = special.ndtri(likely) - special.ndtri(rival)
    return first, noise * np.maximum(gap, 0.0) / 2


def moved_by_participants(attackers: int, *, bound: float, share: float) -> float:
    """How far `attackers` of one round can move the model, whatever they send: 2 R S w.

    Every update is clipped to norm S and enters with weight w, so that one sender who stands for
    an honest one moves the sum by 2 S w at most; clipping the whole model brings models no
    further apart. One who sends nothing, so that the others' weights grow, moves a mean of m by
    no more.

    Args:
        attackers: R, compromised participants in the round.
        bound: S of `defences.norm_clip`.
        share: w: 1/m in a mean of m updates, eta/n in `mean.fedavg`.

    Raises:
        ConfigError: a number out of its range.
    """
    errors.whole("attackers", attackers)
    errors.positive("clipping bound", bound)
    errors.positive("the share of one update", share)
    return 2.0 * attackers * bound * share


def moved_by_examples(
    attackers: int,
    *,
    images: float,
    labels: float,
    poisoned: float,
    steps: int,
    rate: float,
    share: float,
    bound: float,
    longest: float = 1.0,
) -> float:
    """How far attackers who train as told, on altered examples, move softmax regression.

    They send their update as it is; those who scale it are `moved_by_participants`. Local training
    is plain gradient descent, without momentum or decay.

    A gradient of the cross-entropy at weights W moves by at most

        (||W|| longest / 2 + sqrt 2) ||dx|| + longest ||dy||

    when an example moves by dx and its one-hot label by dy (||p - y|| <= sqrt 2, and the
    derivative of softmax has norm 1/2 at most); convexity brings two runs of gradient descent no
    further apart [Hardt, Recht, Singer 2016, Lemma 3.6]. The sum over steps, senders and weights
    is that of the paper.

    Args:
        attackers: R, compromised participants in the round.
        images: ||dx||, the most that an input moves, in its norm.
        labels: ||dy||: sqrt 2 where labels are changed, 0 where not.
        poisoned: q / n, the share of each of the attacker's batches that is altered, in [0, 1].
        steps: tau, local steps.
        rate: their learning rate, at most 4 / longest^2: 2 over the smoothness of the loss.
        share: w, of one update in the sum: 1/m or eta/n.
        bound: ||W|| of all models on the way; CRFL's rho bounds where they start.
        longest: the norm of the longest input, a constant input for the bias among its entries.

    Raises:
        ConfigError: a number out of its range; a rate at which descent may drive runs apart.

    References:
        Xie et al. 2021, Theorem 1. Its Lipschitz constant, sqrt(2 + 2 rho + rho^2) for inputs of
        norm 1 (from memory), is larger than this one at every rho.

    Example:
        >>> moved_by_examples(1, images=0.1, labels=0.0, poisoned=0.2, steps=5, rate=0.1,
        ...                   share=0.05, bound=2.0)  # doctest: +ELLIPSIS
        0.0012...
    """
    errors.whole("attackers", attackers)
    errors.whole("local steps", steps)
    for what, value in {"||dx||": images, "||dy||": labels}.items():
        errors.not_negative(what, value)
    for what, value in {
        "the learning rate": rate,
        "the share of one update": share,
        "the bound of the model": bound,
        "the norm of the longest input": longest,
    }.items():
        errors.positive(what, value)
    if not 0 <= poisoned <= 1:
        raise errors.ConfigError(
            f"the share of altered examples must lie in [0, 1], got {poisoned}."
        )
    if rate > 4 / longest**2:
        raise errors.ConfigError(
            f"a learning rate of {rate} may drive two runs apart: with inputs of norm {longest} at"
            f" most {4 / longest**2:.3g} is covered; make inputs or rate smaller."
        )
    gradient = (bound * longest / 2 + 2**0.5) * images + longest * labels
    return attackers * share * steps * rate * poisoned * gradient


def _check(counts: np.ndarray) -> None:
    """Refuses what is no table of votes."""
    if counts.ndim != 2 or counts.shape[0] < 1 or counts.shape[1] < 2:
        raise errors.DataError(
            f"votes are (examples, classes) with two classes or more, got {counts.shape}."
        )
    if not np.issubdtype(counts.dtype, np.integer):
        raise errors.DataError(
            f"votes are whole numbers, got {counts.dtype}; multiply the shares by the draws, round"
            " and make them integers."
        )
    total = counts.sum(axis=1)
    if counts.min() < 0 or total[0] < 1 or np.any(total != total[0]):
        raise errors.DataError(
            f"each example takes the same number of votes, one or more and none below 0; here sums"
            f" go from {total.min()} to {total.max()} and the least count is {counts.min()}."
        )
