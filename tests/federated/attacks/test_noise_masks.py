"""Noise masks against a slow NumPy twin, and what they are for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import tree
from fl_jax.federated.attacks import noise_masks

INPUTS, CLASSES, SENDERS = 20, 6, 5
DRAW = np.random.default_rng(0)
LAYER = {
    "kernel": (0.03 * DRAW.normal(size=(INPUTS, CLASSES))).astype(np.float32),
    "bias": (0.03 * DRAW.normal(size=CLASSES)).astype(np.float32),
}
GROUP = np.arange(SENDERS) // 2  # 0 0 1 1 2: the last is alone
ALPHA = np.array([0.3, 0.8, 0.5])


@functools.cache
def designed(steps=30, unit=0.05, there=(1, 1, 1, 1, 1), alpha=tuple(ALPHA), **settings):
    found = jax.jit(
        lambda layer, unit, alpha, there: noise_masks.design(
            layer,
            jax.random.key(3),
            unit=unit,
            alpha=alpha,
            group=jnp.asarray(GROUP),
            there=there,
            target=2,
            count=4,
            descent=noise_masks.Descent(steps=steps, **settings),
        )
    )(LAYER, jnp.float32(unit), jnp.asarray(alpha, jnp.float32), jnp.array(there) > 0)
    return np.concatenate([found["kernel"], found["bias"][:, None]], axis=1)


def by_hand(masks, chosen, steps, d=noise_masks.Descent()):
    """Group by group and sender by sender, with slopes written out."""
    layer = np.concatenate([LAYER["kernel"], LAYER["bias"][None]]).astype(float)
    c1, c2 = d.peak_weight * (21 / 512) ** 2, d.norm_weight * (21 / 512) ** 0.5
    masks = masks.astype(float)
    out = np.zeros_like(masks)
    for g in range(2):
        own = [masks[2 * g], masks[2 * g + 1]]
        speeds, lam = [0 * own[0], 0 * own[1]], 1.0
        for _ in range(steps):
            together = own[0] + own[1]
            long = np.linalg.norm(together)
            for i in range(2):
                slope = np.zeros_like(own[i])
                for j in np.flatnonzero(chosen[2 * g]):
                    column = layer[:, j] + own[i][:, j]
                    slope[:, j] = -ALPHA[g] * c1 * np.sign(column)
                    slope[:, j] /= np.abs(column).sum() ** 2
                slope += (1 - ALPHA[g]) * c2 * own[i] / np.linalg.norm(own[i])
                if long > 0:
                    slope += lam * c2 * together / long
                slope = slope / (1 + lam)
                slope[:, ~chosen[2 * g]] = 0
                speeds[i] = d.momentum * speeds[i] + slope + d.weight_decay * own[i]
            own = [o - d.rate * s for o, s in zip(own, speeds, strict=True)]
            lam += d.dual_rate * np.linalg.norm(own[0] + own[1])
        out[2 * g], out[2 * g + 1] = own
    return out


def test_the_descent_equals_its_slow_twin():
    start = designed(steps=0)
    chosen = np.abs(start).sum(1) > 0
    # The sum is 0 at first, up to rounding, which the norm's slope does not forgive: one short of
    # a rounding error may point anywhere. Three steps, then thirty with a wider tolerance.
    for steps, close in ((3, 1e-4), (30, 2e-3)):
        expected = by_hand(start, chosen, steps)
        off = np.linalg.norm(designed(steps=steps) - expected) / np.linalg.norm(expected)
        assert off < close, (steps, off)


def test_noise_is_on_the_drawn_neurons_and_never_on_the_target():
    masks = designed()
    on = np.abs(masks).sum(1) > 0
    np.testing.assert_array_equal(on.sum(1), [4, 4, 4, 4, 0])  # one alone has nobody to cancel it
    assert not on[:, 2].any()
    np.testing.assert_array_equal(on[0], on[1])
    drawn = noise_masks.neurons(jax.random.key(0), 200, CLASSES, 2, 4)
    assert set(map(int, drawn.sum(1))) == {4}
    share = np.asarray(drawn).mean(0)
    assert share[2] == 0
    assert np.abs(np.delete(share, 2) - 0.8).max() < 0.1
    assert noise_masks.neurons(jax.random.key(0), 1, 3, 2, 9).sum() == 2


def test_noise_cancels_in_the_group_and_raises_the_peaks():
    start, masks = designed(steps=0), designed()
    for g in range(2):
        pair = masks[2 * g : 2 * g + 2]
        assert np.linalg.norm(pair.sum(0)) < 0.2 * np.linalg.norm(pair[0])
    np.testing.assert_allclose(start[:2].sum(0), 0, atol=1e-6)
    layer = np.concatenate([LAYER["kernel"], LAYER["bias"][None]])
    on = np.abs(masks[2]).sum(0) > 0
    peak = lambda mask: np.abs(layer + mask).sum(0)[on]
    assert (peak(masks[2]) > peak(0 * layer)).all()
    high, low = designed(alpha=(0.99,) * 3), designed(alpha=(0.01,) * 3)
    assert peak(high[2]).sum() > peak(low[2]).sum()


def test_the_absent_have_no_masks_and_the_size_follows_the_unit():
    masks = designed(there=(1, 0, 1, 1, 1))
    assert not masks[[0, 1, 4]].any()  # the first is alone now
    assert masks[2].any()
    assert not designed(unit=0.0).any()
    small = jax.tree.map(lambda a: jnp.asarray(a) / 100, LAYER)
    found = noise_masks.design(
        small,
        jax.random.key(3),
        unit=jnp.float32(0.0005),
        alpha=jnp.asarray(ALPHA, jnp.float32),
        group=jnp.asarray(GROUP),
        there=jnp.ones(SENDERS, bool),
        target=2,
        count=4,
    )
    np.testing.assert_allclose(100 * found["kernel"], designed()[:, :-1], rtol=2e-2, atol=1e-3)


def test_peaks_are_column_sums_with_the_bias():
    expected = np.abs(LAYER["kernel"]).sum(0) + np.abs(LAYER["bias"])
    np.testing.assert_allclose(noise_masks.peaks(LAYER), expected, rtol=1e-5)
    assert noise_masks.peaks({"bias": jnp.array([-1.0, 2.0])}).tolist() == [1, 2]


def test_a_coordinate_feels_the_same_slope_at_any_width():
    """Layers of equal size in every coordinate, 64 and 512 inputs wide."""

    def slope(inputs):
        layer = {"kernel": jnp.full((inputs, 4), 0.02)}
        masks = {"kernel": 0.05 * jnp.stack([jnp.ones((inputs, 4)), -jnp.ones((inputs, 4))])}
        value = lambda masks: noise_masks.loss(
            masks,
            jnp.ones(1),
            layer,
            jnp.ones((2, 4), bool),
            jnp.ones((1, 2)),
            jnp.full(1, 0.5),
            noise_masks.Descent(),
        )[0]
        return jax.grad(value)(masks)["kernel"][:, 0, 0]

    np.testing.assert_allclose(slope(64), slope(512), rtol=1e-4)
    assert noise_masks.weights({"kernel": jnp.ones((512, 4))}, noise_masks.Descent()) == (0.1, 0.01)


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e6])
def test_it_stays_finite_for_a_layer_of_any_size(scale):
    found = noise_masks.design(
        tree.scale(scale, jax.tree.map(jnp.asarray, LAYER)),
        jax.random.key(0),
        unit=jnp.float32(0.05 * scale),
        alpha=jnp.full(1, 0.5, jnp.float32),
        group=jnp.zeros(2, jnp.int32),
        there=jnp.ones(2, bool),
        target=0,
        count=9,
    )
    assert bool(tree.all_finite(found))
