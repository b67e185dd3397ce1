"""Every attack on every plain target, from outputs alone and from queries."""

import functools
import math
from typing import Any

import numpy as np

from experiments.membership.lab import Cell, Lab, attack_rows, shadow_mask, softmax
from fl_jax.core import rng, roc
from privacy.membership import (
    attack_model,
    bavaria,
    label_only,
    lira,
    metrics,
    quantile,
    rmia,
    signals,
    table,
    target,
    thresholds,
)

FPR = 0.01
DRAWN = ("shokri", "lira pooled", "lira example", "rmia", "bavaria", "calibrated", "loss", "gap")
NAMES = {
    "shokri": "Shokri, per-class networks",
    "loss": "loss (phi), one threshold",
    "entropy": "entropy",
    "modified entropy": "modified entropy",
    "per class": "phi, thresholds per class",
    "calibrated": "phi less shadows' mean",
    "lira pooled": "LiRA offline, pooled variance",
    "lira example": "LiRA offline, variance per example",
    "rmia": "RMIA offline (a = 0.3)",
    "bavaria": "BaVarIA-t offline",
    "quantile": "quantile regression, no shadows",
    "gap": "label only: right or wrong",
    "robustness": "label only: robustness",
}


def scores(lab: Lab, cell: Cell) -> dict[str, np.ndarray]:
    """Each attack's scores of the evaluated records; larger means member."""
    task, y = lab.task, lab.task.y
    answers = softmax(cell.logits)
    rows, labels = cell.evaluated, y[cell.evaluated]
    z, key = cell.split.population, rng.fold(lab.key, "attacks", cell.seed)
    phi = signals.logit_from_logits(cell.logits, y)
    p_y = signals.confidence(answers, y)

    learnt = attack_model.fit(attack_rows(cell, answers), rng.fold(key, "shokri"), lab.attack)
    offline = table.make(phi[0, rows], phi[1:, rows].T)
    training = attack_rows(cell, phi[..., None])
    outside = table.make(p_y[0, z], p_y[1:, z].T)
    expected = quantile.fit(task.x[z], phi[0, z], rng.fold(key, "quantile"))
    return {
        "shokri": attack_model.score(learnt, answers[0, rows], labels),
        "loss": phi[0, rows],
        "entropy": signals.entropy(answers[0, rows]),
        "modified entropy": signals.modified_entropy(answers[0, rows], labels),
        "per class": thresholds.per_class(
            phi[0, rows], labels, training.answers[:, 0], training.labels, training.member
        ),
        "calibrated": thresholds.calibrated(offline),
        "lira pooled": lira.offline(offline, spread="pooled"),
        "lira example": lira.offline(offline, spread="example"),
        "rmia": rmia.attack(table.make(p_y[0, rows], p_y[1:, rows].T), outside, ids=(rows, z)),
        "bavaria": bavaria.offline(offline),
        "quantile": quantile.attack(expected, task.x[rows], phi[0, rows]),
        **_labels_only(lab, cell, rng.fold(key, "labels")),
    }


