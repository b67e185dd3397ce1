"""Depth-first search and what is built on it: topological sort, articulation points, bridges,
strongly connected components, shortest paths in a DAG [CLRS 22.3-22.5, 24.2].

The reference searches without recursion: a stack threaded through `s_prev`, its top `s_last`.
Each step of the machine shows one of five events: a root is chosen, a node is discovered, a
white neighbour is followed, a back edge is seen (articulation points and bridges alone), a node
is finished. Times count in ticks of 0.01.
"""

from typing import NamedTuple

import jax.numpy as jnp

from algorithmic.clrs.traces.machine import Machine, first, int8, places, put

WHITE, GREY, BLACK = 0, 1, 2


class Event(NamedTuple):
    """What one step of the search does."""

    root: jnp.ndarray  # which of the five
    discover: jnp.ndarray
    follow: jnp.ndarray
    back: jnp.ndarray
    finish: jnp.ndarray
    u: jnp.ndarray  # the node at the top of the stack
    v: jnp.ndarray  # where the reference's loop variable stands


def _search_start(like, root):
    at = places(like)
    zero = jnp.zeros(at.shape, jnp.int32)
    return {
        "color": zero,
        "s_prev": at,
        "s": root,
        "u": root,
        "v": root,
        "s_last": root,
        "choose": jnp.bool_(True),  # a root comes next
        "scan": jnp.int32(0),  # where the scan of neighbours goes on
    }


def _advance(A, n, state, pending, undiscovered, next_root, back_of=None):
    """One event.

    Args:
        A: (N, N), an edge where not 0.
        n: nodes.
        state: of the search.
        pending: whether a root must be chosen.
        undiscovered: (N,) nodes that the reference would discover when on top of the stack.
        next_root: the root to choose, if one must be.
        back_of: (N,) parents, where back edges are shown.

    Returns:
        (event, the search's state as this event's hint shows it, the state after it).
    """
    color, at = state["color"], places(state["color"])
    u = jnp.where(pending, next_root, state["u"])
    s = jnp.where(pending, next_root, state["s"])
    s_last = jnp.where(pending, next_root, state["s_last"])
    discover = ~pending & undiscovered[u]
    edge = A[u] != 0
    white = edge & (color == WHITE)
    if back_of is None:
        candidate = white
        back = jnp.bool_(False)
        v_next = first(candidate)
        found = jnp.any(candidate)
        follow = ~pending & ~discover & found
    else:
        candidate = edge & (white | (at != back_of[u])) & (at >= state["scan"])
        v_next = first(candidate)
        found = jnp.any(candidate)
        scanning = ~pending & ~discover & found
        follow = scanning & white[v_next]
        back = scanning & ~white[v_next]
    finish = ~pending & ~discover & ~found
    v = jnp.where(pending, next_root, state["v"])
    v = jnp.where(follow | back, v_next, jnp.where(finish, n - 1, v))

    color = jnp.where(discover & (at == u), GREY, color)
    color = jnp.where(follow & (at == v), GREY, color)
    color = jnp.where(finish & (at == u), BLACK, color)
    s_prev = jnp.where(follow & (at == v), s_last, state["s_prev"])
    s_last = jnp.where(follow, v, s_last)
    shown = {"color": color, "s_prev": s_prev, "s": s, "u": u, "v": v, "s_last": s_last}
    # After a finish the stack is popped, or the tree is done.
    below = s_prev[u]
    tree_done = finish & (below == u)
    popped = jnp.where(finish & ~tree_done & (at == u), u, s_prev)
    s_last = jnp.where(finish & ~tree_done, below, s_last)
    after = shown | {
        "s_prev": popped,
        "s_last": s_last,
        "u": jnp.where(follow | finish, s_last, u),
        "choose": tree_done,
        "scan": jnp.where(back, v + 1, 0),
    }
    return Event(pending, discover, follow, back, finish, u, v), shown, after


def _shown(search):
    """The hints that all of them share."""
    hint = {k: search[k].astype(jnp.int16) for k in ("s_prev", "s", "u", "v", "s_last")}
    return hint | {"color": int8(search["color"])}


def _white_root(state, n):
    white = (state["color"] == WHITE) & (places(state["color"]) < n)
    return first(white), jnp.any(white)


def _timed_start(x, n):
    zero = jnp.zeros(x["A"].shape[0], jnp.int32)
    search = _search_start(x["A"], jnp.int32(0))
    return search | {"d": zero, "f": zero, "time": jnp.int32(0), "pi": places(zero)}


def _clock(event, state, at):
    """d, f and time after an event."""
    time = state["time"] + (event.discover | event.finish).astype(jnp.int32)
    here = at == event.u
    d = jnp.where(event.discover & here, time, state["d"])
    f = jnp.where(event.finish & here, time, state["f"])
    return {"d": d, "f": f, "time": time}


def _ticks(clock):
    return {k: clock[k].astype(jnp.int16) for k in ("d", "f", "time")}


