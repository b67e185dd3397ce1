"""Checkpoints: out and in again, and what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax import t5
from fl_jax.core import errors
from fl_jax.data import safetensors
from fl_jax.t5 import convert, model
from fl_jax.t5.config import Config

CONFIG = Config(vocab=64, width=16, head_width=8, hidden=32, heads=2, buckets=8, max_distance=16,
                encoder_layers=2, decoder_layers=1)  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"mlp": "gated-gelu", "tied": False}])
def test_round_trip(tmp_path, changes):
    config = dataclasses.replace(CONFIG, **changes)
    params = model.init(jax.random.key(0), config)
    t5.save_hf(tmp_path, params, config)
    back, found = t5.load_hf(tmp_path)
    assert found == config
    jax.tree.map(np.testing.assert_array_equal, params, back)
    names = set(convert.to_tensors(params, config))
    assert "decoder.block.0.layer.1.EncDecAttention.q.weight" in names
    assert "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight" not in names
    assert ("lm_head.weight" in names) != config.tied


# What transformers 5.23 computes from a stored head (none, a copy of the embedding, another) and
# these entries of config.json: whether the decoder's states are scaled by width^-1/2.
FLAGS = [
    ({}, True),
    ({"tie_word_embeddings": True}, True),
    ({"tie_word_embeddings": False}, False),
    ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, False),
    ({"tie_word_embeddings": False, "scale_decoder_outputs": True}, True),
    ({"tie_word_embeddings": True, "model_type": "mt5"}, False),
]
APPLY = jax.jit(model.apply, static_argnums=1)


@pytest.fixture(scope="module")
def params():
    return model.init(jax.random.key(0), CONFIG)


@pytest.mark.parametrize("stored", ["none", "same", "other"])
@pytest.mark.parametrize(("flags", "scaled"), FLAGS)
def test_the_head_is_what_file_and_config_say(tmp_path, stored, flags, scaled, params):
    t5.save_hf(tmp_path, params, CONFIG)
    table = np.asarray(params["shared"])
    path = tmp_path / "config.json"
    body = json.loads(path.read_text())
    del body["tie_word_embeddings"]
    path.write_text(json.dumps({**body, **flags}))
    tensors = convert.to_tensors(params, CONFIG)
    if stored != "none":
        tensors["lm_head.weight"] = table if stored == "same" else 3 * table
    safetensors.write(tmp_path / "model.safetensors", tensors, {"format": "pt"})
    if scaled and stored == "other":
        with pytest.raises(errors.DataError, match=r"lm_head.weight differs from shared.weight"):
            t5.load_hf(tmp_path)
        return
    back, found = t5.load_hf(tmp_path)
    tokens, given = jnp.array([[5, 9, 1]]), jnp.array([[0, 7]])
    wanted = APPLY(params, CONFIG, tokens, given)
    wanted *= (1 if scaled else 4) * (3 if stored == "other" else 1)
    logits = APPLY(jax.tree.map(jnp.asarray, back), found, tokens, given)
    np.testing.assert_allclose(logits, wanted, rtol=2e-5, atol=1e-5)
    assert found.tied == scaled


def test_what_is_no_t5_is_refused(tmp_path):
    params = model.init(jax.random.key(0), CONFIG)
    t5.save_hf(tmp_path, params, CONFIG)
    path = tmp_path / "config.json"
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, "num_layers": 3}))
    with pytest.raises(errors.DataError, match="missing"):
        t5.load_hf(tmp_path)
    path.write_text(json.dumps({**body, "d_model": "16"}))
    with pytest.raises(errors.DataError, match="describes no T5"):
        t5.load_hf(tmp_path)
    path.write_text(json.dumps({**body, "d_ff": 48}))
    with pytest.raises(errors.DataError, match="should be"):
        t5.load_hf(tmp_path)
    for change in ({"layer_norm_epsilon": "x"}, {"dropout_rate": "0"}, {"num_heads": None}):
        path.write_text(json.dumps({**body, **change}))
        with pytest.raises(errors.DataError, match="describes no T5"):
            t5.load_hf(tmp_path)
    path.write_text(json.dumps({**body, "decoder_start_token_id": 5}))  # it started with pad
    with pytest.raises(errors.DataError, match="starts with another token than pad"):
        t5.load_hf(tmp_path)
    path.write_text("[")
    with pytest.raises(errors.DataError, match="describes no T5"):
        t5.load_hf(tmp_path)


def test_a_null_stands_for_the_encoders_depth(tmp_path):
    config = dataclasses.replace(CONFIG, decoder_layers=2)
    t5.save_hf(tmp_path, model.init(jax.random.key(0), config), config)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_decoder_layers": None}))
    assert t5.load_hf(tmp_path)[1] == config


def test_whole_numbers_are_no_parameters(tmp_path, params):
    """Those of a quantised file were taken for weights, without their scale."""
    t5.save_hf(tmp_path, params, CONFIG)
    tensors = convert.to_tensors(params, CONFIG)
    tensors["shared.weight"] = np.ones((64, 16), np.int8)
    safetensors.write(tmp_path / "model.safetensors", tensors)
    with pytest.raises(errors.DataError, match=r"'shared\.weight' is int8, not a float"):
        t5.load_hf(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab": 65}, r"'shared' should be \[65, 16\] by the config, but is \[64, 16\]"),
        ({"tied": False}, r"'head' should be \[64, 16\] by the config, but is missing"),
        ({"encoder_layers": 3}, r"should be \[3, .*, but is \[2, "),
    ],
)
def test_parameters_of_another_config_are_not_written(tmp_path, changes, message, params):
    """A file that no reader takes; or, of an untied model, one without its head."""
    with pytest.raises(errors.DataError, match=message):
        t5.save_hf(tmp_path, params, dataclasses.replace(CONFIG, **changes))
    untied = dataclasses.replace(CONFIG, tied=False)
    with pytest.raises(errors.DataError, match="'head' should be missing"):
        t5.save_hf(tmp_path, model.init(jax.random.key(0), untied), CONFIG)
    assert not list(tmp_path.iterdir())