def _labels_only(lab: Lab, cell: Cell, key) -> dict[str, np.ndarray]:
    """Both label-only attacks, through the black box, which counts."""
    task = lab.task
    box = target.from_network(task.network, cell.target, classes=task.classes, prepare=task.prepare)
    x, labels = task.x[cell.evaluated], task.y[cell.evaluated]
    if x.ndim == 4:
        disturb = label_only.shifts(max(1, x.shape[1] // 10))
    elif x.dtype == np.uint8:
        disturb = _flips()
    else:
        disturb = label_only.gaussian(0.5)
    right = label_only.gap(box, x, labels)
    stable = label_only.robustness(box, x, labels, disturb, key, copies=16)
    return {"gap": right, "robustness": stable}


@functools.cache
def _flips():
    return label_only.flips(0.05)


def calibration(lab: Lab, cell: Cell, attacked: int = 4) -> dict[str, tuple]:
    """(scores, member) of phi, LiRA and RMIA on shadows that stand in for the target."""
    y, mask = lab.task.y, shadow_mask(cell, len(lab.task.y))
    answers = softmax(cell.logits[1:])
    phi = signals.logit_from_logits(cell.logits[1:], y)
    p_y = signals.confidence(answers, y)
    z = cell.split.population
    outside = table.make(np.zeros(len(z)), p_y[:, z].T)
    found: dict[str, list] = {"loss": [], "lira pooled": [], "rmia": []}
    for i in range(min(attacked, len(phi))):
        rows = np.concatenate([cell.shadow_train[i], cell.shadow_out[i]])
        others = mask[rows]
        # records that every other shadow trained on say nothing offline
        kept = rows[others[:, np.arange(len(phi)) != i].sum(1) < len(phi) - 1]
        whole = table.Scores(np.zeros(len(kept)), phi[:, kept].T, mask[kept])
        inner, member = table.leave_one_out(whole, i)
        sure, _ = table.leave_one_out(whole._replace(shadow=p_y[:, kept].T), i)
        beyond, _ = table.leave_one_out(outside, i)
        found["loss"].append((inner.target, member))
        found["lira pooled"].append((lira.offline(inner, spread="pooled"), member))
        found["rmia"].append((rmia.attack(sure, beyond), member))
    join = lambda parts: tuple(np.concatenate(p) for p in zip(*parts, strict=True))
    return {name: join(parts) for name, parts in found.items()}


def judge(lab: Lab, cell: Cell, found: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """What each attack achieves on this target."""
    out = {}
    for name, values in found.items():
        row: dict[str, Any] = {
            "auc": roc.area(values, cell.member),
            "balanced accuracy": metrics.balanced_accuracy(values, cell.member),
        }
        try:
            row["tpr"] = list(metrics.tpr_at(values, cell.member, FPR))
        except metrics.Unresolved:
            row["tpr"] = None  # the sample cannot say
        out[name] = row
    return out


def run(lab: Lab) -> dict[str, Any]:
    """All attacks on all repetitions; of the first also the ROC curves that are drawn."""
    rows, curves, classes = [], {}, None
    nothing = lambda v: None if math.isnan(v) else float(v)  # of an attack that accuses nobody
    for cell in lab.plain:
        found = scores(lab, cell)
        labels = lab.task.y[cell.evaluated]
        half = cell.balanced
        decided = metrics.by_class(
            found["shokri"][half] > 0, cell.member[half], labels[half], lab.task.classes
        )
        right = cell.logits[0].argmax(-1) == lab.task.y
        row = {
            "seed": cell.seed,
            "train accuracy": float(right[cell.split.train].mean()),
            "test accuracy": float(
                right[np.concatenate([cell.split.test, cell.split.population])].mean()
            ),
            "precision": nothing(decided.total_precision),
            "recall": decided.total_recall,
            "accuracy": decided.accuracy,
            "attacks": judge(lab, cell, found),
            "calibrated": _calibrated(lab, cell, found),
        }
        rows.append(row)
        _say(row)
        if classes is None:
            classes = {
                "precision": [nothing(v) for v in decided.precision],
                "recall": [nothing(v) for v in decided.recall],
            }
            curves = {name: _curve(found[name], cell.member) for name in DRAWN}
    first = lab.plain[0]
    return {
        "rows": rows,
        "curves": curves,
        "classes": classes,
        "members": len(first.split.train),
        "non_members": len(first.split.test),
    }


def _calibrated(lab, cell, found):
    """What thresholds from the shadows do to the target, at a nominal 1 %."""
    out = {}
    for name, (values, member) in calibration(lab, cell).items():
        try:
            cut = metrics.shadow_threshold(values, member, FPR)
        except metrics.Unresolved:
            continue
        done = metrics.decide(found[name], cell.member, cut)
        ppv = {f"{prior:g}": done.ppv(prior) for prior in (0.01, 0.1, 0.5)}
        out[name] = {
            "tpr": done.tpr.value,
            "fpr": done.fpr.value,
            "ppv": {k: None if math.isnan(v) else v for k, v in ppv.items()},
        }
    return out


def _curve(values, member, points: int = 60):
    """At most so many points of a ROC, dense at low rates."""
    curve = roc.curve(values, member)
    low = np.unique(np.geomspace(1, len(curve.fpr), points).astype(int) - 1)
    return {"fpr": curve.fpr[low].tolist(), "tpr": curve.tpr[low].tolist()}


def _say(row):
    best = {k: v["auc"] for k, v in row["attacks"].items()}
    shown = ", ".join(f"{k} {best[k]:.3f}" for k in ("shokri", "lira pooled", "rmia", "loss"))
    precision = "-" if row["precision"] is None else f"{row['precision']:.3f}"
    print(
        f"seed {row['seed']}: target {row['train accuracy']:.3f} / {row['test accuracy']:.3f},"
        f" precision {precision}; AUC {shown}",
        flush=True,
    )


def shokri(lab: Lab, cell: Cell, answers, *, shadows: int | None = None):
    """(scores, ByClass on the balanced records) of the paper's attack behind a mitigation."""
    y, key = cell.labels, rng.fold(lab.key, "shokri", cell.seed)
    learnt = attack_model.fit(attack_rows(cell, answers, shadows), key, lab.attack)
    rows = cell.evaluated
    values = attack_model.score(learnt, answers[0, rows], y[rows])
    half = cell.balanced
    decided = metrics.by_class(
        values[half] > 0, cell.member[half], y[rows][half], answers.shape[-1]
    )
    return values, decided


def mean_rows(rows: list[dict[str, float]]) -> dict[str, float | None]:
    """Means and standard deviations over repetitions, key by key.

    Repetitions in which a value is not defined (the precision of an attack that accuses nobody)
    are left out; None where it is defined in none, and for the deviation in one.
    """
    out: dict[str, float | None] = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        values = values[~np.isnan(values)]
        out[name] = float(values.mean()) if len(values) else None
        out[f"{name} sd"] = float(values.std(ddof=1)) if len(values) > 1 else None
    return out
