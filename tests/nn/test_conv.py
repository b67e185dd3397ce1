"""Convolution by matrix products against the library's, and against finite differences."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import test_util

from fl_jax.core import errors
from fl_jax.nn import conv, pool, winograd

CASES = [  # image, kernel, strides, padding, channels
    ((9, 7), (3, 3), 1, "VALID", (2, 5)),
    ((8, 8), (3, 3), 1, "SAME", (16, 3)),
    ((9, 8), (3, 3), 2, "SAME", (3, 4)),
    ((7, 10), (3, 3), (2, 1), 1, (1, 2)),
    ((6, 6), (1, 1), 2, "SAME", (4, 3)),
    ((8, 9), (2, 5), (1, 3), ((0, 1), (2, 0)), (2, 3)),
    ((5, 5), (5, 5), 1, "VALID", (2, 2)),
]
SQUARE = [case for case in CASES if case[1] == (3, 3) and case[2] == 1]


def draw(case, clients=()):
    rng = np.random.default_rng(0)
    image, kernel, _, _, (i, o) = case
    x = rng.normal(size=(*clients, 2, *image, i)).astype(np.float32)
    w = rng.normal(size=(*clients, *kernel, i, o)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(w)


def applied(case, method):
    return lambda x, w: conv.conv(x, w, strides=case[2], padding=case[3], method=method)


def close(a, b, tolerance=2e-6):
    assert a.shape == b.shape and a.dtype == b.dtype
    assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)


METHOD_CASES = [
    *itertools.product(["patches", "rows", "auto"], CASES),
    *itertools.product(["winograd"], SQUARE),
]


@pytest.mark.parametrize(("method", "case"), METHOD_CASES)
def test_equals_the_library_in_value_and_gradient(method, case):
    x, w = draw(case)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_gradients(method):
        y, pull = jax.vjp(applied(case, method), x, w)
        cotangent = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
        return y, *pull(cotangent)

    jax.tree.map(close, value_and_gradients(method), value_and_gradients("library"))


@pytest.mark.parametrize("method", ["patches", "rows", "winograd"])
def test_under_vmap_every_client_has_its_own_kernel(method):
    """Value and gradient under vmap, and inside scan, are those of a loop over the clients."""
    x, w = draw(SQUARE[0], clients=(3,))

    def loss(x, w):
        return jnp.sum(jnp.sin(applied(SQUARE[0], method)(x, w)))

    def expected(x, w):
        return jnp.sum(jnp.sin(applied(SQUARE[0], "library")(x, w)))

    both = jax.value_and_grad(loss, argnums=(0, 1))
    batched = jax.jit(jax.vmap(both))(x, w)
    scanned = jax.jit(lambda x, w: jax.lax.map(lambda xw: both(*xw), (x, w)))(x, w)
    one = jax.jit(jax.value_and_grad(expected, argnums=(0, 1)))
    alone = [one(x[c], w[c]) for c in range(3)]
    alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    near = functools.partial(close, tolerance=1e-5)  # the sum of sines cancels
    jax.tree.map(near, batched, alone)
    jax.tree.map(near, scanned, alone)


@pytest.mark.parametrize(("method", "order"), [("patches", 2), ("rows", 1), ("winograd", 1)])
def test_derivatives_against_finite_differences(method, order):
    """Forward and backward; where compilation is cheap, the second order too."""
    with jax.enable_x64(True):
        x, w = (jnp.asarray(a, jnp.float64) for a in draw(((5, 4), (3, 3), 1, 1, (2, 2))))
        f = jax.jit(lambda x, w: jnp.sum(jnp.sin(applied(SQUARE[0], method)(x, w))))
        test_util.check_grads(f, (x[:1], w), order=order, rtol=1e-6)


def test_tiles_are_cut_at_every_fourth_pixel():
    x = jnp.arange(2 * 10 * 14 * 3, dtype=jnp.float32).reshape(2, 10, 14, 3)
    tiles = winograd.cut(x)
    assert tiles.shape == (6, 6, 2, 2, 3, 3)
    np.testing.assert_array_equal(tiles[:, :, 1, 1, 2], x[1, 4:10, 8:14])
    np.testing.assert_array_equal(winograd.cut(x[:, :8, :12], 8)[:, :, 0, 0, 1], x[0, :8, 4:12])
    with pytest.raises(ValueError, match="do not cover 9 x 14; pad each side"):
        winograd.cut(x[:, :9])
    with pytest.raises(ValueError, match="tiles of 6 x 6, got 5 x 5"):
        winograd.conv(jnp.ones((6, 6, 1, 1, 1, 2)), jnp.ones((5, 5, 2, 2)))


def test_winograd_on_an_empty_ground():
    """Where the window is zero the result is, and a relu lets no derivative of noise through."""
    x, w = draw(((18, 22), (3, 3), 1, "VALID", (16, 8)))
    x = x * (jax.random.uniform(jax.random.key(0), (*x.shape[:3], 1)) < 0.05).astype(jnp.float32)
    y = {m: conv.conv(x, w, method=m) for m in ("winograd", "library")}
    dark = np.asarray(y["library"] == 0)
    assert 0.4 < dark.mean() < 0.9
    np.testing.assert_array_equal(y["winograd"] == 0, dark)

    def by_bias(method):
        value = lambda b: jnp.sum(jax.nn.relu(conv.conv(x, w, method=method) + b))
        return jax.grad(value)(jnp.zeros((1, 1, 1, 8)))

    np.testing.assert_array_equal(by_bias("winograd"), by_bias("library"))


@pytest.mark.parametrize("ties", [False, True])
def test_winograd_max_pool_is_max_pool_of_the_images(ties):
    """In value and derivative, by outputs in the dark and by equal ones too."""
    y = jax.random.normal(jax.random.key(0), (2, 2, 2, 2, 3, 2, 3, 4))
    y = jnp.round(y) if ties else y
    lit = (jax.random.uniform(jax.random.key(1), (*y.shape[:-1], 1)) < 0.7).astype(y.dtype)
    weight = jax.random.normal(jax.random.key(2), (3, 4, 6, 4))
    by_tiles = lambda y: jnp.sum(weight * winograd.max_pool(y, lit))
    direct = lambda y: jnp.sum(weight * pool.max_pool(winograd.join(y, lit), 2))
    np.testing.assert_array_equal(winograd.join(y, lit)[1, 7, 6], (y * lit)[1, 0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(winograd.max_pool(y, lit), pool.max_pool(winograd.join(y, lit)))
    # An output in the dark is a constant: it may win the maximum, and passes nothing on.
    np.testing.assert_array_equal(jax.grad(by_tiles)(y) * lit, jax.grad(direct)(y))


def test_winograd_is_nearly_as_exact_as_the_definition():
    """Against float64: several roundings of float32, not hundreds."""
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(2, 26, 26, 32)), rng.normal(size=(3, 3, 32, 64))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    exact = np.einsum("nrsiab,abio->nrso", windows, w)
    y = conv.conv(jnp.float32(x), jnp.float32(w), method="winograd")
    assert np.linalg.norm(y - exact) <= 1.5e-6 * np.linalg.norm(exact)


@pytest.mark.parametrize("method", ["patches", "rows", "winograd", "auto"])
def test_second_call_compiles_nothing(method):
    f = jax.jit(jax.grad(lambda w, x: jnp.sum(applied(SQUARE[0], method)(x, w) ** 2)))
    x, w = draw(SQUARE[0])
    f(w, x)
    f(w + 1, x + 1)
    assert f._cache_size() == 1


def test_layer_is_the_function_with_its_kernel_and_bias():
    layer = conv.Conv(3, 5, (3, 3), strides=2, padding=1, rngs=nnx.Rngs(0))
    assert layer.kernel.shape == (3, 3, 3, 5)
    layer.bias[...] = jnp.arange(5.0)
    x = draw(((8, 8), (3, 3), 2, 1, (3, 5)))[0]
    expected = conv.conv(x, layer.kernel[...], strides=2, padding=1, method="library")
    close(layer(x), expected + jnp.arange(5.0).reshape(1, 1, 1, 5))
    assert conv.Conv(3, 5, use_bias=False, rngs=nnx.Rngs(0)).bias is None


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"method": "winogard"}, errors.ConfigError, "did you mean 'winograd'"),
        ({"method": "winograd", "strides": 2}, ValueError, "3 x 3 kernels with stride 1"),
        ({"padding": "same"}, errors.ConfigError, "unknown padding 'same'"),
        ({"x": jnp.ones((1, 4, 4, 3))}, ValueError, "takes 2 channels"),
        ({"x": jnp.ones((1, 2, 4, 2))}, ValueError, "smaller than the kernel of 3 x 3"),
    ],
)
def test_what_cannot_work_is_refused(change, error, says):
    arguments = {"x": jnp.ones((1, 4, 4, 2)), "kernel": jnp.ones((3, 3, 2, 2))} | change
    with pytest.raises(error, match=says):
        conv.conv(**arguments)
