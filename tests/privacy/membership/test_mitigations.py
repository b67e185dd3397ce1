import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from fl_jax.core import errors
from privacy.membership import mitigations


@pytest.fixture
def outputs():
    p = np.random.default_rng(0).dirichlet(np.ones(6), size=9)
    return jnp.asarray(p, jnp.float32)


def test_top_k_keeps_k_and_their_values(outputs):
    for k in (1, 3, 6, 9):
        found = np.asarray(mitigations.top_k(k)(outputs))
        assert ((found > 0).sum(1) == min(k, 6)).all()
        kept = np.sort(np.asarray(outputs), 1)[:, -min(k, 6) :].sum(1)
        np.testing.assert_allclose(found.sum(1), kept, rtol=1e-6)
    tie = mitigations.top_k(1)(jnp.full((2, 4), 0.25))
    assert np.asarray(tie > 0).sum(1).tolist() == [1, 1]


def test_label_rounding_and_temperature(outputs):
    label = np.asarray(mitigations.label_only()(outputs))
    assert (label.argmax(1) == np.asarray(outputs).argmax(1)).all() and (label.sum(1) == 1).all()
    np.testing.assert_allclose(
        mitigations.rounded(1)(outputs), np.round(np.asarray(outputs), 1), atol=1e-6
    )
    logits = np.random.default_rng(1).normal(size=(4, 5))
    answers = jnp.asarray(special.softmax(logits, 1), jnp.float32)
    expected = special.softmax(logits / 5, 1)
    np.testing.assert_allclose(mitigations.temperature(5.0)(answers), expected, atol=1e-6)


def test_bad_settings_are_refused():
    for make in (lambda: mitigations.top_k(0), lambda: mitigations.temperature(0.0),
                 lambda: mitigations.rounded(-1)):  # fmt: skip
        with pytest.raises(errors.ConfigError):
            make()
