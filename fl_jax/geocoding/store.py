"""A geocoder in a folder of its own."""

import json
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, tree
from fl_jax.data import safetensors, tokenizer
from fl_jax.geocoding import (
    calibrate,
    cells,
    density,
    evidence,
    gazetteer,
    network,
    phrases,
    placehood,
    usage,
)
from fl_jax.geocoding.geocoder import Geocoder
from fl_jax.t5 import convert


def save(geocoder: Geocoder, folder: str | os.PathLike) -> None:
    """Writes the folder that `load` reads; its T5 is a checkpoint that transformers reads."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    convert.save_hf(folder / "t5", geocoder.params["t5"], geocoder.config.t5)
    rest = {k: v for k, v in geocoder.params.items() if k != "t5"}
    flat = {n: np.asarray(a) for n, a in tree.named_leaves(rest).items()}
    safetensors.write(folder / "heads.safetensors", flat)
    save_knowledge(geocoder, folder)
    geocoder.words.save(folder / "tokenizer.json")
    meta = {
        "text_vocab": geocoder.config.text_vocab,
        "texts": geocoder.known.texts,
        "places": len(geocoder.gazetteer.names),
        "gazetteer": geocoder.gazetteer.origin,
        "features": list(evidence.FEATURES),
    }
    (folder / "geocoder.json").write_text(json.dumps(meta, indent=1) + "\n")


def save_knowledge(geocoder: Geocoder, folder: str | os.PathLike) -> None:
    """Writes anew what calibrating changes of a folder that `save` wrote: one file, whole or not
    at all, so that a stop or a full disk leaves the geocoder as it was."""
    folder = pathlib.Path(folder)
    learned = geocoder.known.phrases
    arrays = {f"partition/{k}": v for k, v in cells.arrays(geocoder.partition).items()}
    arrays |= {f"phrases/{k}": v for k, v in learned._asdict().items()}
    arrays |= {f"calibration/{k}": np.asarray(v, np.float64) for k, v in
               geocoder.calibration._asdict().items()}  # fmt: skip
    arrays["prior"] = geocoder.known.prior
    if geocoder.told is not None:
        arrays |= {f"usage/{k}": v for k, v in geocoder.told.usage._asdict().items()}
        arrays["told"] = geocoder.told.weights
    arrays = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    safetensors.write(folder / "knowledge.safetensors", arrays)


def load(
    folder: str | os.PathLike,
    places: gazetteer.Gazetteer | None = None,
    *,
    calibrated: bool = True,
) -> Geocoder:
    """The geocoder that `save` wrote.

    Args:
        folder: what it wrote.
        places: the gazetteer that it was made with; read anew if not given.
        calibrated: False leaves its calibration out, for one that is calibrated anew.

    Raises:
        DataError: no geocoder, another gazetteer than it was made with, or a calibration of
            regions of whole leaves, as they were once.
    """
    folder = pathlib.Path(folder)
    if not (folder / "geocoder.json").is_file():
        raise errors.DataError(
            f"{folder} holds no geocoder (no geocoder.json); give the folder `geocoder` of a"
            " finished run of `python -m experiments geocoding`."
        )
    try:
        meta = json.loads((folder / "geocoder.json").read_bytes())
        text_vocab, texts, count = (int(meta[k]) for k in ("text_vocab", "texts", "places"))
        features = list(meta["features"])
    except (ValueError, KeyError, TypeError) as error:
        raise errors.DataError(f"{folder}/geocoder.json is not one ({error!r}).") from None
    places = gazetteer.load() if places is None else places
    if features != list(evidence.FEATURES):
        raise errors.DataError(
            f"the geocoder in {folder} was trained on other features than this version of"
            " fl_jax.geocoding.evidence makes; train again: python -m experiments geocoding."
        )
    if len(places.names) != count:
        raise errors.DataError(
            f"this geocoder was made with {count} places ({meta.get('gazetteer')}) and the"
            f" gazetteer here has {len(places.names)} ({places.origin}); set FL_JAX_DATA as it was"
            " then, or train again."
        )
    base, t5 = convert.load_hf(folder / "t5")
    config = network.Config(t5, text_vocab)
    heads = safetensors.File(folder / "heads.safetensors")
    like = jax.eval_shape(lambda: network.init(jax.random.key(0), config))
    like.pop("t5")
    wanted = tree.named_leaves(like)
    if {n: tuple(a.shape) for n, a in wanted.items()} != {
        n: e.shape for n, e in heads.entries.items()
    }:
        raise errors.DataError(f"{folder}/heads.safetensors does not fit the network.")
    values = [jnp.asarray(np.array(heads.tensor(n))) for n in wanted]
    params = jax.tree.unflatten(jax.tree.structure(like), values)
    params["t5"] = jax.tree.map(jnp.asarray, base)
    file = safetensors.File(folder / "knowledge.safetensors")
    read = lambda part: {
        n.partition("/")[2]: np.array(file.tensor(n)) for n in file.entries if n.startswith(part)
    }
    partition = cells.restore(read("partition/"))
    learned = phrases.Phrases(**read("phrases/"))
    known = evidence.knowledge(places, learned, partition, np.array(file.tensor("prior")), texts)
    words = tokenizer.load(folder / "tokenizer.json")
    told = None
    if "told" in file.entries:
        told = placehood.Placehood(usage.Usage(**read("usage/")), np.array(file.tensor("told")))
        if told.weights.shape != (len(placehood.FEATURES),):
            told = None
    made = Geocoder(params, config, known, words, told=told)
    if not calibrated:
        return made
    saved = read("calibration/")
    if np.shape(saved.get("spread")) != np.shape(density.SPREAD):
        raise errors.DataError(
            f"the geocoder in {folder} was calibrated for regions of whole leaves, which are"
            " divided now; calibrate it again: python -m experiments geocoding calibrate RUN."
        )
    made.calibrate(
        calibrate.Calibration(
            saved["temperature"].astype(np.float32), saved["mass"], saved["pointer"].item(),
            saved["abstain"].item(), saved["spread"],
        )
    )  # fmt: skip
    return made
