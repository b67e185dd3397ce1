import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
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


def test_a_model_of_another_framework_comes_through_a_callback():
    theirs = lambda x: np.stack([np.asarray(x)[:, 0], 1 - np.asarray(x)[:, 0]], 1)
    x = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    with pytest.raises(errors.ConfigError, match=r"through jax\.pure_callback"):
        target.BlackBox(theirs, classes=2).query(x)
    shape = lambda x: jax.ShapeDtypeStruct((x.shape[0], 2), jnp.float32)
    box = target.BlackBox(lambda x: jax.pure_callback(theirs, shape(x), x), classes=2)
    np.testing.assert_array_equal(box.query(x), theirs(x))
    labels = box.behind(mitigations.label_only()).query(x)
    np.testing.assert_array_equal(labels.argmax(1), theirs(x).argmax(1))
    assert box.meter.count == 8
