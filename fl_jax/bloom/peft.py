"""Low-rank adapters in the format of Hugging Face's PEFT, in and out: a folder of two files.

`adapter_config.json` says the rank, alpha and which matrices are adapted. For each of them, a
torch W (outputs, inputs), `adapter_model.safetensors` has A (rank, inputs) and B (outputs, rank),
and W + scale B A stands for W, where the scale is alpha / rank, or alpha / sqrt(rank) with rsLoRA
[arXiv 2312.03732]. What was written by PEFT 0.21.2 and what it reads is the source.
"""

import json
import math
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import convert, lora, model
from fl_jax.bloom.config import Config
from fl_jax.core import atomic, errors
from fl_jax.core.types import PyTree
from fl_jax.data import safetensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
CONFIG_LIMIT = 1_000_000  # bytes; one that names each matrix of BLOOM-176B has 15 kB
_PREFIX, _MODEL = "base_model.model.", "transformer."
_READ = ("peft_type", "r", "lora_alpha", "target_modules", "use_rslora")
# What a trained adapter computes does not depend on these.
_FREE = (
    "auto_mapping", "base_model_name_or_path", "eva_config", "inference_mode", "lora_dropout",
    "megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config",
)  # fmt: skip
# Nor on these values; other ways to begin (pissa, olora, corda, loftq) change W itself, and other
# tasks add a trained head. The first is the default.
_ONLY = {
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),
    "task_type": (None, "CAUSAL_LM", "FEATURE_EXTRACTION"),
}


class _Described(NamedTuple):
    """What matters of an adapter_config.json."""

    rank: int
    alpha: float
    rooted: bool  # rsLoRA
    targets: tuple[str, ...]


def load_peft(folder, config: Config, *, dtype=None) -> tuple[PyTree, float]:
    """A LoRA adapter of BLOOM that PEFT has written, as (adapters, alpha).

    The two go to `lora.merge`, `lora.make` and, through `lora.scaled`, to `model.hidden`. They
    count alpha / rank times there; of an adapter with rsLoRA, alpha is the file's times sqrt(rank).

    Args:
        folder: with adapter_config.json and adapter_model.safetensors.
        config: of the model that the adapter is for.
        dtype: of the adapters; by default float32, to which PEFT, too, widens what is shorter.
            float64 needs x64.

    Returns:
        {target: {"a": (L, in..., rank), "b": (L, rank, out...)}} as of `lora.init`, of the targets
        that the file has, and alpha.

    Raises:
        DataError: a file that is missing or damaged; a setting under which the adapter computes
            something else (dora, patterns of ranks, trained biases or modules, ...); an adapter
            of some layers only; a tensor that is missing, unknown, of another shape than config
            and rank make it, or not finite; numbers that `dtype` does not hold.
        ConfigError: a dtype that is no floating one.

    Example:
        >>> import tempfile
        >>> config = Config(vocab=32, hidden=24, layers=2, heads=6)
        >>> adapters = lora.init(jax.random.key(0), config, rank=4, targets=("qkv", "down"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_peft(folder, adapters, config, alpha=8)
        ...     again, alpha = load_peft(folder, config)
        >>> alpha, again["qkv"]["b"].shape
        (8.0, (2, 4, 6, 3, 4))
    """
    convert.check_dtype(dtype)
    dtype = jax.dtypes.canonicalize_dtype(dtype or "float32")
    folder = pathlib.Path(folder)
    found = _described(folder / CONFIG, config)
    tensors = _tensors(folder / WEIGHTS, config, found)
    layers = {(target, part): [] for target in found.targets for part in "ab"}
    for target, part, _, name, _ in _places(config, found.rank, found.targets):
        own = convert.cast(name, tensors[name], dtype)
        layers[target, part].append(convert.from_torch(_layout(target, part), own, config))
    whole = lambda target, part: jnp.asarray(np.stack(layers[target, part]))
    adapters = {t: {"a": whole(t, "a"), "b": whole(t, "b")} for t in found.targets}
    return adapters, found.alpha * (math.sqrt(found.rank) if found.rooted else 1.0)


