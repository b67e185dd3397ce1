"""The batch is the scalar loop, and so is the entry for jit."""

import jax
import jax.numpy as jnp
import numpy as np

from privacy import shuffle
from privacy.shuffle import device, grid


def test_grid_and_loop_overlap_and_are_tight():
    eps0 = np.array([[0.1, 1.0, 4.0, 8.0]])
    n = np.array([[10.0], [1e3], [1e6], [1e12]])
    low, high = grid.epsilons(eps0, n, 1e-8)
    for i in range(4):
        for j in range(4):
            one = shuffle.epsilon(float(eps0[0, j]), int(n[i, 0]), 1e-8)
            assert one.lower <= high[i, j] and low[i, j] <= one.upper
            assert high[i, j] <= max(low[i, j] * (1 + 1e-3), 1e-300)


def test_inside_jit_and_vmap_rounded_outward():
    call = jax.jit(jax.vmap(lambda e: device.epsilon(e, jnp.float32(1e5), jnp.float32(1e-6))))
    low, high = call(jnp.array([1.0, 4.0, -1.0], jnp.float32))
    exact = [shuffle.epsilon(e, 100_000, float(np.float32(1e-6))) for e in (1.0, 4.0)]
    for i, bound in enumerate(exact):
        assert float(low[i]) <= bound.upper and bound.lower <= float(high[i])
    assert float(low[2]) == 0.0 and np.isinf(high[2])


def test_other_questions_broadcast_too():
    low, high = grid.deltas(np.array([[0.01], [0.02]]), 1.0, np.array([10_000, 100_000]))
    assert low.shape == (2, 2) and np.all(low <= high) and np.all(np.diff(high) < 0)
    low, high = grid.rdps([2.0, 8.0], 1.0, 10_000)
    assert np.all(low <= high) and low[1] > high[0]
