"""A run of an algorithm drawn step by step: its hints, as the network is asked to predict them."""

import math

import numpy as np

from algorithmic.clrs import specs
from experiments import plots

PANELS, COLUMNS = 8, 4
PLAIN, CHOSEN, ARROW = "#e6e6e6", "#8fc1de", "#0b6aa2"


def moments(length: int, panels: int = PANELS) -> list[int]:
    """Which hints are drawn: all, or so many evenly spread from the first to the last.

    Example:
        >>> moments(3), moments(100, 4)
        ([0, 1, 2], [0, 33, 66, 99])
    """
    count = min(length, panels)
    return [round(i * (length - 1) / max(count - 1, 1)) for i in range(count)]


def places(inputs: dict) -> np.ndarray:
    """(n, 2) where nodes are drawn: points where they lie, arrays in a row at the height of their
    keys, all others on a circle."""
    n = len(inputs["pos"])
    if "x" in inputs and "y" in inputs:
        return np.stack([inputs["x"], inputs["y"]], axis=1).astype(float)
    key = np.asarray(inputs.get("key", np.zeros(0)))
    if "A" not in inputs and key.ndim == 1 and len(key) == n:
        return np.stack([np.arange(n) / n, key], axis=1).astype(float)
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def draw(name: str, run, path) -> None:
    """Writes a picture of one run, a panel per step.

    Nodes are filled where the first mask among the hints holds, pointers are arrows, one-hots are
    named below the panel. Where hints lie on edges, a panel is the first such hint as a matrix.

    Args:
        name: the algorithm.
        run: `trajectory.Trajectory` without a batch axis, as `clrs.trace` gives it.
        path: of the picture.
    """
    hints = specs.stage(name, specs.HINT)
    shown = moments(int(run.length))
    rows = math.ceil(len(shown) / COLUMNS)
    plt = plots.pyplot()
    figure, axes = plt.subplots(
        rows, min(len(shown), COLUMNS), figsize=(2.6 * COLUMNS, 2.8 * rows), squeeze=False
    )
    on_edges = next((k for k, p in hints.items() if p.location == specs.EDGE), None)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, t in zip(axes.flat, shown, strict=False):
        now = {k: np.asarray(v[t]) for k, v in run.hints.items()}
        if on_edges is not None:
            value = now[on_edges]
            value = np.argmax(np.abs(value), axis=-1) if value.ndim == 3 else value
            axis.imshow(value, cmap="viridis")
        else:
            _nodes(axis, hints, now, run.inputs)
        said = _words(hints, now)
        axis.set_title(f"step {t}" + (f"\n{said}" if said else ""), fontsize=8)
    what = on_edges or "arrows: " + ", ".join(_pointers(hints))
    figure.suptitle(f"{name} ({what})", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _pointers(hints):
    found = [k for k, p in hints.items() if p.location == specs.NODE and p.kind == specs.POINTER]
    return [k for k in found if k != "pred_h"] or found


def _words(hints, now):
    """Where the one-hots stand, four at most."""
    ones = [k for k, p in hints.items() if p.kind == specs.MASK_ONE]
    return "  ".join(f"{k} = {int(np.argmax(now[k]))}" for k in ones[:4])


def _nodes(axis, hints, now, inputs):
    at = places({k: np.asarray(v) for k, v in inputs.items()})
    n = len(at)
    if "A" in inputs:
        for i, j in zip(*np.nonzero(np.triu(np.asarray(inputs["A"]) != 0, 1)), strict=True):
            axis.plot(*at[[i, j]].T, color=PLAIN, lw=1, zorder=1)
    mask = next((k for k, p in hints.items() if p.kind == specs.MASK), None)
    held = now[mask] == 1 if mask and now[mask].shape == (n,) else np.zeros(n, bool)
    axis.scatter(*at.T, s=130, c=np.where(held, CHOSEN, PLAIN), edgecolors="k", lw=0.5, zorder=3)
    for i, (x, y) in enumerate(at):
        axis.text(x, y, str(i), ha="center", va="center", fontsize=7, zorder=4)
    for k in _pointers(hints)[:1]:
        for i, j in enumerate(now[k].astype(int)):
            if i != j:
                axis.annotate(
                    "", at[j], at[i], zorder=2,
                    arrowprops={"arrowstyle": "->", "color": ARROW, "shrinkA": 6, "shrinkB": 6},
                )  # fmt: skip
    axis.margins(0.15)
