"""The grid's table, heat map and detection curves."""

import json
import pathlib
from typing import Any

import numpy as np

from experiments import plots
from experiments.backdoor.grid import Found
from experiments.backdoor.grid_config import UNTARGETED, Grid
from fl_jax.core import roc

PLAIN = "mean"  # the defence that detection is measured against: it lets every attack go on


def summarise(grid: Grid, defences: list[str], found: Found) -> dict[str, Any]:
    """JSON: per cell the damage after the attack and at the end, per attack and detector the area.

    The areas are left out where the plain mean is not among the defences. A targeted attack's
    damage is its backdoor accuracy, an untargeted one's what the main accuracy lost. Means over
    seeds, in percent, with the smallest and largest seed. "left out" is the percentage of the
    attackers' updates that were not finite, so that no rule saw them.
    """
    cells = []
    for d, defence in enumerate(defences):
        for a, attack in enumerate(found.attacks):
            main, backdoor = 100 * found.main[d, a], 100 * found.backdoor[d, a]
            after = grid.attacked - 1
            sent = found.finite[d, a][found.malicious[d, a]]
            cells.append(
                {
                    "defence": defence,
                    "attack": attack,
                    "main": _spread(main[:, after]),
                    "main at the end": _spread(main[:, -1]),
                    "backdoor": _spread(backdoor[:, after]),
                    "backdoor at the end": _spread(backdoor[:, -1]),
                    "left out": round(100 * float(np.mean(~sent)), 1) if sent.size else 0.0,
                }
            )
    return {
        "pretrained": grid.pretrained,
        "rounds": {"attacked": grid.attacked, "after": grid.after},
        "cohort": grid.cohort,
        "attackers": grid.attackers,
        "seeds": int(found.main.shape[2]),
        "main before": _spread(100 * found.before["main"][0]),
        "backdoor before": {
            attack: _spread(100 * found.before["backdoor"][a])
            for a, attack in enumerate(found.attacks)
        },
        "cells": cells,
        **({"detection": areas(found, defences.index(PLAIN))} if PLAIN in defences else {}),
    }


def _spread(values) -> list[float]:
    """[mean, smallest, largest]."""
    return [round(float(v), 1) for v in (values.mean(), values.min(), values.max())]


def areas(found: Found, d: int) -> dict[str, dict[str, float]]:
    """attack -> detector -> area under the ROC, over the attacked rounds against defence `d`."""
    out: dict[str, dict[str, float]] = {}
    for a, attack in enumerate(found.attacks):
        if attack != "none":
            pairs = _pairs(found, d, a)
            out[attack] = {name: round(roc.area(*pair), 3) for name, pair in pairs.items()}
    return out


def _pairs(found: Found, d: int, a: int):
    """detector -> (scores, who was malicious), of the rounds in which the attack took place.

    Rounds of a model that an attack has made diverge have no scores (NaN), and do not count; a
    detector with no other rounds is left out.
    """
    malicious = found.malicious[d, a]
    out = {}
    for name, all_scores in found.scores.items():
        scores = all_scores[d, a]
        told = malicious.any(axis=-1) & ~np.isnan(scores).any(axis=-1)
        if told.any():
            out[name] = (scores[told].ravel(), malicious[told].ravel())
    return out


def write(
    path: pathlib.Path, grid: Grid, defences: list[str], found: Found, about: dict[str, Any]
) -> str:
    """Writes grid.json, grid.png and, of the plain mean, roc.png; returns the main figures."""
    summary = {**summarise(grid, defences, found), **about}
    (path / "grid.json").write_text(json.dumps(summary, indent=1) + "\n")
    heat(summary, defences, path / "grid.png")
    if PLAIN in defences:
        curves(found, defences.index(PLAIN), path / "roc.png")
    return tables(summary, defences)


def matrix(summary, defences, key: str) -> np.ndarray:
    """(attacks, defences) means of a figure."""
    by = {(c["attack"], c["defence"]): c[key][0] for c in summary["cells"]}
    return np.array([[by[a, d] for d in defences] for a in names(summary)])


def names(summary) -> list[str]:
    """The attacks, in their order."""
    return list(summary["backdoor before"])


