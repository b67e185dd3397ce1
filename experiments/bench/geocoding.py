"""Geocoding beside its peers: S2 beside s2geometry, T5 training beside transformers, the service.

    python -m experiments bench geocoding        about seven minutes on two idle cores

The service is measured with the newest geocoder in runs/ (`python -m experiments geocoding` makes
one). CPU seconds stand beside wall seconds: on a machine that others use, only ratios of runs
that took turns mean anything.
"""

import asyncio
import json
import os
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import measure, peers
from fl_jax.geocoding import s2
from fl_jax.t5 import convert, loss, model
from fl_jax.t5.config import Config
from fl_jax.train import optimizer, pieces, state, step

POINTS, LEVEL = 100_000, 12
SHAPES = {  # a T5, and (rows, encoder tokens, decoder tokens) of a batch
    "the default geocoder's shape": (
        Config(vocab=7424, width=128, head_width=32, heads=4, hidden=256, encoder_layers=2,
               decoder_layers=2, mlp="gated-gelu", tied=False), (64, 56, 9),
    ),
    "a four times deeper and wider one": (
        Config(vocab=8192, width=256, head_width=32, heads=8, hidden=1024, encoder_layers=4,
               decoder_layers=4), (16, 64, 32),
    ),
}  # fmt: skip
TURNS, REPEATS = 4, 6
SINGLE, SETTLED, MANY = 10_000, 1000, 512  # one after another; memory counts from `SETTLED` on
REGIONS = 210  # answers whose regions are drawn
TEXTS = ("Bemelen, town in the Netherlands", "commune in Meurthe-et-Moselle, France", "Москва",
         "whisky distillery in Highland, Scotland, UK", "50 km north of Lyon", "village in Iran",
         "東京", "castle ruin in Saxony", "river in Kirov Oblast, Russia",
         "Paris, Texas")  # fmt: skip


def main() -> None:
    """Prints the tables."""
    print(json.dumps(measure.surroundings()))
    cells()
    service()
    for name in SHAPES:
        training(name)


def cells() -> None:
    """(lat, lon) to ids and to 13-digit paths, both codes on the same points."""
    draws = np.random.default_rng(0)
    lat, lon = s2.latlon(draws.normal(size=(POINTS, 3)))
    s2.path(lat, lon, LEVEL)
    times = {"ids": [], "paths": []}
    for _ in range(5):
        start = time.process_time()
        ids = s2.cell_id(s2.key(lat, lon, 30), 30)
        times["ids"].append(time.process_time() - start)
        start = time.process_time()
        paths = s2.path(lat, lon, LEVEL)
        times["paths"].append(time.process_time() - start)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(pathlib.Path(folder) / "points.npz", lat=lat, lon=lon)
        peers.run("s2geometry", "s2_reference.py", folder, str(LEVEL))
        with np.load(pathlib.Path(folder) / "cells.npz") as found:
            assert (found["ids"] == ids).all() and (found["paths"] == paths).all()
            theirs = dict(zip(("ids", "paths"), found["seconds"].tolist(), strict=True))
    for what, own in times.items():
        mine = statistics.median(own)
        print(
            f"S2, {POINTS} points to {what}: ours {1e6 * mine / POINTS:.3f} us a point, s2geometry"
            f" {1e6 * theirs[what] / POINTS:.3f}, ratio {theirs[what] / mine:.0f} (CPU seconds)",
            flush=True,
        )


def service() -> None:
    """Latency of queries and of regions, throughput of a batch, memory over many requests."""
    from fl_jax.geocoding import geocoder, store
    from fl_jax.geocoding.service.worker import Worker

    folders = sorted(pathlib.Path("runs").glob("geocoding-*/geocoder"), key=os.path.getmtime)
    if not folders:
        print("service: no geocoder in runs/; `python -m experiments geocoding` makes one")
        return
    found = store.load(folders[-1])
    found.warm(lengths=geocoder.LENGTHS[:1])
    texts = [f"{TEXTS[n % len(TEXTS)]}{' ' * (n // len(TEXTS) % 7)}" for n in range(MANY)]

    async def single():
        worker, times = Worker(found), []
        for n in range(SINGLE):
            if n == SETTLED:
                memory.append(_resident())
            start = time.perf_counter()
            await worker.geocode([texts[n % MANY]], 0.05)
            times.append(time.perf_counter() - start)
        worker.close()
        return times

    memory: list[float] = []
    used = time.process_time()
    times = np.array(asyncio.run(single()))
    used = time.process_time() - used
    memory.append(_resident())
    leaves = len(found.partition.leaves)
    print(
        f"one query at a time, {leaves} leaves, {SINGLE} of them: median"
        f" {1e3 * np.median(times):.1f} ms, p99 {1e3 * np.quantile(times, 0.99):.1f} ms;"
        f" {1e3 * used / SINGLE:.1f} CPU-ms each;"
        f" after {SETTLED} of them {memory[0]:.0f} MB were in use, at the end {memory[1]:.0f}",
        flush=True,
    )
    regions(found, found.geocode(texts[:REGIONS], residual=0.05))
    for residual in (0.05, 1e-3, 0.0):
        found.geocode(texts[:64], residual=residual)
        start, used = time.perf_counter(), time.process_time()
        answers = found.geocode(texts, residual=residual)
        wall, used = time.perf_counter() - start, time.process_time() - used
        left = max(a.residual for a in answers)
        print(
            f"batch of {MANY}, residual {residual:g} (worst left {left:.4f}): {MANY / wall:.0f}"
            f" texts/s, {MANY / used:.0f} per CPU second",
            flush=True,
        )


