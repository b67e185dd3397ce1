"""Checkpoints: bit-equal both ways, any sharding, one copy in memory, and clear refusals."""

import dataclasses
import json
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax import bloom
from fl_jax.bloom import convert, sharding
from fl_jax.bloom.config import Config
from fl_jax.core import errors, tree
from fl_jax.data import safetensors
from fl_jax.train.mesh import MeshConfig
from tests.bloom import golden

CONFIG = dataclasses.replace(golden.CONFIG, vocab=32)


@pytest.fixture
def folder(tmp_path):
    bloom.save_hf(tmp_path, golden.params(), CONFIG)
    return tmp_path


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x).view("u1"), np.asarray(y).view("u1"))


@pytest.mark.parametrize("shard_bytes", [10**9, 5000, 1])
def test_import_of_export_is_bit_equal(tmp_path, shard_bytes):
    params = golden.params()
    bloom.save_hf(tmp_path, params, CONFIG, shard_bytes=shard_bytes)
    assert (tmp_path / "model.safetensors").is_file() == (shard_bytes == 10**9)
    again, config = bloom.load_hf(tmp_path)
    same(again, params)
    assert dataclasses.replace(config, attention=CONFIG.attention) == CONFIG


def test_export_of_import_is_the_file(folder, tmp_path):
    params, config = bloom.load_hf(folder)
    second = tmp_path / "second"
    bloom.save_hf(second, params, config)
    first = (folder / "model.safetensors").read_bytes()
    assert (second / "model.safetensors").read_bytes() == first


def test_tensors_are_those_of_the_specification(folder):
    entries = safetensors.File(folder / "model.safetensors").entries
    assert len(entries) == 5 + 12 * CONFIG.layers
    name = "transformer.h.1.self_attention.query_key_value.weight"
    assert entries[name].shape == (72, 24)
    assert entries["transformer.h.0.mlp.dense_4h_to_h.weight"].shape == (24, 96)
    written = json.loads((folder / "config.json").read_text())
    assert written["model_type"] == "bloom" and written["n_head"] == 6
    assert written["architectures"] == ["BloomForCausalLM"]


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_both_prefixes_and_a_stored_head_are_read(folder, prefix):
    tensors = golden.tensors(prefix=prefix)
    tensors["lm_head.weight"] = tensors[prefix + "word_embeddings.weight"]
    safetensors.write(folder / "model.safetensors", tensors)
    same(bloom.load_hf(folder)[0], golden.params())
    tensors["lm_head.weight"] = tensors["lm_head.weight"] + 1
    safetensors.write(folder / "model.safetensors", tensors)
    with pytest.raises(errors.DataError, match=r"lm_head\.weight differs"):
        bloom.load_hf(folder)


def test_straight_into_a_sharding(folder):
    mesh = MeshConfig(fsdp=4, tensor=2).make()
    params, _ = bloom.load_hf(folder, sharding=sharding.parameters(CONFIG, mesh))
    same(params, golden.params())
    kernel = params["layers"]["qkv"]["kernel"]
    assert {s.data.shape for s in kernel.addressable_shards} == {(2, 6, 3, 3, 4)}


def test_dtypes(folder, tmp_path):
    params, _ = bloom.load_hf(folder, dtype="bfloat16")
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("bfloat16")}
    bloom.save_hf(tmp_path / "short", params, CONFIG)
    again, _ = bloom.load_hf(tmp_path / "short")
    same(again, params)
    assert json.loads((tmp_path / "short" / "config.json").read_text())["dtype"] == "bfloat16"


