"""HF checkpoints in and out, tensor by tensor, straight into the target sharding.

Never two copies: the files are mapped, and a parameter is copied out of them shard by shard as
its device asks for it. Both directions only move and transpose, so import of export is bit-equal.
"""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import model
from fl_jax.bloom.config import Config
from fl_jax.core import atomic, errors, tree
from fl_jax.core.types import PyTree
from fl_jax.data import safetensors

SHARD_BYTES = 5_000_000_000  # a file of an export holds at most this much
_CONFIG = {
    "vocab_size": "vocab",
    "hidden_size": "hidden",
    "n_layer": "layers",
    "n_head": "heads",
    "layer_norm_epsilon": "norm_eps",
    "bos_token_id": "bos",
    "eos_token_id": "eos",
    "pad_token_id": "pad",
    "seq_length": "length",
    "hidden_dropout": "dropout",
    "attention_dropout": "attention_dropout",
}
_LEGACY = {"n_embed": "hidden", "num_hidden_layers": "layers", "num_attention_heads": "heads"}
_NEEDED = ("vocab", "hidden", "layers", "heads")

# Parameter path -> HF name; a layer's stand behind `h.<layer>.`.
_OUTSIDE = {
    "embedding/table": "word_embeddings.weight",
    "embedding/norm/scale": "word_embeddings_layernorm.weight",
    "embedding/norm/bias": "word_embeddings_layernorm.bias",
    "norm/scale": "ln_f.weight",
    "norm/bias": "ln_f.bias",
}
_LAYER = {
    "attention_norm/scale": "input_layernorm.weight",
    "attention_norm/bias": "input_layernorm.bias",
    "qkv/kernel": "self_attention.query_key_value.weight",
    "qkv/bias": "self_attention.query_key_value.bias",
    "out/kernel": "self_attention.dense.weight",
    "out/bias": "self_attention.dense.bias",
    "mlp_norm/scale": "post_attention_layernorm.weight",
    "mlp_norm/bias": "post_attention_layernorm.bias",
    "up/kernel": "mlp.dense_h_to_4h.weight",
    "up/bias": "mlp.dense_h_to_4h.bias",
    "down/kernel": "mlp.dense_4h_to_h.weight",
    "down/bias": "mlp.dense_4h_to_h.bias",
}


def hf_name(path: str, layer: int) -> str:
    """The HF name, without prefix, of a parameter path such as `layers/qkv/kernel`.

    Example:
        >>> hf_name("layers/out/bias", 3)
        'h.3.self_attention.dense.bias'
    """
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    return f"h.{layer}.{_LAYER[path.removeprefix('layers/')]}"


def from_torch(path: str, tensor: np.ndarray, config: Config) -> np.ndarray:
    """A view of a torch tensor in the layout of this parameter (one layer of it).

    torch's Linear stores (out, in); the fused output rows of the attention are ordered head,
    then query-key-value, then width. Any number of inputs will do for the kernel of "qkv", and of
    outputs for that of "out": a low-rank factor has the rank in their place.
    """
    heads, d = config.heads, config.head_dim
    if path == "layers/qkv/kernel":
        return tensor.reshape(heads, 3, d, -1).transpose(3, 0, 1, 2)
    if path == "layers/qkv/bias":
        return tensor.reshape(heads, 3, d)
    if path == "layers/out/kernel":
        return tensor.reshape(-1, heads, d).transpose(1, 2, 0)
    return tensor.T if path.endswith("kernel") else tensor


def to_torch(path: str, array: np.ndarray) -> np.ndarray:
    """The inverse of `from_torch`."""
    if path == "layers/qkv/kernel":
        return array.transpose(1, 2, 3, 0).reshape(-1, array.shape[0])
    if path == "layers/qkv/bias":
        return array.reshape(-1)
    if path == "layers/out/kernel":
        return array.reshape(-1, array.shape[-1]).T
    return array.T if path.endswith("kernel") else array


