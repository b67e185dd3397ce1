"""HF checkpoints of T5, v1.1, mT5 and ByT5, in and out: config.json and safetensors."""

import dataclasses
import json
import pathlib

import jax
import numpy as np

from fl_jax.core import errors
from fl_jax.core import tree as trees
from fl_jax.core.types import PyTree
from fl_jax.data import safetensors
from fl_jax.t5 import model
from fl_jax.t5.config import Config

_FIELDS = {
    "vocab": "vocab_size",
    "width": "d_model",
    "head_width": "d_kv",
    "heads": "num_heads",
    "hidden": "d_ff",
    "encoder_layers": "num_layers",
    "decoder_layers": "num_decoder_layers",
    "buckets": "relative_attention_num_buckets",
    "max_distance": "relative_attention_max_distance",
    "norm_eps": "layer_norm_epsilon",
    "dropout": "dropout_rate",
    "pad": "pad_token_id",
    "eos": "eos_token_id",
}
_OPTIONAL = {"num_decoder_layers", "relative_attention_max_distance", "dropout_rate"}
_ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"  # old files
_LIMIT = 1_000_000  # bytes of a config.json


def load_hf(folder) -> tuple[PyTree, Config]:
    """Parameters (float32) and config of a folder with config.json and safetensors.

    The head is the stored `lm_head.weight`, or the embedding where there is none. A head whose
    input is not scaled (v1.1) stands by itself in `params`, also where it is the embedding.

    Raises:
        DataError: the folder holds no T5, or its tensors are not those its config asks for.
    """
    folder = pathlib.Path(folder)
    config = _read_config(folder)
    places = {name: (path, name) for name, path in safetensors.files(folder)}
    for alias in _ALIASES:
        if alias in places:
            places.setdefault("shared.weight", places[alias])
    if not config.tied and "shared.weight" in places:
        places.setdefault("lm_head.weight", places["shared.weight"])
    wanted = _names(config)
    known = {*wanted, *_ALIASES, _UNUSED, "lm_head.weight"}
    missing = [n for n in wanted if n not in places]
    extra = [n for n in places if n not in known]
    if missing or extra:
        raise errors.DataError(
            f"the tensors in {folder.name} are not those of its config: missing"
            f" {missing[:3]}, unexpected {extra[:3]}; export the checkpoint again."
        )
    files = {path: safetensors.File(path) for path, _ in set(places.values())}

    def read(name):
        path, stored = places[name]
        tensor = files[path].tensor(stored)
        if tensor.dtype.kind not in "fV":
            raise errors.DataError(f"tensor {name!r} is {tensor.dtype}, not a float.")
        return np.asarray(tensor, np.float32)

    tensors = {n: read(n) for n in wanted}
    stored = read("lm_head.weight") if config.tied and "lm_head.weight" in places else None
    if stored is not None and not np.array_equal(stored, tensors["shared.weight"]):
        raise errors.DataError(
            f"lm_head.weight differs from shared.weight in {folder.name}, but its config.json"
            " scales the states as for a tied head; set tie_word_embeddings to what the model"
            " was trained with."
        )
    return from_tensors(tensors, config), config


def save_hf(folder, params: PyTree, config: Config) -> None:
    """Writes what `transformers.T5ForConditionalGeneration.from_pretrained` reads.

    Raises:
        DataError: params that are not those of the config.
    """
    folder = pathlib.Path(folder)
    tensors = to_tensors(params, config)
    folder.mkdir(parents=True, exist_ok=True)
    gated = config.mlp == "gated-gelu"
    body = {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "feed_forward_proj": config.mlp,
        "is_gated_act": gated,
        "dense_act_fn": "gelu_new" if gated else "relu",
        "tie_word_embeddings": config.tied,
        "decoder_start_token_id": config.pad,
        "is_encoder_decoder": True,
        "initializer_factor": 1.0,
        **{theirs: getattr(config, ours) for ours, theirs in _FIELDS.items()},
    }
    safetensors.write(folder / "model.safetensors", tensors, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(body, indent=1) + "\n")


def from_tensors(tensors: dict[str, np.ndarray], config: Config) -> PyTree:
    """Parameters from torch's tensors, whose matrices are [out, in].

    Raises:
        DataError: a tensor has another shape than the config asks for.
    """
    shapes = model.shapes(config)

    def leaf(path, shape):
        names = _torch_names(path, config)
        parts = []
        for name in names:
            array = tensors[name]
            own = shape if _single(path) else shape[1:]
            kind = path[-1].key
            flat = _flat(own, kind)
            if array.shape != flat:
                raise errors.DataError(
                    f"tensor {name!r} should be {list(flat)}, but it is {list(array.shape)}."
                )
            parts.append(_to_ours(array, own, kind))
        return parts[0] if _single(path) else np.stack(parts)

    return jax.tree_util.tree_map_with_path(leaf, shapes, is_leaf=lambda x: isinstance(x, tuple))


