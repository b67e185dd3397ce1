"""From what was measured to the numbers of the result."""

from typing import Any

import numpy as np

from experiments import result
from experiments.disks import stages
from experiments.disks.config import Config

NOTEBOOK = "authors' notebook, stored output; another population"


def summarise(
    config: Config,
    found: stages.Rows,
    curve: dict[str, Any],
    ablation: list[dict[str, Any]],
    fitted: stages.Fitted,
) -> result.Result:
    """The result of the run."""
    card = stages.card(found)
    best = {n: min(r["rmse"] for r in ablation if len(r["features"]) == n) for n in range(1, 5)}
    every = next(r["rmse"] for r in ablation if len(r["features"]) == len(stages.ALL))
    mean = lambda name, what="rmse": float(np.mean(fitted.scores[name][what]))
    metric = result.Metric
    metrics = {
        "cross-validated error of the paper's features": metric(
            curve["rmse"], "dex", 0.669, NOTEBOOK
        ),
        "k": metric(curve["best"], "", 20, NOTEBOOK),
        "error, best two conditions": metric(best[2], "dex"),
        "error, best three conditions": metric(best[3], "dex"),
        "error, best four conditions": metric(best[4], "dex"),
        "error, all nine conditions": metric(every, "dex"),
        "test error of the best KNN": metric(mean(fitted.best), "dex"),
        "test error of the best KNN, abundance-weighted": metric(
            mean(fitted.best, "weighted"), "dex"
        ),
        "test error of the best KNN, columns": metric(mean(fitted.best, "column"), "dex"),
        "test error of the perceptron": metric(mean("perceptron"), "dex"),
        "coverage of the conformal intervals": metric(
            100 * fitted.coverage[0], "%", 100 * config.level, "what was asked for"
        ),
        "cells not converged": metric(
            100 * card["cells"]["not converged"] / card["cells"]["asked"], "%"
        ),
    }
    return result.Result(
        metrics,
        {
            "what": "KNN, paper's three features, cross-validated",
            "ours": f"{curve['rmse']:.2f} dex; four best conditions {best[4]:.2f}",
            "published": "0.67 dex (other population)",
            "command": "python -m experiments disks",
        },
        {
            "origin": found.origin,
            "card": card,
            "curve": curve,
            "ablation": ablation[:12] + ablation[-1:],
            "species": list(found.species),
            "scores": fitted.scores,
            "best": fitted.best,
            "k": fitted.k,
            "coverage": list(fitted.coverage),
            "outside": fitted.outside,
        },
    )
