"""Adapters of PEFT's: bit-equal both ways, the same update in HF's layout, and clear refusals."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from fl_jax import bloom
from fl_jax.bloom import convert, lora, peft
from fl_jax.core import atomic, errors
from fl_jax.data import safetensors
from tests.bloom import golden
from tests.bloom.test_lora import adapters

CONFIG = golden.CONFIG
SIZES = {  # outputs, inputs
    "self_attention.query_key_value": (72, 24),
    "self_attention.dense": (24, 24),
    "mlp.dense_h_to_4h": (96, 24),
    "mlp.dense_4h_to_h": (24, 96),
}
KEY = "base_model.model.transformer.h.1.self_attention.query_key_value.lora_B.weight"


def theirs(folder, *, rank=3, modules=tuple(SIZES), dtype=np.float32, **settings):
    """A folder as PEFT writes it, without any code of ours but the container's; its tensors."""
    random, tensors = np.random.default_rng(5), {}
    for layer in range(CONFIG.layers):
        for module in modules:
            outputs, inputs = SIZES[module]
            name = f"base_model.model.transformer.h.{layer}.{module}.lora_"
            tensors[name + "A.weight"] = random.normal(size=(rank, inputs)).astype(dtype)
            tensors[name + "B.weight"] = random.normal(size=(outputs, rank)).astype(dtype)
    described = {
        "alora_invocation_tokens": None, "alpha_pattern": {}, "arrow_config": None,
        "auto_mapping": None, "base_model_name_or_path": "bigscience/bloom-560m", "bias": "none",
        "corda_config": None, "ensure_weight_tying": False, "eva_config": None,
        "exclude_modules": None, "fan_in_fan_out": False, "inference_mode": True,
        "init_lora_weights": True, "layer_replication": None, "layers_pattern": None,
        "layers_to_transform": None, "loftq_config": {}, "lora_alpha": 7, "lora_bias": False,
        "lora_dropout": 0.05, "megatron_config": None, "megatron_core": "megatron.core",
        "modules_to_save": None, "peft_type": "LORA", "peft_version": "0.21.2",
        "qalora_group_size": 16, "r": rank, "rank_pattern": {}, "revision": None,
        "target_modules": [module.split(".")[1] for module in modules],
        "target_parameters": None, "task_type": "CAUSAL_LM", "trainable_token_indices": None,
        "use_dora": False, "use_qalora": False, "use_rslora": False,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / peft.CONFIG).write_text(json.dumps(described | settings))
    safetensors.write(folder / peft.WEIGHTS, tensors, {"format": "pt"})
    return tensors


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x).view("u1"), np.asarray(y).view("u1"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("alpha", [16, 2.75])
def test_import_of_export_is_bit_equal(tmp_path, key, dtype, alpha):
    low = jax.tree.map(lambda a: a.astype(dtype), adapters(key))
    bloom.save_peft(tmp_path / "new", low, CONFIG, alpha=alpha)
    again, found = bloom.load_peft(tmp_path / "new", CONFIG, dtype=dtype)
    assert found == alpha
    same(again, low)
    widened, _ = bloom.load_peft(tmp_path / "new", CONFIG)
    same(widened, jax.tree.map(lambda a: a.astype("float32"), low))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("modules", [tuple(SIZES), tuple(SIZES)[:1], tuple(SIZES)[1:3]])
def test_export_of_import_has_the_tensors_of_the_file(tmp_path, modules, dtype):
    tensors = theirs(tmp_path / "a", modules=modules, dtype=dtype)
    low, alpha = bloom.load_peft(tmp_path / "a", CONFIG)
    bloom.save_peft(tmp_path / "b", low, CONFIG, alpha=alpha, base="x/y", dtype=dtype)
    file = safetensors.File(tmp_path / "b" / peft.WEIGHTS)
    same({name: file.tensor(name) for name in file.entries}, tensors)
    first, second = (json.loads((tmp_path / f / peft.CONFIG).read_text()) for f in "ab")
    for field in ("r", "lora_alpha", "bias", "peft_type", "task_type", "use_rslora"):
        assert first[field] == second[field]
    assert set(first["target_modules"]) == set(second["target_modules"])
    assert second["base_model_name_or_path"] == "x/y"


@pytest.mark.parametrize("rooted", [False, True])
def test_a_merged_model_is_base_and_update_in_their_layout(tmp_path, rooted):
    """W + scale B A by NumPy, from the file's own tensors, beside our merged model exported."""
    tensors = theirs(tmp_path, use_rslora=rooted)
    low, alpha = bloom.load_peft(tmp_path, CONFIG)
    merged = lora.merge(golden.params(), low, alpha=alpha)
    found, base = convert.to_tensors(merged, CONFIG), golden.tensors()
    scale = 7 / 3**0.5 if rooted else 7 / 3
    assert alpha / 3 == pytest.approx(scale, rel=1e-15)
    for name, before in base.items():
        module = "base_model.model.transformer." + name.removesuffix(".weight") + ".lora_"
        wanted = before.astype("f8")
        if module + "A.weight" in tensors:
            a, b = (tensors[module + f"{x}.weight"].astype("f8") for x in "AB")
            wanted = before + scale * b @ a
            assert np.abs(wanted - before).max() > 5
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("change", [
    {"target_modules": "all-linear"},
    {"target_modules": [f"transformer.h.{i}.{module}" for i in range(2) for module in SIZES]},
    {"target_modules": ["self_attention.dense", "0.mlp.dense_h_to_4h", "1.mlp.dense_h_to_4h",
                        "dense_4h_to_h", "query_key_value", "h.0.self_attention.dense"]},
    {"init_lora_weights": "gaussian", "lora_dropout": 0.5, "inference_mode": False},
    {"task_type": None, "lora_alpha": 7.0},
])  # fmt: skip
def test_what_changes_nothing_is_read(tmp_path, change):
    theirs(tmp_path / "a")
    theirs(tmp_path / "b", **change)
    wanted, _ = bloom.load_peft(tmp_path / "a", CONFIG)
    found, alpha = bloom.load_peft(tmp_path / "b", CONFIG)
    same(found, wanted)
    assert alpha == 7


def test_an_adapter_of_a_model_without_head_is_read(tmp_path):
    tensors = theirs(tmp_path)
    wanted, _ = bloom.load_peft(tmp_path, CONFIG)
    bare = {name.replace(".transformer.", "."): tensor for name, tensor in tensors.items()}
    safetensors.write(tmp_path / peft.WEIGHTS, bare)
    same(bloom.load_peft(tmp_path, CONFIG)[0], wanted)
    safetensors.write(tmp_path / peft.WEIGHTS, bare | tensors)
    with pytest.raises(errors.DataError, match=r"has 'h\.0\..*' twice"):
        bloom.load_peft(tmp_path, CONFIG)


@pytest.mark.parametrize(("change", "why"), [
    ({"peft_type": "LOHA"}, r"not of a LoRA adapter"),
    ({"use_dora": True}, "sets use_dora to 'True'"),
    ({"rank_pattern": {"dense": 4}}, "sets rank_pattern"),
    ({"alpha_pattern": {"dense": 4}}, "sets alpha_pattern"),
    ({"modules_to_save": ["lm_head"]}, "sets modules_to_save"),
    ({"bias": "lora_only"}, "sets bias to 'lora_only'"),
    ({"lora_bias": True}, "sets lora_bias"),
    ({"fan_in_fan_out": True}, "sets fan_in_fan_out"),
    ({"init_lora_weights": "pissa_niter_4"}, "sets init_lora_weights to 'pissa_niter_4'"),
    ({"init_lora_weights": 1}, "sets init_lora_weights"),
    ({"task_type": "SEQ_CLS"}, "sets task_type"),
    ({"layers_to_transform": 0}, "sets layers_to_transform to '0'"),
    ({"exclude_modules": ["dense"]}, "sets exclude_modules"),
    ({"layer_replication": [[0, 2]]}, "sets layer_replication"),
    ({"trainable_token_indices": [1]}, "sets trainable_token_indices"),
    ({"alora_invocation_tokens": [3]}, "sets alora_invocation_tokens"),
    ({"of_a_later_version": 1}, "sets of_a_later_version to '1'"),
    ({"r": True}, "'True' for r"),
    ({"r": 0}, "'0' for r"),
    ({"r": None}, "'None' for r"),
    ({"r": 10**300, "use_rslora": True}, r"should have the shape"),
    ({"r": 4}, r"should have the shape \[4, 24\].* r = 4, but it has \[3, 24\]"),
    ({"lora_alpha": float("nan")}, "'nan' for lora_alpha"),
    ({"lora_alpha": 10**400}, "for lora_alpha, which is no finite"),
    ({"lora_alpha": "16"}, "'16' for lora_alpha"),
    ({"use_rslora": 1}, "'1' for use_rslora"),
    ({"target_modules": "query_.*"}, "no list of names"),
    ({"target_modules": None}, "no list of names"),
    ({"target_modules": []}, "no list of names"),
    ({"target_modules": ["dense", "q_proj"]}, "has 'q_proj' among its target_modules"),
    ({"target_modules": ["h.0.self_attention.dense"]}, "adapts dense in 1 of 2 layers"),
    ({"target_modules": ["dense"]}, "12 tensors that its .* no place for.*expected are 4"),
])  # fmt: skip
def test_adapters_that_compute_something_else_are_refused(tmp_path, change, why):
    theirs(tmp_path, **change)
    with pytest.raises(errors.DataError, match=why) as caught:
        bloom.load_peft(tmp_path, CONFIG)
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))


