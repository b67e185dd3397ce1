"""Every way to compute attention against its definition, values and derivatives."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn import attention, position, splash


def make(batch=2, time=37, heads=6, width=16, dtype="float32", seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    shape = (batch, time, heads, width)
    return [jax.random.normal(k, shape).astype(dtype) for k in keys]


def values_and_gradients(way, q, k, v, g, slopes, **options):
    """The output, and the derivative of its product with g with respect to q, k, v."""

    def run(q, k, v):
        return attention.attention(q, k, v, slopes=slopes, implementation=way, **options)

    @jax.jit
    def both(q, k, v, g):
        out, pull = jax.vjp(run, q, k, v)
        return [out, *pull(g.astype(out.dtype))]

    return both(q, k, v, g)


def by_hand(q, k, v, slopes):
    """The formula in float64, loops and all."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    out = np.zeros_like(q)
    for b, t, h in np.ndindex(q.shape[:3]):
        scores = k[b, : t + 1, h] @ q[b, t, h] / np.sqrt(q.shape[-1])
        scores -= slopes[h] * (t - np.arange(t + 1))
        weights = np.exp(scores - scores.max())
        out[b, t, h] = weights / weights.sum() @ v[b, : t + 1, h]
    return out


def test_the_definition_is_the_formula():
    q, k, v, _ = make(time=9)
    slopes = position.alibi_slopes(6)
    out = attention.attention(q, k, v, slopes=slopes, implementation="einsum")
    np.testing.assert_allclose(out, by_hand(q, k, v, slopes), atol=2e-6)


def test_dropout_of_weights_keeps_their_sum_on_average():
    q, k, v, _ = make(time=40, batch=8)
    out = attention.attention(
        q, k, jnp.ones_like(v), slopes=np.zeros(6), dropout=0.25, key=jax.random.key(3)
    )
    assert float(out.mean()) == pytest.approx(1, abs=0.02) and float(out.std()) > 0.05


@pytest.mark.parametrize("way", ["blocked", "folded"])
@pytest.mark.parametrize(
    "masked", ["", "both", *(pytest.param(m, marks=pytest.mark.slow) for m in ("mask", "segments"))]
)
def test_ways_equal_the_definition(way, masked, monkeypatch):
    monkeypatch.setattr(attention, "BLOCK", 16)
    q, k, v, g = make()
    options = {}
    if masked in ("mask", "both"):
        # Left padding, a hole, right padding; query 0 of row 0 sees no key.
        mask = np.ones((2, 37), bool)
        mask[0, :4], mask[1, 12:15], mask[1, 33:] = False, False, False
        options["mask"] = jnp.asarray(mask)
    if masked in ("segments", "both"):
        options["segments"] = jnp.asarray(np.repeat([[1, 2, 3]], 2, 0).repeat([9, 20, 8], 1))
    slopes = position.alibi_slopes(6)
    if masked in ("mask", "both"):
        g = g * jnp.asarray(mask, jnp.float32)[:, :, None, None]
    wanted = values_and_gradients("einsum", q, k, v, g, slopes, **options)
    found = values_and_gradients(way, q, k, v, g, slopes, **options)
    if "mask" in options:
        real = np.asarray(options["mask"])
        wanted[0], found[0] = wanted[0][real], found[0][real]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize(
    "heads", [12, 112, *(pytest.param(heads, marks=pytest.mark.slow) for heads in (6, 8))]
)
def test_blocks_with_every_kind_of_head_count(heads):
    q, k, v, g = make(batch=1, time=150, heads=heads, width=8)
    slopes = position.alibi_slopes(heads)
    wanted = values_and_gradients("einsum", q, k, v, g, slopes)
    found = values_and_gradients("blocked", q, k, v, g, slopes)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5)