def to_tensors(params: PyTree, config: Config) -> dict[str, np.ndarray]:
    """The inverse of `from_tensors`.

    Raises:
        DataError: params that are not those of the config.
    """
    wanted = trees.named_leaves(model.abstract(config))
    came = trees.named_leaves(params)
    for path in {**wanted, **came}:
        shapes = [str(list(x[path].shape)) if path in x else "missing" for x in (wanted, came)]
        if shapes[0] != shapes[1]:
            raise errors.DataError(
                f"parameter {path!r} should be {shapes[0]} by the config, but is {shapes[1]}."
            )
    found = {}

    def leaf(path, array):
        array = np.asarray(array)
        names = _torch_names(path, config)
        rows = [array] if _single(path) else list(array)
        for name, row in zip(names, rows, strict=True):
            found[name] = _to_torch(row, path[-1].key)

    jax.tree_util.tree_map_with_path(leaf, params)
    return {name: found[name] for name in _names(config)}


_MATRICES = {"wi", "wi_0", "wi_1", "wo"}


def _single(path) -> bool:
    """Whether a leaf stands once and not once a layer."""
    return not any(getattr(p, "key", None) == "layers" for p in path)


def _flat(shape, kind):
    """Shape of torch's tensor for one of ours."""
    if kind in ("q", "k", "v"):
        return (shape[1] * shape[2], shape[0])
    if kind == "o":
        return (shape[2], shape[0] * shape[1])
    return shape[::-1] if kind in _MATRICES else shape


def _to_ours(array, shape, kind):
    if kind in ("q", "k", "v", "o"):
        return np.ascontiguousarray(array.T).reshape(shape)
    return np.ascontiguousarray(array.T) if kind in _MATRICES else np.array(array)


def _to_torch(array, kind):
    if kind in ("q", "k", "v"):
        return np.ascontiguousarray(array.reshape(array.shape[0], -1).T)
    if kind == "o":
        return np.ascontiguousarray(array.reshape(-1, array.shape[-1]).T)
    return np.ascontiguousarray(array.T) if kind in _MATRICES else array


def _torch_names(path, config) -> list[str]:
    """Where a leaf of ours stands in an HF checkpoint: one name, or one for each layer."""
    keys = [p.key for p in path]
    if keys[0] == "shared":
        return ["shared.weight"]
    if keys[0] == "head":
        return ["lm_head.weight"]
    stack = keys[0]
    if keys[1] == "norm":
        return [f"{stack}.final_layer_norm.weight"]
    if keys[1] == "bias":
        return [f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    part, kind = keys[2], keys[3]
    layers = config.encoder_layers if stack == "encoder" else config.decoder_layers
    place = {"attention": 0, "cross": 1, "mlp": 1 if stack == "encoder" else 2}[part]
    module = {"attention": "SelfAttention", "cross": "EncDecAttention", "mlp": "DenseReluDense"}
    tail = "layer_norm" if kind == "norm" else f"{module[part]}.{kind}"
    return [f"{stack}.block.{i}.layer.{place}.{tail}.weight" for i in range(layers)]


def _names(config: Config) -> list[str]:
    """All tensors of a checkpoint."""
    names = []
    collect = lambda path, _: names.extend(_torch_names(path, config))
    jax.tree_util.tree_map_with_path(
        collect, model.shapes(config), is_leaf=lambda x: isinstance(x, tuple)
    )
    return names


def _tied(body: dict) -> bool:
    """Whether the head takes its input scaled, as transformers 5.23 decides it.

    That version writes `tie_word_embeddings` as true whatever the model, and beside it what
    counts; an mT5 is never scaled, whatever its flags say.
    """
    tied = body.get("scale_decoder_outputs", body.get("tie_word_embeddings") is not False)
    return bool(tied) and body.get("model_type") != "mt5"


def _read_config(folder: pathlib.Path) -> Config:
    path = folder / "config.json"
    if not path.is_file() or path.stat().st_size > _LIMIT:
        raise errors.DataError(f"{folder} has no config.json of a sensible size.")
    try:
        body = json.loads(path.read_bytes())
        given = lambda name: name not in _OPTIONAL or body.get(name) is not None
        values = {ours: body[theirs] for ours, theirs in _FIELDS.items() if given(theirs)}
        values.setdefault("decoder_layers", body["num_layers"])
        mlp = body.get("feed_forward_proj", "relu")
        values |= {"mlp": mlp, "tied": _tied(body)}
        integers = {f.name for f in dataclasses.fields(Config) if f.type is int}
        if any(type(values[n]) is not int for n in integers & set(values)):
            raise TypeError("a size that is no integer")
        if any(type(values[n]) not in (int, float) for n in {"norm_eps", "dropout"} & set(values)):
            raise TypeError("a rate that is no number")
        if body.get("decoder_start_token_id") not in (None, values["pad"]):
            raise ValueError("decoding that starts with another token than pad")
        return Config(**values)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise errors.DataError(f"{path} describes no T5 ({error!r:.120}).") from None
