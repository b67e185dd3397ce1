"""The run: tokenizer, pretraining, byte perplexity by language, fine-tuning, held-out tasks."""

import dataclasses
import statistics
import time

import jax
import numpy as np

from experiments.bloom import corpus as corpora
from experiments.bloom.config import Config
from experiments.result import Metric, Result
from fl_jax.bloom import config as shapes
from fl_jax.bloom import convert, generate, prompts, recipe, score, train
from fl_jax.core import rng
from fl_jax.data import bpe, loader, packing, tokenizer
from fl_jax.train import checkpoint, loop, metrics
from fl_jax.train import mesh as meshes

PROMPTS = ("All human beings", "Tous les êtres humains", "def ", "ROMEO:\n", "Toda persona tiene")


def run(config: Config, directory, resume: bool = False) -> Result:
    """Everything that RESULTS.md shows, in one go; `resume` goes on where it stopped."""
    corpus = corpora.load(config.seed)
    words = make_tokenizer(config, corpus, directory.path / "tokenizer.json")
    model = model_config(config)
    sources = streams(config, corpus, words)
    pretrained, curve = pretrain(config, model, sources, directory, resume)
    params = pretrained.variables.params
    convert.save_hf(directory.path / "hf", params, model)
    words.save(directory.path / "hf" / "tokenizer.json")
    perplexities = evaluate(config, model, words, params, corpus)
    before = rank_all(config, model, words, params, corpus)
    packed, dropped = task_rows(config, model, words, corpus)
    after, losses = {}, {}
    for norm in ("span", "token"):
        tuned, losses[norm] = finetune(config, model, packed, params, norm, directory, resume)
        after[norm] = rank_all(config, model, words, tuned, corpus)
    samples = sample_texts(model, words, params, config.seed)
    details = {
        "origin": corpus.origin,
        "parameters": model.parameters,
        "curve": curve,
        "perplexity": perplexities,
        "fertility": fertilities(words, corpus),
        "packing": {
            "filled": packed.filled,
            "next_fit": len(packed.members),
            "too_long": dropped,
            "rows": len(packed.tokens),
        },
        "held_out": {"before": before, **after},
        "finetune_loss": losses,
        "samples": samples,
    }
    return Result(figures(details), headline(details), details)


def model_config(config: Config) -> shapes.Config:
    """The model of a run; it has no dropout, as the released checkpoints say."""
    return shapes.Config(
        vocab=config.vocab,
        hidden=config.hidden,
        layers=config.layers,
        heads=config.heads,
        length=config.length,
        dtype=config.dtype,
        scan=config.layers > 8,
    )


def make_tokenizer(config: Config, corpus, path) -> tokenizer.Tokenizer:
    """Trained on the training texts, or read back where the run already made it."""
    if path.is_file():
        return tokenizer.load(path)
    limited = {}
    for language, texts in corpus.train.items():
        limited[language], size = [], 0
        for text in texts:
            if size > config.text_bytes:
                break
            limited[language].append(text)
            size += len(text.encode("utf-8"))
    words = bpe.train(bpe.count(limited, alpha=config.tokenizer_alpha), config.vocab)
    words.save(path)
    return words


def streams(config: Config, corpus, words) -> tuple[loader.Mixture, dict[str, loader.Stream]]:
    """The mixture, and a stream of rows for each language."""
    made, weights = {}, {}
    for language, texts in sorted(corpus.train.items()):
        documents = [np.array([*words.encode(text), 2], np.int32) for text in texts if text]
        if sum(map(len, documents)) <= config.length + 1:
            continue
        made[language] = loader.Stream(documents, config.length, seed=config.seed, name=language)
        share = corpora.ratio(language, corpus.train)
        weights[language] = share**config.mixture_alpha
    block = max(1000, int(10 * sum(weights.values()) / min(weights.values())))
    return loader.Mixture.make(weights, seed=config.seed, block=min(block, 20_000)), made


