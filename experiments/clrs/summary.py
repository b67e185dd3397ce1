"""From the rows of metrics.jsonl to the numbers that stand beside the published ones."""

import statistics

from algorithmic.clrs import evaluate
from experiments.clrs import published
from experiments.clrs import task as tasks
from experiments.clrs.config import Config
from experiments.result import Metric, Result

BENCHMARK = 64  # n of the benchmark's test


def row(
    seed: int,
    n: int,
    name: str,
    scores: evaluate.Scores,
    own_stop: evaluate.Scores | None,
    samples: int,
) -> dict:
    """The row of metrics that a test leaves; `own_stop` of a network that decides when to stop."""
    found = {
        "seed": seed, "n": n, "task": name, "score": scores.official,
        "accepting": scores.accepting, "samples": samples,
    }  # fmt: skip
    if own_stop is not None:
        found |= {"own_stop": own_stop.official, "in_time": own_stop.in_time}
    return found


def line(row: dict) -> str:
    """The row in words."""
    said = f"n = {row['n']}, {row['task']}: {100 * row['score']:.2f} %"
    if row["accepting"] != row["score"]:
        said += f", {100 * row['accepting']:.2f} % where every right answer counts"
    if "own_stop" in row:
        said += f", {100 * row['own_stop']:.2f} % where it decides when to stop"
        said += f" ({100 * row['in_time']:.2f} % in time)"
    return said


def scores(rows: list[dict], which: str = "score") -> dict[int, dict[str, list[float]]]:
    """n -> task -> scores in %, one per seed.

    Args:
        rows: of metrics.jsonl.
        which: "score", the benchmark's, "accepting", which accepts every right answer, or of a
            network that decides when to stop "own_stop", its official score, and "in_time", the
            share of runs that it stops after the true number of steps; rows without one are left
            out.
    """
    found: dict[int, dict[str, list[float]]] = {}
    for row in rows:
        if row["stage"] == "test" and which in row:
            found.setdefault(row["n"], {}).setdefault(row["task"], []).append(100 * row[which])
    return found


def losses(rows: list[dict]) -> dict[int, dict[str, list[float]]]:
    """seed -> "round" and task -> values of the rounds on the largest size."""
    found: dict[int, dict[str, list[float]]] = {}
    training = [row for row in rows if row["stage"] == "train"]
    largest = max((row["n"] for row in training), default=0)
    for row in training:
        if row["n"] == largest:
            kept = found.setdefault(row["seed"], {})
            for k, v in row.items():
                if k not in ("stage", "seed", "n"):
                    kept.setdefault(k, []).append(v)
    return found


def hints(rows: list[dict]) -> dict[str, list[float]]:
    """task -> how right its hints are after each step, in %: mean over hints, first seed."""
    found: dict[str, list[list[float]]] = {}
    kept = [row for row in rows if row["stage"] == "hints"]
    for row in kept:
        if row["seed"] == kept[0]["seed"]:
            found.setdefault(row["task"], []).append(row["right"])
    return {
        name: [100 * statistics.mean(step) for step in zip(*each, strict=True)]
        for name, each in found.items()
    }


def deviation(values: list[float]) -> float | None:
    """Standard deviation over seeds, None of a single one."""
    return statistics.stdev(values) if len(values) > 1 else None


def summarise(config: Config, rows: list[dict], used: dict[str, float], preset: str) -> Result:
    """The result of a run, from the rows that it wrote."""
    found = scores(rows)
    accepting = scores(rows, "accepting")
    metrics: dict[str, Metric] = {}
    for n, by_task in found.items():
        for name, values in by_task.items():
            beside = published.SCORES[name]["Triplet-GMPNN"] if n == BENCHMARK else None
            metrics[f"{name}, n = {n}"] = Metric(
                round(statistics.mean(values), 2), "%", beside,
                published.SOURCE if beside is not None else "",
            )  # fmt: skip
    for n, by_task in accepting.items():
        for name, values in by_task.items():
            value = round(statistics.mean(values), 2)
            metrics[f"{name}, n = {n}, every right answer"] = Metric(value, "%")
    largest = BENCHMARK if BENCHMARK in found else max(found)
    means = {name: statistics.mean(v) for name, v in found[largest].items()}
    both = evaluate.means(means)
    theirs = evaluate.means({k: published.SCORES[k]["Triplet-GMPNN"] for k in means})
    beside, said = (), "none at this size"
    if largest == BENCHMARK:
        said = f"{theirs['algorithms']:.1f} % (single-task models; from memory)"
    for which, what in (("algorithms", f"mean of {len(means)} algorithms"),
                        ("families", "mean of their families")):  # fmt: skip
        if largest == BENCHMARK:
            beside = round(theirs[which], 2), published.SOURCE
        metrics[f"{what}, n = {largest}"] = Metric(round(both[which], 2), "%", *beside)
    for which, what in (("own_stop", "own stop"), ("in_time", "stopped in time")):
        for n, by_task in scores(rows, which).items():
            for name, values in by_task.items():
                value = round(statistics.mean(values), 2)
                metrics[f"{name}, n = {n}, {what}"] = Metric(value, "%")
    if largest in accepting:
        means = {name: statistics.mean(v) for name, v in accepting[largest].items()}
        for what, value in evaluate.means(means).items():
            metrics[f"mean of {what}, n = {largest}, every right answer"] = Metric(
                round(value, 2), "%"
            )
    return Result(
        metrics,
        headline={
            "what": f"mean micro-F1 of {len(found[largest])} algorithms at n = {largest}, one"
            f" multi-task model, {config.seeds} seed{'s' if config.seeds > 1 else ''}",
            "ours": f"{both['algorithms']:.1f} %",
            "published": said,
            "command": f"python -m experiments clrs --preset {preset}"
            + (f" --seeds {config.seeds}" if config.seeds > 1 else ""),
        },
        details={
            "scores": {str(n): by_task for n, by_task in found.items()},
            "scores that accept every right answer": {
                str(n): by_task for n, by_task in accepting.items()
            },
            "samples": {
                f"{row['task']}, {row['n']}": row["samples"]
                for row in rows
                if row["stage"] == "test"
            },
            "seeds": config.seeds,
            "rounds": config.rounds,
            "largest": max(config.lengths),  # nodes of a training input
            "parameters": tasks.parameters(config),
            "cpu_seconds_of_this_process": {k: round(v, 1) for k, v in used.items()},
        },
    )
