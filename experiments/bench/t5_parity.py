"""The same T5 through transformers and through this package, number by number."""

import dataclasses
import itertools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import peers
from fl_jax.nn import beams
from fl_jax.t5 import convert, decode, loss, model
from fl_jax.t5.config import Config

TINY = {"vocab": 64, "width": 16, "head_width": 8, "hidden": 32, "heads": 2, "buckets": 8,
        "max_distance": 16, "encoder_layers": 2, "decoder_layers": 2}  # fmt: skip
CASES = {
    "v1.0": Config(**TINY),
    "v1.1": Config(**TINY, mlp="gated-gelu", tied=False),
    "bytes": Config(**{**TINY, "vocab": 384, "encoder_layers": 3, "decoder_layers": 1},
                    mlp="gated-gelu", tied=False),
}  # fmt: skip
SMALL = {"vocab": 32128, "width": 512, "head_width": 64}  # what both published small ones share
PUBLISHED = {  # too large to store what transformers gives: measured by `main` alone
    "t5-small": Config(**SMALL, hidden=2048, heads=8, encoder_layers=6, decoder_layers=6),
    "t5-v1_1-small": Config(**SMALL, hidden=1024, heads=6, encoder_layers=8, decoder_layers=8,
                            mlp="gated-gelu", tied=False),
}  # fmt: skip
COUNT, SEARCH = 8, beams.Search(beams=4)


def initial(config: Config):
    """Parameters as the published models started: what a parity to 1e-5 is asked of."""
    return model.init(jax.random.key(0), config)


