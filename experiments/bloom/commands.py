"""`python -m experiments bloom convert`, `generate` and `plan`."""

import os

from experiments import arguments
from experiments.bloom.config import DTYPES
from fl_jax.core import errors


def convert(argv: list[str]) -> int:
    """An HF checkpoint read and written again: another dtype, another sharding, checked."""
    parser = arguments.command(
        "bloom", "convert", "Reads an HF BLOOM checkpoint and writes it again."
    )
    parser.add_argument("source", help="folder with config.json and safetensors")
    parser.add_argument("target", help="folder to write")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16; as it is unless given")
    parser.add_argument("--shard-bytes", type=int, default=5_000_000_000)
    asked = arguments.read(parser, argv)
    if os.path.realpath(asked.source) == os.path.realpath(asked.target):
        raise errors.ConfigError("source and target are one folder; write to another one.")
    if asked.dtype is not None:
        errors.one_of("dtype", asked.dtype, ("float32", "bfloat16", "float16"))

    import pathlib
    import shutil

    from fl_jax.bloom import convert as converter

    params, config = converter.load_hf(asked.source)
    converter.save_hf(
        asked.target, params, config, dtype=asked.dtype, shard_bytes=asked.shard_bytes
    )
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (pathlib.Path(asked.source) / name).is_file():
            shutil.copy(pathlib.Path(asked.source) / name, asked.target)
    print(f"{config.parameters:,} parameters written to {asked.target}")
    return 0


def generate(argv: list[str]) -> int:
    """Prints each prompt with what the model of an HF folder adds to it."""
    parser = arguments.command(
        "bloom", "generate", "Continues prompts with an HF BLOOM and its tokenizer.json."
    )
    parser.add_argument("folder", help="with config.json, safetensors and tokenizer.json")
    parser.add_argument("prompts", nargs="+", help="texts to continue")
    parser.add_argument("--count", type=int, default=64, help="tokens to add")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest token")
    parser.add_argument("--top-k", type=int, default=0, help="only the k likeliest; 0 = all")
    parser.add_argument("--top-p", type=float, default=1.0, help="only what holds this much")
    parser.add_argument("--min-p", type=float, default=0.0, help="only this share of the likeliest")
    parser.add_argument(
        "--typical-p", type=float, default=1.0, help="only the most typical that hold this much"
    )
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0, help="on tokens that were said; 1 = none"
    )
    parser.add_argument("--no-repeat", type=int, default=0, help="no run of so many tokens twice")
    parser.add_argument("--least", type=int, default=0, help="tokens before the model may end")
    parser.add_argument("--samples", type=int, default=1, help="continuations of each prompt")
    parser.add_argument("--stop", action="append", default=[], help="ends a text; may be repeated")
    parser.add_argument("--beams", type=int, default=0, help="search by so many; 0: no search")
    parser.add_argument("--length-penalty", type=float, help="of a search; above 0: long texts, 1")
    parser.add_argument("--early-stopping", help="of a search: no, yes or never (transformers')")
    parser.add_argument(
        "--likelihoods", action="store_true", help="say log p of each text, or what a beam scores"
    )
    parser.add_argument("--adapter", help="a folder of PEFT's, merged into the model")
    parser.add_argument("--dtype", default="float32", help="to compute in; bfloat16 on a GPU, TPU")
    parser.add_argument("--seed", type=int, default=0)
    asked = arguments.read(parser, argv)

    errors.positive("count", asked.count)
    errors.one_of("dtype", asked.dtype, DTYPES)
    if not asked.beams and (asked.length_penalty, asked.early_stopping) != (None, None):
        raise errors.ConfigError(
            "--length-penalty and --early-stopping are of a search; say --beams 4, say."
        )
    drawing = {"--top-k": asked.top_k > 0, "--top-p": asked.top_p < 1, "--min-p": asked.min_p > 0,
               "--typical-p": asked.typical_p < 1}  # fmt: skip
    if not asked.temperature and any(drawing.values()):
        raise errors.ConfigError(
            f"{', '.join(name for name, said in drawing.items() if said)} would change nothing at"
            " temperature 0, which takes the likeliest token; say --temperature 1, say."
        )
    early = {"no": False, "yes": True, "never": "never"}
    early = early[errors.one_of("early stopping", asked.early_stopping or "no", early)]

    import dataclasses
    import pathlib

    import jax

    from fl_jax.bloom import convert as converter
    from fl_jax.bloom import lora, peft, sampling, texts
    from fl_jax.data import tokenizer
    from fl_jax.nn import beams

    drawn = sampling.Sampling(
        asked.temperature,
        asked.top_k,
        asked.top_p,
        asked.min_p,
        asked.typical_p,
        asked.repetition_penalty,
        asked.no_repeat,
        asked.least,
    )
    penalty = 1.0 if asked.length_penalty is None else asked.length_penalty
    search = beams.Search(asked.beams, penalty, early) if asked.beams else None
    words = tokenizer.load(pathlib.Path(asked.folder) / "tokenizer.json")
    params, config = converter.load_hf(asked.folder)
    if asked.adapter:
        adapters, alpha = peft.load_peft(asked.adapter, config)
        params = lora.merge(params, adapters, alpha=alpha)
    config = dataclasses.replace(config, dtype=asked.dtype, scan=False)
    found = texts.answers(
        params,
        config,
        words,
        asked.prompts,
        count=asked.count,
        sampling=drawn,
        key=jax.random.key(asked.seed),
        samples=asked.samples,
        search=search,
        stop=asked.stop,
        scored=asked.likelihoods,
    )
    for prompt, answers in zip(asked.prompts, found, strict=True):
        for answer in answers:
            score = f"[{answer.score:.4g}] " if asked.likelihoods else ""
            print(score + prompt + answer.text, end="\n\n")
    return 0


def plan(argv: list[str]) -> int:
    """Compiles one training step for a mesh that need not exist, and prints what it takes."""
    parser = arguments.command(
        "bloom", "plan", "What one training step takes of each device, without weights."
    )
    parser.add_argument("size", help="560m, 1b1, 1b7, 3b, 7b1 or 176b")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--fsdp", type=int, default=1)
    parser.add_argument("--tensor", type=int, default=1)
    parser.add_argument("--batch", type=int, help="sequences; data x fsdp unless given")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--remat", default="full", help="none, dots or full")
    parser.add_argument("--dtype", default="bfloat16")
    asked = arguments.read(parser, argv)

    errors.positive("devices", asked.devices)
    errors.one_of("dtype", asked.dtype, DTYPES)

    import jax

    # Must be said before the backend starts; the devices are virtual and hold nothing.
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", asked.devices)
    from fl_jax.bloom import config, plan

    model = config.size(asked.size, remat=asked.remat, dtype=asked.dtype)
    found = plan.make(
        model,
        devices=asked.devices,
        fsdp=asked.fsdp,
        tensor=asked.tensor,
        batch=asked.batch,
        length=asked.length,
    )
    print(plan.render(asked.size, found))
    return 0
