"""Checkpoints: out and in again, and what is refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from fl_jax import t5
from fl_jax.core import errors
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
    path.write_text("[")
    with pytest.raises(errors.DataError, match="describes no T5"):
        t5.load_hf(tmp_path)
