import jax.numpy as jnp
import numpy as np
import pytest

from privacy.membership import mitigations, target


def box(limit=None, cost=0.0):
    meter = target.Meter(limit, cost)
    answer = lambda x: jnp.stack([x[:, 0], 1 - x[:, 0]], 1)
    return target.BlackBox(answer, classes=2, meter=meter)


def test_every_wrapper_counts_on_one_meter():
    own = box(cost=0.5)
    x = np.array([[0.9], [0.2]], np.float32)
    np.testing.assert_allclose(own.query(x), [[0.9, 0.1], [0.2, 0.8]], rtol=1e-6)
    behind = own.behind(mitigations.temperature(1.0), mitigations.label_only())
    assert behind.query(x).tolist() == [[1, 0], [0, 1]]
    assert own.meter.count == 4 and own.meter.spent == 2.0


def test_the_limit_is_kept():
    own = box(limit=3)
    own.query(np.zeros((2, 1), np.float32))
    with pytest.raises(target.OutOfQueries, match="limit of 3, of which 2 are used"):
        own.query(np.zeros((2, 1), np.float32))
    assert own.meter.count == 2
