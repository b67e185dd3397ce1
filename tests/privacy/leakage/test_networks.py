import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, tree
from privacy.leakage import networks


def test_the_lfw_network_is_that_of_the_paper(key):
    model = networks.make(networks.ConvNet)
    params, stats = jax.eval_shape(model.network.init, key)
    kernels = {n: a.shape for n, a in tree.named_leaves(params).items() if n.endswith("kernel")}
    assert list(kernels.values()) == [
        (3, 3, 3, 32),
        (3, 3, 32, 64),
        (3, 3, 64, 128),
        (6 * 4 * 128, 256),
        (256, 2),
    ]
    assert stats == {}
    assert model.width == 256


@pytest.mark.parametrize("method", ["library", "auto"])
def test_the_representation_feeds_the_last_layer(key, method):
    shape = {"shape": (12, 10, 1), "channels": (3, 4), "hidden": 5, "method": method}
    model = networks.make(networks.ConvNet, **shape, dropout=0.5)
    params, _ = model.network.init(key)
    x = jax.random.normal(key, (4, 12, 10, 1))
    for dropout in (None, key):
        logits, _ = model.network.apply(params, {}, x, train=dropout is not None, key=dropout)
        hidden = model.represent(params, x, key=dropout)
        assert hidden.shape == (4, 5)
        last = params["output"]
        np.testing.assert_allclose(
            logits, hidden @ last["kernel"] + last["bias"][None], rtol=1e-5, atol=1e-6
        )


def test_words_that_are_not_there_have_no_gradient(key):
    model = networks.make(networks.BagOfWords, vocabulary=20, classes=2)
    params, _ = model.network.init(key)
    texts = jnp.array([[3, 5, -1], [7, -1, -1]])
    total = lambda p: jnp.sum(model.network.apply(p, {}, texts)[0][:, 0])
    rows = np.abs(jax.grad(total)(params)["embedding"]).max(axis=1)
    assert np.flatnonzero(rows).tolist() == [3, 5, 7]
    padded = model.network.apply(params, {}, jnp.array([[3, 5, -1, -1, -1]]))[0]
    np.testing.assert_allclose(padded[0], model.network.apply(params, {}, texts)[0][0], rtol=1e-5)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(errors.ConfigError, match="8 x 8 pixels are too small for 2 convolutions"):
        networks.make(networks.ConvNet, shape=(8, 8, 1), channels=(4, 4))
