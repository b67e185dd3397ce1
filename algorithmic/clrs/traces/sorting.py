"""The four sorts [CLRS 2, 6, 7 and problem 2-2] and quickselect [CLRS 9].

`order` lists the nodes as the array now holds them, `key` their values in that order.
"""

import jax.numpy as jnp

from algorithmic.clrs.traces.machine import Machine, int8, places, predecessors, put, ratio


def _start(x, n):
    return {"key": x["key"], "order": places(x["key"]), "t": jnp.int32(0)}


def _sorted(x, n, state):
    return {"pred": predecessors(state["order"], n).astype(jnp.int16)}


def _swap(x, i, j):
    a, b = x[i], x[j]
    return put(put(x, i, b), j, a)


def _pred(order, n):
    return predecessors(order, n).astype(jnp.int16)


def _bits(n: int) -> int:
    return max(n, 1).bit_length()


def _insertion_step(x, n, state):
    """Step t inserts element t; what the shifts overwrite is where the hint `i` points."""
    key, order, t = state["key"], state["order"], state["t"]
    at = places(key)
    place = jnp.sum((at < t) & (key <= key[t]), dtype=jnp.int32)  # the prefix is sorted
    shown = order[place]
    source = jnp.where(at == place, t, jnp.where((at > place) & (at <= t), at - 1, at))
    key, order = key[source], order[source]
    hint = {"pred_h": _pred(order, n), "i": shown.astype(jnp.int16), "j": t.astype(jnp.int16)}
    return {"key": key, "order": order, "t": t + 1}, hint, t + 1 >= n


def _bubble_start(x, n):
    return _start(x, n) | {"i": jnp.int32(0), "j": n - 1}


def _bubble_step(x, n, state):
    key, order, i, j, t = (state[k] for k in ("key", "order", "i", "j", "t"))
    going = t > 0
    swap = going & (key[j] < key[jnp.maximum(j - 1, 0)])
    other = jnp.where(swap, j - 1, j)
    key, order = _swap(key, j, other), _swap(order, j, other)
    hint = {
        "pred_h": _pred(order, n),
        "i": jnp.where(going, order[i], 0).astype(jnp.int16),
        "j": jnp.where(going, order[j], 0).astype(jnp.int16),
    }
    row_done = j - 1 <= i
    next_i = jnp.where(going & row_done, i + 1, i)
    next_j = jnp.where(going, jnp.where(row_done, n - 1, j - 1), j)
    last = jnp.where(going, row_done & (i + 1 >= n - 1), n < 2)
    return {"key": key, "order": order, "t": t + 1, "i": next_i, "j": next_j}, hint, last


def _heap_start(x, n):
    # at: where the sift stands; root: where it began; size: of the heap; phase: 0 build, 1 swap,
    # 2 sift; the first step only shows the array.
    return _start(x, n) | {"at": n - 1, "root": n - 1, "size": n, "phase": jnp.int32(-1)}


