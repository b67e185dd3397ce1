"""Every schedule there is, one by one."""

import itertools

import numpy as np


def schedules(rounds, separation, participations=None):
    """All sets of rounds that are at least so far apart, at most so many of them."""
    for chosen in itertools.product((0, 1), repeat=rounds):
        at = np.flatnonzero(chosen)
        enough = participations is None or at.size <= participations
        if enough and (at.size < 2 or np.diff(at).min() >= separation):
            yield at


def sensitivity(matrix, separation, participations=None):
    """The longest sum of columns over all schedules and all signs of what is sent."""
    gram = np.abs(matrix.T @ matrix)  # the signs that add everything up, or more than is possible
    found = schedules(matrix.shape[1], separation, participations)
    return max(np.sqrt(gram[np.ix_(at, at)].sum()) for at in found)
