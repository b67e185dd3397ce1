import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn import loss as losses
from privacy.leakage import collaborative, embedding, networks

VOCABULARY = 300


def texts(count, seed):
    """Zipf's law over 300 words, 3 to 12 distinct ones a text, padded."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, VOCABULARY + 1)
    rows = np.full((count, 12), -1, np.int32)
    for row in rows:
        size = rng.integers(3, 13)
        row[:size] = rng.choice(VOCABULARY, size, replace=False, p=chance / chance.sum())
    return jnp.asarray(rows)


@pytest.fixture(scope="module")
def text_model():
    model = networks.make(networks.BagOfWords, vocabulary=VOCABULARY, width=8, hidden=8)
    params = model.network.init(jax.random.key(0))[0]
    protocol = collaborative.synchronised_sgd(losses.classification(model.network), rate=0.5)
    data = {"x": texts(600, 0), "y": jnp.arange(600) % 2}
    return params, protocol, data


def test_no_member_is_ever_missed_and_precision_falls_with_the_batch(text_model):
    params, protocol, data = text_model
    outside = texts(400, 1)
    contribute = jax.jit(protocol.contribute)
    found = []
    for size in (4, 16, 64, 256):
        taken = jnp.arange(size)
        batch = jax.tree.map(lambda leaf, taken=taken: leaf[taken], data)
        gradient = contribute(params, batch, jax.random.key(0))["embedding"]
        words = embedding.vocabulary(gradient)
        truth = np.zeros(VOCABULARY, bool)
        truth[np.unique(batch["x"])[1:]] = True
        np.testing.assert_array_equal(words.support, truth)
        np.testing.assert_array_equal(words.norms > 0, truth)
        made = embedding.quality(
            embedding.members(words.support, batch["x"]),
            embedding.members(words.support, outside),
        )
        assert made.recall == 1.0
        found.append(made.precision)
    assert found[0] > 0.9
    assert all(a >= b for a, b in itertools.pairwise(found))
    assert found[-1] < 0.9


def test_the_sum_over_participants_unites_their_vocabularies_through_snapshots(text_model, key):
    params, protocol, data = text_model
    learning = collaborative.make(protocol, np.ones(3))
    indices = jnp.arange(24).reshape(3, 8)
    new, info = learning.step(learning.init(params, ()), data, indices, key)
    seen = collaborative.view("participant", protocol, 3).observe(params, new.params, info)
    held = lambda rows: set(np.unique(data["x"][jnp.asarray(rows)])) - {-1}
    others = held([*range(8), *range(16, 24)])
    # Rows of the adversary's own words carry rounding: exact zero says too much of them.
    exact = set(np.flatnonzero(embedding.vocabulary(seen["embedding"]).support))
    assert others <= exact <= others | held(range(8, 16))
    threshold = collaborative.roundoff(params["embedding"], new.params["embedding"], 0.5)
    found = embedding.vocabulary(seen["embedding"], threshold=threshold)
    assert set(np.flatnonzero(found.support)) == others
    assert bool(jnp.all(embedding.members(found.support, data["x"][:8])))


def test_weight_decay_and_noise_leave_no_row_at_zero(text_model, key):
    params, protocol, data = text_model
    gradient = protocol.contribute(params, jax.tree.map(lambda a: a[:8], data), key)["embedding"]
    decayed = gradient + 1e-4 * params["embedding"]
    assert bool(jnp.all(embedding.vocabulary(decayed).support))
    truth = embedding.vocabulary(gradient).support
    threshold = 1.01e-4 * jnp.max(jnp.abs(params["embedding"]))
    found = embedding.vocabulary(decayed, threshold=threshold).support
    assert float(jnp.mean((found == truth).astype(jnp.float32))) > 0.95
    noisy = gradient + 0.01 * jax.random.normal(key, gradient.shape)
    assert bool(jnp.all(embedding.vocabulary(noisy).support))


def test_truncation_hides_rare_words_only(text_model):
    rows = jnp.array([[0, 250, 40], [9, -1, -1]])
    np.testing.assert_array_equal(embedding.truncate(rows, 50), [[0, -1, 40], [9, -1, -1]])
    with pytest.raises(errors.ConfigError, match="at least one word, got 0"):
        embedding.truncate(rows, 0)


def test_a_word_beyond_the_vocabulary_is_in_no_batch():
    texts = jnp.array([[0, 2, -1], [0, 3, -1]])
    assert embedding.members(jnp.ones(3, bool), texts).tolist() == [True, False]


def test_a_row_of_nan_is_a_word_that_is_there():
    gradient = jnp.array([[jnp.nan, 0.0], [0.0, 0.0], [1.0, 0.0]])
    assert embedding.vocabulary(gradient).support.tolist() == [True, False, True]
