"""The forward pass against golden values, and against itself under padding, holes and a cache."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import config as configs
from fl_jax.bloom import loss, model
from fl_jax.core import errors, tree
from tests.bloom import golden

CONFIG = golden.CONFIG
HIDDEN = jax.jit(model.hidden, static_argnames="config")
WAYS = [
    {"attention": "einsum", "remat": "full"},
    {"attention": "blocked", "scan": False},
    {"attention": "blocked", "remat": "dots"},
    {"attention": "folded"},
]


def with_(**changes):
    return dataclasses.replace(CONFIG, **changes)


@pytest.fixture(scope="module")
def params():
    return golden.params()


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_golden_values_without_torch(params, way):
    config = with_(**way)
    near = lambda a, b, tol: np.testing.assert_allclose(a, b, atol=tol, rtol=0)

    def value(params):
        x, _ = model.hidden(params, config, golden.TOKENS)
        table, weights = params["embedding"]["table"], jnp.full((1, 7), 1 / 7)
        total = loss.chunked_loss.summed(x[:, :-1], table, golden.TOKENS[:, 1:], weights)
        return total, (x, model.logits(params, config, x))

    # One program for the logits and the gradient of their loss.
    (total, (x, logits)), grads = jax.jit(jax.value_and_grad(value, has_aux=True))(params)
    near(logits[0, 0, :4], [0.452461, 0.683245, -1.621141, 2.089692], 1e-5)
    near(logits[0, 7, :4], [-4.081275, 4.443486, -3.519240, 1.576121], 1e-5)
    near(np.sum(logits), -3.046654, 1e-4)
    near(np.sum(np.abs(logits)), 309.525091, 1e-3)
    norm = lambda *arrays: np.sqrt(sum(np.sum(np.square(a, dtype=np.float64)) for a in arrays))
    near(norm(x), 15.122687, 2e-5)
    near(total, 4.0463347, 1e-5)
    layers = grads["layers"]
    near(norm(grads["embedding"]["table"]), 2.3677359, 1e-5)
    near(norm(layers["qkv"]["kernel"][0]), 0.7710709, 1e-5)
    near(norm(layers["down"]["bias"][1]), 0.2995712, 1e-5)
    near(norm(grads["embedding"]["norm"]["bias"]), 0.3818287, 1e-5)
    near(norm(*jax.tree.leaves(grads)), 10.6684099, 1e-4)


@pytest.mark.parametrize(
    ("name", "count", "without_embedding"),
    [
        ("560m", 559_214_592, 302_313_472),
        ("1b1", 1_065_314_304, 679_962_624),
        ("1b7", 1_722_408_960, 1_208_606_720),
        ("3b", 3_002_557_440, 2_360_304_640),
        ("7b1", 7_069_016_064, 6_041_411_584),
        ("176b", 176_247_271_424, 172_650_655_744),
    ],
)
def test_published_sizes(name, count, without_embedding):
    config = configs.size(name)
    assert config.parameters == count
    shapes = model.abstract(config)
    assert tree.size(shapes) == count
    assert count - tree.size(shapes["embedding"]["table"]) == without_embedding


def test_flops_are_those_of_the_products():
    """Forward, and twice that backward; a query looks at the keys up to itself."""
    config, length = configs.size("560m"), 2048
    h, keys = config.hidden, np.arange(1, length + 1).mean()
    layer = 2 * h * (3 * h + h + 4 * h + 4 * h) + 2 * 2 * h * keys
    forward = config.layers * layer + 2 * h * config.vocab
    assert config.flops_per_token() == pytest.approx(3 * forward, rel=1e-4)


def test_init_is_the_published_one(key):
    config = with_(hidden=96, layers=8, vocab=500)
    params = model.init(key, config)
    std = lambda a: float(jnp.std(a))
    assert std(params["embedding"]["table"]) == pytest.approx(0.0048, rel=0.02)
    assert std(params["layers"]["qkv"]["kernel"]) == pytest.approx(0.0048, rel=0.02)
    for name in ("out", "down"):
        assert std(params["layers"][name]["kernel"]) == pytest.approx(0.0048 / 4, rel=0.02)
    assert float(jnp.abs(params["layers"]["up"]["bias"]).max()) == 0
    assert float(jnp.min(params["norm"]["scale"])) == 1


@pytest.mark.parametrize("attention", ["einsum", "blocked"])
def test_padding_and_holes_change_nothing(params, attention):
    config = with_(attention=attention)
    plain = model.apply(params, config, golden.TOKENS)
    tokens, mask = np.full((4, 13), 3), np.zeros((4, 13), bool)
    mask[3, [0, 1, 2, 5, 6, 7, 9, 10]] = True
    tokens[3, mask[3]] = golden.TOKENS[0]
    for row, left in enumerate((5, 0, 3)):
        tokens[row, left : left + 8], mask[row, left : left + 8] = golden.TOKENS[0], True
    logits = model.apply(params, config, jnp.asarray(tokens), jnp.asarray(mask))
    for row, left in enumerate((5, 0, 3)):
        np.testing.assert_allclose(logits[row, left : left + 8], plain[0], atol=2e-5)
    assert bool(jnp.all(jnp.isfinite(logits)))
    # A masked token inside counts neither as a key nor as a position.
    np.testing.assert_allclose(logits[3, np.flatnonzero(mask[3])], plain[0], atol=2e-5)


@pytest.mark.parametrize("attention", ["einsum", "blocked"])
def test_rows_without_any_token_have_finite_gradients(params, attention):
    config = with_(attention=attention)
    tokens = jnp.tile(golden.TOKENS, (2, 1))
    mask = jnp.array([[True] * 8, [False] * 8])
    value = lambda p: jnp.sum(model.apply(p, config, tokens, mask) ** 2)
    grads = jax.jit(jax.grad(value))(params)
    assert bool(tree.all_finite(grads))


@pytest.mark.parametrize("attention", ["einsum", "blocked", "folded"])
def test_packed_documents_do_not_see_each_other(params, attention):
    config = with_(attention=attention)
    first, second = jnp.array([[5, 9, 2]]), jnp.array([[31, 7, 7, 0, 18]])
    packed = jnp.concatenate([first, second], axis=1)
    segments = jnp.array([[1, 1, 1, 2, 2, 2, 2, 2]])
    x, _ = HIDDEN(params, config, packed, segments=segments)
    # Alone, in one shape: what is filled up on the right is not seen.
    fill = lambda t: jnp.pad(t, [(0, 0), (0, 8 - t.shape[1])])
    apart = [HIDDEN(params, CONFIG, fill(t))[0][:, : t.shape[1]] for t in (first, second)]
    np.testing.assert_allclose(x, jnp.concatenate(apart, axis=1), atol=2e-5)


@pytest.mark.parametrize("scan", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_cache_changes_nothing(params, scan):
    """Whole, in pieces, and token by token behind left padding."""
    config = with_(scan=scan)
    whole, _ = HIDDEN(params, config, golden.TOKENS)
    cache = model.empty_cache(config, 1, 12)
    parts = []
    for start, end in ((0, 4), (4, 8)):
        x, cache = HIDDEN(params, config, golden.TOKENS[:, start:end], cache=cache)
        parts.append(x)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5)
    padded = jnp.pad(golden.TOKENS[:, :4], [(0, 0), (2, 0)])
    mask = jnp.array([[False, False, True, True, True, True]])
    x, cache = HIDDEN(params, config, padded, mask, cache=model.empty_cache(config, 1, 12))
    np.testing.assert_allclose(x[:, 2:], whole[:, :4], atol=1e-5)
    x, _ = HIDDEN(params, config, golden.TOKENS[:, 4:], cache=cache)
    np.testing.assert_allclose(x, whole[:, 4:], atol=1e-5)


def test_bfloat16_stays_near_float32(params):
    logits = model.apply(params, CONFIG, golden.TOKENS)
    for attention in ("blocked", "folded"):
        short = model.apply(params, with_(dtype="bfloat16", attention=attention), golden.TOKENS)
        assert float(jnp.sqrt(jnp.mean((short - logits) ** 2)) / jnp.std(logits)) < 0.02


def test_dropout_is_on_with_a_key_alone(params, key):
    config = with_(dropout=0.5, attention_dropout=0.1)
    plain, _ = HIDDEN(params, config, golden.TOKENS)
    np.testing.assert_allclose(plain, HIDDEN(params, CONFIG, golden.TOKENS)[0], atol=1e-5)
    dropped, _ = HIDDEN(params, config, golden.TOKENS, key=key)
    again, _ = HIDDEN(params, config, golden.TOKENS, key=key)
    assert not np.allclose(plain, dropped, atol=0.1)
    np.testing.assert_array_equal(dropped, again)


def test_dropout_keeps_the_mean(key):
    found = np.asarray(model._dropout(jnp.ones((200, 200)), 0.25, key, "attention"))
    assert set(np.unique(found)) == {0.0, np.float32(1 / 0.75)}
    assert found.mean() == pytest.approx(1, abs=0.02)


def test_every_place_of_every_layer_drops_for_itself(params, key, monkeypatch):
    """The embedding and both branches of a layer, each with a draw of its own."""
    drawn = []

    def noted(x, rate, key, name):
        drawn.append((np.asarray(jax.random.key_data(key)).tobytes(), name))
        return x

    monkeypatch.setattr(model, "_dropout", noted)
    model.hidden(params, with_(dropout=0.5, scan=False), golden.TOKENS, key=key)
    assert [name for _, name in drawn] == ["embedding", *["attention", "mlp"] * CONFIG.layers]
    assert len({of for of, _ in drawn}) == 1 + CONFIG.layers


def test_what_cannot_be_is_refused(params):
    with pytest.raises(errors.DataError, match="ids from 0 to 31, but there is a 32"):
        model.apply(params, CONFIG, jnp.array([[1, 32]]))
    with pytest.raises(errors.DataError, match="there is a -1"):
        model.apply(params, CONFIG, jnp.array([[-1]]))
    with pytest.raises(errors.ConfigError, match="cache of 4 tokens cannot take 8"):
        model.hidden(params, CONFIG, golden.TOKENS, cache=model.empty_cache(CONFIG, 1, 4))
    others = [("vocab", 32, 40), ("hidden", 24, 48), ("layers", 2, 3), ("heads", 6, 4)]
    for (name, held, said), scan in itertools.product(others, (True, False)):
        with pytest.raises(errors.ConfigError, match=f"have {name}={held} and the .*={said};"):
            model.apply(params, with_(**{name: said}, scan=scan), golden.TOKENS)
    apart = {**params, "layers": model.unstack(params["layers"], 2)}
    with pytest.raises(errors.ConfigError, match="have layers=2 and the config layers=1;"):
        model.apply(apart, with_(layers=1, scan=False), golden.TOKENS)
    with pytest.raises(errors.ConfigError, match="7 heads do not divide"):
        with_(heads=7)
    with pytest.raises(
        errors.ConfigError, match="layers must be a whole number of 1 or more, got 0"
    ):
        with_(layers=0)
    for name, value in {"norm_eps": -1.0, "dropout": 1.0, "attention_dropout": -0.5}.items():
        with pytest.raises(errors.ConfigError, match=f"{name} must .*, got {value}"):
            with_(**{name: value})
    for name, value in [("bos", -1), ("eos", 32), ("eos", -2), ("pad", 250_680), ("pad", -1)]:
        with pytest.raises(errors.ConfigError, match=f"{name} must .* to 31, got {value}"):
            with_(**{name: value})
    assert with_(bos=0, eos=31, pad=31).pad == 31
    assert with_(eos=-1).eos == -1  # generation then never ends by itself
    with pytest.raises(errors.ConfigError, match="did you mean '560m'"):
        configs.size("560")


def test_examples_of_one_batch_do_not_touch(params):
    other = jnp.array([[1, 1, 1, 1, 1, 1, 1, 1]])
    both = model.apply(params, CONFIG, jnp.concatenate([golden.TOKENS, other]))
    alone = model.apply(params, CONFIG, golden.TOKENS)
    np.testing.assert_allclose(both[:1], alone, atol=1e-5)
