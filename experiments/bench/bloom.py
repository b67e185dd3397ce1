"""BLOOM beside transformers and torch: training, generation, the loss.

    python -m experiments bench bloom            about 3 minutes on two idle cores

The same weights, batch, cores and settings of the allocator; the codes take turns, so that both
meet the same load, and the ratio is that of the medians. Generation deals its rows over two
virtual devices, a core each; training runs on one, over both cores. CPU seconds are printed as
well: torch's threads spin while they wait, so on a busy machine its CPU seconds are too many and
only wall times of an idle machine count. On an accelerator, `accelerator` measures 560m and 1b7
against the chip's peak.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import measure, peers
from fl_jax.bloom import convert, generate, layout, model, recipe, train
from fl_jax.bloom.config import Config, size
from fl_jax.nn import chunked_loss
from fl_jax.nn.loss import cross_entropy
from fl_jax.train import mesh as meshes

CONFIG = Config(vocab=8192, hidden=256, layers=4, heads=8, scan=False)
BATCH, LENGTH = 8, 256
PROMPTS, PROMPT, NEW = 16, 32, 64
TRAIN, GENERATE = (3, 4), (3, 5)  # turns, and repeats in each
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16 FLOP/s


def main() -> None:
    """Prints the tables."""
    if jax.config.jax_platforms in (None, "cpu"):
        jax.config.update("jax_num_cpu_devices", 2)
    print(json.dumps(measure.surroundings()))
    if jax.default_backend() != "cpu":
        accelerator()
        return
    loss()
    for dtype in ("float32", "bfloat16"):
        compare("train", dtype, BATCH * LENGTH, "tokens/s of training", *TRAIN)
    for dtype in ("float32", "bfloat16"):
        compare("generate", dtype, PROMPTS * NEW, "tokens/s of generation", *GENERATE)


def compare(work: str, dtype: str, tokens: int, what: str, turns: int, repeats: int) -> None:
    """Both codes in turns; one line."""
    config = dataclasses.replace(CONFIG, dtype=dtype, eos=-1)
    params = model.init(jax.random.key(0), config, std=0.02)
    rng = np.random.default_rng(0)
    shape = (BATCH, LENGTH) if work == "train" else (PROMPTS, PROMPT)
    given = rng.integers(4, config.vocab, shape)
    run = (training if work == "train" else generation)(config, params, given)
    first = run()
    ours, theirs = {"wall": [], "cpu": []}, {"wall": [], "cpu": []}
    with tempfile.TemporaryDirectory() as folder:
        convert.save_hf(folder, params, dataclasses.replace(config, eos=2))
        np.save(pathlib.Path(folder) / "tokens.npy", given)
        for _ in range(turns):
            for _ in range(repeats):
                start, used = time.perf_counter(), time.process_time()
                run()
                ours["wall"].append(time.perf_counter() - start)
                ours["cpu"].append(time.process_time() - used)
            told = peer(folder, work, dtype, repeats)
            theirs["wall"] += told["wall"]
            theirs["cpu"] += told["cpu"]
    same(work, dtype, first, told["check"])
    rate = lambda side, clock: tokens / statistics.median(side[clock])
    print(
        f"{what}, {dtype}: ours {rate(ours, 'wall'):.0f}, transformers with torch"
        f" {told['version']} {rate(theirs, 'wall'):.0f}, ratio"
        f" {rate(ours, 'wall') / rate(theirs, 'wall'):.2f}; per CPU second"
        f" {rate(ours, 'cpu'):.0f} and {rate(theirs, 'cpu'):.0f}, ratio"
        f" {rate(ours, 'cpu') / rate(theirs, 'cpu'):.2f}",
        flush=True,
    )


def same(work: str, dtype: str, ours, theirs) -> None:
    """Both must have computed the same thing before their times are compared.

    Raises:
        AssertionError: they have not.
    """
    if work == "train":
        tolerance = 1e-5 if dtype == "float32" else 2e-2
        assert abs(ours - theirs) <= tolerance * abs(theirs), (ours, theirs)
    else:
        differ = np.mean(np.array(ours) != np.array(theirs))
        assert differ <= 0.02, f"{differ:.1%} of the generated tokens differ"


def peer(folder: str, work: str, dtype: str, repeats: int) -> dict:
    """The peer's timings of one turn, on the cores that this process has."""
    script = peers.HERE / "bloom_speed.py"
    command = [peers.python("bloom"), "-W", "ignore", script, folder, work, str(repeats), dtype]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | peers.MALLOC
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def training(config, params, given):
    """Our step on the same labels: the last place of each row predicts nothing."""
    plan = recipe.Recipe(rate=1e-4, warmup=0, decay=0, batch=BATCH, ramp_start=0)
    trainer = train.make(config, plan)
    state = trainer.init(jax.random.key(0), params)
    weights = np.full((BATCH, LENGTH), 1 / (BATCH * (LENGTH - 1)), np.float32)
    weights[:, -1] = 0
    batch = {"tokens": jnp.asarray(np.pad(given, [(0, 0), (0, 1)]), jnp.int32)}
    batch["weights"] = jnp.asarray(weights)
    key = jax.random.key(0)

    def step():
        nonlocal state
        state, info = trainer.step(state, batch, key)
        return float(jax.block_until_ready((state, info))[1].loss)

    return step


