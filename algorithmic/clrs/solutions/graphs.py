"""Spanning trees, depth-first forests, topological orders, strongly connected components."""

import numpy as np
from scipy.sparse import csgraph


def kruskal(inputs, said):
    """The lightest spanning forest that has most of the said edges: among edges of one weight
    they come first, and the forests are the bases of a matroid."""
    chosen = said["in_mst"] == 1
    tree = _lightest(inputs["A"], chosen & chosen.T)
    return {"in_mst": tree.astype(np.int8)}


def prim(inputs, said):
    """The same as parents, rooted at s; nodes out of reach point at themselves."""
    A, s, pi = inputs["A"], inputs["s"], said["pi"]
    at = np.arange(len(pi))
    wanted = np.zeros(A.shape, bool)
    wanted[at, pi] = True
    tree = _lightest(A, wanted | wanted.T)
    _, parent = csgraph.breadth_first_order(tree.astype(np.float64), s, directed=False)
    return {"pi": np.where(parent >= 0, parent, at)}


def _lightest(A, wanted):
    """(n, n) symmetric: Kruskal's forest with wanted edges first among equal ones."""
    u, v = np.nonzero(np.triu(A, 1))
    root = np.arange(len(A))
    tree = np.zeros(A.shape, bool)
    for e in np.lexsort((~wanted[u, v], A[u, v])):
        a, b = root[u[e]], root[v[e]]
        if a != b:
            root[root == a] = b
            tree[u[e], v[e]] = tree[v[e], u[e]] = True
    return tree


def depth_first(inputs, said):
    """A depth-first forest along the said one: at every node its said children come first.

    Said parents are those of some search if and only if siblings (and roots) can be ordered so
    that every edge between two different branches leads back to the one visited before; so they
    are visited in such an order, and a forest that is right comes out as it was said.
    """
    A = inputs["A"] != 0
    pi, n = said["pi"], len(A)
    at = np.arange(n)
    rank = _sibling_ranks(A, pi)
    parent, seen = at.copy(), np.zeros(n, bool)
    for root in np.lexsort((rank, pi != at)):
        if seen[root]:
            continue
        seen[root], stack = True, [root]
        while stack:
            u = stack[-1]
            white = np.flatnonzero(A[u] & ~seen)
            if not len(white):
                stack.pop()
                continue
            v = white[np.lexsort((rank[white], pi[white] != u))[0]]
            parent[v], seen[v] = u, True
            stack.append(v)
    return {"pi": parent}


def _sibling_ranks(A, pi):
    """A rank per node, so that branches which edges lead back to rank lower among siblings."""
    n = len(pi)
    lines = [_line(pi, v) for v in range(n)]
    after = np.zeros((n, n), bool)
    for u, v in zip(*np.nonzero(A), strict=True):
        for a, b in zip(lines[u], lines[v], strict=False):
            if a != b:  # below their last common ancestor
                after[b, a] = True
                break
    rank, left = np.zeros(n, int), np.ones(n, bool)
    for i in range(n):
        free = np.flatnonzero(left & ~np.any(after & left[:, None], axis=0))
        v = free[0] if len(free) else np.flatnonzero(left)[0]
        rank[v], left[v] = i, False
    return rank


def _line(pi, v):
    """From v's root down to v; from v itself where its parents go round in a circle."""
    line = [v]
    while pi[v] != v and len(line) <= len(pi):
        v = pi[v]
        line.append(v)
    return line[::-1] if pi[v] == v else line[:1]


def topological(inputs, said):
    """An order that follows the said chain wherever the next node has no edge into it left."""
    A = inputs["A"] != 0
    after, n = said["topo"], len(A)
    missing, left = A.sum(axis=0), np.ones(n, bool)
    order, wish = [], said["topo_head"]
    for _ in range(n):
        free = np.flatnonzero(left & (missing == 0))
        node = wish if wish in free else _chain_head(free, after)
        order.append(int(node))
        left[node] = False
        missing = missing - A[node]
        wish = after[node]
    topo = np.empty(n, int)
    topo[order] = [*order[1:], order[-1]]
    return {"topo": topo, "topo_head": order[0]}


def _chain_head(free, after):
    """The first of these that no other of them says it stands before."""
    pointed = {int(after[v]) for v in free if after[v] != v}
    return next((v for v in free if int(v) not in pointed), free[0])


def components(inputs, said):
    """Every component named by that member of it which most of its nodes say."""
    label = said["scc_id"]
    _, own = csgraph.connected_components(inputs["A"] != 0, directed=True, connection="strong")
    out = np.empty(len(label), int)
    for c in range(own.max() + 1):
        members = np.flatnonzero(own == c)
        votes = [np.sum(label[members] == m) for m in members]
        out[members] = members[int(np.argmax(votes))]
    return {"scc_id": out}
