"""The same checkpoint through transformers and through this package, number by number."""

import dataclasses
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import peers
from fl_jax.bloom import convert, generate, loss, model
from fl_jax.bloom.config import Config

LENGTH = 24
HEAD = (
    "logits, worst of all masks", "loss", "gradient of key bias, absolute",
    "gradients, relative norm", "generated tokens that differ", "keys missing or unexpected",
)  # fmt: skip
NEW = 12


@dataclasses.dataclass(frozen=True)
class Case:
    """One model to compare."""

    heads: int
    width: int  # of a head
    layers: int = 3
    vocab: int = 160

    @property
    def config(self) -> Config:
        """The model of this case."""
        return Config(
            vocab=self.vocab,
            hidden=self.heads * self.width,
            layers=self.layers,
            heads=self.heads,
            attention="einsum",
        )


FIXTURE = Case(6, 8, layers=2, vocab=96)  # tests/experiments/bench/transformers.npz
CASES = {
    "6 heads": Case(6, 8),
    "8 heads": Case(8, 8),
    "12 heads": Case(12, 4),
    "112 heads": Case(112, 2, layers=1),
}


def random_params(config: Config) -> dict:
    """Normal parameters, biases and norms included, so that nothing hides behind 0 or 1.

    Their size, 1.5 / sqrt(width), keeps scores and logits of the order that trained ones have.
    """
    rng = np.random.default_rng(config.heads)
    tensors = {}
    for name, shape in convert.expected(config).items():
        value = rng.normal(0, 1.5 / np.sqrt(config.hidden), shape)
        if name.endswith(("layernorm.weight", "ln_f.weight")):
            value = value + 1
        tensors[name] = value.astype(np.float32)
    return convert.from_tensors(tensors, config)


def inputs(config: Config) -> dict[str, np.ndarray]:
    """Rows without padding, with left padding, right padding, and holes inside."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, config.vocab, (4, LENGTH)).astype(np.int32)
    mask = np.ones((4, LENGTH), np.int32)
    mask[1, :5] = 0
    mask[2, -5:] = 0
    mask[3, 8:11] = 0
    mask[3, 15] = 0
    labels = np.where(mask > 0, tokens, -100)
    # What padding predicts is arbitrary in both codes: its label does not count.
    labels[:, 1:][mask[:, :-1] == 0] = -100
    prompts, prompt_mask = tokens[:2, :10], mask[:2, :10]
    return {
        "tokens": tokens,
        "mask": mask,
        "labels": labels,
        "prompts": prompts,
        "prompt_mask": prompt_mask,
        "new": np.array(NEW),
    }


def theirs(params, config: Config, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What transformers computes from our export."""
    with tempfile.TemporaryDirectory() as folder:
        convert.save_hf(folder, params, config)
        np.savez(pathlib.Path(folder) / "inputs.npz", **given)
        peers.run("bloom", "bloom_reference.py", folder)
        with np.load(pathlib.Path(folder) / "outputs.npz") as out:
            return dict(out)


def ours(params, config: Config, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same of this package, in torch's layout and under its names."""
    tokens, mask = jnp.asarray(given["tokens"]), jnp.asarray(given["mask"])
    labels = given["labels"][:, 1:]
    weights = jnp.asarray((labels >= 0) / np.sum(labels >= 0), jnp.float32)

    def value(params):
        x, _ = model.hidden(params, config, tokens, mask)
        table = params["embedding"]["table"]
        aligned = jnp.asarray(np.maximum(labels, 0))
        return loss.chunked_loss.summed(x[:, :-1], table, aligned, weights)

    total, grads = jax.jit(jax.value_and_grad(value))(params)
    out = {"logits": np.asarray(model.apply(params, config, tokens, mask)), "loss": total}
    for name, gradient in convert.to_tensors(grads, config).items():
        out["gradient/transformer." + name] = gradient
    prompts, prompt_mask = jnp.asarray(given["prompts"]), jnp.asarray(given["prompt_mask"])
    never = dataclasses.replace(config, eos=-1)
    out["generated"] = np.asarray(
        generate.generate(params, never, prompts, prompt_mask.astype(bool), count=NEW)
    )
    return out


def differences(ours, theirs, given) -> dict[str, float]:
    """The largest deviations, and how many generated tokens differ."""
    real = given["mask"] > 0
    found = {
        f"logits, {name}": float(np.max(np.abs(ours["logits"] - theirs["logits"])[row][real[row]]))
        for row, name in enumerate(("no padding", "left", "right", "interior"))
    }
    found["loss"] = abs(float(ours["loss"]) - float(theirs["loss"]))
    worst = 0.0
    for name in theirs:
        if not name.startswith("gradient/"):
            continue
        a, b = ours[name], theirs[name]
        if name.endswith("query_key_value.bias"):
            heads = given.get("heads", None)
            a, b = (x.reshape(int(heads), 3, -1) for x in (a, b))
            # softmax ignores what a key's bias adds to a whole row: the true gradient is 0.
            found["gradient of key bias, absolute"] = max(
                found.get("gradient of key bias, absolute", 0.0),
                float(np.max(np.abs(a[:, 1]))),
            )
            a, b = np.delete(a, 1, axis=1), np.delete(b, 1, axis=1)
        worst = max(worst, float(np.linalg.norm(a - b) / np.linalg.norm(b)))
    found["gradients, relative norm"] = worst
    found["generated tokens that differ"] = int(np.sum(ours["generated"] != theirs["generated"]))
    found["keys missing or unexpected"] = len(theirs["problems"])
    return found


def compare(case: Case, attention: str = "einsum", reference=None) -> dict[str, float]:
    """The table of one case; `reference` is what transformers gave, if that is known already."""
    config = case.config
    params = random_params(config)
    given = inputs(config)
    reference = theirs(params, config, given) if reference is None else reference
    mine = ours(params, dataclasses.replace(config, attention=attention), given)
    return differences(mine, reference, {**given, "heads": np.array(config.heads)})


def write_fixture(path) -> None:
    """What transformers gives for the small case, so that it is compared with without torch."""
    config = FIXTURE.config
    np.savez_compressed(path, **theirs(random_params(config), config, inputs(config)))


def main() -> None:
    """`python -m experiments bench bloom_parity`: the table of all head counts."""
    print("| heads | attention | " + " | ".join(HEAD) + " |")
    print("|" + "---|" * (len(HEAD) + 2))
    for name, case in CASES.items():
        for attention in ("einsum", "blocked"):
            found = compare(case, attention)
            logits = max(v for k, v in found.items() if k.startswith("logits"))
            rest = [v for k, v in found.items() if not k.startswith("logits")]
            cells = " | ".join(
                f"{v:.1e}" if isinstance(v, float) else str(v) for v in (logits, *rest)
            )
            print(f"| {name.split()[0]} | {attention} | {cells} |", flush=True)