def _heap_step(x, n, state):
    key, order, at, root, size, phase = (
        state[k] for k in ("key", "order", "at", "root", "size", "phase")
    )
    opening, extract = phase < 0, phase == 1
    # Sift: the larger child of `at`, if it is larger than `at`.
    top = key.shape[0] - 1
    left, right = 2 * at + 1, 2 * at + 2
    largest = jnp.where((left < size) & (key[jnp.minimum(left, top)] > key[at]), left, at)
    largest = jnp.where(
        (right < size) & (key[jnp.minimum(right, top)] > key[largest]), right, largest
    )
    # Extract: the top goes behind the shrunken heap.
    a = jnp.where(extract, 0, at)
    b = jnp.where(opening, a, jnp.where(extract, size - 1, largest))
    key, order = _swap(key, a, b), _swap(order, a, b)
    shown_size = jnp.where(extract, size - 1, size)
    nodes = places(order)
    parent = nodes.at[order].set(
        jnp.where((nodes >= 1) & (nodes < shown_size), order[jnp.maximum(nodes - 1, 0) // 2], order)
    )
    pick = lambda start, swap, sift: jnp.where(opening, start, jnp.where(extract, swap, sift))
    hint = {
        "pred_h": _pred(order, n),
        "parent": parent.astype(jnp.int16),
        "i": pick(n - 1, order[0], order[root]).astype(jnp.int16),
        "j": pick(n - 1, order[size - 1], order[at]).astype(jnp.int16),
        "largest": pick(n - 1, 0, order[largest]).astype(jnp.int16),
        "heap_size": pick(n - 1, order[shown_size - 1], order[shown_size - 1]).astype(jnp.int16),
        "phase": int8(jnp.maximum(phase, 0)),
    }
    # What comes next: a deeper sift, the next root of the build, or the next extraction.
    deeper = ~opening & ~extract & (largest != at)
    build_on = (phase == 0) & ~deeper & (root > 0)
    next_phase = jnp.where(
        opening, 0, jnp.where(extract, 2, jnp.where(deeper | build_on, phase, 1))
    )
    next_at = jnp.where(
        opening, at, jnp.where(extract, 0, jnp.where(deeper, largest, jnp.maximum(root - 1, 0)))
    )
    next_root = jnp.where(
        opening | deeper, root, jnp.where(extract, size - 1, jnp.maximum(root - 1, 0))
    )
    last = ~opening & (next_phase == 1) & (shown_size <= 1)
    new = {"key": key, "order": order, "t": state["t"] + 1}
    return (
        new | {"at": next_at, "root": next_root, "size": shown_size, "phase": next_phase},
        hint,
        last,
    )


def _compare(state, key, order):
    """One comparison of Lomuto's partition, or its closing swap where j has reached r."""
    r, i, j = state["r"], state["i"], state["j"]
    closing = j >= r
    low = closing | (key[j] <= key[r])
    a = jnp.where(low, i + 1, j)  # i counts the small ones so far, less one
    b = jnp.where(closing, r, j)
    key, order = _swap(key, a, b), _swap(order, a, b)
    return key, order, jnp.where(low & ~closing, i + 1, i), closing


def _quick_start(x, n):
    none = jnp.zeros(x["key"].shape[0] + 1, jnp.int32)
    fields = {"p": jnp.int32(0), "r": n - 1, "i": jnp.int32(-1), "j": jnp.int32(0)}
    return _start(x, n) | fields | {"stack_p": none, "stack_r": none, "depth": jnp.int32(0)}


def _quicksort_step(x, n, state):
    key, order, i, closing = _compare(state, state["key"], state["order"])
    p, r, j = state["p"], state["r"], state["j"]
    middle = i + 1
    hint = {
        "pred_h": _pred(order, n),
        "p": order[p].astype(jnp.int16),
        "r": order[r].astype(jnp.int16),
        "i": order[middle].astype(jnp.int16),
        "j": order[j].astype(jnp.int16),  # j = r when closing
    }
    # After the closing swap: the left part, else the right one, else the stack.
    has_left, has_right = p < middle - 1, middle + 1 < r
    stack_p, stack_r, depth = state["stack_p"], state["stack_r"], state["depth"]
    push = closing & has_left & has_right
    stack_p = jnp.where(push, put(stack_p, depth, middle + 1), stack_p)
    stack_r = jnp.where(push, put(stack_r, depth, r), stack_r)
    depth = depth + push.astype(jnp.int32)
    pop = closing & ~has_left & ~has_right
    last = pop & (depth == 0)
    depth = jnp.where(pop, jnp.maximum(depth - 1, 0), depth)
    after_p = jnp.where(has_left, p, jnp.where(has_right, middle + 1, stack_p[depth]))
    after_r = jnp.where(has_left, middle - 1, jnp.where(has_right, r, stack_r[depth]))
    p, r = jnp.where(closing, after_p, p), jnp.where(closing, after_r, r)
    new = {"key": key, "order": order, "t": state["t"] + 1, "p": p, "r": r}
    new |= {"i": jnp.where(closing, p - 1, i), "j": jnp.where(closing, p, j + 1)}
    return new | {"stack_p": stack_p, "stack_r": stack_r, "depth": depth}, hint, last


def _select_start(x, n):
    fields = {"p": jnp.int32(0), "r": n - 1, "i": jnp.int32(-1), "j": jnp.int32(0)}
    return _start(x, n) | fields | {"target": n // 2, "found": jnp.int32(0)}


def _quickselect_step(x, n, state):
    key, order, i, closing = _compare(state, state["key"], state["order"])
    p, r, j, target = state["p"], state["r"], state["j"], state["target"]
    middle = i + 1
    # The rank is counted from the array's start while comparing, from p after the partition:
    # the reference does so, and it is kept.
    rank = jnp.where(closing, middle - p, middle)
    hint = {
        "pred_h": _pred(order, n),
        "p": order[p].astype(jnp.int16),
        "r": order[r].astype(jnp.int16),
        "i": order[middle].astype(jnp.int16),
        "j": order[j].astype(jnp.int16),
        "i_rank": ratio(rank, n, key.dtype),
        "target": ratio(target, n, key.dtype),
        "pivot": jnp.where(closing, order[middle], order[r]).astype(jnp.int16),
    }
    k = middle - p
    left = target < k
    next_p = jnp.where(left, p, middle + 1)
    next_r = jnp.where(left, middle - 1, r)
    next_target = jnp.where(left, target, target - k - 1)
    last = closing & (target == k)
    p, r = jnp.where(closing, next_p, p), jnp.where(closing, next_r, r)
    new = {"key": key, "order": order, "t": state["t"] + 1, "p": p, "r": r}
    new |= {"i": jnp.where(closing, p - 1, i), "j": jnp.where(closing, p, j + 1)}
    target = jnp.where(closing, next_target, target)
    return new | {"target": target, "found": order[middle]}, hint, last


def _median(x, n, state):
    return {"median": state["found"].astype(jnp.int16)}


def _heap_longest(n: int) -> int:
    return 2 + n * _bits(n) + n * (1 + _bits(n))


MACHINES = {
    "insertion_sort": Machine(_start, _insertion_step, _sorted, lambda n: n),
    "bubble_sort": Machine(_bubble_start, _bubble_step, _sorted, lambda n: n * (n - 1) // 2 + 1),
    "heapsort": Machine(_heap_start, _heap_step, _sorted, _heap_longest),
    "quicksort": Machine(_quick_start, _quicksort_step, _sorted, lambda n: n * (n + 1) // 2),
    "quickselect": Machine(_select_start, _quickselect_step, _median, lambda n: n * (n + 1) // 2),
}
