"""Matrix-chain order, longest common subsequence, optimal binary search tree [CLRS 15].

The reference fills its tables in rounds that read the round before, not along diagonals.
"""

import jax.numpy as jnp

from algorithmic.clrs.traces.machine import Machine, int8, places
from algorithmic.clrs.traces.sequences import chain


def _matrix_start(x, n):
    at = places(x["p"])
    diagonal = (at[:, None] == at[None, :]) & (at[:, None] >= 1) & (at[:, None] < n)
    zero = jnp.zeros(diagonal.shape, x["p"].dtype)
    split = jnp.zeros(diagonal.shape, jnp.int16)
    return {"m": zero, "split": split, "known": diagonal}


def _matrix_step(x, n, state):
    """Shows the tables, then takes one round: the best split k of every chain i..j."""
    m, split, known, p = state["m"], state["split"], state["known"], x["p"]
    hint = {"pred_h": chain(n, p), "m": m, "s_h": split, "msk": int8(known)}
    at = places(p)
    before = p[jnp.maximum(at - 1, 0)]
    # Axes i, j, k; the right part is the chain k+1..j.
    right, right_known = jnp.roll(m, -1, axis=0).T, jnp.roll(known, -1, axis=0).T
    cost = m[:, None, :] + right[None] + before[:, None, None] * p[None, None, :] * p[None, :, None]
    i, j, k = at[:, None, None], at[None, :, None], at[None, None, :]
    usable = known[:, None, :] & right_known[None] & (i >= 1) & (i <= k) & (k < j) & (j < n)
    cost = jnp.where(usable, cost, jnp.inf)
    best, where = jnp.min(cost, axis=2), jnp.argmin(cost, axis=2)
    any_split = jnp.any(usable, axis=2)
    better = any_split & (~known | (best < m))
    new = jnp.where(better, best, m)
    split = jnp.where(better, where.astype(jnp.int16), split)
    return {"m": new, "split": split, "known": known | any_split}, hint, jnp.all(new == m)


def _lcs_split(x, n):
    """(length of the first string, whether a cell (i, j) belongs to the table)."""
    at = places(x["key"])
    rows = jnp.sum((at < n) & (x["string"] == 0), dtype=jnp.int32)
    return rows, (at[:, None] < rows) & (at[None, :] >= rows) & (at[None, :] < n)


def _lcs_equal(x):
    return x["key"][:, None] == x["key"][None, :]


def _lcs_start(x, n):
    """Cells (i, rows + j) hold the table; its first column, then its first row, are given."""
    rows, cell = _lcs_split(x, n)
    equal = _lcs_equal(x)
    at = places(x["key"])
    top = (at[:, None] == 0) & cell
    left = (at[None, :] == rows) & cell
    seen_left = jnp.cumsum(equal & left, axis=0) > 0  # a match here or above
    seen_top = jnp.cumsum(equal & top, axis=1) > 0
    c = jnp.where(left, seen_left, False)
    b = jnp.where(left, jnp.where(equal, 0, 1), 3)
    c = jnp.where(top, seen_top, c)
    b = jnp.where(top, jnp.where(equal, 0, jnp.where(seen_top, 2, 1)), b)
    # dm-clrs starts the rest at class 0.
    inner = cell & ~top & ~left
    return {"c": c.astype(jnp.int16), "b": jnp.where(inner, 0, b).astype(jnp.int8)}


def _lcs_step(x, n, state):
    rows, cell = _lcs_split(x, n)
    at = places(x["key"])
    c, b = state["c"], state["b"]
    order = jnp.where(at == rows, at, at - 1)
    before = jnp.where((at == 0) | (at >= n), at, order).astype(jnp.int16)
    hint = {"pred_h": before, "b_h": b, "c": c}
    inner = cell & (at[:, None] > 0) & (at[None, :] > rows)
    up = jnp.roll(c, 1, axis=0)
    left = jnp.roll(c, 1, axis=1)
    diagonal = jnp.roll(up, 1, axis=1)
    equal = _lcs_equal(x)
    value = jnp.where(equal, diagonal + 1, jnp.maximum(up, left))
    step = jnp.where(equal, 0, jnp.where(up >= left, 1, 2)).astype(jnp.int8)
    new = jnp.where(inner, value, c)
    return {"c": new, "b": jnp.where(inner, step, b)}, hint, jnp.all(new == c)


def _bst_start(x, n):
    q = x["q"]
    at = places(q)
    diagonal = (at[:, None] == at[None, :]) & (at[:, None] < n)
    table = jnp.where(diagonal, q[:, None], jnp.zeros((), q.dtype))
    root = jnp.zeros(diagonal.shape, jnp.int16)
    # right[i, r] = e[r + 1, i + span], the cost of what lies right of root r in cell (i, i + span).
    # It is shifted along from span to span, because gathers are slow under `vmap`.
    j = at[:, None] + 1
    right = jnp.where((j == at[None, :] + 1) & (j < n), jnp.roll(q, -1)[None, :], 0)
    state = {"e": table, "w": table, "root": root, "known": diagonal, "t": jnp.int32(0)}
    # weight[i] = w[i, i + span] of the last span, and p[j - 1] and q[j] of the next one's cells.
    return {**state, "right": right, "weight": q, "p": x["p"], "q": jnp.roll(q, -1)}


def _bst_step(x, n, state):
    """Shows the tables, then fills the next diagonal. n is the number of gaps q: keys plus one."""
    e, w, root, known = state["e"], state["w"], state["root"], state["known"]
    hint = {
        "pred_h": chain(n, x["q"]),
        "root_h": root,
        "e": e,
        "w": w,
        "msk": int8(known),
    }
    span = state["t"] + 1
    at = places(x["q"])
    diagonal = (at[None, :] - at[:, None] == span) & (at[None, :] < n)
    weight = state["weight"] + state["p"] + state["q"]
    w = jnp.where(diagonal, weight[:, None], w)
    # Row i stands for the one cell (i, i + span) of this diagonal; columns are its roots r.
    i, r = at[:, None], at[None, :]
    j = i + span
    cost = e + state["right"] + weight[:, None]
    cost = jnp.where((i <= r) & (r < j) & (j < n), cost, jnp.inf)
    least = jnp.min(cost, axis=1)
    best = jnp.min(jnp.where(cost == least[:, None], r, at.shape[0]), axis=1)
    e = jnp.where(diagonal, least[:, None], e)
    root = jnp.where(diagonal, best.astype(jnp.int16)[:, None], root)
    right = jnp.roll(state["right"], -1, axis=0)
    right = jnp.where((j + 1 == r + 1 + span) & (j + 1 < n), jnp.roll(least, -1)[None, :], right)
    new = {"e": e, "w": w, "root": root, "known": known | diagonal, "t": span}
    new |= {"right": right, "weight": weight}
    new |= {k: jnp.roll(state[k], -1) for k in ("p", "q")}
    return new, hint, span >= n


MACHINES = {
    "matrix_chain_order": Machine(
        _matrix_start, _matrix_step, lambda x, n, state: {"s": state["split"]}, lambda n: n
    ),
    "lcs_length": Machine(
        _lcs_start, _lcs_step, lambda x, n, state: {"b": state["b"]}, lambda n: n
    ),
    "optimal_bst": Machine(
        _bst_start, _bst_step, lambda x, n, state: {"root": state["root"]}, lambda n: n
    ),
}