def torch_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a parameter of one layer has in a checkpoint."""
    if path == "layers/qkv/kernel":
        return (shape[1] * shape[2] * shape[3], shape[0])
    if path == "layers/out/kernel":
        return (shape[2], shape[0] * shape[1])
    if path == "layers/qkv/bias":
        return (int(np.prod(shape)),)
    return tuple(reversed(shape)) if path.endswith("kernel") else tuple(shape)


def load_hf(folder, *, dtype=None, sharding: PyTree | None = None) -> tuple[PyTree, Config]:
    """An HF BLOOM checkpoint as (params, config).

    Args:
        folder: with config.json and safetensors, one file or an index of several.
        dtype: of the parameters; by default that of the file (float32 for float64 without x64).
        sharding: of each parameter, from `fl_jax.bloom.sharding.parameters`; None = one device.

    Raises:
        DataError: no such folder, a file that is damaged, a tensor that is missing, unknown, or of
            another shape than config.json makes it: which one, what was expected, what was found;
            numbers that `dtype` does not hold.
        ConfigError: a dtype that is no floating one.
    """
    check_dtype(dtype)
    folder = pathlib.Path(folder)
    config = read_config(folder)
    tensors = _tensors(folder, config)
    found = {tensor.dtype for tensor in tensors.values()}
    dtype = jnp.dtype(dtype) if dtype is not None else _common(found)
    like = model.abstract(config, dtype)
    if sharding is None:
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        sharding = jax.tree.map(lambda _: place, like)

    def leaf(name, spec, where):
        @functools.cache  # devices that hold copies ask for the same shard
        def shard(bounds):
            return _read(name, spec, tuple(slice(*b) for b in bounds), tensors, config)

        bounds = lambda index: tuple(
            s.indices(n)[:2] for s, n in zip(index, spec.shape, strict=True)
        )
        return jax.make_array_from_callback(spec.shape, where, lambda index: shard(bounds(index)))

    return tree.map_named(leaf, like, sharding), config


def from_tensors(tensors: dict[str, np.ndarray], config: Config) -> PyTree:
    """Parameters from HF tensors in memory, named without prefix.

    Raises:
        DataError: as `load_hf`.
    """
    _check(tensors, config, "the checkpoint in memory")

    def leaf(name, spec):
        whole = tuple(slice(n) for n in spec.shape)
        return jnp.asarray(_read(name, spec, whole, tensors, config))

    dtype = _common({tensor.dtype for tensor in tensors.values()})
    return tree.map_named(leaf, model.abstract(config, dtype))


def to_tensors(params: PyTree, config: Config) -> dict[str, np.ndarray]:
    """HF tensors in memory, named without prefix; of parameters, or of their gradients."""
    by_path = tree.named_leaves(params)
    return {
        hf_name(path, layer): to_torch(
            path, np.asarray(by_path[path][layer] if "layers/" in path else by_path[path])
        )
        for path, _, layer in _places(config)
    }


def _read(path, spec, index, tensors, config) -> np.ndarray:
    """The part of a parameter that `index` (a slice for each axis) cuts out."""
    if not path.startswith("layers/"):
        name = hf_name(path, 0)
        view = from_torch(path, tensors[name], config)[index]
        return np.array(view) if view.dtype == spec.dtype else cast(name, view, spec.dtype)
    layers, rest = range(*index[0].indices(config.layers)), index[1:]
    sizes = [len(range(*s.indices(n))) for s, n in zip(rest, spec.shape[1:], strict=True)]
    out = np.empty((len(layers), *sizes), spec.dtype)
    for row, layer in zip(out, layers, strict=True):
        name = hf_name(path, layer)
        row[...] = cast(name, from_torch(path, tensors[name], config)[rest], spec.dtype)
    return out


def cast(name: str, array: np.ndarray, dtype) -> np.ndarray:
    """The array in this dtype.

    Raises:
        DataError: a number that it would make infinite.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        out = array.astype(dtype)
    if jnp.finfo(dtype).max < jnp.finfo(array.dtype).max:
        lost = np.isfinite(array) & ~np.isfinite(out)
        if lost.any():
            raise errors.DataError(
                f"tensor {name!r} holds {float(array[lost][0]):g}, and {np.dtype(dtype)} ends at"
                f" {float(jnp.finfo(dtype).max):g}; choose a dtype that holds it, such as bfloat16."
            )
    return out


def _common(dtypes) -> jnp.dtype:
    """The dtype of a file; float32 where it mixes several."""
    return jnp.dtype(next(iter(dtypes))) if len(dtypes) == 1 else jnp.dtype("float32")


def _tensors(folder, config) -> dict[str, np.ndarray]:
    """Views of all tensors by name without prefix, checked against the config."""
    opened: dict[pathlib.Path, safetensors.File] = {}
    tensors = {}
    for name, path in safetensors.files(folder):
        if path not in opened:
            opened[path] = safetensors.File(path)
        own = name.removeprefix("transformer.")
        if own in tensors:
            raise errors.DataError(
                f"the checkpoint in {folder} has {own!r} twice, with and without the prefix"
                " 'transformer.'; remove one of them."
            )
        tensors[own] = opened[path].tensor(name)
    head = tensors.pop("lm_head.weight", None)
    _check(tensors, config, f"the checkpoint in {folder}")
    if head is not None and not _same(head, tensors["word_embeddings.weight"]):
        raise errors.DataError(
            "lm_head.weight differs from word_embeddings.weight, but BLOOM's output matrix is its"
            " embedding; this checkpoint cannot be represented."
        )
    return tensors