def regions(found, answers) -> None:
    """What the regions of answers cost, as the service writes them: beside the query itself."""
    from fl_jax.geocoding.service import formats

    for mass in (0.5, 0.8, 0.95):
        times, used, size = [], time.process_time(), []
        for answer in answers:
            start = time.perf_counter()
            size.append(len(json.dumps(formats.region(found, answer, mass))))
            times.append(time.perf_counter() - start)
        used = time.process_time() - used
        print(
            f"{mass:.0%} region of an answer as GeoJSON: median {1e3 * np.median(times):.1f} ms,"
            f" p99 {1e3 * np.quantile(times, 0.99):.1f} ms, {1e3 * used / len(times):.1f} CPU-ms"
            f" each; {np.median(size) / 1e3:.1f} kB, at most {max(size) / 1e3:.0f}",
            flush=True,
        )


def _resident() -> float:
    """MB of this process that are in memory now."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def training(name: str) -> None:
    """The same T5, weights, batch and AdamW in both codes, which take turns."""
    shape, (rows, length, target) = SHAPES[name]
    draws = np.random.default_rng(0)
    tokens = draws.integers(3, shape.vocab, (rows, length)).astype(np.int32)
    labels = draws.integers(3, shape.vocab, (rows, target)).astype(np.int32)
    params = model.init(jax.random.key(0), shape)
    rule = optimizer.make(optimizer.Optimizer("adamw", rate=1e-4))
    compiled = jax.jit(
        step.make(loss.make(shape), rule),
        donate_argnums=0,
        compiler_options=pieces.compiler_options(params),
    )
    current = state.init(state.Variables(jax.tree.map(jnp.copy, params), {}), rule)
    batch = {"tokens": jnp.asarray(tokens), "labels": jnp.asarray(labels)}
    current, info = compiled(current, batch, jax.random.key(0))
    first = float(info.loss)
    ours, theirs = {"wall": [], "cpu": []}, {"wall": [], "cpu": []}
    with tempfile.TemporaryDirectory() as folder:
        convert.save_hf(folder, params, shape)
        np.savez(pathlib.Path(folder) / "batch.npz", tokens=tokens, labels=labels)
        for _ in range(TURNS):
            for _ in range(REPEATS):
                start, used = time.perf_counter(), time.process_time()
                current, info = compiled(current, batch, jax.random.key(0))
                jax.block_until_ready(current)
                ours["wall"].append(time.perf_counter() - start)
                ours["cpu"].append(time.process_time() - used)
            told = _peer(folder)
            theirs["wall"] += told["wall"]
            theirs["cpu"] += told["cpu"]
    assert abs(first - told["check"]) <= 1e-4 * first, (first, told["check"])
    count = rows * (length + target)
    rate = lambda side, clock: count / statistics.median(side[clock])
    print(
        f"T5 training, {name}, {shape.parameters:,} parameters: ours {rate(ours, 'wall'):.0f} tokens/s,"  # noqa: E501
        f" transformers with torch {told['version']} {rate(theirs, 'wall'):.0f}, ratio"
        f" {rate(ours, 'wall') / rate(theirs, 'wall'):.2f}; per CPU second ratio"
        f" {rate(ours, 'cpu') / rate(theirs, 'cpu'):.2f}; first loss {first:.4f} and"
        f" {told['check']:.4f}; matrix products {measure.matmul_peak((2048,)) / 1e9:.0f} and"
        f" {told['product']:.0f} GFLOP/s",
        flush=True,
    )


def _peer(folder: str) -> dict:
    script = peers.HERE / "t5_speed.py"
    command = [peers.python("bloom"), "-W", "ignore", script, folder, str(REPEATS)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | peers.MALLOC
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])
