"""Arrivals by a heap of events in plain Python: the slow, obvious twin of `arrivals`."""

import heapq
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import rng


def buffers(arrivals, delay, key, steps):
    """Yields, step by step, [(participant, version it began from), ...] and the time so far.

    Time is absolute and in float64, versions are numbers, and whoever is free is a set. Delays are
    continuous, so that no two arrivals coincide.
    """
    n, places, size = arrivals.participants, arrivals.concurrency, arrivals.buffer
    events, order, flying = [], itertools.count(), set()
    last = {}
    now = 0.0

    @jax.jit
    def drawn(step):
        own = rng.fold(key, "round", step, "sample")
        takes = jax.vmap(lambda i: delay.draw(rng.fold(own, "delay", i), i))(jnp.arange(n))
        return jax.random.uniform(rng.fold(own, "next"), (n,)), takes

    for step in range(steps):
        scores, delays = (np.asarray(a, np.float64) for a in drawn(jnp.int32(step)))
        free = {i for i in range(n) if i not in flying}
        free = {i for i in free if i not in last or step - last[i] >= arrivals.separation}

        def begin(now, step=step, scores=scores, delays=delays, free=free):
            if not free:
                return
            i = min(free, key=lambda i: scores[i])
            free.remove(i)
            flying.add(i)
            heapq.heappush(events, (now + delays[i], next(order), i, step))

        while len(flying) < places and free:
            begin(now)
        taken = []
        while len(taken) < size:
            now, _, i, began = heapq.heappop(events)
            flying.remove(i)
            taken.append((i, began))
            last[i] = step
            if len(taken) < size:
                begin(now)
        yield taken, now
