"""Minimum, binary search, Kadane's maximum subarray, activity selection, task scheduling
[CLRS 9.1, problem 2.3-5, Bentley 1984, CLRS 16.1, problem 16-4]."""

import jax.numpy as jnp

from algorithmic.clrs.traces.machine import Machine, int8, places, predecessors, put


def chain(n, like):
    """The `pred_h` of an array in its own order, which never changes."""
    return predecessors(places(like), n).astype(jnp.int16)


def _minimum_start(x, n):
    return {"least": jnp.int32(0), "t": jnp.int32(0)}


def _minimum_step(x, n, state):
    key, least, t = x["key"], state["least"], state["t"]
    least = jnp.where(key[least] > key[t], t, least)
    hint = {"pred_h": chain(n, key), "min_h": least.astype(jnp.int16), "i": t.astype(jnp.int16)}
    return {"least": least, "t": t + 1}, hint, t + 1 >= n


def _minimum_outputs(x, n, state):
    return {"min": state["least"].astype(jnp.int16)}


def _binary_start(x, n):
    return {"low": jnp.int32(0), "high": n - 1, "t": jnp.int32(0)}


def _binary_step(x, n, state):
    low, high, going = state["low"], state["high"], state["t"] > 0
    middle = (low + high) // 2
    left = x["target"] <= x["key"][middle]
    high = jnp.where(going & left, middle, high)
    low = jnp.where(going & ~left, middle + 1, low)
    hint = {
        "pred_h": chain(n, x["key"]),
        "low": low.astype(jnp.int16),
        "high": high.astype(jnp.int16),
        "mid": ((low + high) // 2).astype(jnp.int16),
    }
    return {"low": low, "high": high, "t": state["t"] + 1}, hint, low >= high


def _binary_outputs(x, n, state):
    return {"return": state["high"].astype(jnp.int16)}


def _kadane_start(x, n):
    zero = jnp.int32(0)
    total = x["key"][0]
    return {"low": zero, "high": zero, "best": total, "i": zero, "total": total, "t": zero}


def _kadane_step(x, n, state):
    t, value = state["t"], x["key"][state["t"]]
    going = t > 0
    extended = state["total"] + value
    extend = extended >= value
    i = jnp.where(going & ~extend, t, state["i"])
    total = jnp.where(going, jnp.where(extend, extended, value), state["total"])
    better = going & (total > state["best"])
    low = jnp.where(better, i, state["low"])
    high = jnp.where(better, t, state["high"])
    best = jnp.where(better, total, state["best"])
    hint = {
        "pred_h": chain(n, x["key"]),
        "best_low": low.astype(jnp.int16),
        "best_high": high.astype(jnp.int16),
        "best_sum": best,
        "i": i.astype(jnp.int16),
        "j": t.astype(jnp.int16),
        "sum": total,
    }
    new = {"low": low, "high": high, "best": best, "i": i, "total": total, "t": t + 1}
    return new, hint, t + 1 >= n


def _kadane_outputs(x, n, state):
    return {"start": state["low"].astype(jnp.int16), "end": state["high"].astype(jnp.int16)}


def _by(value, n):
    """Nodes in rising order of value, padding last."""
    held = jnp.where(places(value) < n, value, jnp.inf)
    return jnp.argsort(held).astype(jnp.int32)


def _greedy_start(order, like):
    none = jnp.zeros(like.shape[0], jnp.int8)
    return {"order": order, "selected": none, "k": jnp.int32(0), "t": jnp.int32(0)}


def _activity_start(x, n):
    return _greedy_start(_by(x["f"], n), x["f"])


def _activity_step(x, n, state):
    """Step 0 shows nothing chosen; step t considers the activity that ends t-th."""
    t, going = state["t"], state["t"] > 0
    m = state["order"][jnp.maximum(t - 1, 0)]
    take = going & ((t == 1) | (x["s"][m] >= x["f"][state["k"]]))
    selected = jnp.where(take, put(state["selected"], m, 1), state["selected"])
    k = jnp.where(take, m, state["k"])
    hint = {
        "pred_h": chain(n, x["f"]),
        "selected_h": selected,
        "m": jnp.where(going, m, 0).astype(jnp.int16),
        "k": k.astype(jnp.int16),
    }
    new = {"order": state["order"], "selected": selected, "k": k, "t": t + 1}
    return new, hint, t >= n


def _task_start(x, n):
    return _greedy_start(_by(-x["w"], n), x["w"])


def _task_step(x, n, state):
    """Step 0 shows nothing chosen; step t considers the task of t-th largest weight."""
    t, going = state["t"], state["t"] > 0
    i = state["order"][jnp.maximum(t - 1, 0)]
    take = going & ((t == 1) | (state["k"].astype(x["d"].dtype) < x["d"][i]))
    selected = jnp.where(take, put(state["selected"], i, 1), state["selected"])
    k = state["k"] + take.astype(jnp.int32)
    hint = {
        "pred_h": chain(n, x["w"]),
        "selected_h": selected,
        "i": jnp.where(going, i, 0).astype(jnp.int16),
        "t": k.astype(jnp.int16),
    }
    new = {"order": state["order"], "selected": selected, "k": k, "t": t + 1}
    return new, hint, t >= n


def _selected(x, n, state):
    return {"selected": int8(state["selected"])}


MACHINES = {
    "minimum": Machine(_minimum_start, _minimum_step, _minimum_outputs, lambda n: n),
    "binary_search": Machine(
        _binary_start, _binary_step, _binary_outputs, lambda n: 2 + n.bit_length()
    ),
    "find_maximum_subarray_kadane": Machine(
        _kadane_start, _kadane_step, _kadane_outputs, lambda n: n
    ),
    "activity_selector": Machine(_activity_start, _activity_step, _selected, lambda n: n + 1),
    "task_scheduling": Machine(_task_start, _task_step, _selected, lambda n: n + 1),
}
