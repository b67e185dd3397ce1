"""The eight systems: what `python -m experiments` lists, and what their folders must offer."""

import importlib
import json
import pathlib
from typing import Any, NamedTuple

from fl_jax.core import errors


class System(NamedTuple):
    """One published system."""

    name: str  # its folder in experiments/ and its command
    paper: str


SYSTEMS = (
    System("backdoor", "How To Backdoor Federated Learning"),
    System("leakage", "Exploiting Unintended Feature Leakage in Collaborative Learning"),
    System("membership", "Membership Inference Attacks Against Machine Learning Models"),
    System("geocoding", "Transformer-based geocoding"),
    System("bloom", "BLOOM, and BLOOMZ by multitask fine-tuning"),
    System("disks", "Machine-learning-accelerated chemistry of protoplanetary disks"),
    System("clrs", "A Generalist Neural Algorithmic Learner"),
    System("shuffle", "Stronger Privacy Amplification by Shuffling"),
)
NAMES = tuple(system.name for system in SYSTEMS)
HERE = pathlib.Path(__file__).parent


def built(name: str) -> bool:
    """Whether the system can be run yet."""
    return (HERE / name / "run.py").is_file()


def headline(name: str) -> dict[str, Any] | None:
    """What the table shows of a system: the `headline` of its committed results.json.

    A dictionary with `what`, `ours`, `published` (None where nobody published it) and `command`;
    None while the system has no results.
    """
    path = HERE / name / "results.json"
    return json.loads(path.read_text())["headline"] if path.is_file() else None


def module(name: str, part: str):
    """`experiments.<name>.<part>`, for a system that is built.

    Raises:
        ConfigError: no such system, or none yet.
    """
    errors.one_of("system", name, NAMES)
    if not built(name):
        raise errors.ConfigError(
            f"{name} is not built yet; built are {', '.join(n for n in NAMES if built(n))}."
        )
    return importlib.import_module(f"experiments.{name}.{part}")


def table() -> str:
    """The eight systems, one line each: command, paper, our number, the published one."""
    rows = [("system", "paper", "our number", "published")]
    for system in SYSTEMS:
        head = headline(system.name)
        if head is None:
            rows.append((system.name, system.paper, "not built yet", ""))
        else:
            published = head["published"] if head["published"] is not None else "-"
            rows.append((system.name, system.paper, f"{head['what']}: {head['ours']}", published))
    widths = [max(len(str(row[i])) for row in rows) for i in range(4)]
    lines = ["  ".join(str(c).ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)
