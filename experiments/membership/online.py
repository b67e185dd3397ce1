"""Attacks that train on the audited records: one design, every budget of shadow models.

Models are trained on random halves of the target's records and its non-members, every second
one on the complement of the one before, so each of them can be the target of the others.
"""

import contextlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.membership import task as tasks
from experiments.membership.attacks import FPR, mean_rows
from experiments.membership.lab import Lab, softmax
from fl_jax.core import roc
from privacy.membership import (
    bavaria,
    design,
    lira,
    metrics,
    rmia,
    shadow,
    signals,
    table,
    thresholds,
)


def run(lab: Lab) -> dict[str, Any]:
    """AUC and TPR of each attack over budgets, means over the models attacked."""
    config, task = lab.config, lab.task
    split = tasks.split(task, config, config.seed)
    rows = np.concatenate([split.train, split.test, split.population])
    rows = rows[: len(rows) // 2 * 2]
    z = split.pool
    member = design.halves(len(rows), config.online_models, seed=config.seed)
    recipes = shadow.recipes(
        range(500_000, 500_000 + config.online_models),
        [rows[column] for column in member.T],
        epochs=config.epochs,
        l2=config.l2,
    )
    models = lab.train("online", recipes, task)
    ask = lambda part: shadow.answers(
        task.network, models, jnp.asarray(task.x[part]), prepare=task.prepare
    )
    phi, p_y, beyond = _signals(ask(rows), ask(z), task.y[rows], task.y[z])

    found = []
    for budget in config.budgets:
        by_target = [
            _attack(phi, p_y, beyond, member, one, budget) for one in range(config.online_targets)
        ]
        for name in by_target[0]:
            found.append(
                {"attack": name, "budget": budget, **mean_rows([t[name] for t in by_target])}
            )
        best = max((r for r in found if r["budget"] == budget), key=lambda r: r["auc"])
        print(f"{budget} models: best is {best['attack']}, AUC {best['auc']:.3f}", flush=True)
    return {"rows": found, "records": len(rows), "targets": config.online_targets}


def _signals(inside, outside, y, y_z):
    p_y = signals.confidence(softmax(inside), y)
    beyond = signals.confidence(softmax(outside), y_z)
    return signals.logit_from_logits(inside, y).T, p_y.T, beyond.T


def _attack(phi, p_y, beyond, member, one: int, budget: int) -> dict[str, dict[str, float]]:
    """All attacks on model `one` with the first `budget` others, itself and its pair left out."""
    others = [m for m in range(phi.shape[1]) if m // 2 != one // 2][:budget]
    scores = table.make(phi[:, one], phi[:, others], member[:, others])
    sure = table.make(p_y[:, one], p_y[:, others], member[:, others])
    population = table.make(beyond[:, one], beyond[:, others])
    truth = member[:, one]
    values = {
        "loss": scores.target,
        "calibrated": thresholds.calibrated(scores),
        "LiRA online, pooled": lira.online(scores, spread="pooled", centre="mean"),
        "LiRA offline, pooled": lira.offline(scores, spread="pooled", centre="mean"),
        "RMIA online": rmia.attack(sure, population, a=None),
        "RMIA offline": rmia.attack(sure, population),
        "BaVarIA-t online": bavaria.online(scores),
        "BaVarIA-n online": bavaria.online(scores, form="gaussian"),
        "BaVarIA-t offline": bavaria.offline(scores),
    }
    if budget >= 4:
        values["LiRA online, per example"] = lira.online(scores, centre="mean")
    out = {}
    for name, value in values.items():
        out[name] = {"auc": roc.area(value, truth)}
        with contextlib.suppress(metrics.Unresolved):
            out[name]["tpr"] = metrics.tpr_at(value, truth, FPR).value
    return out