def save_peft(
    folder, adapters: PyTree, config: Config, *, alpha: float, base: str | None = None, dtype=None
) -> None:
    """Writes a folder that `peft.PeftModel.from_pretrained(base_model, folder)` loads.

    Args:
        folder: made if it is not there. The adapter that was there is whole until the new one is
            written beside it; a process killed as they change places leaves none.
        adapters: {target: {"a": (L, in..., rank), "b": (L, rank, out...)}} as of `lora.init`, of
            one client; any targets, all of one rank.
        config: of the model that they are for.
        alpha: they count alpha / rank times.
        base: name or path of the base model, for readers that fetch it by themselves.
        dtype: to write; by default that of the adapters.

    Raises:
        DataError: no adapters, or others than the config makes, or of several ranks, or numbers
            that are not finite or that `dtype` does not hold.
        ConfigError: an unknown target, an alpha that is not finite, a dtype that is no floating
            one or that safetensors have not. What was in the folder stays in every case.

    Example:
        >>> import tempfile
        >>> config = Config(vocab=32, hidden=24, layers=2, heads=6)
        >>> adapters = lora.init(jax.random.key(0), config, rank=4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_peft(folder, adapters, config, alpha=8, base="bigscience/bloom-560m")
        ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
        ['adapter_config.json', 'adapter_model.safetensors']
    """
    convert.check_dtype(dtype)
    alpha = float(alpha)
    if not math.isfinite(alpha):
        raise errors.ConfigError(f"alpha must be finite, got {alpha}; adapters count alpha / rank.")
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise errors.DataError(f"{folder} is a file; an adapter is written to a folder.")
    rank, held = _checked(adapters, config)
    tensors = {}
    for target, part, layer, name, _ in _places(config, rank, tuple(held)):
        leaf = held[target][part]
        own = convert.to_torch(_layout(target, part), leaf[layer])
        to = np.dtype(dtype) if dtype is not None else leaf.dtype
        convert.check_dtype(to, safetensors.NAMES)
        tensors[_PREFIX + _MODEL + name] = convert.cast(name, own, to)
    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "target_modules": [_module(target, 0).rsplit(".", 1)[1] for target in held],
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_dora": False,
        "use_rslora": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.replace(folder / CONFIG) as fresh_config:
        fresh_config.write_text(json.dumps(described, indent=2) + "\n")
        with atomic.replace(folder / WEIGHTS) as fresh:
            safetensors.write(fresh, tensors, {"format": "pt"})
            (folder / CONFIG).unlink(missing_ok=True)  # or the old alpha would pass for the new


def _module(target: str, layer: int) -> str:
    """The name of a matrix without prefix: 'h.0.mlp.dense_h_to_4h'."""
    return convert.hf_name(f"layers/{target}/kernel", layer).removesuffix(".weight")


def _places(config, rank, targets) -> Iterator[tuple[str, str, int, str, tuple[int, int]]]:
    """(target, "a" or "b", layer, name without prefix, torch shape) of each tensor of a file."""
    kernels = model.shapes(config)["layers"]
    for layer in range(config.layers):
        for target in targets:
            path = f"layers/{target}/kernel"
            outputs, inputs = convert.torch_shape(path, kernels[target]["kernel"][1:])
            name = _module(target, layer)
            yield target, "a", layer, f"{name}.lora_A.weight", (rank, inputs)
            yield target, "b", layer, f"{name}.lora_B.weight", (outputs, rank)


def _layout(target: str, part: str) -> str:
    """The parameter that `convert` lays out as it should this factor.

    A has the inputs of W, which stand by head for "out" alone; B the outputs, which do for "qkv"
    alone. All others are only transposed, as the kernel of "up" is.
    """
    by_head = {"a": "out", "b": "qkv"}[part]
    return f"layers/{target if target == by_head else 'up'}/kernel"


def _checked(adapters, config) -> tuple[int, dict[str, dict[str, np.ndarray]]]:
    """(the rank, the adapters on the host), or a refusal of what the format does not hold."""
    for target in adapters:
        errors.one_of("LoRA target", target, lora.TARGETS)
    pairs = all(
        isinstance(pair, dict) and set(pair) == {"a", "b"} and jnp.ndim(pair["a"])
        for pair in adapters.values()
    )
    if not adapters or not pairs:
        raise errors.DataError(
            "adapters are {target: {'a': ..., 'b': ...}} with at least one target, as lora.init"
            " makes them; these are not."
        )
    adapters = {target: adapters[target] for target in lora.TARGETS if target in adapters}
    first = next(iter(adapters))
    rank = jnp.shape(adapters[first]["a"])[-1]
    fresh = lambda: lora.init(jax.random.key(0), config, rank=rank, targets=tuple(adapters))
    wanted = jax.eval_shape(fresh)
    held = {target: {} for target in adapters}
    for target, part in ((target, part) for target in adapters for part in "ab"):
        leaf, shape = np.asarray(adapters[target][part]), wanted[target][part].shape
        if leaf.shape != shape:
            raise errors.DataError(
                f"{part!r} of the adapters of {target!r} should be {list(shape)} by the config and"
                f" the rank of {first!r}, but is {list(leaf.shape)}; PEFT's format holds one rank"
                " and one client's adapters."
            )
        if not np.isfinite(leaf).all():
            raise errors.DataError(
                f"{part!r} of the adapters of {target!r} has numbers that are not finite; did"
                " their training diverge?"
            )
        held[target][part] = leaf
    return rank, held


