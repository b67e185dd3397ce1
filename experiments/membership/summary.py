"""From what the parts found to the numbers that stand beside the paper's."""

import functools
import json
import operator
from typing import Any

import numpy as np

from experiments.membership.config import Config
from experiments.result import Metric, Result

MEMORY = "Shokri et al. 2017, from memory of the paper, not verified"
NOTES = "Shokri et al. 2017, by course notes that quote it"
# (train, test accuracy, attack precision) of the paper's targets trained by Google
PUBLISHED = {
    "adult": (0.848, 0.842, 0.503),
    "mnist": (0.984, 0.928, 0.517),
    "location30": (1.000, 0.673, 0.678),
    "purchase100": (0.999, 0.659, 0.935),
    "texas100": (0.668, 0.517, 0.657),
}
SHADOW_DATA = {"real": 0.678, "10% noise": 0.666, "20% noise": 0.613}  # Location


def mean(rows: list[dict], *path: str) -> tuple[float | None, float | None]:
    """Mean and standard deviation over repetitions of a nested value.

    Repetitions in which it is None are left out; None where it is defined in none, and for the
    deviation in one.
    """
    values = [functools.reduce(operator.getitem, path, row) for row in rows]
    values = [v for v in values if v is not None]
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)) if values else None, deviation


def shown(value: float | None, deviation: float | None) -> str:
    """A mean and its deviation, as far as they are defined."""
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if deviation is None else f" ± {deviation:.3f}")


def summarise(config: Config, parts: dict[str, Any], origin: str, real: bool) -> Result:
    """The result of a run."""
    metrics: dict[str, Metric] = {}
    published = PUBLISHED.get(config.dataset) if real else None
    headline: dict[str, Any] = {
        "what": f"{config.dataset}{'' if real else ' stand-in'}, attack precision",
        "ours": None,
        "published": None,
        "command": "python -m experiments membership",
    }
    if "attacks" in parts:
        rows = parts["attacks"]["found"]["rows"]
        precision, auc = mean(rows, "precision")[0], mean(rows, "attacks", "shokri", "auc")[0]
        for i, name in enumerate(("train accuracy", "test accuracy", "precision")):
            if mean(rows, name)[0] is None:  # nobody was accused
                continue
            metrics[name] = Metric(
                round(mean(rows, name)[0], 4), "share", published[i] if published else None,
                f"{MEMORY}; another target" if published else "",
            )  # fmt: skip
        for name in ("recall", "accuracy"):
            metrics[name] = Metric(round(mean(rows, name)[0], 4), "share")
        for name in rows[0]["attacks"]:
            metrics[f"AUC, {name}"] = Metric(round(mean(rows, "attacks", name, "auc")[0], 4))
        headline["ours"] = f"{shown(precision, None)} (AUC {auc:.3f})"
        if published:
            headline["published"] = f"{published[2]} (another target)"
    for row in parts.get("shadow_data", {"found": []})["found"]:
        known = SHADOW_DATA.get(row["name"]) if real and config.dataset == "location30" else None
        if row["precision"] is None:
            continue
        metrics[f"precision, shadows on {row['name']}"] = Metric(
            round(row["precision"], 4), "share", known, NOTES if known else ""
        )
    # Five digits are more than any table or picture shows; the parts' own files keep all.
    short = json.loads(json.dumps(parts), parse_float=lambda text: round(float(text), 5))
    return Result(
        metrics, headline,
        details={"origin": origin, "real": real, "dataset": config.dataset, "parts": short},
    )  # fmt: skip
