import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.asynchronous import staleness

AGES = np.arange(40)


def test_they_are_the_published_functions():
    ages = jnp.asarray(AGES)
    np.testing.assert_array_equal(staleness.constant()(ages), np.ones(40))
    for a in (0.0, 0.3, 0.5, 2.0):
        np.testing.assert_allclose(staleness.polynomial(a)(ages), (1.0 + AGES) ** -a, rtol=1e-6)
    for a, b in ((10.0, 4), (0.5, 0), (2.0, 7)):
        want = [1.0 if t <= b else 1 / (a * (t - b) + 1) for t in AGES]
        np.testing.assert_allclose(staleness.hinge(a, b)(ages), want, rtol=1e-6)


@pytest.mark.parametrize("make", [staleness.constant, staleness.polynomial, staleness.hinge])
def test_a_fresh_update_counts_whole_and_no_older_one_for_more(make):
    worth = np.asarray(make()(jnp.asarray(AGES)))
    assert worth[0] == 1.0
    assert worth.dtype == np.float32
    assert (np.diff(worth) <= 0).all() and (worth > 0).all()
    assert make()(jnp.int32(3)).shape == ()


def test_what_is_no_discount_is_refused():
    for wrong in (
        lambda: staleness.polynomial(-1.0),
        lambda: staleness.polynomial(np.nan),
        lambda: staleness.hinge(0.0),
        lambda: staleness.hinge(1.0, -1),
    ):
        with pytest.raises(errors.ConfigError):
            wrong()