def _check(tensors, config, what: str) -> None:
    """Refuses tensors that are not those of the config."""
    wanted = set()
    for name, shape in _expected(config):  # one by one: a config may claim any number of layers
        wanted.add(name)
        if name not in tensors:
            raise errors.DataError(
                f"{what} has no tensor {name!r} (shape {list(shape)}); is it a BLOOM of the size"
                " that its config.json says?"
            )
        if tensors[name].shape != shape:
            raise errors.DataError(
                f"tensor {name!r} should have the shape {list(shape)} by the config, but it has"
                f" {list(tensors[name].shape)}."
            )
        if tensors[name].dtype.kind not in "fV":
            raise errors.DataError(f"tensor {name!r} is {tensors[name].dtype}, not a float.")
    unknown = sorted(set(tensors) - wanted)
    if unknown:
        raise errors.DataError(
            f"{what} has {len(unknown)} tensors that BLOOM has not, first {unknown[0]!r}; expected"
            f" are {len(wanted)}."
        )


def _same(a, b, rows: int = 4096) -> bool:
    if a.shape != b.shape:
        return False
    return all(np.array_equal(a[i : i + rows], b[i : i + rows]) for i in range(0, len(a), rows))


def expected(config: Config) -> dict[str, tuple[int, ...]]:
    """HF name (without prefix) -> torch shape of every tensor of a checkpoint, in file order."""
    return dict(_expected(config))


def _expected(config: Config):
    for path, spec, layer in _places(config):
        shape = spec.shape[1:] if path.startswith("layers/") else spec.shape
        yield hf_name(path, layer), torch_shape(path, shape)


def _places(config):
    """(path, abstract leaf, layer) of every tensor of a checkpoint."""
    by_path = tree.named_leaves(model.abstract(config))
    for path in ("embedding/table", "embedding/norm/scale", "embedding/norm/bias"):
        yield path, by_path[path], 0
    for layer in range(config.layers):
        for path in _LAYER:
            yield f"layers/{path}", by_path[f"layers/{path}"], layer
    for path in ("norm/scale", "norm/bias"):
        yield path, by_path[path], 0


