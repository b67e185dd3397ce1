"""The plain network and every option beyond the paper at equal settings, briefly.

Same rounds, data, seeds and tests for all; what an option costs is counted in CPU-seconds. One
network after another, each in a folder of its own, so that a run that is cut goes on.
"""

import dataclasses
import json
import pathlib
import statistics
import time

from experiments import result
from experiments.clrs import config as configs
from experiments.clrs import run as whole
from experiments.clrs import summary, task
from fl_jax.train import metrics

VARIANTS = {
    "plain": {},
    "rebuilt hints": {"rebuild": 0.1},
    "no history": {"history": "none"},
    "gated history": {"history": "gated", "forget": 0.1},
    "messages in order": {"aggregator": "lstm"},
    "learned stop": {"stop": True},
}


def words(variant: str) -> str:
    """The fields of a variant as on the command line."""
    return " ".join(f"--{k} {v}" for k, v in VARIANTS[variant].items())


def measure(base: configs.Config, variant: str, folder: pathlib.Path) -> dict:
    """Trains and tests one variant, or reads what an earlier call found; {"variant", "cpu", rows}.

    `cpu` are the CPU-seconds of training, compilation included; None if it was cut and resumed.
    """
    config = dataclasses.replace(base, **VARIANTS[variant])
    folder = folder / variant.replace(" ", "_")
    resume = (folder / "config.json").is_file()
    directory = result.RunDirectory.open("clrs", "brief", config, str(folder), resume)
    done = folder / "options.json"  # of this config: another one is refused
    if done.is_file():
        return json.loads(done.read_text())
    directory.write_config()
    cpu, rows = 0.0, []
    for seeds in task.batches(config):
        start = time.process_time()
        states = whole.train(config, directory, seeds)
        cpu += time.process_time() - start
        for seed, state in states.items():
            whole.test(config, directory, seed, state)
            path = whole.file(directory, seed, "test")
            rows += [{"stage": "test", **row} for row in metrics.read(path)]
    found = {"variant": variant, "cpu": None if resume else round(cpu, 1), "rows": rows}
    directory.write_json("options.json", found)
    return found


def table(found: list[dict]) -> str:
    """One row per variant: official scores by task and size, their mean, what training took."""
    columns = summary.scores(found[0]["rows"])
    pairs = [(name, n) for n in sorted(columns) for name in columns[n]]
    head = ["network", *(f"{name}, n = {n}" for name, n in pairs), "mean", "CPU-s of training"]
    lines = [head, ["---"] * len(head)]
    for one in found:
        lines.append(_line(one["variant"], summary.scores(one["rows"]), pairs, one["cpu"]))
        for which, what in (("own_stop", "deciding itself"), ("in_time", "stopped in time")):
            more = summary.scores(one["rows"], which)
            if more:
                lines.append(_line(f"{one['variant']}, {what}", more, pairs, None))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _line(what, scores, pairs, cpu):
    means = [statistics.mean(scores[n][name]) for name, n in pairs]
    figures = [f"{v:.2f}" for v in [*means, statistics.mean(means)]]
    return [what, *figures, "" if cpu is None else f"{cpu:.0f}"]
