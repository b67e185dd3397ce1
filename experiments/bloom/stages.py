"""What a run trains: the tokenizer, the model, its fine-tuned copies, adapters across clients."""

import dataclasses
import math
import statistics
import time

import jax
import numpy as np

from experiments.bloom import corpus as corpora
from experiments.bloom.config import Config
from fl_jax.bloom import config as shapes
from fl_jax.bloom import lora, prompts, recipe, sharding, train
from fl_jax.core import errors, rng
from fl_jax.data import bpe, loader, packing, tokenizer
from fl_jax.federated import client, population, sampling
from fl_jax.federated import round as rounds
from fl_jax.federated.aggregators import mean
from fl_jax.train import checkpoint, cohort, loop, metrics, optimizer
from fl_jax.train import mesh as meshes
from fl_jax.train.state import Variables


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
    return bpe.train(bpe.count(limited, alpha=config.tokenizer_alpha), config.vocab)


def streams(config: Config, corpus, words) -> tuple[loader.Mixture, dict[str, loader.Stream]]:
    """The mixture, and a stream of rows for each language that has enough for one.

    Raises:
        DataError: none has.
    """
    made, weights = {}, {}
    for language, texts in sorted(corpus.train.items()):
        documents = [np.array([*words.encode(text), 2], np.int32) for text in texts if text]
        if sum(map(len, documents)) <= config.length:
            continue
        made[language] = loader.Stream(documents, config.length, seed=config.seed, name=language)
        share = corpora.ratio(language, corpus.train)
        weights[language] = share**config.mixture_alpha
    if not made:
        raise errors.DataError(
            f"no language of the corpus has {config.length + 1} tokens, enough for one row; choose"
            " a smaller length."
        )
    block = max(1000, int(10 * sum(weights.values()) / min(weights.values())))
    return loader.Mixture.make(weights, seed=config.seed, block=block), made


def batch_of(sources, batch: int, first: int) -> dict[str, np.ndarray]:
    """The batch that begins with this sample of all: a pure function of the seed and the place."""
    mixture, made = sources
    rows = []
    for index in range(first, first + batch):
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


