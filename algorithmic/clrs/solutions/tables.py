"""Tables of dynamic programs: in every cell any choice that reaches the cell's best value."""

import numpy as np

from algorithmic.clrs.solutions.paths import near, take

DIAGONAL, UP, LEFT, BLANK = range(4)


def subsequence(inputs, said):
    """Directions along which the longest common subsequence is read off [CLRS 15.4]: to the
    diagonal where letters are equal, up or left where no length is lost."""
    key, rows = inputs["key"], int(np.sum(inputs["string"] == 0))
    first, second = key[:rows], key[rows:]
    equal = first[:, None] == second[None, :]
    c = np.zeros((rows + 1, len(second) + 1), int)
    for i in range(rows):
        for j in range(len(second)):
            c[i + 1, j + 1] = c[i, j] + 1 if equal[i, j] else max(c[i, j + 1], c[i + 1, j])
    inner = c[1:, 1:]
    allowed = np.stack([equal, c[:-1, 1:] == inner, c[1:, :-1] == inner], axis=-1)
    b = np.full(said["b"].shape, BLANK)
    b[:rows, rows:] = _choice(allowed, said["b"][:rows, rows:])
    return {"b": b}


def _choice(allowed, said):
    kept = np.minimum(said, LEFT)
    return np.where(said == BLANK, np.argmax(allowed, axis=-1), take(allowed, kept))


def matrix_chain(inputs, said):
    """Any split of least cost, for every chain i..j with 1 <= i < j [CLRS 15.2]."""
    p = inputs["p"].astype(np.float64)
    n = len(p)
    m, s = np.zeros((n, n)), np.zeros((n, n), int)
    for span in range(1, n):
        for i in range(1, n - span):
            j = i + span
            k = np.arange(i, j)
            cost = m[i, k] + m[k + 1, j] + p[i - 1] * p[k] * p[j]
            m[i, j] = np.min(cost)
            s[i, j] = _near_split(cost, m[i, j], k, said["s"][i, j])
    return {"s": s}


def search_tree(inputs, said):
    """Any root of least cost, for every range i..j of gaps with i < j [CLRS 15.5]."""
    p, q = inputs["p"].astype(np.float64), inputs["q"].astype(np.float64)
    n = len(q)
    e, w, root = np.diag(q), np.diag(q), np.zeros((n, n), int)
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            w[i, j] = w[i, j - 1] + p[j - 1] + q[j]
            r = np.arange(i, j)
            cost = e[i, r] + e[r + 1, j] + w[i, j]
            e[i, j] = np.min(cost)
            root[i, j] = _near_split(cost, e[i, j], r, said["root"][i, j])
    return {"root": root}


def _near_split(cost, best, places, said):
    good = places[near(cost, best)]
    return said if said in good else good[0]
