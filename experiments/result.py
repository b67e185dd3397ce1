"""What an experiment returns, and the run directory that holds it."""

import dataclasses
import datetime
import json
import os
import pathlib
import platform
import sys
from typing import Any

from fl_jax.core import atomic, errors


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number beside the published one."""

    value: float
    unit: str = ""
    published: float | str | None = None  # None where nobody published it
    source: str = ""  # table or section, and how certain the figure is


@dataclasses.dataclass(frozen=True)
class Result:
    """What `run` returns and `report` draws."""

    metrics: dict[str, Metric]
    headline: dict[str, Any]  # what the table of the eight systems shows
    details: dict[str, Any] = dataclasses.field(default_factory=dict)  # JSON values for the report


def versions() -> dict[str, str]:
    """Python and the packages that decide the numbers."""
    from importlib import metadata

    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def device() -> dict[str, Any]:
    """What the numbers were measured on."""
    import jax

    cpu = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.is_file():
        models = [ln for ln in info.read_text().splitlines() if ln.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return {
        "backend": jax.default_backend(),
        "kind": jax.devices()[0].device_kind,
        "count": jax.device_count(),
        "processes": jax.process_count(),
        "cpu": cpu,
        "cores": os.cpu_count(),
    }


def first_process() -> bool:
    """Whether this process writes the run's files: the only one, or number 0 of many."""
    import jax

    return jax.process_index() == 0


class RunDirectory:
    """The folder of one run: config.json, metrics.jsonl, checkpoints, plots, report, result."""

    def __init__(self, path: pathlib.Path, experiment: str, preset: str, config: Any):
        self.path = path
        self.experiment = experiment
        self.preset = preset
        self.config = config
        self.made = False  # whether `open` made the folder
        self.resolved: dict[str, Any] = {}  # what the run measured and chose, e.g. the plan

    @classmethod
    def open(
        cls,
        experiment: str,
        preset: str,
        config: Any,
        out: str | None,
        resume: bool,
        *,
        root: pathlib.Path = pathlib.Path("runs"),
        now: datetime.datetime | None = None,
    ) -> "RunDirectory":
        """Makes the folder, or finds the one to go on with.

        Raises:
            ConfigError: the folder already holds a run; there is none to resume; or the one that
                is there has another config.
        """
        now = now or datetime.datetime.now()
        if out is not None:
            path = pathlib.Path(out)
        elif resume:
            found = sorted(root.glob(f"{experiment}-{preset}-*/config.json"))
            if not found:
                raise errors.ConfigError(
                    f"there is no {experiment} run of preset {preset} in {root}/ to resume; start"
                    " one without --resume, or name its folder with --out."
                )
            path = found[-1].parent
        elif not first_process():
            raise errors.ConfigError("a run of several processes needs --out, the same for all.")
        else:
            path = root / f"{experiment}-{preset}-{now:%Y%m%d-%H%M%S}"
        self = cls(path, experiment, preset, config)
        stored = path / "config.json"
        if resume:
            self._check(stored)
        elif stored.exists() and first_process():
            raise errors.ConfigError(
                f"{path} already holds a run; add --resume to go on with it, or choose another"
                " --out."
            )
        self.made = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        return self

    def refused(self) -> None:
        """Takes back what a run wrote that was refused before it found anything: its config, and
        files that it opened and wrote nothing to."""
        stored = self.path / "config.json"
        there = [*self.path.iterdir()] if first_process() else []
        bare = all(f.is_file() and not f.stat().st_size for f in there if f != stored)
        if stored in there and bare:
            for file in there:
                file.unlink()
            if self.made:
                self.path.rmdir()

    def _check(self, stored: pathlib.Path) -> None:
        if not stored.is_file():
            raise errors.ConfigError(f"{stored.parent} holds no run to resume (no config.json).")
        old = json.loads(stored.read_text())
        if old["experiment"] != self.experiment:
            raise errors.ConfigError(
                f"{stored.parent} holds a run of {old['experiment']}, not of {self.experiment};"
                " choose another --out."
            )
        new = json.loads(json.dumps(_plain(dataclasses.asdict(self.config))))
        differ = [
            k
            for k in {**old["config"], **new}
            if old["config"].get(k) != new.get(k) and k != "parts"  # what is done, not how
        ]
        if differ:
            shown = ", ".join(
                f"{k} is {new.get(k)!r} but was {old['config'].get(k)!r}" for k in differ
            )
            raise errors.ConfigError(
                f"the run in {stored.parent} has another config: {shown}; resume it with the"
                " fields it was started with, or start a new one with another --out."
            )
        self.resolved = old.get("resolved", {})

    def resolve(self, **choices: Any) -> None:
        """Records what the run decided by measurement, so that --resume decides the same."""
        self.resolved |= choices
        self.write_config()

    def write_config(self) -> None:
        """config.json: the config as it runs, what was decided, versions and device."""
        self.write_json(
            "config.json",
            {
                "experiment": self.experiment,
                "preset": self.preset,
                "config": dataclasses.asdict(self.config),
                "resolved": self.resolved,
                "versions": versions(),
                "device": device(),
                "command": " ".join(["python -m experiments", *sys.argv[1:]]),
            },
        )

    def write_result(self, result: Result, seconds: float | None) -> None:
        """result.json, as the run contract has it."""
        self.write_json(
            "result.json",
            {
                "experiment": self.experiment,
                "preset": self.preset,
                "seed": getattr(self.config, "seed", None),
                "device": device(),
                "versions": versions(),
                "seconds": None if seconds is None else round(seconds, 1),
                "metrics": {k: dataclasses.asdict(m) for k, m in result.metrics.items()},
                "headline": result.headline,
                "details": result.details,
            },
        )

    def write_json(self, name: str, value: Any) -> None:
        """A whole file or none.

        What is not finite becomes null: a run that has ended is not lost for one number.
        """
        if not first_process():
            return
        with atomic.replace(self.path / name) as fresh:
            fresh.write_text(json.dumps(_plain(value), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    from fl_jax.train import metrics  # imports JAX

    return metrics.plain(value)
