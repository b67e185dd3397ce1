"""Segment intersection, Graham's scan, Jarvis's march [CLRS 33.1, 33.3]."""

import jax.numpy as jnp

from algorithmic.clrs.traces.machine import Machine, int8, places, put
from algorithmic.clrs.traces.sequences import chain


def _segments_start(x, n):
    zero = jnp.zeros(x["x"].shape[0], x["x"].dtype)
    return {"dir": zero, "on": jnp.zeros(zero.shape, bool), "t": jnp.int32(0)}


def _segments_step(x, n, state):
    """Step 0 shows nothing; step t places point t - 1 by the line through the other two."""
    xs, ys, t = x["x"], x["y"], state["t"]
    going = t > 0
    k = jnp.maximum(t - 1, 0)
    i = jnp.where(k < 2, 2, 0)
    j = i + 1
    side = (xs[k] - xs[i]) * (ys[j] - ys[i]) - (xs[j] - xs[i]) * (ys[k] - ys[i])
    between = lambda a: (jnp.minimum(a[i], a[j]) <= a[k]) & (a[k] <= jnp.maximum(a[i], a[j]))
    on = jnp.where(going, put(state["on"], k, between(xs) & between(ys)), state["on"])
    side = jnp.where(going, put(state["dir"], k, side), state["dir"])
    shown = lambda index: jnp.where(going, index, 0).astype(jnp.int16)
    hint = {"i": shown(i), "j": shown(j), "k": shown(k), "dir": side, "on_seg": int8(on)}
    return {"dir": side, "on": on, "t": t + 1}, hint, t >= 4


def _segments_outputs(x, n, state):
    side, on = state["dir"], state["on"]
    opposite = lambda a, b: ((a > 0) & (b < 0)) | ((a < 0) & (b > 0))
    cross = opposite(side[0], side[1]) & opposite(side[2], side[3])
    touch = jnp.any(((side == 0) & on)[:4])
    return {"intersect": int8(cross | touch)}


def _lowest(x, n):
    """The point of least y, of these the one of least x, of these the first."""
    inside = places(x["y"]) < n
    ys = jnp.where(inside, x["y"], jnp.inf)
    xs = jnp.where(ys == jnp.min(ys), x["x"], jnp.inf)
    return jnp.argmin(xs).astype(jnp.int32)


def _turn(x, i, j, k):
    """Whether i, j, k do not turn left: the cross product of j - i and k - i is <= 0."""
    xs, ys = x["x"], x["y"]
    return ((xs[j] - xs[i]) * (ys[k] - ys[i]) - (ys[j] - ys[i]) * (xs[k] - xs[i])) <= 0


def _graham_start(x, n):
    at = places(x["x"])
    best = _lowest(x, n)
    angle = jnp.arctan2(x["y"] - x["y"][best], x["x"] - x["x"][best])
    key = jnp.where(at == best, -jnp.inf, jnp.where(at < n, angle, jnp.inf))
    return {
        "best": best,
        "angle": jnp.where((at == best) | (at >= n), 0, angle),
        "order": jnp.argsort(key).astype(jnp.int32),
        "hull": jnp.zeros(at.shape, jnp.int8),
        "prev": at,
        "top": jnp.int32(0),
        "t": jnp.int32(0),
        "i": jnp.int32(1),
    }


def _graham_step(x, n, state):
    """Three steps of setting up, then one per push and one per pop."""
    t, best = state["t"], state["best"]
    hull, prev, top, i = state["hull"], state["prev"], state["top"], state["i"]
    setting_up = t < 3
    hull = jnp.where(t == 1, put(hull, best, 1), hull)
    top = jnp.where(t == 1, best, top)
    point = state["order"][jnp.minimum(i, n - 1)]
    # A stack of one point cannot be popped; only collinear points, which the sampler excludes,
    # would ask for it (and send the reference round for ever).
    pop = ~setting_up & (i >= 3) & _turn(x, prev[top], top, point) & (prev[top] != top)
    push = ~setting_up & ~pop
    popped_top = prev[top]
    new_hull = jnp.where(pop, put(hull, top, 0), jnp.where(push, put(hull, point, 1), hull))
    new_prev = jnp.where(pop, put(prev, top, top), jnp.where(push, put(prev, point, top), prev))
    top = jnp.where(pop, popped_top, jnp.where(push, point, top))
    shown = jnp.where(setting_up, jnp.where(t == 0, 0, best), point)
    hint = {
        "best": jnp.where(t == 0, 0, best).astype(jnp.int16),
        "atans": jnp.where(t >= 2, state["angle"], jnp.zeros_like(state["angle"])),
        "in_hull_h": new_hull,
        "stack_prev": new_prev.astype(jnp.int16),
        "last_stack": top.astype(jnp.int16),
        "i": shown.astype(jnp.int16),
        "phase": int8(jnp.where(setting_up, t, jnp.where(pop, 3, 4))),
    }
    i = jnp.where(push, i + 1, i)
    last = ~setting_up & (i >= n)
    new = {"best": best, "angle": state["angle"], "order": state["order"], "hull": new_hull}
    return new | {"prev": new_prev, "top": top, "t": t + 1, "i": i}, hint, last


def _jarvis_start(x, n):
    zero = jnp.int32(0)
    hull = jnp.zeros(x["x"].shape[0], jnp.int8)
    return {
        "best": _lowest(x, n),
        "hull": hull,
        "last": zero,
        "end": zero,
        "i": zero,
        "t": zero,
        "fresh": jnp.bool_(False),
    }


def _jarvis_step(x, n, state):
    """Two steps of setting up, then one per candidate and one per new point of the hull."""
    t, best, hull = state["t"], state["best"], state["hull"]
    opening, setting_up, fresh = t == 0, t == 1, state["fresh"]
    hull = jnp.where(setting_up, put(hull, best, 1), hull)
    end = state["end"]
    last_point = jnp.where(setting_up, best, jnp.where(fresh, end, state["last"]))
    hull = jnp.where(fresh, put(hull, end, 1), hull)
    end = jnp.where(fresh, 0, end)
    walk = ~opening & ~setting_up & ~fresh
    i = state["i"]
    turn = _turn(x, last_point, end, i) & (i != last_point) & (i != end)
    end = jnp.where(walk & ((end == last_point) | turn), i, end)
    hint = {
        "pred_h": chain(n, x["x"]),
        "in_hull_h": hull,
        "best": jnp.where(opening, 0, best).astype(jnp.int16),
        "last_point": jnp.where(opening, 0, last_point).astype(jnp.int16),
        "endpoint": end.astype(jnp.int16),
        "i": jnp.where(walk, i, 0).astype(jnp.int16),
        "phase": int8(~opening),
    }
    round_done = walk & (i + 1 >= n)
    new = {"best": best, "hull": hull, "last": last_point, "end": end, "t": t + 1}
    new |= {"i": jnp.where(walk & ~round_done, i + 1, 0), "fresh": round_done}
    return new, hint, round_done & (hull[end] > 0)


def _hull(x, n, state):
    return {"in_hull": state["hull"]}


MACHINES = {
    "segments_intersect": Machine(_segments_start, _segments_step, _segments_outputs, lambda n: 5),
    "graham_scan": Machine(_graham_start, _graham_step, _hull, lambda n: 2 * n + 3),
    "jarvis_march": Machine(_jarvis_start, _jarvis_step, _hull, lambda n: 1 + n * (n + 1)),
}
