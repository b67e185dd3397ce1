import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.asynchronous import delays


def drawn(delay, who=0, count=4000):
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.vmap(lambda key: delay.draw(key, jnp.int32(who)))(keys))


@pytest.mark.parametrize(
    ("delay", "mean", "deviation"),
    [
        (delays.half_normal(2.0), 2 * (2 / np.pi) ** 0.5, 2 * (1 - 2 / np.pi) ** 0.5),
        (delays.exponential(3.0), 3.0, 3.0),
        (delays.constant(0.25), 0.25, 0.0),
    ],
)
def test_means_and_deviations_are_those_of_the_distribution(delay, mean, deviation):
    found = drawn(delay)
    assert found.min() > 0
    np.testing.assert_allclose(found.mean(), mean, atol=4 * deviation / len(found) ** 0.5)
    np.testing.assert_allclose(found.std(), deviation, rtol=0.05)


def test_each_participant_may_have_a_scale_of_its_own():
    assert drawn(delays.constant([1.0, 5.0]), who=1, count=2).tolist() == [5.0, 5.0]
    slow, fast = (drawn(delays.exponential([1.0, 0.001]), who=w) for w in (0, 1))
    np.testing.assert_allclose(fast, 0.001 * slow, rtol=1e-6)
    assert delays.constant([1.0, 5.0]).participants == 2
    assert delays.constant(1.0).participants is None


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, [1.0, 0.0], [], [[1.0]]])
def test_what_is_no_delay_is_refused(scale):
    for make in (delays.constant, delays.half_normal, delays.exponential):
        with pytest.raises(errors.ConfigError, match="finite numbers above 0"):
            make(scale)