def test_never_two_copies_in_memory(tmp_path):
    """Beyond what is loaded, at most one stacked parameter is in host memory."""
    config = Config(vocab=4000, hidden=128, layers=6, heads=4)
    params = bloom.init(jax.random.key(0), config)
    largest = max(a.nbytes for a in jax.tree.leaves(params))
    tracemalloc.start()
    bloom.save_hf(tmp_path, params, config)
    assert tracemalloc.get_traced_memory()[1] < 1.5 * largest
    tracemalloc.reset_peak()
    bloom.load_hf(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < tree.nbytes(params) + 1.5 * largest


def rewrite(folder, change):
    tensors = golden.tensors(prefix="transformer.")
    change(tensors)
    safetensors.write(folder / "model.safetensors", tensors)


def test_missing_unknown_and_misshapen_tensors_are_named(folder):
    name = "transformer.h.1.mlp.dense_h_to_4h.bias"
    rewrite(folder, lambda t: t.pop(name))
    with pytest.raises(errors.DataError, match=r"no tensor 'h.1.mlp.dense_h_to_4h.bias'.*\[96\]"):
        bloom.load_hf(folder)
    rewrite(folder, lambda t: t.update({name: np.zeros(95, np.float32)}))
    with pytest.raises(errors.DataError, match=r"should have the shape \[96\].*it has \[95\]"):
        bloom.load_hf(folder)
    rewrite(folder, lambda t: t.update({"transformer.h.7.x": np.zeros(1, np.float32)}))
    with pytest.raises(errors.DataError, match=r"1 tensors that BLOOM has not, first 'h\.7\.x'"):
        bloom.load_hf(folder)
    rewrite(folder, lambda t: t.update({name: np.zeros(96, np.int32)}))
    with pytest.raises(errors.DataError, match="is int32, not a float"):
        bloom.load_hf(folder)
    with pytest.raises(errors.DataError, match="by the config, but is"):
        bloom.save_hf(
            folder, bloom.init(jax.random.key(0), CONFIG), dataclasses.replace(CONFIG, layers=3)
        )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_type": "gpt2"}, "not of a BLOOM"),
        ({"apply_residual_connection_post_layernorm": True}, "no released BLOOM"),
        ({"tie_word_embeddings": False}, "unties"),
        ({"n_head": "six"}, "no int"),
        ({"n_layer": True}, "no int"),
        ({"n_head": 7}, "do not divide"),
        ({"hidden_size": None}, "does not say hidden"),
        ({"hidden_size": 48}, "should have the shape"),
        ({"layer_norm_epsilon": float("inf")}, "norm_eps must be finite"),
        ({"layer_norm_epsilon": int("9" * 400)}, "describes no BLOOM: int too large"),
        ({"num_attention_heads": 4}, "two values for heads, 4 and 6"),
    ],
)
def test_configs_that_describe_something_else(folder, change, why):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(errors.DataError, match=why):
        bloom.load_hf(folder)


def test_legacy_configs_are_read(folder):
    old = {
        "vocab_size": 32, "n_embed": 24, "num_hidden_layers": 2, "num_attention_heads": 6,
        "offset_alibi": 100, "skip_bias_add": True, "attention_softmax_in_fp32": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(old))
    assert convert.read_config(folder).heads == 6
    (folder / "config.json").write_text("{")
    with pytest.raises(errors.DataError, match="is no JSON"):
        convert.read_config(folder)


def test_a_name_on_the_hub_is_no_folder():
    with pytest.raises(errors.DataError, match="no folder bigscience/bloom-560m; download the"):
        bloom.load_hf("bigscience/bloom-560m")


def test_every_setting_of_a_config_comes_back(tmp_path):
    """Under HF's names."""
    own = {
        "norm_eps": 1e-6, "length": 77, "bos": 4, "eos": 5, "pad": 6, "dropout": 0.1,
        "attention_dropout": 0.2,
    }  # fmt: skip
    config = dataclasses.replace(CONFIG, **own)
    bloom.save_hf(tmp_path, golden.params(), config)
    assert convert.read_config(tmp_path) == config
    written = json.loads((tmp_path / "config.json").read_text())
    names = ("layer_norm_epsilon", "seq_length", "bos_token_id", "eos_token_id", "pad_token_id",
             "hidden_dropout", "attention_dropout")  # fmt: skip
    assert [written[name] for name in names] == list(own.values())


