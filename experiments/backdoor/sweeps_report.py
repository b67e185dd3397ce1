"""Tables and pictures of the sweeps and of the word task."""

import json
import pathlib
from typing import Any

import numpy as np

from experiments import plots
from experiments.backdoor import summary
from experiments.backdoor.sweeps import Curves

LATER = 11  # rounds behind the attack at which the main accuracy is compared


def rows(labels: list[str], curves: Curves) -> list[dict[str, Any]]:
    """One row a cell, in percent: [mean over seeds, smallest, largest, `summary.margin`]."""
    out = []
    for label, main, backdoor in zip(labels, curves.main, curves.backdoor, strict=True):
        main, backdoor = 100 * main, 100 * backdoor
        later = min(LATER, main.shape[1] - 1)
        spread = lambda v: [
            None if x is None else round(float(x), 1)
            for x in (v.mean(), v.min(), v.max(), summary.margin(v))
        ]
        out.append(
            {
                "cell": label,
                "backdoor before": spread(backdoor[:, 0]),
                "backdoor after 1 round": spread(backdoor[:, 1]),
                "backdoor, mean over rounds": spread(backdoor[:, 1:].mean(axis=1)),
                "backdoor at the end": spread(backdoor[:, -1]),
                "half-life": summary.half_life(backdoor),
                "main before": spread(main[:, 0]),
                "main after 1 round": spread(main[:, 1]),
                "main 10 rounds later": spread(main[:, later]),
            }
        )
    return out


def table(found: list[dict[str, Any]]) -> str:
    """The rows in Markdown: mean ± half of the 95 % interval (smallest-largest)."""
    keys = list(found[0])

    def show(v):
        if isinstance(v, list):
            return f"{v[0]:.1f}{summary.plus(v[3])} ({v[1]:.0f}-{v[2]:.0f})"
        return "-" if v is None else v

    lines = ["| " + " | ".join(keys) + " |", "|---" * len(keys) + "|"]
    return "\n".join(lines + [f"| {' | '.join(str(show(r[k])) for k in keys)} |" for r in found])


def write(
    path: pathlib.Path, stem: str, found: dict[str, tuple[list[str], Curves]], about: dict[str, Any]
) -> str:
    """Writes STEM.json and STEM.png; returns the tables."""
    tables = {name: rows(*pair) for name, pair in found.items()}
    (path / f"{stem}.json").write_text(json.dumps({"sweeps": tables, **about}, indent=1) + "\n")
    draw(found, path / f"{stem}.png")
    return "\n\n".join(f"{name}\n\n{table(part)}" for name, part in tables.items())


def draw(found: dict[str, tuple[list[str], Curves]], path: pathlib.Path) -> None:
    """A panel a sweep: backdoor accuracy (thick, mean and range of seeds) and main (dashed)."""
    plt = plots.pyplot()
    figure, axes = plt.subplots(
        1, len(found), figsize=(1 + 4.3 * len(found), 4.0), sharey=True, squeeze=False
    )
    for axis, (name, (labels, curves)) in zip(axes[0], found.items(), strict=True):
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(labels)))
        for label, main, backdoor, colour in zip(
            labels, curves.main, curves.backdoor, colours, strict=True
        ):
            at = np.arange(backdoor.shape[1])
            axis.plot(at, 100 * backdoor.mean(0), color=colour, lw=2, label=label)
            low, high = 100 * backdoor.min(0), 100 * backdoor.max(0)
            axis.fill_between(at, low, high, color=colour, alpha=0.12, lw=0)
            axis.plot(at, 100 * main.mean(0), color=colour, lw=0.8, ls="--")
        axis.set_title(name, fontsize=11)
        axis.set_xlabel("round")
        axis.set_ylim(-2, 102)
        axis.legend(fontsize=7.5, loc="best", framealpha=0.8, edgecolor="none")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("accuracy, % (thick: backdoor, dashed: main)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
