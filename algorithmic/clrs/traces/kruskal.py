"""Kruskal's minimum spanning tree with a union-find that shows every step [CLRS 21.3, 23.2]."""

import jax.numpy as jnp
import numpy as np

from algorithmic.clrs.traces.machine import Machine, int8, places, put


def _pairs(size):
    """u * size + v of all pairs u < v."""
    u, v = np.triu_indices(size, 1)
    return jnp.asarray(u * size + v, jnp.int32)


def _start(x, n):
    A, at = x["A"], places(x["A"])
    weight = A.reshape(-1)[_pairs(at.shape[0])]  # of the upper triangle, row-major
    present = weight > 0
    weight = jnp.where(present, weight, jnp.inf)
    zero = jnp.int32(0)
    none = jnp.zeros(at.shape, bool)
    return {
        "edges": _pairs(at.shape[0])[jnp.argsort(weight)],  # lightest first
        "count": jnp.sum(present, dtype=jnp.int32),
        "next": zero,  # edges begun
        "stage": zero,  # 0 opening, 1 begin an edge, 2 climb and join
        "u": zero,
        "v": zero,
        "root_u": zero,
        "root_v": zero,
        "mask_u": none,
        "mask_v": none,
        "pi": at,
        "tree": jnp.zeros(A.shape, jnp.int8),
    }


def _step(x, n, state):
    """One hint to open, one to begin an edge, one per parent climbed, one to join the roots."""
    size = state["pi"].shape[0]
    opening, begin = state["stage"] == 0, state["stage"] == 1
    work = ~opening & ~begin
    edges = state["edges"]
    edge = edges[jnp.minimum(state["next"], edges.shape[0] - 1)]
    u = jnp.where(begin, edge // size, state["u"])
    v = jnp.where(begin, edge % size, state["v"])
    pi, at = state["pi"], places(state["pi"])
    root_u, root_v = jnp.where(begin, u, state["root_u"]), jnp.where(begin, v, state["root_v"])
    mask_u = jnp.where(begin, at == u, state["mask_u"])
    mask_v = jnp.where(begin, at == v, state["mask_v"])

    up_u, up_v = pi[root_u], pi[root_v]
    climb_u = work & (up_u != root_u)
    climb_v = work & ~climb_u & (up_v != root_v)
    join = work & ~climb_u & ~climb_v
    root_u, root_v = jnp.where(climb_u, up_u, root_u), jnp.where(climb_v, up_v, root_v)
    # All nodes climbed so far are hung below the new root.
    pi = jnp.where(climb_u & mask_u, root_u, jnp.where(climb_v & mask_v, root_v, pi))
    mask_u |= climb_u & (at == root_u)
    mask_v |= climb_v & (at == root_v)
    low, high = jnp.minimum(root_u, root_v), jnp.maximum(root_u, root_v)
    pi = jnp.where(join, put(pi, low, high), pi)  # the higher root becomes the parent
    chosen = (at[:, None] == u) & (at[None, :] == v) & join & (low != high)
    tree = jnp.where(chosen | chosen.T, jnp.int8(1), state["tree"])
    hint = {
        "in_mst_h": tree,
        "pi": pi.astype(jnp.int16),
        "u": u.astype(jnp.int16),
        "v": v.astype(jnp.int16),
        "root_u": root_u.astype(jnp.int16),
        "root_v": root_v.astype(jnp.int16),
        "mask_u": int8(mask_u),
        "mask_v": int8(mask_v),
        "phase": int8(jnp.where(climb_v, 2, jnp.where(begin | climb_u, 1, 0))),
    }
    begun = jnp.where(begin, state["next"] + 1, state["next"])
    new = {
        "edges": state["edges"],
        "count": state["count"],
        "next": begun,
        "stage": jnp.where(opening | join, 1, 2).astype(jnp.int32),
        "u": u,
        "v": v,
        "root_u": root_u,
        "root_v": root_v,
        "mask_u": mask_u,
        "mask_v": mask_v,
        "pi": pi,
        "tree": tree,
    }
    return new, hint, (opening | join) & (begun >= state["count"])


def _longest(n: int) -> int:
    """Two hints per edge; climbs to a root's child are two per edge at most, and any other climb
    hangs a node below a higher one, which happens to node i at most n - 1 - i times."""
    return 1 + 5 * n * (n - 1) // 2


MACHINES = {
    "mst_kruskal": Machine(_start, _step, lambda x, n, state: {"in_mst": state["tree"]}, _longest)
}