def batch_of(sources, batch: int, step: int) -> dict[str, np.ndarray]:
    """The global batch of a step: a pure function of the seed and the step."""
    mixture, made = sources
    rows = []
    for index in range(step * batch, (step + 1) * batch):
        language, own = mixture(index)
        rows.append(made[language].row(own))
    return {"tokens": np.stack(rows)}


def mesh_of(config: Config):
    """The mesh that the fields ask for; None for one device."""
    if config.data == config.fsdp == config.tensor == 1:
        return None
    sizes = meshes.MeshConfig(data=config.data, fsdp=config.fsdp, tensor=config.tensor)
    wanted = abs(config.data * config.fsdp * config.tensor)
    return sizes.make(None if config.data == -1 else jax.devices()[:wanted])


def pretrain(config, model, sources, directory, resume):
    """(state, [(step, loss, seconds)])."""
    settings = recipe.Recipe(
        rate=config.rate,
        final_rate=config.rate / 10,
        warmup=config.warmup * config.batch,
        decay=config.steps * config.batch,
        batch=config.batch,
        ramp_start=0,
        optimizer=config.optimizer,
        micro_batches=config.micro_batches,
        seed=config.seed,
    )
    trainer = train.make(model, settings, mesh=mesh_of(config))
    batches = lambda step: batch_of(sources, config.batch, step)
    state = trainer.init(rng.fold(jax.random.key(config.seed), "init"))
    return drive(config, trainer, state, batches, config.steps, directory, "pretrain", resume)