def _dfs_step(x, n, state):
    root, _ = _white_root(state, n)
    at = places(state["color"])
    undiscovered = (state["color"] == WHITE) | (state["d"] == 0)
    event, shown, after = _advance(x["A"], n, state, state["choose"], undiscovered, root)
    clock = _clock(event, state, at)
    pi = jnp.where(event.follow & (at == event.v), event.u, state["pi"])
    hint = _shown(shown) | _ticks(clock) | {"pi_h": pi.astype(jnp.int16)}
    last = after["choose"] & ~_white_root(after, n)[1]
    return after | clock | {"pi": pi}, hint, last


def _cut_start(x, n):
    """Articulation points and bridges: `low` and, in either case, what is found so far."""
    zero = jnp.zeros(x["A"].shape[0], jnp.int32)
    return _timed_start(x, n) | {"low": zero}


def _cut_step(x, n, state):
    """The search of both: returns also which tree edges (u, child) the finish of u looks at."""
    root, _ = _white_root(state, n)
    at = places(state["color"])
    undiscovered = (state["color"] == WHITE) | (state["d"] == 0)
    event, shown, after = _advance(
        x["A"], n, state, state["choose"], undiscovered, root, state["pi"]
    )
    clock = _clock(event, state, at)
    u, v = event.u, event.v
    pi = jnp.where(event.follow & (at == v), u, state["pi"])
    low = jnp.where(event.discover & (at == u), clock["time"], state["low"])
    seen = jnp.minimum(low[u], state["d"][v])
    low = jnp.where(event.back & (at == u), seen, low)
    children = pi == u
    lowest = jnp.min(jnp.where(children, low, jnp.iinfo(jnp.int32).max))
    before = low
    low = jnp.where(event.finish & (at == u), jnp.minimum(low[u], lowest), low)
    hint = _shown(shown) | _ticks(clock)
    hint |= {"pi_h": pi.astype(jnp.int16), "low": low.astype(jnp.int16)}
    last = after["choose"] & ~_white_root(after, n)[1]
    return event, after | clock | {"pi": pi, "low": low}, hint, last, children, before


def _articulation_start(x, n):
    zero = jnp.zeros(x["A"].shape[0], jnp.int32)
    return _cut_start(x, n) | {"children": zero, "cut": jnp.zeros(zero.shape, jnp.int8)}


def _articulation_step(x, n, state):
    event, new, hint, last, children, low = _cut_step(x, n, state)
    at, u = places(low), event.u
    count = state["children"] + (event.follow & (at == u)).astype(jnp.int32)
    below_root = (new["pi"][u] != u) & jnp.any(children & (low >= new["d"][u]))
    is_cut = below_root | ((new["pi"][u] == u) & (count[u] > 1))
    cut = jnp.where(event.finish & is_cut & (at == u), jnp.int8(1), state["cut"])
    hint |= {"is_cut_h": cut, "child_cnt": count.astype(jnp.int16)}
    return new | {"children": count, "cut": cut}, hint, last


def _bridges_start(x, n):
    at = places(x["A"])
    adjacent = (x["A"] != 0) | (at[:, None] == at[None, :])
    adjacent &= (at < n)[:, None] & (at < n)[None, :]
    return _cut_start(x, n) | {"bridge": jnp.where(adjacent, 0, -1).astype(jnp.int8)}


def _bridges_step(x, n, state):
    event, new, hint, last, children, low = _cut_step(x, n, state)
    at, u = places(low), event.u
    found = event.finish & children & (low > new["d"][u])
    pair = (at[:, None] == u) & found[None, :]
    bridge = jnp.where(pair | pair.T, jnp.int8(1), state["bridge"])
    return new | {"bridge": bridge}, hint | {"is_bridge_h": bridge}, last


def _components_start(x, n):
    at = places(x["A"])
    order = jnp.zeros(at.shape, jnp.int32)
    return _timed_start(x, n) | {"component": at, "order": order, "second": jnp.bool_(False)}


def _components_step(x, n, state):
    """Kosaraju: the second pass goes along reversed edges, roots by falling finish time."""
    second, at = state["second"], places(state["color"])
    A = jnp.where(second, x["A"].T, x["A"])
    white = (state["color"] == WHITE) & (at < n)
    latest = jnp.argmax(jnp.where(white, state["order"], -1)).astype(jnp.int32)
    root = jnp.where(second, latest, first(white))
    undiscovered = (state["color"] == WHITE) | (state["d"] == 0)
    event, shown, after = _advance(A, n, state, state["choose"], undiscovered, root)
    clock = _clock(event, state, at)
    visit = second & ~event.root & (at == event.u)
    component = jnp.where(visit, shown["s"], state["component"])
    hint = _shown(shown) | _ticks(clock)
    reverse = (x["A"].T != 0) | ((at[:, None] == at[None, :]) & (at < n)[:, None])
    hint |= {
        "scc_id_h": component.astype(jnp.int16),
        "A_t": int8(reverse),
        "phase": int8(second),
    }
    pass_done = after["choose"] & ~_white_root(after, n)[1]
    turn = pass_done & ~second
    after |= {
        "color": jnp.where(turn, WHITE, after["color"]),
        "s_prev": jnp.where(turn, at, after["s_prev"]),
        "order": jnp.where(turn, clock["f"], state["order"]),
        "second": second | turn,
        "component": component,
        "pi": state["pi"],
    }
    return after | clock, hint, pass_done & second


