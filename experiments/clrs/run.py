"""Train one model on all tasks, checkpoint, test it at several sizes; seed after seed."""

import pathlib
import time

import jax

from experiments import result
from experiments.clrs import summary
from experiments.clrs import task as tasks
from experiments.clrs.config import Config
from fl_jax.core import rng
from fl_jax.train import allocator, checkpoint, loop, metrics


def run(config: Config, directory: result.RunDirectory, *, resume: bool = False) -> result.Result:
    """Runs the experiment, or goes on with it; what was measured is in metrics.jsonl too."""
    del resume  # a fresh directory has no checkpoints: both are the same
    allocator.keep_memory()
    names = tasks.tasks(config)
    print(f"data: random inputs of {len(names)} algorithms, made on the device")
    print(f"one model of {tasks.parameters(config):,} parameters, {config.seeds} seed(s)")
    used = {"train": 0.0, "test": 0.0}
    for seed in range(config.seed, config.seed + config.seeds):
        start = time.process_time()
        state = train(config, directory, seed)
        used["train"] += time.process_time() - start
        start = time.process_time()
        test(config, directory, seed, state)
        hints(config, directory, seed, state)
        used["test"] += time.process_time() - start
    rows = [
        {"stage": stage, **row}
        for seed in range(config.seed, config.seed + config.seeds)
        for stage in ("train", "test", "hints")
        for row in metrics.read(file(directory, seed, stage))
    ]
    with metrics.Metrics(directory.path / "metrics.jsonl") as log:
        log.truncate(0)
        for row in rows:
            log.write(row)
    return summary.summarise(config, rows, used)


def file(directory: result.RunDirectory, seed: int, stage: str) -> pathlib.Path:
    """Where the rows of a seed's training, test or hints stand."""
    return directory.path / f"seed{seed}" / f"{stage}.jsonl"


def train(config: Config, directory: result.RunDirectory, seed: int):
    """The state after all rounds, from the newest checkpoint on if there is one."""
    key = jax.random.key(seed)
    with (
        metrics.Metrics(file(directory, seed, "train")) as log,
        checkpoint.Checkpoints(directory.path / f"seed{seed}" / "checkpoints") as kept,
        metrics.Progress(config.rounds, what=f"seed {seed}, round") as shown,
    ):

        def rows(info, step):
            if step % config.log_every:
                return []
            losses = jax.device_get(info.loss)
            flat = [float(v) for group in losses for v in group]
            groups = tasks.training.groups(tasks.settings(config))
            named = dict(zip([n for g in groups for n in g.names], flat, strict=True))
            return [{"seed": seed, "round": step, "n": tasks.length(config, step - 1), **named}]

        return loop.run(
            tasks.advance(config, key),
            tasks.start(config, key),
            steps=config.rounds,
            checkpoints=kept,
            save_every=config.save_every,
            metadata=directory.resolved,
            metrics=log,
            rows=rows,
            progress=shown,
            failed=lambda info: int(info.in_a_row),
        )


def test(config: Config, directory: result.RunDirectory, seed: int, state) -> None:
    """One row per size and task; tests that a killed run has finished are not done again."""
    path = file(directory, seed, "test")
    with metrics.Metrics(path) as log:
        done = {(row["n"], row["task"]) for row in metrics.read(path)}
        key = rng.fold(jax.random.key(config.seed), "test")
        for n in config.test_lengths:
            if all((n, name) in done for name in tasks.tasks(config)):
                continue
            for name, scores, own_stop in tasks.test(config, state, key, n):
                if (n, name) not in done:
                    samples = tasks.samples(config, name)
                    row = summary.row(seed, n, name, scores, own_stop, samples)
                    log.write(row)
                    print(f"seed {seed}, {summary.line(row)}", flush=True)


def hints(config: Config, directory: result.RunDirectory, seed: int, state) -> None:
    """One row per hint at the largest size: how right it is after each step."""
    path, n = file(directory, seed, "hints"), max(config.test_lengths)
    with metrics.Metrics(path) as log:
        if metrics.read(path):
            return
        for name, found in tasks.hints(config, state, rng.fold(jax.random.key(seed), "hints"), n):
            for probe, right in found.items():
                right = [round(float(v), 4) for v in right]
                log.write({"seed": seed, "n": n, "task": name, "hint": probe, "right": right})
