"""From rows to numbers."""

import math
from typing import Any

import numpy as np
from scipy import stats

from experiments import result
from experiments.leakage.config import Config
from privacy.accounting.bound import Adjacency
from privacy.accounting.events import Gaussian
from privacy.accounting.ledger import Ledger
from privacy.leakage import scores

MELIS = "Melis et al. 2019, from memory of the paper, not verified"


def summarise(config: Config, rows: list[dict], about: dict, preset: str) -> result.Result:
    """The result of a run."""
    table = [summary for group in groups(rows).values() if (summary := _group(group))]
    details: dict[str, Any] = {"about": about, "table": table}
    metrics = {f"{line['part']}, {line['name']}: AUC": result.Metric(line["auc"]) for line in table}
    done = {row["part"] for row in rows}  # parts of earlier calls too
    if "active" in done:
        details["active"] = active(rows)
        for line in details["active"]:
            metrics[f"active over passive, {line['name']}: p"] = result.Metric(line["p"])
    if "defences" in done:
        details["privacy"] = privacy(config)
    for part in ("words", "inversion"):
        details[part] = [row for row in rows if row["part"] == part]
    for line in words(details["words"]):
        metrics[f"words, {line['name']}: precision"] = result.Metric(line["precision"])
        metrics[f"words, {line['name']}: recall"] = result.Metric(line["recall"], "", 1.0, MELIS)
    two = next((line for line in table if line["part"] == "two-party"), None)
    ours = (
        None
        if two is None
        else f"{two['auc']:.3f} (worst of {two['seeds']} seeds {two['min']:.3f})"
    )
    headline = {
        "what": f"{config.dataset}, AUC of an independent property from two-party updates",
        "ours": ours,
        "published": "0.93-1.0 on LFW (from memory)",
        "command": f"python -m experiments leakage --preset {preset}",
    }
    return result.Result(metrics, headline, details)


def groups(rows: list[dict]) -> dict[tuple[str, str], list[dict]]:
    """Rows by part and name, in order; each has one row a seed."""
    found: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        found.setdefault((row["part"], row["name"]), []).append(row)
    return found


def spread(values) -> dict[str, float]:
    """Mean over seeds and half of Student's 95 % interval for it."""
    values = np.asarray(values, float)
    n = len(values)
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return {"mean": float(values.mean()), "half": half}


def _group(rows: list[dict]) -> dict | None:
    """One line of the table."""
    first = rows[0]
    if "auc" not in first:
        return None
    areas = [row["auc"] for row in rows]
    found = spread(areas)
    line = {
        "part": first["part"],
        "name": first["name"],
        "seeds": len(rows),
        "auc": found["mean"],
        "half": found["half"],
        "min": min(areas),
        "max": max(areas),
        "accuracy": float(np.mean([row["accuracy"] for row in rows])),
    }
    for name in ("logistic", "mlp", "shuffled", "spearman"):
        if name in first:
            known = [row[name] for row in rows if row[name] is not None]  # a constant has no rank
            line[name] = float(np.mean(known)) if known else None
    if "shares" in first:
        line["shares"] = {
            share: spread([row["shares"][share] for row in rows])["mean"]
            for share in first["shares"]
        }
    if "error" in first:
        line["error"] = [row["error"] for row in rows]
    if first["part"] == "active":
        line["areas"] = areas
    return line


def active(rows: list[dict]) -> list[dict]:
    """Each alpha against alpha = 0, paired by seed."""
    of = {name: rows for (part, name), rows in groups(rows).items() if part == "active"}
    passive = of.pop("alpha = 0", None)
    if passive is None:
        return []
    base = {row["seed"]: row["auc"] for row in passive}
    made = []
    for name, found in of.items():
        pairs = [(row["auc"], base[row["seed"]]) for row in found if row["seed"] in base]
        if len(pairs) >= 2:
            made.append({"name": name, **scores.paired(*np.array(pairs).T)._asdict()})
    return made


def privacy(config: Config) -> list[dict]:
    """The privacy loss of participant-level DP over the run, everyone taking part each round.

    None where it is beyond a million.
    """
    made = []
    for noise in config.noises:
        eps = math.inf
        if noise > 5e-4:  # with less, one round is beyond that
            ledger = Ledger(Adjacency.ADD_REMOVE).record(Gaussian(noise), config.rounds)
            eps = ledger.epsilon(config.delta).upper
        made.append({"noise": noise, "eps": eps if eps <= 1e6 else None})
    return made


def words(rows: list[dict]) -> list[dict]:
    """Means over seeds of each batch size and vocabulary."""
    made = []
    for found in groups(rows).values():
        mean = lambda name, found=found: float(np.mean([row[name] for row in found]))
        names = ("precision", "recall", "accuracy", "majority")
        first = {k: found[0][k] for k in ("name", "batch", "vocabulary", "texts")}
        made.append({**first, "seeds": len(found), **{name: mean(name) for name in names}})
    return made
