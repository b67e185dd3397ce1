"""The paper's other results: mitigations, shadow data, overfitting, shadows, classes."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.membership import attacks
from experiments.membership import task as tasks
from experiments.membership.lab import Cell, Lab, softmax
from fl_jax.core import rng, roc
from fl_jax.data import records
from privacy.membership import design, mitigations, shadow, synthesis, target

OUTPUTS = {
    "none": (),
    "top k = 3": (mitigations.top_k(3),),
    "top k = 1": (mitigations.top_k(1),),
    "label only": (mitigations.label_only(),),
    "rounding d = 3": (mitigations.rounded(3),),
    "rounding d = 1": (mitigations.rounded(1),),
    "temperature t = 5": (mitigations.temperature(5.0),),
    "temperature t = 20": (mitigations.temperature(20.0),),
}


def _judged(lab: Lab, cell: Cell, answers: np.ndarray, **options) -> dict[str, float]:
    """A row of the mitigations table for one target."""
    return _judged_from(lab, cell, answers, **options)[1]


def _judged_from(lab: Lab, cell: Cell, answers: np.ndarray, **options):
    """(scores, row): what the row rests on as well."""
    values, decided = attacks.shokri(lab, cell, answers, **options)
    right = cell.logits[0].argmax(-1) == cell.labels
    held = np.concatenate([cell.split.test, cell.split.population])
    row = {
        "train accuracy": float(right[cell.split.train].mean()),
        "test accuracy": float(right[held].mean()),
        "attack accuracy": decided.accuracy,
        "precision": decided.total_precision,
        "recall": decided.total_recall,
        "auc": roc.area(values, cell.member),
    }
    return values, row


def _fit_of_shadows(cell: Cell) -> dict[str, float]:
    """Mean accuracy of the shadows on the records that they trained on, and on the others."""
    right = cell.logits[1:].argmax(-1) == cell.labels
    mean = lambda rows: float(np.mean([r[i] for r, i in zip(right, rows, strict=True)]))
    return {"shadows' train": mean(cell.shadow_train), "shadows' test": mean(cell.shadow_out)}


def _behind(logits: np.ndarray, wrappers) -> np.ndarray:
    """All models' answers behind the wrappers, (models, records, classes) float64."""
    answers = softmax(logits)
    flat = jnp.asarray(answers.reshape(-1, answers.shape[-1]), jnp.float32)
    for wrapper in wrappers:
        flat = wrapper(flat)
    return np.asarray(flat, np.float64).reshape(answers.shape)


def defended(lab: Lab) -> list[dict[str, Any]]:
    """Every mitigation; the attacker knows it and puts it on the shadows too [paper, VIII]."""
    rows = []
    for name, wrappers in OUTPUTS.items():
        found = [_judged(lab, c, _behind(c.logits, wrappers)) for c in lab.plain]
        rows.append({"name": name, **attacks.mean_rows(found)})
        _say(rows[-1])
    for value in lab.config.mitigation_l2:
        cells = lab.cells(f"l2 {value:g}", l2=value)
        found = [_judged(lab, c, softmax(c.logits)) for c in cells]
        rows.append({"name": f"L2 {value:g}", **attacks.mean_rows(found)})
        _say(rows[-1])
    return rows


def _say(row):
    shown = {
        "test": "test accuracy",
        "attack accuracy": "attack accuracy",
        "precision": "precision",
        "recall": "recall",
        "AUC": "auc",
    }
    cells = [f"{k} {'-' if row[v] is None else f'{row[v]:.3f}'}" for k, v in shown.items()]
    print(f"{row['name']}: {', '.join(cells)}", flush=True)


def shadow_data(lab: Lab) -> list[dict[str, Any]]:
    """Shadows on real, noisy, marginal and synthesised records; the targets are the same.

    Noisy records keep their labels; marginal ones are labelled by the target; synthesised ones
    carry the class that they were climbed for.

    Precision moves with how many are accused, and that with how far the shadows' fit is from the
    target's. So a row also has the precision of accusing as many records as the attack with real
    shadow data does, the likeliest first, and the shadows' own accuracies.
    """
    config, task = lab.config, lab.task
    shares = {f"{100 * share:g}% noise": share for share in config.noise}
    kinds = ["real", *shares]
    if binary(task):
        kinds += ["marginals", "model-based"]
    rows, accused = [], {}
    for kind in kinds:
        found, notes = [], []
        for cell in lab.plain:
            made, note = (cell, {}) if kind == "real" else _made(lab, cell, kind, shares.get(kind))
            notes.append(note)
            values, row = _judged_from(lab, made, softmax(made.logits))
            likely = values[cell.balanced]
            if kind == "real":
                accused[cell.seed] = max(int((likely > 0).sum()), 1)
            first = np.argsort(-likely, kind="stable")[: accused[cell.seed]]
            row["precision, as many"] = float(cell.member[cell.balanced][first].mean())
            found.append(row | _fit_of_shadows(made))
        row = {"name": kind, **attacks.mean_rows(found)}
        if notes and notes[0]:
            row["queries per record"] = float(np.mean([n["queries per record"] for n in notes]))
            row["share found"] = float(np.mean([n["share found"] for n in notes]))
        rows.append(row)
        _say(row)
    return rows