def harsh(config: Config):
    """Parameters that leave nothing behind 0 or 1: a norm or a bias left out would show.

    They are so large that attention turns on single keys, where the last bits of float32 show in
    the logits of either code ten times over.
    """
    draws = np.random.default_rng(config.vocab)

    def leaf(path, shape):
        base = 1.0 if path[-1].key == "norm" else 0.0
        scale = 0.5 if path[-1].key in ("shared", "head", "bias") else 0.3
        return jnp.asarray(base + scale * draws.normal(size=shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(
        leaf, model.shapes(config), is_leaf=lambda x: isinstance(x, tuple)
    )


WEIGHTS = {"initial": initial, "harsh": harsh}


def inputs(config: Config) -> dict[str, np.ndarray]:
    """Rows with and without padding, labels with and without places that do not count."""
    draws = np.random.default_rng(1)
    tokens = draws.integers(3, config.vocab, (3, 20)).astype(np.int32)
    mask = np.ones((3, 20), np.int32)
    mask[1, 13:] = 0
    mask[2, 4:] = 0
    tokens[mask == 0] = config.pad
    labels = draws.integers(3, config.vocab, (3, 6)).astype(np.int32)
    labels[2, 3:] = loss.IGNORED
    count, width = np.array(COUNT), np.array(SEARCH.beams)
    return {"tokens": tokens, "mask": mask, "labels": labels, "count": count, "beams": width}


def theirs(params, config: Config, given) -> dict[str, np.ndarray]:
    """What transformers computes from our export."""
    with tempfile.TemporaryDirectory() as folder:
        convert.save_hf(folder, params, config)
        np.savez(pathlib.Path(folder) / "inputs.npz", **given)
        peers.run("bloom", "t5_reference.py", folder)
        with np.load(pathlib.Path(folder) / "outputs.npz") as out:
            return dict(out)


def ours(params, config: Config, given) -> dict[str, np.ndarray]:
    """The same of this package, in torch's layout and under its names."""
    tokens, mask = jnp.asarray(given["tokens"]), jnp.asarray(given["mask"]).astype(bool)
    labels = jnp.asarray(given["labels"])

    def value(params):
        logits = model.apply(params, config, tokens, model.shift_right(labels, config), mask)
        return loss.cross_entropy(logits, labels), logits

    (total, logits), grads = jax.jit(jax.value_and_grad(value, has_aux=True))(params)
    found = {"logits": np.asarray(logits), "loss": float(total)}
    found["greedy"] = np.asarray(decode.greedy(params, config, tokens, mask, count=COUNT))
    texts, scores = decode.beam(params, config, tokens, mask, count=COUNT, search=SEARCH)
    found["beams"], found["scores"] = np.asarray(texts), np.asarray(scores)
    for name, gradient in convert.to_tensors(grads, config).items():
        found["gradient/" + name] = gradient
    return found


def exact(params, config: Config, given) -> np.ndarray:
    """The logits in float64: how far float32's rounding alone brings either code from them."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), params)
        config = dataclasses.replace(config, dtype="float64")
        tokens, mask = jnp.asarray(given["tokens"]), jnp.asarray(given["mask"]).astype(bool)
        shifted = model.shift_right(jnp.asarray(given["labels"]), config)
        return np.asarray(
            jax.jit(model.apply, static_argnums=1)(wide, config, tokens, shifted, mask)
        )


def last_bit(params, config: Config, given, draws: int = 4) -> float:
    """The most that logits in float64 move where every weight moves by its last bit in float32,
    up or down: the unit of what float32 may round, which no processor's order of sums decides.
    """
    still, most = exact(params, config, given), 0.0
    for seed in range(draws):
        sign = np.random.default_rng(seed)
        moved = lambda a, sign=sign: (
            np.asarray(a)
            * (1 + np.finfo(np.float32).eps * sign.choice([-1, 1], a.shape).astype(np.float32))
        )
        there = exact(jax.tree.map(moved, params), config, given)
        most = max(most, float(np.max(np.abs(there - still))))
    return most


def differences(ours, theirs, exact=None, bit: float | None = None) -> dict[str, float]:
    """The largest deviations, and how many generated tokens differ.

    Args:
        ours, theirs: as from the functions of these names.
        exact: logits in float64; with it, what each code is away from them.
        bit: from `last_bit`, to be shown beside.
    """
    rounding = {} if bit is None else {"logits, a last bit of the weights": bit}
    if exact is not None:
        away = lambda side: float(np.max(np.abs(side["logits"] - exact)))
        rounding |= {
            "largest logit": float(np.max(np.abs(exact))),
            "logits, ours from float64": away(ours),
            "logits, theirs from float64": away(theirs),
        }
    worst = 0.0
    for name, their in theirs.items():
        if name.startswith("gradient/"):
            size = np.linalg.norm(their)
            worst = max(worst, float(np.linalg.norm(ours[name] - their) / max(size, 1e-12)))
    return {
        "logits": float(np.max(np.abs(ours["logits"] - theirs["logits"]))),
        **rounding,
        "loss": abs(ours["loss"] - float(theirs["loss"])),
        "gradients, relative norm": worst,
        "greedy tokens that differ": int(np.sum(ours["greedy"] != theirs["greedy"])),
        "beam tokens that differ": int(np.sum(ours["beams"] != theirs["beams"])),
        "beam scores": float(np.max(np.abs(ours["scores"] - theirs["scores"]))),
        "keys missing or unexpected": len(theirs["problems"]),
    }


def write_fixture(folder) -> None:
    """What transformers gives, so that it is compared with without torch."""
    for (name, config), (kind, draw) in itertools.product(CASES.items(), WEIGHTS.items()):
        found = theirs(draw(config), config, inputs(config))
        np.savez_compressed(pathlib.Path(folder) / f"transformers-{name}-{kind}.npz", **found)


def main() -> None:
    """`python -m experiments bench t5_parity`: the table."""
    cases = list(itertools.product(CASES.items(), WEIGHTS))
    cases += [(case, "initial") for case in PUBLISHED.items()]
    for (name, config), kind in cases:
        params, given = WEIGHTS[kind](config), inputs(config)
        sides = ours(params, config, given), theirs(params, config, given)
        bit = last_bit(params, config, given)
        found = differences(*sides, exact(params, config, given), bit)
        print(name, kind, ", ".join(f"{k} {v:.1e}" for k, v in found.items()), flush=True)