def generation(config, params, given):
    """64 greedy tokens of each prompt, its weights laid out before, as the peer's are."""
    tokens = jnp.asarray(given, jnp.int32)
    weights = layout.ready(params, config, meshes.MeshConfig(data=-1).make())
    return lambda: np.asarray(generate.generate(weights, config, tokens, count=NEW)).tolist()


def loss() -> None:
    """Loss and gradient at BLOOM's vocabulary, chunked and naive: memory for 4,096 tokens, outputs
    excluded, and time for the 512 that the naive one has memory for."""

    def naive(x, table, labels, weights):
        logits = jnp.einsum("bth,vh->btv", x, table)
        return jnp.sum(weights * cross_entropy(logits, labels))

    of = lambda shape, dtype="float32": jax.ShapeDtypeStruct(shape, dtype)
    inputs = lambda *rows: (of((*rows, 256)), of((250_880, 256)), of(rows, "int32"), of(rows))
    both = {
        name: jax.jit(jax.value_and_grad(function, (0, 1)))
        for name, function in (("chunked", chunked_loss.summed), ("naive", naive))
    }
    found = {
        name: run.lower(*inputs(2, 2048)).compile().memory_analysis().temp_size_in_bytes
        for name, run in both.items()
    }
    print(
        f"temporary memory of the loss: {found['chunked'] / 1e6:.0f} MB, naive"
        f" {found['naive'] / 1e6:.0f} MB, ratio 1/{found['naive'] / found['chunked']:.0f}"
    )
    key = jax.random.key(0)
    arrays = [
        jax.random.normal(key, like.shape)
        if like.dtype == jnp.float32
        else jnp.ones(like.shape, int)
        for like in inputs(1, 512)
    ]
    times = {name: [] for name in both}
    for _ in range(TRAIN[0]):
        for name, run in both.items():
            jax.block_until_ready(run(*arrays))
            times[name] += measure.seconds(lambda run=run: run(*arrays), TRAIN[1])
    chunked, plain = (measure.median(times[name]) for name in ("chunked", "naive"))
    print(f"time of the loss: {chunked:.2f} s, naive {plain:.2f}, ratio {plain / chunked:.2f}")


def accelerator(names: tuple[str, ...] = ("560m", "1b7"), length: int = 2048) -> None:
    """Tokens/s and the share of the chip's dense bf16 peak, for a few micro-batches."""
    kind = jax.devices()[0].device_kind
    peak = next((value for chip, value in PEAKS.items() if chip in kind), None)
    for name in names:
        for batch, remat in ((8, "none"), (16, "none"), (16, "dots"), (32, "full")):
            config = size(name, dtype="bfloat16", remat=remat)
            plan = recipe.Recipe(rate=1e-4, warmup=0, decay=0, batch=batch, ramp_start=0)
            try:
                trainer = train.make(config, plan)
                state = trainer.init(jax.random.key(0))
                rows = jax.random.randint(jax.random.key(1), (batch, length + 1), 0, config.vocab)
                times = []
                for _ in range(6):
                    start = time.perf_counter()
                    state, info = trainer.step(state, {"tokens": rows}, jax.random.key(2))
                    float(info.loss)
                    times.append(time.perf_counter() - start)
            except jax.errors.JaxRuntimeError as error:
                print(f"{name}, {batch} x {length}, remat {remat}: {str(error).splitlines()[0]}")
                continue
            rate = batch * length / statistics.median(times[2:])
            flops = rate * config.flops_per_token(length)
            share = f", {flops / peak:.1%} of {peak / 1e12:.0f} TFLOP/s" if peak else ""
            print(
                f"{name}, {batch} x {length}, remat {remat}: {rate:,.0f} tokens/s,"
                f" {flops / 1e12:.0f} TFLOP/s{share}",
                flush=True,
            )
            del state