def binary(task: tasks.Task) -> bool:
    """Whether the records are vectors of bits."""
    return task.x.ndim == 2 and task.x.dtype == np.uint8


def _made(lab: Lab, cell: Cell, kind: str, share: float | None) -> tuple[Cell, dict[str, float]]:
    """The cell with its shadows trained on made records, and what making them cost.

    share: of the features that are flipped, where the kind is noise.
    """
    config, task = lab.config, lab.task
    pool = cell.split.pool
    box = target.from_network(task.network, cell.target, classes=task.classes, prepare=task.prepare)
    note: dict[str, float] = {}
    if kind == "marginals":
        x = synthesis.marginals(task.x[pool], len(pool), seed=cell.seed)
        y = box.query(x).argmax(-1).astype(np.int32)
        y = _every_class(y, task.classes)
        note = {"queries per record": 1.0, "share found": 1.0}
    elif kind == "model-based":
        want = np.arange(len(pool), dtype=np.int32) % task.classes
        made = synthesis.climb(
            box, want, synthesis.binary(task.x.shape[1]), rng.fold(lab.key, "climb", cell.seed)
        )
        x, y = made.x[made.found], made.labels[made.found]
        note = {
            "queries per record": float(made.queries.sum() / max(made.found.sum(), 1)),
            "share found": float(made.found.mean()),
        }
    else:
        x, y = synthesis.noisy(task.x[pool], share, seed=cell.seed), task.y[pool]
    size = min(config.shadow_train, len(x) // 2)
    train, out = design.shadow_splits(np.arange(len(x)), config.shadows, size, seed=cell.seed)
    made_task = task._replace(x=x, y=y)
    ids = range(1000 * cell.seed + 1, 1000 * cell.seed + config.shadows + 1)
    recipes = shadow.recipes(ids, list(train), epochs=config.epochs, l2=config.l2)
    models = lab.train(f"{kind} seed {cell.seed}".replace("%", ""), recipes, made_task)
    logits = shadow.answers(task.network, models, jnp.asarray(x), prepare=task.prepare)
    # Shadows are asked about their own records, the target about the real ones: one array, the
    # real records first, answers that nobody asks for left at 0.
    real = len(task.y)
    both = np.zeros((len(logits) + 1, real + len(x), task.classes), np.float32)
    both[0, :real] = cell.logits[0]
    both[1:, real:] = logits
    return cell._replace(
        logits=both, shadow_train=train + real, shadow_out=out + real, labels=np.append(task.y, y)
    ), note


def _every_class(y: np.ndarray, classes: int) -> np.ndarray:
    """Labels in which each class occurs: independent features leave some classes empty.

    The attack network of such a class would have nothing to learn from; two records of the
    largest class are given to it, as little as lets the attack be defined.
    """
    y = y.copy()
    for c in range(classes):
        if (y == c).sum() < 2:
            largest = np.bincount(y, minlength=classes).argmax()
            y[np.flatnonzero(y == largest)[:2]] = c
    return y


def overfitting(lab: Lab) -> list[dict[str, Any]]:
    """More epochs, a larger gap between training and test accuracy, a better attack."""
    config, rows = lab.config, []
    for epochs in config.effect_epochs:
        cells = lab.cells(
            f"epochs {epochs}",
            epochs=epochs,
            seeds=config.effect_seeds,
            shadows=config.effect_shadows,
        )
        found = [_judged(lab, c, softmax(c.logits)) for c in cells]
        rows.append({"name": f"{epochs} epochs", "epochs": epochs, **attacks.mean_rows(found)})
        _say(rows[-1])
    return rows


def shadow_count(lab: Lab) -> list[dict[str, Any]]:
    """The attack trained on the rows of fewer shadows."""
    rows, count = [], 1
    cells = lab.plain[: lab.config.effect_seeds]
    counts = []
    while count < lab.config.shadows:
        counts.append(count)
        count *= 2
    for count in [*counts, lab.config.shadows]:
        found = [_judged(lab, c, softmax(c.logits), shadows=count) for c in cells]
        rows.append({"name": f"{count} shadows", "shadows": count, **attacks.mean_rows(found)})
        _say(rows[-1])
    return rows


def class_count(lab: Lab) -> list[dict[str, Any]]:
    """Stand-ins of Purchase with more and more classes; synthetic, not the paper's sets."""
    config = dataclasses.replace(lab.config, network="mlp")
    need = config.target_train + config.target_test + 2 * config.shadow_train
    rows = []
    for classes in config.effect_classes:
        data = records.prototypes(max(need, 5_000), 600, classes, seed=config.seed, spread=0.5)
        cells = lab.cells(
            f"classes {classes}",
            task=tasks.from_records(data, config),
            seeds=config.effect_seeds,
            shadows=config.effect_shadows,
        )
        found = [_judged(lab, c, softmax(c.logits)) for c in cells]
        rows.append({"name": f"{classes} classes", "classes": classes, **attacks.mean_rows(found)})
        _say(rows[-1])
    return rows