def damage(summary, defences, suffix: str = "") -> np.ndarray:
    """(attacks, defences): backdoor accuracy, or what the main accuracy lost, in percent.

    Lost is what it was before the attack and is no more; of models that were not pre-trained, what
    training without an attack reaches under the same defence, and training with it does not.
    """
    backdoor = matrix(summary, defences, "backdoor" + suffix)
    main = matrix(summary, defences, "main" + suffix)
    unharmed = main[names(summary).index("none")] if "none" in names(summary) else None
    before = summary["main before"][0] if summary["pretrained"] else unharmed
    lost = before - main
    rows = np.array([a in UNTARGETED for a in names(summary)])[:, None]
    return np.where(rows, np.maximum(lost, 0), backdoor)


def tables(summary, defences) -> str:
    """damage / main accuracy of every cell, in Markdown: backdoors, then untargeted attacks; then
    whose attackers sent what is no number."""
    hurt, main = damage(summary, defences), matrix(summary, defences, "main")
    attacks = names(summary)
    parts = []
    for targeted in (True, False):
        columns = [i for i, name in enumerate(attacks) if (name not in UNTARGETED) == targeted]
        if not columns:
            continue
        lines = [
            "| | " + " | ".join(attacks[a] for a in columns) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for d, defence in enumerate(defences):
            cells = [f"{hurt[a, d]:.0f} / {main[a, d]:.0f}" for a in columns]
            lines.append(f"| {defence} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    parts += [
        f"{cell['left out']:g} % of the updates of {cell['attack']} under {cell['defence']} were"
        " not finite and were left out, whatever the rule."
        for cell in summary["cells"]
        if cell["left out"]
    ]
    return "\n\n".join(parts)


def heat(summary, defences, path: pathlib.Path) -> None:
    """The grid in colour: damage large, main accuracy small below it."""
    plt = plots.pyplot()
    hurt, main = damage(summary, defences).T, matrix(summary, defences, "main").T
    attacks = names(summary)
    figure, axis = plt.subplots(figsize=(2.3 + 0.6 * len(attacks), 2.2 + 0.38 * len(defences)))
    axis.imshow(hurt, cmap="YlOrRd", vmin=0, vmax=100, aspect="auto")
    for d in range(len(defences)):
        for a in range(len(attacks)):
            colour = "white" if hurt[d, a] > 60 else "black"
            axis.text(a, d - 0.08, f"{hurt[d, a]:.0f}", ha="center", color=colour, fontsize=10)
            axis.text(a, d + 0.32, f"{main[d, a]:.0f}", ha="center", color=colour, fontsize=6.5)
    axis.set_xticks(range(len(attacks)), attacks, rotation=35, ha="right", fontsize=9)
    axis.set_yticks(range(len(defences)), defences, fontsize=9)
    split = sum(a not in UNTARGETED for a in attacks) - 0.5
    axis.axvline(split, color="black", lw=1.2)
    axis.set_title(
        f"{summary['attackers']} of {summary['cohort']} participants attack in"
        f" {summary['rounds']['attacked']} rounds, {summary['seeds']} seeds.\n"
        "Large: backdoor accuracy, right of the line points of main accuracy lost;"
        " small: main accuracy (%)",
        fontsize=10,
    )
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


SHOWN = ("model replacement", "train-and-scale", "constrain-and-scale", "adaptive", "Neurotoxin")


def curves(found: Found, d: int, path: pathlib.Path) -> None:
    """ROC of each detector on the attacks that scale or hide, against defence `d`."""
    plt = plots.pyplot()
    detectors = list(found.scores)
    shown = [attack for attack in SHOWN if attack in found.attacks]
    width = 3.2 * len(detectors)
    figure, axes = plt.subplots(1, len(detectors), figsize=(width, 3.5), sharey=True)
    for axis, name in zip(axes, detectors, strict=True):
        above: list[str] = []
        for attack in shown:
            pairs = _pairs(found, d, found.attacks.index(attack))
            if name not in pairs:
                continue
            curve = roc.curve(*pairs[name])
            axis.plot(curve.fpr, curve.tpr, lw=1.8, label=attack)
            above.append(f"{curve.area:.2f}")
        axis.text(0.98, 0.03, "areas " + ", ".join(above), ha="right", fontsize=7)
        axis.plot([0, 1], [0, 1], color="grey", lw=0.6, ls=":")
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("false alarms", fontsize=9)
    axes[0].set_ylabel("attackers found", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, ncol=max(len(shown), 1), loc="lower center", frameon=False, fontsize=9
    )
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)
