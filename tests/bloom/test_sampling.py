"""What may be drawn, against its definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import sampling
from fl_jax.bloom.sampling import Sampling
from fl_jax.core import errors


def test_top_k_and_top_p_keep_what_they_should(key):
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
    rows = jnp.tile(logits, (2000, 1))
    shares = lambda by: np.bincount(sampling.sample(key, rows, by), minlength=4) / 2000
    np.testing.assert_allclose(shares(Sampling(1.0)), [0.5, 0.3, 0.15, 0.05], atol=0.04)
    kept = shares(Sampling(1.0, top_k=2))
    np.testing.assert_allclose(kept, [0.625, 0.375, 0, 0], atol=0.04)
    kept = shares(Sampling(1.0, top_p=0.81))
    np.testing.assert_allclose(kept, [0.526, 0.316, 0.158, 0], atol=0.04)
    np.testing.assert_array_equal(shares(Sampling(1.0, top_p=1e-9)), [1, 0, 0, 0])
    kept = shares(Sampling(1.0, min_p=0.29))  # of 0.5: 0.15 is above it
    np.testing.assert_allclose(kept, [0.526, 0.316, 0.158, 0], atol=0.04)
    np.testing.assert_array_equal(shares(Sampling(1.0, min_p=1.0)), [1, 0, 0, 0])
    both = shares(Sampling(1.0, top_k=3, top_p=0.6))
    assert (both > 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize("temperature", [1e-45, 1e-38, 1e-20])
@pytest.mark.parametrize("more", [{}, {"top_p": 0.5}, {"top_k": 2}])
def test_a_temperature_near_0_takes_the_likeliest(key, temperature, more):
    """The logits over it are beyond float32, and a softmax of infinities is none."""
    drawn = sampling.sample(key, jnp.array([[1.0, 3.0, 2.0, -5.0]]), Sampling(temperature, **more))
    assert drawn.tolist() == [1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": -0.01}, "temperature must be finite and 0 or above, got -0.01"),
        ({"temperature": float("nan")}, "temperature must be finite"),
        ({"temperature": 1.0, "top_k": -1}, "top_k must be a whole number of 0 or more, got -1"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p must be above 0 and at most 1, got 0.0"),
        ({"temperature": 1.0, "top_p": 1.5}, "top_p must be above 0 and at most 1, got 1.5"),
        ({"typical_p": 0.0}, "typical_p must be above 0 and at most 1, got 0.0"),
        ({"min_p": -0.1}, r"min_p must lie in \[0, 1\], got -0.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be finite and above 0, got 0.0"),
        ({"no_repeat": -1}, "no_repeat must be a whole number of 0 or more, got -1"),
        ({"least": -1}, "least must be a whole number of 0 or more, got -1"),
    ],
)
def test_what_nothing_can_be_drawn_by_is_refused(given, message):
    with pytest.raises(errors.ConfigError, match=message):
        Sampling(**given)


def slow_typical(logits, mass):
    """The tokens that stay: by distance of surprise and entropy, until they hold the mass."""
    logits = np.asarray(logits, np.float64)
    logs = logits - np.log(np.exp(logits).sum())
    entropy = -sum(np.exp(log) * log for log in logs if log > -np.inf)
    order = sorted(range(len(logs)), key=lambda token: abs(-logs[token] - entropy))
    stay, held = [], 0.0
    for token in order:
        stay.append(token)
        held += np.exp(logs[token])
        if held >= mass:
            break
    return stay


@pytest.mark.parametrize("mass", [0.05, 0.3, 0.6, 0.95])
def test_typical_tokens_are_those_of_the_definition(key, mass):
    logits = 3 * jax.random.normal(key, (20, 12))
    logits = logits.at[:, 4].set(-jnp.inf)  # as a rule leaves it
    found = sampling.typical(logits, mass)
    for row, given in zip(np.asarray(found), np.asarray(logits), strict=True):
        stay = slow_typical(given, mass)
        assert np.flatnonzero(row > -np.inf).tolist() == sorted(stay)
        np.testing.assert_array_equal(row[stay], given[stay])


def test_the_likeliest_need_not_be_typical(key):
    logits = jnp.log(jnp.array([[0.4, *12 * [0.05]]]))  # entropy 2.2 nats, surprises 0.9 and 3.0
    drawn = sampling.sample(key, jnp.tile(logits, (100, 1)), Sampling(1.0, typical_p=0.5))
    assert 0 not in drawn


def test_the_likeliest_of_several_rules_at_once(key):
    """They come one after the other: each sees what those before it have left."""
    logits = 3 * jax.random.normal(key, (20, 12))
    by = Sampling(0.7, top_k=9, top_p=0.98, min_p=0.01, typical_p=0.8)
    before = sampling.kept(logits, Sampling(0.7, top_k=9, top_p=0.98, min_p=0.01))
    for row, given in zip(sampling.kept(logits, by), before, strict=True):
        assert np.flatnonzero(row > -np.inf).tolist() == sorted(slow_typical(given, 0.8))