def _tensors(path, config, found: _Described) -> dict[str, np.ndarray]:
    """Views of all tensors by name without prefix, checked against config and rank."""
    if not path.is_file():
        raise errors.DataError(
            f"{path.parent} has no {path.name}; a pickled adapter_model.bin is not read: save it as"
            " safetensors first."
        )
    file, tensors = safetensors.File(path), {}
    for key in file.entries:
        own = key.removeprefix(_PREFIX).removeprefix(_MODEL) if key.startswith(_PREFIX) else ""
        if own in tensors:
            raise errors.DataError(f"{path} has {own!r} twice, with and without {_MODEL!r}.")
        tensors[own or key] = file.tensor(key)
    places = {name: shape for *_, name, shape in _places(config, found.rank, found.targets)}
    for name, shape in places.items():
        if name not in tensors:
            raise errors.DataError(
                f"{path} has no tensor {name!r} under {_PREFIX!r} (shape {list(shape)}); is it of a"
                f" BLOOM of this size, with the target_modules of its {CONFIG}?"
            )
        tensor = tensors[name]
        if tensor.shape != shape:
            raise errors.DataError(
                f"tensor {name!r} should have the shape {list(shape)} by the model's config and"
                f" r = {found.rank}, but it has {list(tensor.shape)}."
            )
        if tensor.dtype.kind not in "fV":
            raise errors.DataError(f"tensor {name!r} is {tensor.dtype}, not a float.")
        if not np.isfinite(tensor).all():
            raise errors.DataError(f"tensor {name!r} has numbers that are not finite.")
    surplus = sorted(set(tensors) - set(places))
    if surplus:
        raise errors.DataError(
            f"{path} has {len(surplus)} tensors that its {CONFIG} and this model have no place"
            f" for, first {surplus[0][:80]!r}; expected are {len(places)}."
        )
    return tensors


def _described(path, config) -> _Described:
    """What the config of an adapter says, or a refusal of what is not computed here."""
    if not path.is_file():
        raise errors.DataError(f"{path.parent} has no {path.name}; is it an adapter of PEFT's?")
    if path.stat().st_size > CONFIG_LIMIT:
        raise errors.DataError(f"{path} is larger than {CONFIG_LIMIT} bytes.")
    try:
        raw = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise errors.DataError(f"{path} is no JSON: {str(error)[:80]}.") from None
    if not isinstance(raw, dict) or raw.get("peft_type") != "LORA":
        raise errors.DataError(f"{path} is not of a LoRA adapter (peft_type 'LORA').")
    for field, value in raw.items():
        if field in _ONLY:
            fits = any(type(value) is type(v) and value == v for v in _ONLY[field])
        else:
            unset = value is None or value is False or value in ({}, [])
            fits = unset or field in _READ or field in _FREE
        if not fits:
            raise errors.DataError(
                f"{path} sets {field[:40]} to {str(value)[:60]!r}, with which an adapter may"
                " compute what plain LoRA does not; it cannot be represented."
            )
    rank, alpha, rooted = raw.get("r"), raw.get("lora_alpha"), raw.get("use_rslora", False)
    if type(rank) is not int or rank < 1:
        raise errors.DataError(f"{path} gives {str(rank)[:60]!r} for r, no whole number above 0.")
    if type(alpha) not in (int, float) or not abs(alpha) <= float(np.finfo(np.float32).max):
        raise errors.DataError(
            f"{path} gives {str(alpha)[:60]!r} for lora_alpha, which is no finite float32 number."
        )
    if type(rooted) is not bool:
        raise errors.DataError(
            f"{path} gives {str(rooted)[:60]!r} for use_rslora, not true or false."
        )
    targets = _targets(path, raw.get("target_modules"), config)
    return _Described(rank, float(alpha), rooted, targets)


def _targets(path, names, config) -> tuple[str, ...]:
    """The targets whose matrices PEFT would adapt: each that ends in one of these names."""
    if names == "all-linear":
        return lora.TARGETS
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise errors.DataError(
            f"{path} gives {str(names)[:60]!r} for target_modules, which is no list of names; save"
            " the adapter with the names that it was trained on."
        )
    ends: dict[str, set[tuple[str, int]]] = {}
    for target in lora.TARGETS:
        for layer in range(config.layers):
            words = (_MODEL + _module(target, layer)).split(".")
            for i in range(len(words)):
                ends.setdefault(".".join(words[i:]), set()).add((target, layer))
    named: set[tuple[str, int]] = set()
    for name in names:
        if name not in ends:
            raise errors.DataError(
                f"{path} has {name[:80]!r} among its target_modules, no matrix of this BLOOM that"
                " adapters are for: query_key_value, dense, dense_h_to_4h and dense_4h_to_h."
            )
        named |= ends[name]
    counts = {target: sum(t == target for t, _ in named) for target in lora.TARGETS}
    for target, count in counts.items():
        if 0 < count < config.layers:
            raise errors.DataError(
                f"{path} adapts {_module(target, 0).rsplit('.', 1)[1]} in {count} of"
                f" {config.layers} layers, but adapters here stand in all of them."
            )
    return tuple(target for target, count in counts.items() if count)