def test_folded_alibi_in_bfloat16_is_within_one_percent():
    """Output and gradients at 512 tokens against float32; a rounded bias is far off."""
    q, k, v, g = make(batch=1, time=512, heads=6, width=64)
    slopes = position.alibi_slopes(6)
    short = [a.astype(jnp.bfloat16) for a in (q, k, v)]
    wide = [a.astype(jnp.float32) for a in short]
    truth = values_and_gradients("einsum", *wide, g, slopes)
    worst = lambda found: [
        float(jnp.max(jnp.abs(a.astype(jnp.float32) - b)) / jnp.max(jnp.abs(b)))
        for a, b in zip(found, truth, strict=True)
    ]
    assert max(worst(values_and_gradients("folded", *short, g, slopes))) < 0.01
    assert max(worst(values_and_gradients("blocked", *short, g, slopes))) < 0.01
    rounded = values_and_gradients("einsum", *short, g, slopes, alibi="bf16_key_only")
    assert worst(rounded)[0] > 0.02


@pytest.mark.parametrize("hidden", ["nothing", "padding", "others"])
def test_splash_interpreted_equals_the_definition(hidden, monkeypatch):
    q, k, v, _ = make(batch=2, time=50, heads=2, width=16)
    slopes = position.alibi_slopes(2)
    options = {}
    if hidden == "padding":
        options["mask"] = jnp.arange(50)[None] >= jnp.array([[0], [7]])
    if hidden == "others":
        options["segments"] = jnp.broadcast_to(jnp.arange(50) // 20, (2, 50))
    interpreted = functools.partial(splash.attention, interpret=True)
    monkeypatch.setattr(splash, "attention", interpreted)
    run = lambda way: attention.attention(q, k, v, slopes=slopes, implementation=way, **options)
    found, wanted = run("splash"), run("einsum")
    real = np.asarray(options.get("mask", np.ones((2, 50), bool)))
    np.testing.assert_allclose(found[real], wanted[real], atol=2e-3)
    assert np.isfinite(found).all()


def test_the_choice_is_made_in_one_place():
    choose = attention.choose
    assert choose("auto", True, True, jnp.bfloat16, 64) == "blocked"  # on a CPU
    assert choose("auto", False, True, jnp.float32, 64) == "einsum"
    assert choose("blocked", False, True, jnp.float32, 64) == "einsum"
    with pytest.raises(errors.ConfigError, match="takes whole sequences"):
        choose("cudnn", True, False, jnp.bfloat16, 64)
    with pytest.raises(errors.ConfigError, match="did you mean 'blocked'"):
        choose("bloked", True, True, jnp.float32, 64)


@pytest.mark.parametrize(
    ("capability", "widths"),
    [("9.0", [64, 96, 128]), ("8.0", [64, 96]), ("7.5", []), ("gfx942", [])],
)
def test_cudnn_is_chosen_where_it_takes_the_heads(capability, widths, monkeypatch):
    """ALiBi makes a head of 128 one of 136, which cuDNN takes from compute capability 9.0 on."""
    device = types.SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    for width in (64, 96, 128, 256):
        wanted = "cudnn" if width in widths else "blocked"
        assert attention.choose("auto", True, True, jnp.bfloat16, width) == wanted
    with pytest.raises(errors.ConfigError, match="are 262"):
        attention.choose("cudnn", True, True, jnp.bfloat16, 256)


@pytest.mark.parametrize(("backend", "way"), [("gpu", "cudnn"), ("tpu", "splash")])
def test_folded_alibi_is_not_chosen_beyond_where_it_is_exact(backend, way, monkeypatch):
    """A position of 32,769 was rounded to the next even one of 128, and the scores with it."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    device = types.SimpleNamespace(compute_capability="9.0")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    choose = lambda asked, keys: attention.choose(asked, True, True, jnp.bfloat16, 64, keys)
    longest = position.LONGEST
    assert choose("auto", longest) == way and choose("auto", longest + 1) == "blocked"
    for asked in (way, "folded"):
        assert choose(asked, longest) == asked
        with pytest.raises(errors.ConfigError, match="exact for 32768 keys, and here are 32769"):
            choose(asked, longest + 1)
