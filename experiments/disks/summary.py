"""From what was measured to the numbers of the result."""

from typing import Any

import numpy as np

from experiments import result
from experiments.disks import coverage, stages, task
from experiments.disks.config import Config

NOTEBOOK = "authors' notebook, stored output; another population"


def summarise(
    config: Config,
    found: stages.Rows,
    curve: dict[str, Any],
    ablation: list[dict[str, Any]],
    fitted: stages.Fitted,
    retrieved: task.Retrieved | None,
    held: dict[str, coverage.Coverage] | None = None,
) -> result.Result:
    """The result of the run."""
    card = stages.card(found)
    best = {n: min(r["rmse"] for r in ablation if len(r["features"]) == n) for n in range(1, 4)}
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
        "error, all nine conditions": metric(every, "dex"),
        "test error of the best KNN": metric(mean(fitted.best), "dex"),
        "test error of the best KNN, abundance-weighted": metric(
            mean(fitted.best, "weighted"), "dex"
        ),
        "test error of the best KNN, columns": metric(mean(fitted.best, "column"), "dex"),
        "test error of the best KNN, line fluxes": metric(
            _mean_of_lines(fitted.scores[fitted.best]["flux"]), "dex"
        ),
        "test error of the perceptron": metric(mean("perceptron"), "dex"),
        "coverage of the conformal intervals": metric(
            100 * fitted.coverage["plain"].mean, "%", 100 * config.level, "what was asked for"
        ),
        "coverage of the conformal intervals, with the bound for few disks": metric(
            100 * fitted.coverage["bound"].mean,
            "%",
            100 * fitted.coverage["bound"].level,
            "at least",
        ),
        "cells not converged": metric(
            100 * card["cells"]["not converged"] / card["cells"]["asked"], "%"
        ),
    }
    retrieval = None if retrieved is None else _retrieval(retrieved, metrics)
    return result.Result(
        metrics,
        {
            "what": "KNN, paper's three features, cross-validated",
            "ours": f"{curve['rmse']:.2f} dex; three best conditions {best[3]:.2f}",
            "published": "0.67 dex (other population)",
            "command": f"python -m experiments disks --disks {config.disks}",
        },
        {
            "origin": found.origin,
            "card": card,
            "curve": curve,
            "ablation": ablation[:12] + ablation[-1:],
            "species": list(found.species),
            "scores": fitted.scores,
            "validated": fitted.validated,
            "best": fitted.best,
            "k": fitted.k,
            "coverage": {k: v._asdict() for k, v in fitted.coverage.items()},
            "lines": list(fitted.fluxes.lines),
            "outside": fitted.outside,
            "retrieval": retrieval,
            "linearised": held and {k: v._asdict() for k, v in held.items()},
        },
    )


def _mean_of_lines(errors: list[float | None]) -> float:
    """Over the species that have a line."""
    return float(np.mean([e for e in errors if e is not None]))


def _retrieval(retrieved: task.Retrieved, metrics: dict[str, result.Metric]) -> dict[str, Any]:
    """The retrieval's details; its numbers go into `metrics`."""
    metric = result.Metric
    intervals = task.intervals(retrieved.nuts)
    inside = sum(v["inside"] for v in intervals.values())
    metrics["truths inside the 95 % region, NUTS"] = metric(inside, f"of {len(intervals)}")
    metrics["ray-step halving"] = metric(100 * retrieved.halving, "% of the peak")
    metrics["largest split of the chains (r hat)"] = metric(float(retrieved.r_hat.max()))
    retrieval = {
        "nuts": intervals,
        "acceptance": retrieved.acceptance,
        "divergent": retrieved.divergent,
        "r_hat": retrieved.r_hat.tolist(),
        "effective": retrieved.effective.tolist(),
        "emulator": retrieved.emulator,
    }
    if retrieved.nested is not None:
        retrieval["nested"] = task.intervals(retrieved.nested)
        one = retrieved.evidence
        retrieval["log_z"] = [one.log_z, one.error]
        retrieval |= {"calls": one.calls, "worth": one.effective, "finished": one.finished}
        inside = sum(v["inside"] for v in retrieval["nested"].values())
        metrics["truths inside the 95 % region, nested"] = metric(inside, f"of {len(intervals)}")
    if retrieved.calibration is not None:
        cal = retrieved.calibration
        metrics["calibration, smallest p"] = metric(
            float(cal.p.min()), "", 0.01 / len(cal.p), "goal: above 0.01 over the parameters"
        )
        retrieval["calibration"] = {
            "simulations": len(cal.ranks),
            "p": cal.p.tolist(),
            "inside68": cal.inside68.tolist(),
            "inside95": cal.inside95.tolist(),
            "contraction": cal.contraction.tolist(),
            "acceptance": cal.acceptance,
        }
    return retrieval
