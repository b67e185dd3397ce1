"""The same searches, rules and filters through transformers and through this package.

python -m experiments bench bloom_generation            half a minute
"""

import json
import pathlib
import tempfile

import jax.numpy as jnp
import numpy as np

from experiments.bench import bloom_parity, peers
from fl_jax.bloom import beam, convert, generate, sampling, stops
from fl_jax.bloom.config import Config
from fl_jax.bloom.sampling import Sampling
from fl_jax.nn.beams import Search

# The end mark is one that this model often says.
CONFIG = Config(vocab=96, hidden=48, layers=2, heads=6, attention="einsum", eos=17, pad=3)
COUNT, PROMPT = 16, 10
RULES = {"repetition_penalty": "repetition_penalty", "no_repeat": "no_repeat_ngram_size",
         "least": "min_new_tokens"}  # fmt: skip
ENDS = (17, 30, 45, 61, *range(70, 90))  # so many that most of the likeliest tokens may end
ASKED = [  # searches, and the rules that hold for them; one beam is greedy
    (Search(4), Sampling()),
    (Search(4, 2.0, True), Sampling()),
    (Search(3, -1.0, "never"), Sampling()),
    (Search(5, 1.5, "never"), Sampling()),
    (Search(2, 0.0), Sampling()),
    (Search(4), Sampling(repetition_penalty=1.3, no_repeat=2, least=5)),
    (Search(1), Sampling()),
    (Search(1), Sampling(repetition_penalty=1.7)),
    (Search(1), Sampling(no_repeat=2)),
    (Search(1), Sampling(repetition_penalty=0.8, no_repeat=3, least=9)),
]
MANY = [Search(3), Search(4, 2.0, "never")]  # with all of `ENDS`
FILTERS = [  # each alone, at temperature 1
    ("TopKLogitsWarper", "top_k", 7),
    ("TopPLogitsWarper", "top_p", 0.6),
    ("MinPLogitsWarper", "min_p", 0.1),
    ("TypicalLogitsWarper", "typical_p", 0.1),
    ("TypicalLogitsWarper", "typical_p", 0.5),
    ("TypicalLogitsWarper", "typical_p", 0.9),
]


def inputs() -> dict[str, np.ndarray]:
    """Prompts of many lengths, padded on the left, and logits to choose of."""
    draw = np.random.default_rng(2)
    tokens = draw.integers(4, CONFIG.vocab, (6, PROMPT)).astype(np.int32)
    mask = (np.arange(PROMPT) >= np.array([0, 5, 2, 9, 0, 7])[:, None]).astype(np.int32)
    tokens[mask == 0] = CONFIG.pad
    logits = 3 * draw.normal(size=(40, CONFIG.vocab)).astype(np.float32)
    return {"tokens": tokens, "mask": mask, "count": np.array(COUNT), "logits": logits}


def _named(search):
    """A search in the names of transformers."""
    own = {"length_penalty": search.length_penalty, "early_stopping": search.early_stopping}
    return {"num_beams": search.beams, **(own if search.beams > 1 else {})}


def theirs(params, given) -> dict[str, np.ndarray]:
    """What transformers makes of our export."""
    searches = []
    for search, rules in ASKED:
        own = {name: getattr(rules, ours) for ours, name in RULES.items() if getattr(rules, ours)}
        searches.append(_named(search) | own)
    searches += [{**_named(search), "eos_token_id": list(ENDS)} for search in MANY]
    settings = {
        "searches": searches,
        "warpers": [(name, value) for name, _, value in FILTERS],
        "eos": CONFIG.eos,
        "pad": CONFIG.pad,
    }
    with tempfile.TemporaryDirectory() as folder:
        convert.save_hf(folder, params, CONFIG)
        (pathlib.Path(folder) / "settings.json").write_text(json.dumps(settings))
        np.savez(pathlib.Path(folder) / "inputs.npz", **given)
        peers.run("bloom", "bloom_generation.py", folder)
        with np.load(pathlib.Path(folder) / "outputs.npz") as out:
            return dict(out)


def ours(params, given) -> dict[str, np.ndarray]:
    """The same of this package."""
    tokens, mask = jnp.asarray(given["tokens"]), jnp.asarray(given["mask"]).astype(bool)
    found = {}
    for k, (search, rules) in enumerate(ASKED):
        if search.beams == 1:
            made = generate.generate(params, CONFIG, tokens, mask, count=COUNT, sampling=rules)
            found[f"{k}/tokens"] = np.asarray(made)[:, None]
            continue
        made, scores = beam.search(
            params, CONFIG, tokens, mask, count=COUNT, by=search, rules=rules
        )
        found |= {f"{k}/tokens": np.asarray(made), f"{k}/scores": np.asarray(scores)}
    ends = stops.of_tokens([[end] for end in ENDS], CONFIG.vocab)
    for k, search in enumerate(MANY, len(ASKED)):
        made, scores = beam.search(params, CONFIG, tokens, mask, count=COUNT, by=search, stop=ends)
        found |= {f"{k}/tokens": np.asarray(made), f"{k}/scores": np.asarray(scores)}
    for k, (_, name, value) in enumerate(FILTERS):
        kept = sampling.kept(jnp.asarray(given["logits"]), Sampling(1.0, **{name: value}))
        found[f"warped/{k}"] = np.isfinite(kept)
    return found


def differences(ours, theirs) -> dict[str, float]:
    """How many tokens of searches and of greedy decoding differ, scores, and what may be drawn."""
    kinds = {True: "tokens of searches that differ", False: "greedy tokens that differ"}
    found = {
        **dict.fromkeys(kinds.values(), 0),
        "scores, relative": 0.0,
        "filtered tokens that differ": 0,
    }
    for name, their in theirs.items():
        if name.endswith("/scores"):
            worst = float(np.max(np.abs(ours[name] / their - 1)))
            found["scores, relative"] = max(found["scores, relative"], worst)
        elif name.endswith("/tokens"):
            kind = kinds[name.replace("tokens", "scores") in theirs]
            found[kind] += int(np.sum(ours[name] != their))
        else:
            found["filtered tokens that differ"] += int(np.sum(ours[name] != their))
    return found


def write_fixture(path) -> None:
    """What transformers gives, so that it is compared with without torch."""
    np.savez_compressed(path, **theirs(bloom_parity.random_params(CONFIG), inputs()))


def main() -> None:
    """The table."""
    params, given = bloom_parity.random_params(CONFIG), inputs()
    their = theirs(params, given)
    sizes = [v.size for k, v in their.items() if k.endswith("/tokens")]
    print(f"{len(ASKED + MANY)} searches, {sum(sizes)} tokens", flush=True)
    for what, value in differences(ours(params, given), their).items():
        print(f"{what}: {value:.1e}" if isinstance(value, float) else f"{what}: {value}")
