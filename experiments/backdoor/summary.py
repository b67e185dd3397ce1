"""From the rows of metrics.jsonl to the numbers that are compared with the paper's."""

from typing import Any

import numpy as np
from scipy import stats

from experiments.backdoor.config import Config
from experiments.result import Metric, Result

MEMORY = "Bagdasaryan et al. 2020, from memory of the paper, not verified"
LATER = 10  # rounds after which the main accuracy is compared


def curves(rows: list[dict]) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """backdoor -> attack -> {"main", "success", "norm_ratio"}; accuracies (runs, rounds + 1).

    A run is a seed and a split of the backdoor's images. The ratio of what was sent to the median
    benign update is NaN where one of them is no number: the server left it out.
    """
    grouped: dict[str, dict[str, dict[tuple[int, int], list[dict]]]] = {}
    for row in rows:
        if row["stage"] == "follow":
            attacks = grouped.setdefault(row["backdoor"], {})
            runs = attacks.setdefault(row["attack"], {})
            runs.setdefault((row["split"], row["seed"]), []).append(row)
    return {
        backdoor: {
            attack: {
                "main": np.array([[r["main"] for r in found] for found in runs.values()]),
                "success": np.array([[r["success"] for r in found] for found in runs.values()]),
                "norm_ratio": np.array(
                    [
                        _ratio(r["attack_info"]["sent_norm"], r["benign_norm"])
                        for found in runs.values()
                        for r in found
                        if "attack_info" in r
                    ],
                    np.float64,
                ),
            }
            for attack, runs in attacks.items()
        }
        for backdoor, attacks in grouped.items()
    }


def _ratio(sent: float | None, benign: float | None) -> float:
    """sent / benign; NaN where one of them was none, which JSON knows as null."""
    return np.nan if sent is None or not benign else sent / benign


def margin(values: np.ndarray) -> float | None:
    """Half the width of Student's 95 % confidence interval of the mean of (n,) runs.

    Where all runs end alike it is 0; of a single run it is not known (None).

    Example:
        >>> round(margin(np.array([1.0, 2.0, 3.0])), 3)
        2.484
    """
    if len(values) < 2:
        return None
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def plus(half: float | None) -> str:
    """The margin behind a mean, as text."""
    return "" if half is None else f" ± {half:.1f}"


def half_life(success: np.ndarray) -> int | None:
    """Rounds after the attack until the mean backdoor accuracy is below half of what it was."""
    mean = success.mean(axis=0)[1:]
    below = np.flatnonzero(mean < mean[0] / 2)
    return int(below[0]) if len(below) else None


def summarise(config: Config, rows: list[dict], origin: str) -> Result:
    """The result of a run, from the rows that it wrote."""
    metrics: dict[str, Metric] = {}
    table: list[dict[str, Any]] = []
    for backdoor, attacks in curves(rows).items():
        for attack, found in attacks.items():
            success, main = 100 * found["success"], 100 * found["main"]
            later = min(LATER + 1, main.shape[1] - 1)
            ratios = found["norm_ratio"][np.isfinite(found["norm_ratio"])]
            row = {
                "backdoor": backdoor,
                "attack": attack,
                "before": success[:, 0].mean(),
                "after": success[:, 1].mean(),
                "after_margin": margin(success[:, 1]),
                "after_min": success[:, 1].min(),
                "end": success[:, -1].mean(),
                "end_margin": margin(success[:, -1]),
                "half_life": half_life(success),
                "main_before": main[:, 0].mean(),
                "main_after": main[:, 1].mean(),
                "main_later": main[:, later].mean(),
                "lost_margin": margin(main[:, 0] - main[:, later]),
                "norm_ratio": ratios.mean() if len(ratios) else None,
                "left_out": len(found["norm_ratio"]) - len(ratios),  # runs
            }
            table.append(
                {k: round(float(v), 2) if isinstance(v, float) else v for k, v in row.items()}
            )
            name = f"{backdoor}, {attack}"
            published = {"data poisoning": 0.0, "model replacement": 100.0}.get(attack)
            metrics[f"{name}: backdoor accuracy after one round"] = Metric(
                round(row["after"], 2), "%", published, MEMORY if published is not None else ""
            )
            metrics[f"{name}: main accuracy lost {LATER} rounds later"] = Metric(
                round(row["main_before"] - row["main_later"], 2), "points"
            )
    best = [row for row in table if row["attack"] == "model replacement"]
    ours = " / ".join(f"{row['after']:.0f} %" for row in best)
    pretraining = [row for row in rows if row["stage"] == "pretrain"]
    return Result(
        metrics,
        headline={
            "what": f"backdoor accuracy after one round ({', '.join(r['backdoor'] for r in best)};"
            f" {config.dataset})",
            "ours": ours,
            "published": "100 % (from memory)",
            "command": "python -m experiments backdoor",
        },
        details={
            "origin": origin,
            "seeds": config.seeds,
            "splits": config.splits,
            "rounds": config.follow_rounds,
            "table": table,
            "dropped_updates": sum(row["dropped"] for row in pretraining),
        },
    )