def nan(tensors):
    tensors[KEY][3, 1] = np.nan


def infinite(tensors):
    tensors[KEY][3, 1] = np.inf


@pytest.mark.parametrize(("change", "why"), [
    (lambda t: t.pop(KEY), r"has no tensor 'h\.1\..*lora_B\.weight'.*shape \[72, 3\]"),
    (lambda t: t.update({KEY: t[KEY][:-1]}), r"shape \[72, 3\] .*, but it has \[71, 3\]"),
    (lambda t: t.update({KEY: t[KEY].T}), r"shape \[72, 3\] .*, but it has \[3, 72\]"),
    (lambda t: t.update({KEY: t[KEY].astype("i4")}), "is int32, not a float"),
    (lambda t: t.update({KEY.replace("h.1", "h.2"): t[KEY]}), "1 tensors that its .*first 'h.2."),
    (lambda t: t.update({"h.0.x": t[KEY]}), r"1 tensors that its .*first 'h\.0\.x'"),
    (lambda t: t.update({KEY.removeprefix("base_model.model."): t.pop(KEY)}), "has no tensor"),
    (nan, "not finite"),
    (infinite, "not finite"),
])  # fmt: skip
def test_tensors_of_something_else_are_refused(tmp_path, change, why):
    tensors = theirs(tmp_path)
    change(tensors)
    safetensors.write(tmp_path / peft.WEIGHTS, tensors)
    with pytest.raises(errors.DataError, match=why):
        bloom.load_peft(tmp_path, CONFIG)