def save_hf(
    folder, params: PyTree, config: Config, *, dtype=None, shard_bytes: int = SHARD_BYTES
) -> None:
    """Writes a folder that `transformers.BloomForCausalLM.from_pretrained` loads.

    Args:
        folder: made if it is not there. The config.json of what was there goes first, the new one
            is written last: without it there is no checkpoint.
        params: on any devices; brought to the host one layer of one matrix at a time.
        config: the model's.
        dtype: to write; by default that of the parameters.
        shard_bytes: above this size the checkpoint is split, with an index beside it.

    Raises:
        DataError: params that are not those of the config, or numbers that `dtype` does not hold.
        ConfigError: a dtype that is no floating one, or that safetensors have not; shard_bytes
            that are not above 0. What was in the folder stays in every case.
    """
    check_dtype(dtype)
    errors.positive("shard_bytes", shard_bytes)
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise errors.DataError(f"{folder} is a file; a checkpoint is written to a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    by_path = tree.named_leaves(params)
    streams = {}
    for path, spec, layer in _places(config):
        leaf = by_path.get(path)
        if leaf is None or leaf.shape != spec.shape:
            came = "missing" if leaf is None else f"{list(leaf.shape)}"
            raise errors.DataError(
                f"parameter {path!r} should be {list(spec.shape)} by the config, but is {came}."
            )
        inner = path.startswith("layers/")
        shape = torch_shape(path, spec.shape[1:] if inner else spec.shape)
        to = np.dtype(dtype) if dtype is not None else np.dtype(leaf.dtype)
        check_dtype(to, safetensors.NAMES)

        def make(leaf=leaf, path=path, layer=layer, inner=inner, to=to):
            own = to_torch(path, np.asarray(leaf[layer] if inner else leaf))
            return cast(hf_name(path, layer), own, to)

        if jnp.finfo(to).max < jnp.finfo(leaf.dtype).max:
            make()  # refuses before what is there goes
        streams["transformer." + hf_name(path, layer)] = safetensors.Stream(to, shape, make)
    (folder / "config.json").unlink(missing_ok=True)  # or half of these would pass for that one
    _write(folder, streams, shard_bytes)
    _write_json(folder / "config.json", _hf_config(config, streams))


def _write_json(path, value) -> None:
    with atomic.replace(path) as fresh:
        fresh.write_text(json.dumps(value, indent=2) + "\n")


def check_dtype(dtype, known=None) -> None:
    """Refuses what would cut parameters to whole numbers, and what is not among the known.

    Raises:
        ConfigError: a dtype that is no floating one, or not one of `known`; None passes.
    """
    if dtype is None:
        return
    try:
        kind = jnp.dtype(dtype)
    except TypeError:
        kind = jnp.dtype(bool)  # none
    if not jnp.issubdtype(kind, jnp.floating) or (known and kind not in known):
        raise errors.ConfigError(
            f"parameters have a floating dtype, float32, bfloat16, float16 or float64, got {dtype};"
            " integers would cut them to whole numbers, and safetensors hold no others."
        )


def _write(folder, streams, shard_bytes):
    size = lambda s: int(np.prod(s.shape)) * s.dtype.itemsize
    shards, filled = [{}], 0
    for name, stream in streams.items():
        if shards[-1] and filled + size(stream) > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = stream
        filled += size(stream)
    for old in [*folder.glob("model*.safetensors"), *folder.glob("model.safetensors.index.json")]:
        old.unlink()
    if len(shards) == 1:
        safetensors.write(folder / "model.safetensors", shards[0], {"format": "pt"})
        return
    listed = {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        safetensors.write(folder / name, shard, {"format": "pt"})
        listed |= dict.fromkeys(shard, name)
    total = sum(size(stream) for stream in streams.values())
    index = {"metadata": {"total_size": total}, "weight_map": listed}
    _write_json(folder / "model.safetensors.index.json", index)


def _hf_config(config, streams) -> dict:
    own = {hf: getattr(config, field) for hf, field in _CONFIG.items()}
    dtype = next(iter(streams.values())).dtype.name
    return {
        **own,
        "model_type": "bloom",
        "architectures": ["BloomForCausalLM"],
        "apply_residual_connection_post_layernorm": False,
        "initializer_range": 0.02,
        "pretraining_tp": 1,
        "slow_but_exact": False,
        "tie_word_embeddings": True,
        "use_cache": True,
        "dtype": dtype,
    }


def read_config(folder) -> Config:
    """The config that config.json describes; names of older versions are understood.

    Raises:
        DataError: no config.json, or not of a BLOOM that this model can be.
    """
    path = pathlib.Path(folder) / "config.json"
    if not path.is_file():
        raise errors.DataError(
            f"{folder} has no config.json; is it an HF checkpoint?"
            if path.parent.is_dir()
            else f"there is no folder {folder}; download the checkpoint and give its folder:"
            " nothing is fetched from the hub by name."
        )
    try:
        raw = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise errors.DataError(f"{path} is no JSON: {str(error)[:80]}.") from None
    if not isinstance(raw, dict) or raw.get("model_type", "bloom") != "bloom":
        raise errors.DataError(f"{path} is not of a BLOOM model (model_type 'bloom').")
    if raw.get("apply_residual_connection_post_layernorm"):
        raise errors.DataError(
            f"{path} sets apply_residual_connection_post_layernorm, which no released BLOOM has"
            " and this model does not compute."
        )
    if raw.get("tie_word_embeddings") is False:
        raise errors.DataError(f"{path} unties the output matrix, which BLOOM does not.")
    fields = {}
    for hf, field in {**_LEGACY, **_CONFIG}.items():
        value = raw.get(hf)
        if value is not None and fields.setdefault(field, value) != value:
            raise errors.DataError(
                f"{path} gives two values for {field}, {fields[field]!r} and {value!r}; remove one."
            )
    missing = [field for field in _NEEDED if field not in fields]
    if missing:
        raise errors.DataError(f"{path} does not say {', '.join(missing)}.")
    defaults = Config()
    for field, value in fields.items():
        kind = type(getattr(defaults, field))
        number = isinstance(value, int) if kind is int else isinstance(value, int | float)
        if isinstance(value, bool) or not number:
            raise errors.DataError(
                f"{path} gives {value!r} for {field}, which is no {kind.__name__}."
            )
    try:
        return Config(**{f: type(getattr(defaults, f))(value) for f, value in fields.items()})
    except (errors.ConfigError, OverflowError) as error:
        raise errors.DataError(f"{path} describes no BLOOM: {error}") from None