@pytest.mark.parametrize("shard_bytes", [2**30, 20_000])
@pytest.mark.parametrize("last", ["config.json", "safetensors"])
def test_an_export_that_is_killed_leaves_no_checkpoint(folder, monkeypatch, shard_bytes, last):
    """The config of what was there before stayed, and with it half of the new one."""
    real = convert.atomic.replace

    def killed(path):
        if path.name.endswith(last):
            raise KeyboardInterrupt
        return real(path)

    monkeypatch.setattr(convert.atomic, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        bloom.save_hf(folder, golden.params(), CONFIG, shard_bytes=shard_bytes)
    with pytest.raises(errors.DataError, match=r"has no config\.json"):
        bloom.load_hf(folder)


def test_shards_of_no_bytes_are_refused(folder):
    with pytest.raises(errors.ConfigError, match="shard_bytes must be above 0, got 0"):
        bloom.save_hf(folder, golden.params(), CONFIG, shard_bytes=0)
    same(bloom.load_hf(folder)[0], golden.params())


def test_whole_numbers_are_no_dtype_of_parameters(tmp_path):
    config = Config(vocab=8, hidden=8, layers=1, heads=2)
    params = bloom.init(jax.random.key(0), config)
    with pytest.raises(errors.ConfigError, match=r"floating dtype, .*, got int8"):
        convert.save_hf(tmp_path, params, config, dtype="int8")
    assert not list(tmp_path.iterdir())


def test_whole_numbers_are_none_to_load_either(folder):
    with pytest.raises(errors.ConfigError, match=r"floating dtype, .*, got int32"):
        bloom.load_hf(folder, dtype="int32")


def test_a_dtype_that_safetensors_have_not_leaves_the_folder_as_it_was(folder):
    with pytest.raises(errors.ConfigError, match="got float8_e4m3fn"):
        bloom.save_hf(folder, golden.params(), CONFIG, dtype="float8_e4m3fn")
    same(bloom.load_hf(folder)[0], golden.params())


def test_tensors_in_memory_are_checked_as_those_of_a_file():
    """More rows than the vocabulary has were cut off in silence."""
    tensors, name = golden.tensors(), "word_embeddings.weight"
    same(convert.from_tensors(tensors, CONFIG), golden.params())
    for changed, why in [
        (tensors | {name: np.zeros((40, 24), np.float32)}, r"shape \[32, 24\].*it has \[40, 24\]"),
        ({n: t for n, t in tensors.items() if n != name}, "in memory has no tensor"),
        (tensors | {"x": tensors[name]}, "1 tensors that BLOOM has not"),
        (tensors | {name: np.zeros((32, 24), np.int32)}, "is int32, not a float"),
    ]:
        with pytest.raises(errors.DataError, match=why):
            convert.from_tensors(changed, CONFIG)


def test_numbers_that_a_dtype_does_not_hold_leave_the_folder_as_it_was(folder):
    """They were written, and read, as infinity."""
    wide = jax.tree.map(lambda a: a * 1e6, golden.params())
    with pytest.raises(errors.DataError, match=r"holds .*, and float16 ends at 65504"):
        bloom.save_hf(folder, wide, CONFIG, dtype="float16")
    same(bloom.load_hf(folder)[0], golden.params())
    bloom.save_hf(folder, wide, CONFIG)
    with pytest.raises(errors.DataError, match=r"holds .*, and float16 ends at 65504"):
        bloom.load_hf(folder, dtype="float16")
    assert bloom.load_hf(folder, dtype="bfloat16")[0]["norm"]["scale"].dtype == "bfloat16"


def test_a_tensor_under_both_names_is_refused(folder):
    """One of the two was taken, whichever came last."""
    path = folder / "model.safetensors"
    held = safetensors.File(path)
    tensors = {name: np.array(held.tensor(name)) for name in held.entries}
    tensors["ln_f.bias"] = tensors["transformer.ln_f.bias"] + 1
    safetensors.write(path, tensors)
    with pytest.raises(errors.DataError, match=r"has 'ln_f\.bias' twice"):
        bloom.load_hf(folder)


def test_a_config_of_endless_layers_costs_nothing(folder, monkeypatch):
    """All their names were made before the first was looked for."""
    named = iter([convert.hf_name] * 100)
    monkeypatch.setattr(convert, "hf_name", lambda *place: next(named)(*place))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 10**12}))
    with pytest.raises(errors.DataError, match=r"has no tensor 'h\.2\.input"):
        bloom.load_hf(folder)


def test_what_is_no_dtype_and_no_folder(folder):
    with pytest.raises(errors.ConfigError, match=r"floating dtype, .*, got nonsense"):
        bloom.load_hf(folder, dtype="nonsense")
    with pytest.raises(errors.DataError, match="is a file"):
        bloom.save_hf(folder / "config.json", golden.params(), CONFIG)
