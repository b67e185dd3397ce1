import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, rng
from privacy.membership import synthesis, target

FEATURES = 24
DRAW = synthesis.binary(FEATURES)


def answer(x):
    """Class 0 likes ones in the first half, class 1 in the second; class 2 is never likely."""
    x = x.astype(jnp.float32)
    first, second = x[:, :12].sum(1), x[:, 12:].sum(1)
    return jax.nn.softmax(jnp.stack([first, second, jnp.full_like(first, -9.0)], 1))


CONFIG = synthesis.Climb(most=12, least=2, rejections=2, confidence=0.8, iterations=60, lanes=8)


@pytest.fixture(scope="module")
def made():
    box = target.BlackBox(answer, classes=3)
    labels = np.array([0, 1, 2] * 10)
    return synthesis.climb(box, labels, DRAW, jax.random.key(3), CONFIG), box, labels


def plain(label, job, key, config):
    """Algorithm 1 as it is written, one chain, one query at a time."""
    best, y_best, j, k = None, 0.0, 0, config.most
    for asked in range(config.iterations):
        own = rng.fold(key, job, asked)
        drawn = DRAW(rng.fold(own, "values"))
        if asked == 0:
            x = drawn
        else:
            x = jnp.where(synthesis.chosen(rng.fold(own, "places"), FEATURES, k), drawn, best)
        y = np.asarray(answer(x[None])[0])
        if y[label] >= y_best:
            best, y_best, j = x, y[label], 0
            coin = float(jax.random.uniform(rng.fold(key, job, asked, "accept")))
            if y[label] > config.confidence and y.argmax() == label and coin < y[label]:
                return np.asarray(x), True, y_best, asked + 1
        else:
            j += 1
            if j > config.rejections:
                k, j = max(config.least, -(-k // 2)), 0
    return np.asarray(best), False, y_best, config.iterations


def test_chains_are_algorithm_1(made):
    found, _, labels = made
    for job in (0, 2, 13):
        x, accepted, y, asked = plain(labels[job], job, jax.random.key(3), CONFIG)
        assert found.x[job].tolist() == x.tolist()
        assert (bool(found.found[job]), int(found.queries[job])) == (accepted, asked)
        np.testing.assert_allclose(found.confidence[job], y, rtol=1e-5)


def test_what_is_returned_satisfies_both_tests(made):
    found, box, labels = made
    kept = found.found
    assert kept[labels < 2].all() and not kept[labels == 2].any()  # failure is a normal outcome
    outputs = np.asarray(answer(jnp.asarray(found.x[kept])))
    assert (outputs.argmax(1) == labels[kept]).all()
    assert (outputs[np.arange(kept.sum()), labels[kept]] > CONFIG.confidence).all()
    assert (found.queries <= CONFIG.iterations).all() and (found.queries > 0).all()
    assert box.meter.count == found.queries.sum()


def test_a_chain_does_not_depend_on_the_lanes(made):
    found, _, labels = made
    box = target.BlackBox(answer, classes=3)
    other = synthesis.climb(
        box, labels[:5], DRAW, jax.random.key(3), dataclasses.replace(CONFIG, lanes=2)
    )
    assert np.array_equal(other.x, found.x[:5]) and np.array_equal(other.queries, found.queries[:5])


def test_the_limit_on_queries_is_kept():
    box = target.BlackBox(answer, classes=3, meter=target.Meter(limit=50))
    found = synthesis.climb(box, np.full(20, 2), DRAW, jax.random.key(0), CONFIG)
    assert 42 < box.meter.count <= 50 and not found.found.any()
    with pytest.raises(target.OutOfQueries):
        box.meter.limit = box.meter.count
        synthesis.climb(box, np.array([0]), DRAW, jax.random.key(0), CONFIG)


def test_k_places_at_random():
    k = jnp.arange(1, 25)
    keys = jax.random.split(jax.random.key(1), 24)
    some = jax.vmap(lambda key, k: synthesis.chosen(key, FEATURES, k))(keys, k)
    assert np.array_equal(np.asarray(some).sum(1), np.arange(1, 25))
    keys = jax.random.split(jax.random.key(2), 3000)
    share = np.asarray(jax.vmap(lambda key: synthesis.chosen(key, FEATURES, 6))(keys)).mean(0)
    assert np.abs(share - 0.25).max() < 0.04


def test_marginals_are_those_of_the_data():
    data = (np.random.default_rng(0).random((500, 8)) < np.linspace(0.1, 0.9, 8)).astype(np.uint8)
    data[:, 1] = data[:, 0]
    made = synthesis.marginals(data, 4000, seed=1)
    np.testing.assert_allclose(made.mean(0), data.mean(0), atol=0.04)
    assert abs(np.corrcoef(made[:, 0], made[:, 1])[0, 1]) < 0.06


def test_noise_flips_an_exact_share():
    data = np.random.default_rng(0).integers(0, 2, (30, 40)).astype(np.uint8)
    assert ((synthesis.noisy(data, 0.2) != data).sum(1) == 8).all()
    assert np.array_equal(synthesis.noisy(data, 0.0), data)
    with pytest.raises(errors.DataError, match="0 or 1"):
        synthesis.noisy(data + 1, 0.1)
    with pytest.raises(errors.ConfigError, match=r"\[0, 1\]"):
        synthesis.noisy(data, 1.5)


def test_a_class_that_is_not_there_is_refused():
    box = target.BlackBox(answer, classes=3)
    with pytest.raises(errors.ConfigError, match=r"0\.\.2"):
        synthesis.climb(box, np.array([3]), DRAW, jax.random.key(0), CONFIG)


def test_a_limit_beyond_32_bits_is_as_good_as_none():
    box = target.BlackBox(
        lambda x: jnp.full((x.shape[0], 2), 0.5), classes=2, meter=target.Meter(10**11)
    )
    made = synthesis.climb(box, np.zeros(3, int), synthesis.binary(8), jax.random.key(0))
    assert made.found.all()


def test_labels_lanes_and_iterations_that_are_none_are_refused():
    box = target.BlackBox(lambda x: jnp.full((x.shape[0], 2), 0.5), classes=2)
    climb = lambda labels, **settings: synthesis.climb(
        box, labels, synthesis.binary(8), jax.random.key(0), synthesis.Climb(**settings)
    )
    with pytest.raises(errors.DataError, match="whole numbers"):
        climb(np.array([0.7]))
    for settings in ({"lanes": 0}, {"iterations": 0}):
        with pytest.raises(errors.ConfigError):
            climb(np.array([1]), **settings)
