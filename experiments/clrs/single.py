"""One model an algorithm, which is how the published figures were made.

Each is a whole run in a folder of its own, named after its algorithm: a call that is cut goes on,
and several calls may share the algorithms of one folder among them.
"""

import dataclasses
import json
import pathlib
import time

from experiments import result
from experiments.clrs import config as configs
from experiments.clrs import report
from experiments.clrs import run as whole
from fl_jax.train import metrics

GATED = "triplet_gmpnn"  # the paper's single-task processor [3.2.3]
# Single-task models train on whole trajectories [repository]: who has to walk hundreds of steps on
# its own hints at n = 64 does not learn it from chunks of 16. As many hints a round as in the
# default run.
LONG, FEW = 64, 4


def settings(base: configs.Config, name: str) -> configs.Config:
    """Those of the model of algorithm `name`."""
    return dataclasses.replace(base, tasks=(name,), processor=GATED, chunk=LONG, batch=FEW)


def measure(config: configs.Config, folder: pathlib.Path) -> dict:
    """Trains and tests one model, or reads what an earlier call found.

    Returns:
        {"rows": of metrics.jsonl, "rounds", "parameters", "cpu": CPU-seconds of training and of
        its tests, compilation included; None if it was cut and resumed}.
    """
    (name,) = config.tasks
    folder = folder / name
    resume = (folder / "config.json").is_file()
    directory = result.RunDirectory.open("clrs", "small", config, str(folder), resume)
    if not (folder / "result.json").is_file():  # of this config: another one is refused
        directory.write_config()
        start = time.perf_counter()
        outcome = whole.run(config, directory, resume=resume)
        directory.write_result(outcome, None if resume else time.perf_counter() - start)
        report.report(outcome, directory)
    found = json.loads((folder / "result.json").read_text())
    details = found["details"]
    return {
        "rows": metrics.read(folder / "metrics.jsonl"),
        "rounds": details["rounds"],
        "parameters": details["parameters"],
        "cpu": None if found["seconds"] is None else details["cpu_seconds_of_this_process"],
    }
