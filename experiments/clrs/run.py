"""Train one model on all tasks, checkpoint, test it at several sizes; seeds in turn or together."""

import pathlib
import time

import jax

from algorithmic.clrs import evaluate
from experiments import result
from experiments.clrs import summary
from experiments.clrs import task as tasks
from experiments.clrs.config import Config
from fl_jax.core import rng
from fl_jax.train import checkpoint, loop, metrics


def run(config: Config, directory: result.RunDirectory, *, resume: bool = False) -> result.Result:
    """Runs the experiment, or goes on with it; what was measured is in metrics.jsonl too."""
    del resume  # a fresh directory has no checkpoints: both are the same
    names = tasks.tasks(config)
    print(f"data: random inputs of {len(names)} algorithms, made on the device")
    print(f"one model of {tasks.parameters(config):,} parameters, {config.seeds} seed(s)")
    used = {"train": 0.0, "test": 0.0}
    for seeds in tasks.batches(config):
        start = time.process_time()
        states = train(config, directory, seeds)
        used["train"] += time.process_time() - start
        start = time.process_time()
        for seed, state in states.items():
            if config.validate_every:
                print(
                    f"seed {seed}: the parameters after round {int(state.round)} are tested,"
                    f" validation {100 * float(state.score):.2f} %"
                )
            test(config, directory, seed, state)
            hints(config, directory, seed, state)
        used["test"] += time.process_time() - start
    rows = []
    for seeds in tasks.batches(config):
        trained = metrics.read(folder(directory.path, seeds) / "train.jsonl")
        for seed in seeds:
            rows += [{"stage": "train", **row} for row in trained if row["seed"] == seed]
            for stage in ("test", "hints"):
                found = metrics.read(file(directory, seed, stage))
                rows += [{"stage": stage, **row} for row in found]
    with metrics.Metrics(directory.path / "metrics.jsonl") as log:
        log.truncate(0)
        for row in rows:
            log.write(row)
    return summary.summarise(config, rows, used, directory.preset)


def folder(run: pathlib.Path, seeds: tuple[int, ...]) -> pathlib.Path:
    """Where the training of one seed, or of several in one program, keeps what it has."""
    return run / (f"seed{seeds[0]}" if len(seeds) == 1 else "seeds")


def file(directory: result.RunDirectory, seed: int, stage: str) -> pathlib.Path:
    """Where the rows of a seed's test or hints stand."""
    return folder(directory.path, (seed,)) / f"{stage}.jsonl"


def saved(config: Config, run: pathlib.Path) -> dict:
    """seed -> (rounds behind it, its newest state, with the best if the run validates), of the
    seeds that have a checkpoint."""
    found = {}
    for seeds in tasks.batches(config):
        place = folder(run, seeds) / "checkpoints"
        if place.is_dir():
            with checkpoint.Checkpoints(place) as kept:
                step, state, _ = kept.restore(tasks.start(config, seeds))
            found |= {k: (step, v) for k, v in tasks.split(config, seeds, state).items()}
    return found


def train(config: Config, directory: result.RunDirectory, seeds: tuple[int, ...]):
    """seed -> its state after all rounds, from the newest checkpoint on if there is one."""
    place = folder(directory.path, seeds)
    words = "seed " + ", ".join(str(seed) for seed in seeds)
    groups = tasks.training.groups(tasks.settings(config))
    names = [name for group in groups for name in group.names]
    with (
        metrics.Metrics(place / "train.jsonl") as log,
        checkpoint.Checkpoints(place / "checkpoints") as kept,
        metrics.Progress(config.rounds, what=f"{words}, round") as shown,
    ):

        def rows(info, step):
            if step % config.log_every:
                return []
            found = []
            for seed, loss in tasks.split(config, seeds, jax.device_get(info.loss)).items():
                flat = [float(v) for group in loss for v in group]
                named = dict(zip(names, flat, strict=True))
                n = tasks.length(config, step - 1)
                found.append({"seed": seed, "round": step, "n": n, **named})
            return found

        state = loop.run(
            tasks.advance(config, seeds),
            tasks.start(config, seeds),
            steps=config.rounds,
            checkpoints=kept,
            save_every=config.save_every,
            metadata=directory.resolved,
            metrics=log,
            rows=rows,
            progress=shown,
            failed=lambda info: int(jax.device_get(info.in_a_row).max()),
        )
    return tasks.split(config, seeds, state)


def test(config: Config, directory: result.RunDirectory, seed: int, state) -> None:
    """One row per size and task; tests that a killed run has finished are not done again."""
    path = file(directory, seed, "test")
    with metrics.Metrics(path) as log:
        done = {(row["n"], row["task"]) for row in metrics.read(path)}
        key = rng.fold(jax.random.key(config.seed), "test")
        for n in config.test_lengths:
            left = [name for name in tasks.tasks(config) if (n, name) not in done]
            for name, scores, own_stop in tasks.test(config, state, key, n, left):
                row = summary.row(seed, n, name, scores, own_stop, tasks.samples(config, name))
                log.write(row)
                print(f"seed {seed}, {summary.line(row)}", flush=True)


def hints(config: Config, directory: result.RunDirectory, seed: int, state) -> None:
    """One row per hint at the largest size: how right it is after each step; what a killed run has
    written is not measured again."""
    path, n = file(directory, seed, "hints"), max(config.test_lengths)
    with metrics.Metrics(path) as log:
        done = {(row["task"], row["hint"]) for row in metrics.read(path)}
        left = lambda name: [probe for probe in evaluate.judged(name) if (name, probe) not in done]
        names = [name for name in tasks.tasks(config) if left(name)]
        key = rng.fold(jax.random.key(seed), "hints")
        for name, found in tasks.hints(config, state, key, n, names):
            for probe, right in found.items():
                if (name, probe) not in done:
                    right = [round(float(v), 4) for v in right]
                    log.write({"seed": seed, "n": n, "task": name, "hint": probe, "right": right})
