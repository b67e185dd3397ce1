"""Breadth-first search, Bellman-Ford, Dijkstra, Prim, Floyd-Warshall [CLRS 22.2, 23-25]."""

import jax.numpy as jnp

from algorithmic.clrs.traces.machine import Machine, int8, places, put


def _pi(x, n, state):
    return {"pi": state["pi"].astype(jnp.int16)}


def _bfs_start(x, n):
    at = places(x["A"])
    return {"reach": at == x["s"], "pi": at}


def _bfs_step(x, n, state):
    """Shows a layer, then reaches the next; a parent is the lowest node of the layer before."""
    reach, pi = state["reach"], state["pi"]
    hint = {"reach_h": int8(reach), "pi_h": pi.astype(jnp.int16)}
    edge = (x["A"] > 0) & reach[:, None]
    touched = jnp.any(edge, axis=0)
    parent = jnp.argmax(edge, axis=0).astype(jnp.int32)
    at = places(pi)
    new_pi = jnp.where(touched & (pi == at) & (at != x["s"]), parent, pi)
    new = reach | touched
    return {"reach": new, "pi": new_pi}, hint, jnp.all(new == reach)


def _bellman_start(x, n):
    at = places(x["A"])
    return {"d": jnp.zeros(at.shape, x["A"].dtype), "pi": at, "known": at == x["s"]}


def _bellman_step(x, n, state):
    """Shows the distances, then relaxes every edge by the distances of the round before."""
    d, pi, known = state["d"], state["pi"], state["known"]
    hint = {"pi_h": pi.astype(jnp.int16), "d": d, "msk": int8(known)}
    edge = (x["A"] != 0) & known[:, None]
    through = jnp.where(edge, d[:, None] + x["A"], jnp.inf)
    best, parent = jnp.min(through, axis=0), jnp.argmin(through, axis=0).astype(jnp.int32)
    touched = jnp.any(edge, axis=0)
    better = touched & (~known | (best < d))
    new = jnp.where(better, best, d)
    state = {"d": new, "pi": jnp.where(better, parent, pi), "known": known | touched}
    return state, hint, jnp.all(new == d)


def _queue_start(x, n):
    at = places(x["A"])
    return {
        "d": jnp.zeros(at.shape, x["A"].dtype),
        "pi": at,
        "mark": jnp.zeros(at.shape, bool),
        "queue": at == x["s"],
        "t": jnp.int32(0),
    }


def _queue_step(distance: str, additive: bool):
    """Dijkstra (keys add up) and Prim (they do not): step 0 shows the start, then one per node."""

    def step(x, n, state):
        d, pi, mark, queue, t = (state[k] for k in ("d", "pi", "mark", "queue", "t"))
        going = t > 0
        u = jnp.argmin(jnp.where(queue, d, jnp.inf)).astype(jnp.int32)
        new_mark, left = put(mark, u, True), put(queue, u, False)
        row = x["A"][u]
        reach = d[u] + row if additive else row
        better = (row != 0) & ~new_mark & (~left | (reach < d))
        d = jnp.where(going & better, reach, d)
        pi = jnp.where(going & better, u, pi)
        mark = jnp.where(going, new_mark, mark)
        queue = jnp.where(going, left | better, queue)
        hint = {
            "pi_h": pi.astype(jnp.int16),
            distance: d,
            "mark": int8(mark),
            "in_queue": int8(queue),
            "u": jnp.where(going, u, x["s"]).astype(jnp.int16),
        }
        new = {"d": d, "pi": pi, "mark": mark, "queue": queue, "t": t + 1}
        return new, hint, ~jnp.any(queue)

    return step


def _floyd_start(x, n):
    at = places(x["A"])
    known = ((x["A"] != 0) | (at[:, None] == at[None, :])) & (at < n)[:, None] & (at < n)[None, :]
    pi = jnp.broadcast_to(at[:, None], known.shape).astype(jnp.int16)
    return {"d": x["A"], "pi": pi, "known": known, "k": jnp.int32(0)}


def _floyd_step(x, n, state):
    """Shows the tables, then lets paths go through node k."""
    d, pi, known, k = state["d"], state["pi"], state["known"], state["k"]
    hint = {"Pi_h": pi, "D": d, "msk": int8(known), "k": k.astype(jnp.int16)}
    passable = known[:, k][:, None] & known[k][None, :]
    through = d[:, k][:, None] + d[k][None, :]
    better = passable & (~known | (through < d))
    new = {
        "d": jnp.where(better, through, d),
        "pi": jnp.where(better, pi[k][None, :], pi),
        "known": known | passable,
        "k": k + 1,
    }
    return new, hint, k + 1 >= n


def _floyd_outputs(x, n, state):
    return {"Pi": state["pi"]}


MACHINES = {
    "bfs": Machine(_bfs_start, _bfs_step, _pi, lambda n: n + 1),
    "bellman_ford": Machine(_bellman_start, _bellman_step, _pi, lambda n: n + 1),
    "dijkstra": Machine(_queue_start, _queue_step("d", True), _pi, lambda n: n + 1),
    "mst_prim": Machine(_queue_start, _queue_step("key", False), _pi, lambda n: n + 1),
    "floyd_warshall": Machine(_floyd_start, _floyd_step, _floyd_outputs, lambda n: n),
}