def check_devices(config: Config, model: shapes.Config) -> None:
    """Refuses devices that are not there, or that do not divide the model or a batch.

    Raises:
        ConfigError: then.
    """
    mesh = mesh_of(config)
    if mesh is None:
        return
    sharding.check(model, mesh)
    sizes = recipe.stages(pretraining(config))[2]
    for size in (*sizes.tolist(), config.finetune_batch):
        sharding.check_rows(size // config.micro_batches, mesh, config.micro_batches)


def pretraining(config: Config) -> recipe.Recipe:
    """The recipe of a run's pretraining."""
    settings = recipe.Recipe(
        rate=config.rate,
        final_rate=config.final_rate,
        warmup=config.warmup,
        decay=config.decay,
        batch=config.batch,
        ramp_start=config.ramp_start,
        ramp_step=config.ramp_step,
        ramp=config.ramp,
        optimizer=config.optimizer,
        micro_batches=config.micro_batches,
        seed=config.seed,
    )
    if config.decay:
        return settings
    return dataclasses.replace(settings, decay=recipe.batch_at(settings, config.steps)[1])


def finetuning(config: Config) -> recipe.Recipe:
    """The recipe of a run's fine-tuning: the published one but for its size and rate."""
    return dataclasses.replace(
        recipe.FINETUNING["560m"],
        rate=config.finetune_rate,
        batch=config.finetune_batch,
        micro_batches=config.micro_batches,
    )


def pretrain(config, model, sources, directory, resume):
    """(state, curve); a curve is a list of [step, loss, seconds, CPU seconds]."""
    settings = pretraining(config)
    trainer = train.make(model, settings, mesh=mesh_of(config))
    batches = lambda step: batch_of(sources, *recipe.batch_at(settings, step))
    state = trainer.init(rng.fold(jax.random.key(config.seed), "init"))
    return _drive(config, trainer, state, batches, config.steps, directory, "pretrain", resume)


def task_rows(config, model, words, corpus) -> tuple[packing.Packed, dict]:
    """The fine-tuning examples, packed; and how full the rows are, beside the published way."""
    examples = [e for task in corpus.tasks.values() for e in task[: config.per_task]]
    packed, dropped = prompts.pack(words, examples, model, config.finetune_length)
    in_order, _ = prompts.pack(words, examples, model, config.finetune_length, how="next_fit")
    return packed, {
        "rows": len(packed.tokens),
        "filled": packed.filled,
        "next_fit": in_order.filled,
        "too_long": dropped,
        "length": config.finetune_length,
    }


def finetune(config, model, packed, params, norm, directory, resume):
    """(parameters, curve) of fine-tuning from the pretrained parameters."""
    settings, batch = finetuning(config), config.finetune_batch
    trainer = train.make(model, settings, norm=norm, mesh=mesh_of(config))
    rows = len(packed.tokens)

    def batches(step):
        index = range(step * batch, (step + 1) * batch)
        # Both losses see the same rows in the same order.
        places = [int(loader.permute(i % rows, rows, config.seed, i // rows)) for i in index]
        return prompts.batch(packed, np.array(places))

    state = trainer.init(jax.random.key(0), params)
    name = f"finetune-{norm}"
    state, curve = _drive(
        config, trainer, state, batches, config.finetune_steps, directory, name, resume
    )
    return state.variables.params, curve


def federate(config, model, words, params, corpus):
    """Adapters trained across clients, each of which holds one language never seen before.

    Every client trains its own copy of the adapters, stacked beside the others' by the cohort
    executor; the base model is shared and stays as it is.

    Returns:
        (parameters with the averaged adapters merged in, [(round, mean loss of the clients)]).
    """
    examples, shares = [], []
    for _, texts in sorted(corpus.elsewhere.items()):
        tokens = np.concatenate([[*words.encode(text), model.eos] for text in texts])
        rows = packing.cut(tokens, min(config.client_length, len(tokens) - 1))
        rows = rows[: config.client_rows]
        shares.append(np.arange(len(rows)) + len(examples))
        examples += list(rows)
    data = population.make(filled(examples, config.client_length + 1), shares)
    local = client.make(
        lora.make(params, model, alpha=config.lora_rank),
        optimizer.make(optimizer.Optimizer("adam", rate=config.client_rate)),
        epochs=1,
        batch_size=4,
    )
    learn = rounds.make(
        client=local,
        sampler=sampling.everyone(len(shares)),
        aggregator=mean.mean(),
        plan=cohort.Plan.parse(config.plan),
    )
    key = rng.fold(jax.random.key(config.seed), "federate")
    adapters = lora.init(key, model, rank=config.lora_rank, targets=lora.TARGETS)
    state, data = learn.init(Variables(adapters, {})), rounds.RoundData(data)
    step, curve = jax.jit(learn.step, donate_argnums=0), []
    for number in range(config.rounds):
        state, info = step(state, data, key)
        curve.append([number + 1, float(np.mean(info.loss))])
    return lora.merge(params, state.variables.params, alpha=config.lora_rank), curve


def filled(examples, length: int) -> dict[str, np.ndarray]:
    """Rows of one length, filled up on the right; where one is, segments say what is a token."""
    tokens = np.zeros((len(examples), length), np.int32)
    segments = np.zeros_like(tokens)
    for row, example in enumerate(examples):
        tokens[row, : len(example)], segments[row, : len(example)] = example, 1
    return {"tokens": tokens} if segments.all() else {"tokens": tokens, "segments": segments}


def _drive(config, trainer, state, batches, steps, directory, name, resume):
    """The shared loop around a trainer: (state, curve), with checkpoints, metrics, progress."""
    key = jax.random.key(config.seed)
    stride = config.stride if steps % config.stride == 0 else 1
    clocks = lambda: np.array([time.perf_counter(), time.process_time()])
    last = clocks()

    def advance(state, step):
        infos = []
        for i in range(step, step + stride):
            state, info = trainer.step(state, batches(i), rng.fold(key, name, i))
            infos.append(info)
        return state, infos

    def rows(infos, step):
        nonlocal last
        losses = [float(info.loss) for info in infos]
        losses = [loss for loss in losses if math.isfinite(loss)] or [math.nan]  # skipped: no loss
        now = clocks()
        wall, cpu = (now - last).round(3).tolist()
        last = now
        times.write({"step": step, "seconds": wall, "cpu_seconds": cpu})
        loss, norm = statistics.fmean(losses), float(infos[-1].grad_norm)
        return [{"step": step, "loss": loss, "grad_norm": norm}]

    skipped = 0  # in a row, whatever a dispatch holds

    def failed(infos):
        nonlocal skipped
        for info in infos:
            skipped = 0 if bool(info.finite) else skipped + 1
        return skipped

    place = directory.path / "checkpoints" / name
    files = directory.path / f"{name}.jsonl", directory.path / f"{name}-times.jsonl"
    with (
        checkpoint.Checkpoints(place, keep=2) as saved,
        metrics.Metrics(files[0]) as written,
        metrics.Metrics(files[1]) as times,
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
    return state, _curve(*files)


def _curve(losses, times) -> list[list[float]]:
    """[step, loss, seconds, CPU seconds] since the start, whatever was killed in between."""
    took = {row["step"]: (row["seconds"], row["cpu_seconds"]) for row in metrics.read(times)}
    rows = metrics.read(losses)
    spent = np.cumsum([took[row["step"]] for row in rows], axis=0).round(1).tolist()
    return [[row["step"], row["loss"], *one] for row, one in zip(rows, spent, strict=True)]
