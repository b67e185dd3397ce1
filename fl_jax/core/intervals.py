"""What a count of hits says about the chance of one."""

from scipy import special


def clopper_pearson(hits: int, trials: int, level: float) -> tuple[float, float]:
    """One-sided bounds (lower, upper) of a probability, each at confidence 1 - level.

    Together they are the two-sided interval at confidence 1 - 2 level
    [Clopper, Pearson, Biometrika 1934].

    Args:
        hits: in 0..trials.
        trials: at least 1.
        level: the chance that one bound is wrong, in (0, 1).

    Example:
        >>> [round(end, 4) for end in clopper_pearson(0, 10, 0.025)]
        [0.0, 0.3085]
    """
    low = special.betaincinv(hits, trials - hits + 1, level) if hits > 0 else 0.0
    high = special.betainccinv(hits + 1, trials - hits, level) if hits < trials else 1.0
    return float(low), float(high)
