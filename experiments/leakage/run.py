"""Runs every arm and seed, one row each in metrics.jsonl; a resumed run skips what is there."""

from typing import Any

import jax
import numpy as np
from scipy import stats

from experiments import result
from experiments.leakage import arm as arms
from experiments.leakage import config as settings
from experiments.leakage import grid, pictures, summary, words
from experiments.leakage import task as tasks
from experiments.leakage.config import Config
from fl_jax.core import errors, roc
from fl_jax.train import cohort, metrics
from fl_jax.train import mesh as meshes
from privacy.leakage import classifiers, draws, scores, timeline


def run(config: Config, directory: result.RunDirectory, *, resume: bool = False) -> result.Result:
    """Runs the parts that the config asks for, or goes on with them."""
    del resume  # what is in metrics.jsonl is not done again
    for part in config.parts:
        errors.one_of("part", part, settings.PARTS)
    for name in config.classifiers:
        errors.one_of("classifier", name, ("random forest", "logistic", "mlp"))
    task = tasks.make(config.dataset, balanced=config.balanced, seed=config.seed)
    print(
        f"data: {task.origin}, {len(task.y)} records; main task: {task.main}; property:"
        f" {task.property} ({task.holds.mean():.1%}), correlation {task.correlation:.4f}"
    )
    for cell in grid.cells(config, "scan"):  # whatever the plan will be
        arms.check(cell.arm, task, cell.seed)
    cells = grid.cells(config, _plan(config, task, directory))
    path = directory.path / "metrics.jsonl"
    done = {}
    if path.exists():
        done = {(r["part"], r["name"], r["seed"]): r for r in metrics.read(path)}
    made: dict = {}
    mesh = meshes.MeshConfig(clients=-1).make() if jax.device_count() > 1 else None
    with metrics.Metrics(path) as log, metrics.Progress(len(cells), what="run") as shown:
        log.truncate(len(path.read_bytes().rpartition(b"\n")[0]) + 1 if done else 0)
        for i, cell in enumerate(cells):
            shown.update(i)
            if (cell.part, cell.name, cell.seed) not in done:
                record = arms.run(cell.arm, task, cell.seed, made, mesh)
                log.write({**cell._asdict(), "arm": None, **evaluate(config, cell, record)})
        shown.update(len(cells))
        if "words" in config.parts:
            for row in words.run(config, {key[1:] for key in done if key[0] == "words"}):
                log.write({"part": "words", **row})
        if "inversion" in config.parts and not any(key[0] == "inversion" for key in done):
            # All or none, for the images are in one file.
            for row in list(pictures.run(config, task, directory.path)):
                log.write({"part": "inversion", **row})
    about = {
        "origin": task.origin,
        "records": len(task.y),
        "main": task.main,
        "property": task.property,
        "frequency": float(task.holds.mean()),
        "correlation": task.correlation,
    }
    return summary.summarise(config, metrics.read(path), about, directory.preset)


def evaluate(config: Config, cell: grid.Cell, record: arms.Record) -> dict[str, Any]:
    """What is kept of a run: AUC with its interval over rounds, and what the part asks for."""
    warm = cell.arm.warm
    truth = record.shares[warm:] > 0
    observed = record.observed[warm:]
    first, *others = config.classifiers
    score = classifiers.make(first, seed=cell.seed).fit(record.auxiliary, record.labels)(observed)
    found = scores.interval(score, truth)
    row = {**found._asdict(), "accuracy": record.accuracy}
    if cell.part == "two-party":
        curve = roc.curve(score, truth)
        row["roc"] = [curve.fpr, curve.tpr]
        for name in others:
            fit = classifiers.make(name, seed=cell.seed).fit
            row[name] = roc.area(fit(record.auxiliary, record.labels)(observed), truth)
        # The rounds with the property lie close together, so a forest that has learnt nothing
        # ranks them by chance as one: only the mean over permutations tells about the labels.
        draw = np.random.default_rng(cell.seed)
        fit = classifiers.make(first, seed=cell.seed).fit
        shuffled = (draw.permutation(record.labels) for _ in range(config.permutations))
        areas = [roc.area(fit(record.auxiliary, labels)(observed), truth) for labels in shuffled]
        row["shuffled"] = float(np.mean(areas))
    if cell.part == "fraction":
        share = record.shares[warm:]
        row["shares"] = {
            f"{s:g}": roc.area(score[near | ~truth], near[near | ~truth])
            for s in config.shares
            if (
                near := np.isclose(share, draws.count(s, config.batch) / config.batch) & truth
            ).any()
        }
        row["spearman"] = float(stats.spearmanr(score, share).statistic)
    if cell.part == "timeline":
        window = timeline.locate(score)
        began, ended = config.timeline
        row |= {
            "first": window.first + warm,
            "last": window.last + warm,
            "offset": window.first,
            "error": [window.first + warm - began, window.last + warm - ended],
            "scores": np.round(score, 3),
        }
    return row


def _plan(config: Config, task: tasks.Task, directory: result.RunDirectory) -> str:
    """How batches run: as the config says, as this run decided before, or the fastest here."""
    if config.plan != "auto":
        cohort.Plan.parse(config.plan)
        return config.plan
    if "plan" not in directory.resolved:
        plans = cohort.candidates(jax.default_backend(), 16)

        def runner(plan):
            return arms.trial(grid.base(config, str(plan), 2), task)

        fastest, seconds = cohort.fastest(runner, plans, repeats=2)
        directory.resolve(plan=str(fastest), plan_seconds=seconds)
    print(f"batches run by {directory.resolved['plan']}, measured once for this run")
    return directory.resolved["plan"]
