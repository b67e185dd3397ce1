import jax.numpy as jnp
import numpy as np

from experiments.backdoor import arms


def test_runs_are_dealt_and_come_back_in_place():
    offset = jnp.float32(0.5)
    run = lambda seed, cell, offset: {"value": (10 * seed + cell).astype(jnp.float32) + offset}
    found = arms.deal(run, 3, 3, (offset,))["value"]
    np.testing.assert_allclose(found, [[0.5, 1.5, 2.5], [10.5, 11.5, 12.5], [20.5, 21.5, 22.5]])