def test_damaged_and_missing_files_are_refused(tmp_path):
    theirs(tmp_path)
    weights, described = tmp_path / peft.WEIGHTS, tmp_path / peft.CONFIG
    whole = weights.read_bytes()
    for size in (0, 7, 200, len(whole) - 1):
        weights.write_bytes(whole[:size])
        with pytest.raises(errors.DataError, match="not a sound safetensors file"):
            bloom.load_peft(tmp_path, CONFIG)
    weights.unlink()
    with pytest.raises(errors.DataError, match=r"has no adapter_model\.safetensors; a pickled"):
        bloom.load_peft(tmp_path, CONFIG)
    text = described.read_text()
    for broken, why in [
        (text[:-1], "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "not of a LoRA adapter"),
        (" " * (peft.CONFIG_LIMIT + 1), "is larger than"),
    ]:
        described.write_text(broken)
        with pytest.raises(errors.DataError, match=why):
            bloom.load_peft(tmp_path, CONFIG)
    described.unlink()
    with pytest.raises(errors.DataError, match=r"has no adapter_config\.json"):
        bloom.load_peft(tmp_path, CONFIG)


def test_dtypes_that_do_not_hold_the_numbers(tmp_path):
    tensors = theirs(tmp_path)
    tensors[KEY][0, 0] = 1e6
    safetensors.write(tmp_path / peft.WEIGHTS, tensors)
    with pytest.raises(errors.DataError, match=r"1e\+06, and float16 ends at 65504"):
        bloom.load_peft(tmp_path, CONFIG, dtype="float16")
    with pytest.raises(errors.ConfigError, match="floating dtype"):
        bloom.load_peft(tmp_path, CONFIG, dtype="int8")


def test_what_the_format_does_not_hold_leaves_the_folder_as_it_was(tmp_path, key):
    theirs(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    low = adapters(key)
    other = lora.init(key, CONFIG, rank=3, targets=("up",))
    clients = jax.tree.map(lambda a: jnp.stack([a, a]), low)
    for wrong, options, error, why in [
        (low, {"alpha": float("inf")}, errors.ConfigError, "alpha must be finite, got inf"),
        (low, {"dtype": "int8"}, errors.ConfigError, "floating dtype"),
        (low, {"dtype": "float8_e4m3fn"}, errors.ConfigError, "got float8_e4m3fn"),
        ({"qvk": low["qkv"]}, {}, errors.ConfigError, "unknown LoRA target 'qvk'"),
        ({}, {}, errors.DataError, "at least one target"),
        ({"qkv": {"a": low["qkv"]["a"]}}, {}, errors.DataError, "these are not"),
        (low | other, {}, errors.DataError, r"\[2, 24, 2\] by .* the rank of 'qkv', but .*24, 3\]"),
        (clients, {}, errors.DataError, "one client's adapters"),
        (jax.tree.map(lambda a: a[:1], low), {}, errors.DataError, "but is"),
        (jax.tree.map(lambda a: a * jnp.inf, low), {}, errors.DataError, "not finite"),
        (jax.tree.map(lambda a: a * 1e6, low), {"dtype": "float16"}, errors.DataError, "ends at"),
    ]:
        with pytest.raises(error, match=why):
            bloom.save_peft(tmp_path, wrong, CONFIG, **{"alpha": 1.0} | options)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(errors.DataError, match="is a file"):
        bloom.save_peft(tmp_path / peft.CONFIG, low, CONFIG, alpha=1.0)
    with pytest.raises(errors.ConfigError):
        bloom.save_peft(tmp_path / "new", {"qvk": low["qkv"]}, CONFIG, alpha=1.0)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("moved", range(4))
def test_a_save_that_is_killed_leaves_the_old_adapter_or_none(tmp_path, key, monkeypatch, moved):
    """At each of its renames; half of the new one with the old alpha would pass for an adapter."""
    theirs(tmp_path)
    old = bloom.load_peft(tmp_path, CONFIG)
    real, count = atomic.os.replace, iter(range(9))

    def killed(*paths):
        if next(count) == moved:
            raise KeyboardInterrupt
        real(*paths)

    monkeypatch.setattr(atomic.os, "replace", killed)
    low = adapters(key, rank=3)
    if moved == 3:  # there are three
        bloom.save_peft(tmp_path, low, CONFIG, alpha=1.0)
        found, alpha = bloom.load_peft(tmp_path, CONFIG)
        same(found, low)
        assert alpha == 1
        assert len(list(tmp_path.iterdir())) == 2
        return
    with pytest.raises(KeyboardInterrupt):
        bloom.save_peft(tmp_path, low, CONFIG, alpha=1.0)
    assert not list(tmp_path.glob("*.tmp"))
    if moved == 0:
        same(bloom.load_peft(tmp_path, CONFIG)[0], old[0])
        return
    with pytest.raises(errors.DataError, match=r"has no adapter_config\.json"):
        bloom.load_peft(tmp_path, CONFIG)
