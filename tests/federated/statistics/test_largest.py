import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.federated.statistics import largest


def test_the_threshold_is_that_of_sorting():
    draw = np.random.default_rng(0)
    spread = np.exp(draw.uniform(-80, 60, 57)) * draw.choice([-1.0, 1.0], 57)
    for values in (draw.normal(size=57), spread, np.repeat([0.0, -1.0, 2.0], 19)):
        x = jnp.asarray(values, jnp.float32)
        ordered = np.sort(np.abs(np.asarray(x)))[::-1]
        for count in (1, 2, 20, 57):
            found = jax.jit(largest.threshold, static_argnums=1)(x, count)
            assert float(found) == ordered[count - 1]
