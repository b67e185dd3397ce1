"""The parts of the experiment, each kept when it is done and skipped by --resume."""

import json
import time
from collections.abc import Callable
from typing import Any

from experiments import result
from experiments.membership import attacks, audits, effects, online, summary
from experiments.membership.config import PARTS, Config
from experiments.membership.lab import Lab
from fl_jax.core import errors
from fl_jax.train import cohort

RUN: dict[str, Callable[[Lab], Any]] = {
    "attacks": attacks.run,
    "mitigations": effects.defended,
    "shadow_data": effects.shadow_data,
    "overfitting": effects.overfitting,
    "shadow_count": effects.shadow_count,
    "class_count": effects.class_count,
    "online": online.run,
    "audit": audits.run,
}


def run(config: Config, directory: result.RunDirectory, *, resume: bool = False) -> result.Result:
    """Runs the parts that the config asks for, or those that are missing.

    Models are checkpointed by their index while they train (`fl_jax.train.loop`); a finished part
    is a file `part_<name>.json`.
    """
    del resume  # a fresh directory has no parts: both are the same
    for part in config.parts:
        errors.one_of("part", part, PARTS)
    if config.plan != "auto":
        cohort.Plan.parse(config.plan)
    lab = Lab(config, directory)
    if "shadow_data" in config.parts and config.noise and not effects.binary(lab.task):
        raise errors.ConfigError(
            f"noise flips bits, but the features of {config.dataset} are not binary; leave the part"
            " shadow_data out."
        )
    print(f"data: {lab.task.origin}, {len(lab.task.y)} records, {lab.task.classes} classes")
    found = {}
    for part in config.parts:
        path = directory.path / f"part_{part}.json"
        if path.is_file():
            found[part] = json.loads(path.read_text())
            continue
        print(f"-- {part.replace('_', ' ')}", flush=True)
        wall, cpu = time.perf_counter(), time.process_time()
        found[part] = {"found": RUN[part](lab)}
        found[part]["seconds"] = round(time.perf_counter() - wall, 1)
        found[part]["cpu_seconds"] = round(time.process_time() - cpu, 1)
        directory.write_json(path.name, found[part])
    return summary.summarise(config, found, lab.task.origin, lab.task.real)