def _topo_list(event, state, color, at):
    """The list of finished nodes: a finish puts u before the head, if the head is finished."""
    head, u = state["head"], event.u
    link = event.finish & (color[head] == BLACK)
    topo = jnp.where(link & (at == u), head, state["topo"])
    return {"topo": topo, "head": jnp.where(event.finish, u, head)}


def _topo_hints(lists):
    return {
        "topo_h": lists["topo"].astype(jnp.int16),
        "topo_head_h": lists["head"].astype(jnp.int16),
    }


def _topo_start(x, n):
    search = _search_start(x["A"], jnp.int32(0))
    return search | {"topo": places(x["A"]), "head": jnp.int32(0)}


def _topo_step(x, n, state):
    root, _ = _white_root(state, n)
    undiscovered = state["color"] == WHITE
    event, shown, after = _advance(x["A"], n, state, state["choose"], undiscovered, root)
    lists = _topo_list(event, state, shown["color"], places(state["color"]))
    last = after["choose"] & ~_white_root(after, n)[1]
    return after | lists, _shown(shown) | _topo_hints(lists), last


def _dag_start(x, n):
    at = places(x["A"])
    lists = {"topo": at, "head": jnp.int32(0)}
    paths = {"pi": at, "d": jnp.zeros(at.shape, x["A"].dtype), "mark": jnp.zeros(at.shape, bool)}
    return _search_start(x["A"], x["s"]) | lists | paths | {"relax": jnp.bool_(False)}


def _dag_step(x, n, state):
    """The search from s, then one relaxation per node of the list."""
    relax, at = state["relax"], places(state["color"])
    undiscovered = state["color"] == WHITE
    event, shown, after = _advance(x["A"], n, state, state["choose"], undiscovered, x["s"])
    lists = _topo_list(event, state, shown["color"], at)
    held = {k: state[k] for k in shown}
    keep = lambda old, new: {k: jnp.where(relax, old[k], new[k]) for k in new}
    shown = keep(held, shown)
    lists = keep({k: state[k] for k in lists}, lists)
    after = keep({k: state[k] for k in after}, after)

    i, d, mark = state["head"], state["d"], state["mark"]
    end = state["topo"][i] == i
    mark = jnp.where(relax & ~end, put(mark, i, True), mark)
    hint = _shown(shown) | _topo_hints(lists)
    del hint["s"]  # the source is an input here
    hint |= {
        "pi_h": state["pi"].astype(jnp.int16),
        "d": d,
        "mark": int8(mark),
        "phase": int8(relax),
    }
    row = x["A"][i]
    better = relax & ~end & (row != 0) & (~mark | (d[i] + row < d))
    tree_done = after["choose"] & ~relax
    new = after | {
        "choose": jnp.bool_(False),
        "topo": lists["topo"],
        "head": jnp.where(relax, state["topo"][i], lists["head"]),
        "pi": jnp.where(better, i, state["pi"]),
        "d": jnp.where(better, d[i] + row, d),
        "mark": (mark | better) | (tree_done & (at == lists["head"])),
        "relax": relax | tree_done,
    }
    return new, hint, relax & end


def _pi(x, n, state):
    return {"pi": state["pi"].astype(jnp.int16)}


_CLOCK = frozenset({"d", "f", "time"})

MACHINES = {
    "dfs": Machine(_timed_start, _dfs_step, _pi, lambda n: 3 * n, _CLOCK),
    "articulation_points": Machine(
        _articulation_start,
        _articulation_step,
        lambda x, n, state: {"is_cut": state["cut"]},
        lambda n: 2 * n * n + 2 * n,  # a node is scanned once per child and once more
        _CLOCK | {"low", "child_cnt"},
    ),
    "bridges": Machine(
        _bridges_start,
        _bridges_step,
        lambda x, n, state: {"is_bridge": state["bridge"]},
        lambda n: 2 * n * n + 2 * n,
        _CLOCK | {"low"},
    ),
    "strongly_connected_components": Machine(
        _components_start,
        _components_step,
        lambda x, n, state: {"scc_id": state["component"].astype(jnp.int16)},
        lambda n: 6 * n,
        _CLOCK,
    ),
    "topological_sort": Machine(
        _topo_start,
        _topo_step,
        lambda x, n, state: {
            "topo": state["topo"].astype(jnp.int16),
            "topo_head": state["head"].astype(jnp.int16),
        },
        lambda n: 3 * n,
    ),
    "dag_shortest_paths": Machine(_dag_start, _dag_step, _pi, lambda n: 3 * n + 2),
}