def finetune(config, model, packed, params, norm, directory, resume):
    """(parameters, last loss) of fine-tuning from the pretrained parameters."""
    settings = dataclasses.replace(
        recipe.FINETUNING["560m"],
        rate=config.finetune_rate,
        batch=config.batch,
        micro_batches=config.micro_batches,
    )
    trainer = train.make(model, settings, norm=norm, mesh=mesh_of(config))
    rows = len(packed.tokens)

    def batches(step):
        index = np.arange(step * config.batch, (step + 1) * config.batch)
        places = [int(loader.permute(i % rows, rows, config.seed, norm, i // rows)) for i in index]
        return prompts.batch(packed, np.array(places))

    state = trainer.init(jax.random.key(0), params)
    name = f"finetune-{norm}"
    state, curve = drive(
        config, trainer, state, batches, config.finetune_steps, directory, name, resume
    )
    return state.variables.params, curve[-1][1] if curve else None


def drive(config, trainer, state, batches, steps, directory, name, resume):
    """The shared loop around a trainer: checkpoints, metrics, progress, resume."""
    key = jax.random.key(config.seed)
    stride = config.stride if steps % config.stride == 0 else 1
    start, curve = time.perf_counter(), []

    def advance(state, step):
        infos = []
        for i in range(step, step + stride):
            state, info = trainer.step(state, batches(i), rng.fold(key, name, i))
            infos.append(info)
        return state, infos

    def rows(infos, step):
        losses = [float(info.loss) for info in infos]
        row = {"step": step, "loss": statistics.fmean(losses)}
        row["grad_norm"] = float(infos[-1].grad_norm)
        curve.append([step, row["loss"], round(time.perf_counter() - start, 2)])
        return [row]

    def failed(infos):
        flags = [bool(info.finite) for info in reversed(infos)]
        return flags.index(True) if True in flags else len(flags)

    place = directory.path / "checkpoints" / name
    with (
        checkpoint.Checkpoints(place, keep=2) as saved,
        metrics.Metrics(directory.path / f"{name}.jsonl") as written,
        metrics.Progress(steps) as progress,
    ):
        state = loop.run(
            advance,
            state,
            steps=steps,
            stride=stride,
            checkpoints=saved,
            save_every=config.save_every,
            resume=resume,
            metrics=written,
            rows=rows,
            progress=progress,
            failed=failed,
        )
    return state, curve


def evaluate(config, model, words, params, corpus) -> dict[str, dict]:
    """Byte perplexity of every language; the never-seen ones apart."""
    found = {}
    for kind, texts in (("seen", corpus.valid), ("never", corpus.never)):
        for language, some in sorted(texts.items()):
            kept = some[:12]
            one = score.perplexity(params, model, words, kept, length=config.length)
            found[language] = {
                "kind": kind,
                "byte_perplexity": one.per_byte,
                "bits_per_byte": one.bits_per_byte,
                "bytes": one.bytes,
            }
    return found


def rank_all(config, model, words, params, corpus) -> dict[str, dict]:
    """Accuracy on each held-out task: the median over its prompts, and all of them."""
    found = {}
    for name, lists in corpus.held_out.items():
        accuracies = []
        for examples in lists:
            questions = [example.question() for example in examples[: config.questions]]
            accuracies.append(
                score.rank(params, model, words, questions, length=config.length).accuracy
            )
        found[name] = {
            "median": statistics.median(accuracies),
            "prompts": accuracies,
            "chance": statistics.fmean(1 / len(e.choices) for e in lists[0]),
            "questions": len(lists[0][: config.questions]),
        }
    return found


def task_rows(config, model, words, corpus) -> tuple[packing.Packed, int]:
    """The fine-tuning examples, packed; and how many did not fit a row."""
    examples = [e for task in corpus.tasks.values() for e in task[: config.per_task]]
    return prompts.pack(words, examples, model, config.length)


def fertilities(words, corpus) -> dict[str, dict]:
    """Tokens per word and byte of every language."""
    texts = {**corpus.valid, **corpus.never}
    return {name: tokenizer.fertility(words, some[:30]) for name, some in sorted(texts.items())}


def sample_texts(model, words, params, seed) -> dict[str, str]:
    """What the model writes after a few prompts."""
    drawn = generate.Sampling(temperature=0.7, top_p=0.95)
    texts = generate.complete(
        params, model, words, PROMPTS, count=48, sampling=drawn, key=jax.random.key(seed)
    )
    return dict(zip(PROMPTS, texts, strict=True))


def figures(details) -> dict[str, Metric]:
    """The numbers of result.json; published ones are of BLOOM-176B on other texts."""
    published = {
        "en": 1.882, "fr": 1.937, "es": 1.796, "pt": 1.841, "ar": 1.705, "vi": 1.659, "id": 1.976,
        "ca": 2.168, "zh": 2.118, "ur": 1.779, "sw": 2.684, "ig": 3.950, "yo": 4.361, "wo": 6.142,
        "zu": 6.017, "hi": 5.452, "bn": 5.993, "ta": 5.165, "ru": 1.708, "de": 2.338, "ja": 2.259,
        "fi": 4.304, "tr": 3.318,
    }  # fmt: skip
    source = "BLOOM-176B on FLORES-101 (other texts, other size): for the order of languages only"
    found = {}
    for language, one in details["perplexity"].items():
        known = published.get(language)
        name = f"byte perplexity {language} ({one['kind']})"
        found[name] = Metric(one["byte_perplexity"], "", known, source if known else "")
    for when, tasks in details["held_out"].items():
        for task, one in tasks.items():
            found[f"{task}, {when}"] = Metric(one["median"], "accuracy, median over prompts")
    return found


def headline(details) -> dict:
    """The line of the table of systems."""
    seen = [p["byte_perplexity"] for p in details["perplexity"].values() if p["kind"] == "seen"]
    never = [p["byte_perplexity"] for p in details["perplexity"].values() if p["kind"] == "never"]
    return {
        "what": "byte perplexity, median of languages trained on / never seen",
        "ours": f"{statistics.median(seen):.2f} / {statistics.median(never):.2f}",
        "published": None,
        "command": "python -m experiments bloom",
    }
