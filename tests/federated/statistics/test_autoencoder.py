import jax
import jax.numpy as jnp
import numpy as np
import optax

from fl_jax.federated.statistics import autoencoder

DRAW = np.random.default_rng(0)
SIZE = autoencoder.Size(6, 9, 4)
WEIGHTS = autoencoder.init(jax.random.key(0), SIZE)
ROWS = jnp.asarray(DRAW.normal(size=(7, 6)), jnp.float32)


def layer(name, x):
    weight, bias = (np.asarray(a, float) for a in WEIGHTS[name])
    return x @ weight + bias


def test_the_loss_is_error_plus_divergence():
    x, noise = DRAW.random((5, 6)), DRAW.normal(size=(5, 4))
    relu = lambda a: np.maximum(a, 0)
    inner = relu(layer("encode2", relu(layer("encode1", x))))
    mean, spread = layer("mean", inner), np.log1p(np.exp(layer("spread", inner)))
    z = mean + np.exp(spread / 2) * noise
    out = 1 / (1 + np.exp(-layer("decode3", relu(layer("decode2", relu(layer("decode1", z)))))))
    each = ((out - x) ** 2).sum(1) + 0.5 * (mean**2 + np.exp(spread) - 1 - spread).sum(1)
    there = np.array([1, 1, 0, 1, 0]) > 0
    as32 = lambda a: jnp.asarray(a, jnp.float32)
    found = autoencoder.loss(WEIGHTS, as32(x), jnp.asarray(there), as32(noise))
    np.testing.assert_allclose(found, each[there].sum(), rtol=1e-4)


def test_weights_begin_as_wide_as_their_inputs_say():
    wide = autoencoder.init(jax.random.key(1), autoencoder.Size(400, 300, 20))
    weight, bias = wide["encode1"]
    np.testing.assert_allclose(weight.std(), (2 / 400) ** 0.5, rtol=0.03)
    assert 0.9 * 400**-0.5 < float(jnp.max(jnp.abs(bias))) <= 400**-0.5


def test_an_epoch_sees_every_pair_of_the_chosen_once():
    """With one pair of three chosen in a batch of eight, an epoch is one step on six pairs."""
    chosen, key = jnp.arange(7) < 3, jax.random.key(4)
    found = jax.jit(autoencoder.train, static_argnums=4)(WEIGHTS, ROWS, chosen, key, 1)
    shuffle, noises = jax.random.split(jax.random.fold_in(key, 0))
    drawn = np.asarray(jax.random.uniform(shuffle, (49,)))
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    pairs = sorted(pairs, key=lambda pair: drawn[7 * pair[0] + pair[1]])
    first, second = (jnp.asarray(side) for side in zip(*pairs, strict=True))
    x = jax.nn.sigmoid(ROWS[first] - ROWS[second])
    noise = jax.random.normal(jax.random.fold_in(noises, 0), (8, 4))[:6]
    gradient = jax.grad(autoencoder.loss)(WEIGHTS, x, jnp.ones(6, bool), noise)
    with jax.numpy_dtype_promotion("standard"):
        adam = optax.adam(1e-3)
        moved, _ = adam.update(gradient, adam.init(WEIGHTS))
    expected = optax.apply_updates(WEIGHTS, moved)
    assert not np.allclose(found["decode3"][1], WEIGHTS["decode3"][1], atol=1e-4)
    for name, (weight, bias) in expected.items():
        np.testing.assert_allclose(found[name][0], weight, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(found[name][1], bias, atol=2e-5, err_msg=name)


def test_what_it_learned_it_reconstructs_better():
    far = ROWS.at[6].set(jnp.asarray([5.0, -5, 5, -5, 5, -5]))
    chosen = jnp.arange(7) < 4
    trained = jax.jit(autoencoder.train, static_argnums=4)(
        WEIGHTS, 0.1 * far, chosen, jax.random.key(2), 300
    )
    errors = np.asarray(autoencoder.errors_of_pairs(trained, 0.1 * far, jax.random.key(3)))
    before = np.asarray(autoencoder.errors_of_pairs(WEIGHTS, 0.1 * far, jax.random.key(3)))
    assert errors[:4, :4].mean() < 0.2 * before[:4, :4].mean()
    assert errors[6, :4].mean() > 2 * errors[4:6, :4].mean()


def test_nobody_to_learn_from_changes_nothing():
    alone = autoencoder.train(WEIGHTS, ROWS, jnp.arange(7) < 1, jax.random.key(0), 2)
    np.testing.assert_array_equal(alone["mean"][0], WEIGHTS["mean"][0])
