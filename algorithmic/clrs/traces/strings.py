"""Naive and Knuth-Morris-Pratt string matching [CLRS 32.1, 32.4].

Nodes are the haystack's letters, then the needle's; `key` holds letters as numbers.
"""

import jax.numpy as jnp

from algorithmic.clrs.traces.machine import Machine, int8, places, put


def _split(x, n):
    """(letters in the haystack, letters in the needle)"""
    inside = places(x["key"]) < n
    needle = jnp.sum(inside & (x["string"] != 0), dtype=jnp.int32)
    return n - needle, needle


def _pred(x, n, head):
    at = places(x["key"])
    return jnp.where((at == 0) | (at == head) | (at >= n), at, at - 1).astype(jnp.int16)


def _letter(x, i):
    return x["key"][jnp.clip(i, 0, x["key"].shape[0] - 1)]


def _naive_start(x, n):
    head, _ = _split(x, n)
    return {"s": jnp.int32(0), "j": jnp.int32(0), "match": head}


def _naive_step(x, n, state):
    """Shows s, i, j; then compares one letter. No match: the needle's head is the answer."""
    head, needle = _split(x, n)
    s, j = state["s"], state["j"]
    hint = {
        "pred_h": _pred(x, n, head),
        "s": s.astype(jnp.int16),
        "i": (s + j).astype(jnp.int16),
        "j": (head + j).astype(jnp.int16),
    }
    equal = _letter(x, s + j) == _letter(x, head + j)
    found = equal & (j == needle - 1)
    match = jnp.where(found, s, state["match"])
    s, j = jnp.where(equal, s, s + 1), jnp.where(equal, j + 1, 0)
    return {"s": s, "j": j, "match": match}, hint, found | (s > head - needle)


def _kmp_start(x, n):
    """Stages: 0 opening, 1 prefix function, 2 a new letter of the haystack, 3 falling back."""
    head, needle = _split(x, n)
    size = x["key"].shape[0]
    zero, one = jnp.int32(0), jnp.bool_(True)
    return {
        "pi": jnp.arange(size, dtype=jnp.int32),  # of the needle, from its own start
        "reset": jnp.arange(size) == 0,
        "k": zero,
        "k_reset": one,
        "q": jnp.where(needle > 1, 1, 0).astype(jnp.int32),
        "q_reset": one,
        "s": zero,
        "i": zero,
        "stage": zero,
        "match": head,
    }


def _kmp_prefix(x, head, needle, state):
    """One hint of the prefix function: a fall back, or the value for q."""
    pi, reset, k, k_reset, q = (state[name] for name in ("pi", "reset", "k", "k_reset", "q"))
    fall = ~k_reset & (_letter(x, head + k + 1) != _letter(x, head + q))
    stop = reset[k]
    fallen_k = jnp.where(stop, 0, pi[k])
    k0 = jnp.where(k_reset, -1, k)
    k1 = jnp.where(_letter(x, head + k0 + 1) == _letter(x, head + q), k0 + 1, k0)
    none = k1 == -1
    k1 = jnp.maximum(k1, 0)
    new = {
        "pi": jnp.where(fall, pi, put(pi, q, k1)),
        "reset": jnp.where(fall | ~none, reset, put(reset, q, True)),
        "k": jnp.where(fall, fallen_k, k1),
        "k_reset": jnp.where(fall, stop, none),
    }
    return new, fall


def _kmp_step(x, n, state):
    head, needle = _split(x, n)
    opening, prefix, fresh, back = (state["stage"] == s for s in range(4))
    s, i, q = state["s"], state["i"], state["q"]

    # What this hint shows.
    after_prefix, falling = _kmp_prefix(x, head, needle, state)
    pick = lambda name: jnp.where(prefix, after_prefix[name], state[name])
    pi, reset, k, k_reset = pick("pi"), pick("reset"), pick("k"), pick("k_reset")
    stop = state["reset"][q]
    shown_q = jnp.where(back, jnp.where(stop, 0, state["pi"][q]), q)
    shown_q_reset = jnp.where(back, stop, state["q_reset"])
    s = jnp.where(fresh & (i >= needle), s + 1, s)
    at = places(x["key"])
    in_needle = (at >= head) & (at < n)
    local = jnp.clip(at - head, 0, at.shape[0] - 1)
    hint = {
        "pred_h": _pred(x, n, head),
        "pi": jnp.where(in_needle, head + pi[local], at).astype(jnp.int16),
        "is_reset": int8(in_needle & reset[local]),
        "k": (head + k).astype(jnp.int16),
        "k_reset": int8(k_reset),
        "q": (head + shown_q).astype(jnp.int16),
        "q_reset": int8(shown_q_reset),
        "s": s.astype(jnp.int16),
        "i": i.astype(jnp.int16),
        "phase": int8(fresh | back),
    }

    # Prefix function: on to the next q, or to the haystack.
    done_q = prefix & ~falling
    next_q = jnp.where(done_q, q + 1, q)
    to_match = (opening & (needle <= 1)) | (done_q & (next_q >= needle))

    # Matching: fall back again, or take the letter and go on.
    matching = fresh | back
    again = ~shown_q_reset & (_letter(x, head + shown_q + 1) != _letter(x, i))
    q0 = jnp.where(shown_q_reset, -1, shown_q)
    equal = _letter(x, head + q0 + 1) == _letter(x, i)
    found = matching & ~again & equal & (q0 == needle - 2)
    q1 = jnp.where(equal, q0 + 1, q0)
    taken = matching & ~again
    ended = taken & (found | (i + 1 >= head))

    new_q = jnp.where(taken, jnp.maximum(q1, 0), jnp.where(matching, shown_q, next_q))
    new_q_reset = jnp.where(taken, q1 == -1, shown_q_reset)
    stage = jnp.where(opening, 1, state["stage"])
    stage = jnp.where(matching, jnp.where(again, 3, 2), stage)
    stage = jnp.where(to_match, 2, stage)
    new = {
        "pi": pi,
        "reset": reset,
        "k": k,
        "k_reset": k_reset,
        "q": jnp.where(to_match, 0, new_q),
        "q_reset": jnp.where(to_match, True, new_q_reset),
        "s": s,
        "i": jnp.where(taken, i + 1, i),
        "stage": stage.astype(jnp.int32),
        "match": jnp.where(found, s, state["match"]),
    }
    return new, hint, ended


def _match(x, n, state):
    return {"match": state["match"].astype(jnp.int16)}


MACHINES = {
    "naive_string_matcher": Machine(
        _naive_start, _naive_step, _match, lambda n: (n + 1) ** 2 // 8 + n
    ),
    "kmp_matcher": Machine(_kmp_start, _kmp_step, _match, lambda n: 2 * n + 2),
}
