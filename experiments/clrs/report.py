"""The tables and the pictures."""

import statistics

from algorithmic.clrs import evaluate
from experiments import plots, result
from experiments.clrs import published, summary
from fl_jax.train import metrics

OURS, THEIRS = "#0b6aa2", "#c1272d"
FEW = 10  # algorithms that still have room for bars
GREYS = ("#d9d9d9", "#bdbdbd", "#969696", THEIRS, "#e8a33d")


def report(outcome: result.Result, directory: result.RunDirectory) -> str:
    """Writes the pictures and report.md; returns the text that ends the run."""
    rows = metrics.read(directory.path / "metrics.jsonl")
    found = summary.scores(rows)
    n = summary.BENCHMARK if summary.BENCHMARK in found else max(found)
    picture = directory.path / "scores.png"
    if len(found[n]) > FEW and n == summary.BENCHMARK:
        draw_dots(found[n], picture)
    else:
        draw_bars(found[n], n, picture)
    accepting, own_stop = summary.scores(rows, "accepting"), summary.scores(rows, "own_stop")
    draw_sizes(found, accepting, directory.path / "sizes.png", outcome.details["largest"])
    draw_losses(summary.losses(rows), directory.path / "losses.png")
    draw_hints(summary.hints(rows), max(found), directory.path / "hints.png")
    text = table(found, accepting, own_stop)
    details = outcome.details
    (directory.path / "report.md").write_text(
        f"# A generalist neural algorithmic learner\n\nOne model of {details['parameters']:,}"
        f" parameters, {details['rounds']} rounds, {details['seeds']} seed(s), preset"
        f" {directory.preset}.\n\n![scores](scores.png)\n\n{text}\n\n"
        f"{notes(details['largest'], summary.BENCHMARK in found)}\n"
        "![scores by size](sizes.png)\n\n![losses](losses.png)\n\n![hints](hints.png)\n"
    )
    return text


def notes(largest: int, benchmark: bool) -> str:
    """What the table shows: of models trained on so many nodes at most, with the published columns
    or without."""
    text = NOTES + f"trained on inputs of up to {largest} nodes"
    return f"{text}; {BESIDE}" if benchmark else f"{text}.\n"


NOTES = """Scores are micro-F1 (masks) or accuracy (everything else) over all test samples, in %:
the benchmark's official score, which compares with the one answer that its own code finds, and
beside it ("any") the same against a right answer near to the network's, where there are several:
another shortest path, spanning tree, search forest, order of equal keys and so on. The model
"""
BESIDE = """64 is the benchmark's test. The published columns are of
single-task models at n = 64, from memory and checked against the papers' means of families.
"""


def table(
    found: dict[int, dict[str, list[float]]],
    accepting: dict[int, dict[str, list[float]]] | None = None,
    own_stop: dict[int, dict[str, list[float]]] | None = None,
) -> str:
    """All tasks by size in Markdown, beside the published columns if the benchmark's size is among
    them; then the mean of the tasks and the mean of their families.

    Args:
        found: n -> task -> official scores over seeds.
        accepting: the same of scores that accept every right answer, a second column each.
        own_stop: the official scores of a network that decides itself when to stop.
    """
    sizes = sorted(found)
    columns = []
    for n in sizes:
        columns.append((f"ours, n = {n}", found[n]))
        if accepting and n in accepting:
            columns.append((f"any, n = {n}", accepting[n]))
        if own_stop and n in own_stop:
            columns.append((f"own stop, n = {n}", own_stop[n]))
    theirs = published.COLUMNS if summary.BENCHMARK in found else ()
    head = ["algorithm", *(what for what, _ in columns)]
    head += [f"{column}, n = {summary.BENCHMARK}" for column in theirs]
    lines = [head, ["---"] * len(head)]
    for name in found[sizes[-1]]:
        ours = [_with_deviation(by_task.get(name)) for _, by_task in columns]
        lines.append([name, *ours, *(f"{published.SCORES[name][c]:.2f}" for c in theirs)])
    names = list(found[sizes[-1]])
    theirs = [{k: [published.SCORES[k][c]] for k in names} for c in theirs]
    for which, what in (("algorithms", f"mean of {len(names)}"), ("families", "of families")):
        of = [_with_deviation(_means(by_task, which)) for _, by_task in columns]
        of += [f"{_means(by_task, which)[0]:.2f}" for by_task in theirs]
        lines.append([f"**{what}**", *of])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _means(by_task, which):
    """The mean over the tasks, or over their families, of every seed."""
    seeds = min(len(values) for values in by_task.values())
    return [evaluate.means({k: v[i] for k, v in by_task.items()})[which] for i in range(seeds)]


def _with_deviation(values):
    if not values:
        return ""
    spread = summary.deviation(values)
    tail = "" if spread is None else f" ± {spread:.2f}"
    return f"{statistics.mean(values):.2f}{tail}"


def _axes(width: float, height: float):
    plt = plots.pyplot()
    figure, axis = plt.subplots(figsize=(width, height))
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def _save(figure, path) -> None:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_bars(scores: dict[str, list[float]], n: int, path) -> None:
    """A group of bars per algorithm: the published columns at the benchmark's size, then ours with
    its seeds."""
    names = list(scores)
    figure, axis = _axes(2 + 1.4 * len(names), 4)
    columns = [*(published.COLUMNS if n == summary.BENCHMARK else ()), "ours"]
    width = 0.85 / len(columns)
    colours = (*GREYS, OURS)[-len(columns) :]
    for c, (column, colour) in enumerate(zip(columns, colours, strict=True)):
        at = [i + (c - len(columns) / 2 + 0.5) * width for i in range(len(names))]
        if column == "ours":
            heights = [statistics.mean(scores[name]) for name in names]
            for x, name in zip(at, names, strict=True):
                axis.plot([x] * len(scores[name]), scores[name], "k.", ms=3)
        else:
            heights = [published.SCORES[name][column] for name in names]
        label = f"ours, one model (n = {n})" if column == "ours" else column
        axis.bar(at, heights, width, color=colour, label=label)
    axis.set_xticks(range(len(names)), [name.replace("_", "\n", 1) for name in names], fontsize=8)
    axis.set_ylim(0, 103)
    axis.set_ylabel("micro-F1, %")
    axis.legend(ncol=3, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.18))
    _save(figure, path)


def draw_dots(scores: dict[str, list[float]], path) -> None:
    """A row of dots per algorithm at the benchmark's size, for more of them than bars can show:
    the published columns, and ours with its seeds."""
    names = list(scores)
    figure, axis = _axes(7, 1.2 + 0.24 * len(names))
    for column, colour in zip(published.COLUMNS, GREYS, strict=True):
        values = [published.SCORES[name][column] for name in names]
        axis.scatter(values, range(len(names)), s=22, color=colour, label=column)
    for i, name in enumerate(names):
        if len(scores[name]) > 1:
            axis.plot(scores[name], [i] * len(scores[name]), "k.", ms=3, zorder=4)
    means = [statistics.mean(scores[name]) for name in names]
    label = f"ours (n = {summary.BENCHMARK})"
    axis.scatter(means, range(len(names)), s=44, color=OURS, label=label, zorder=3)
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("micro-F1, %")
    axis.legend(ncol=3, fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _save(figure, path)


def draw_sizes(
    found: dict[int, dict[str, list[float]]],
    accepting: dict[int, dict[str, list[float]]],
    path,
    largest: int,
) -> None:
    """Scores by size of the input, those of training (up to `largest`) shaded; dashed where every
    right answer counts, if that differs."""
    figure, axis = _axes(6, 4)
    sizes = sorted(found)
    for name in found[sizes[0]]:
        official = [statistics.mean(found[n][name]) for n in sizes]
        (line,) = axis.plot(sizes, official, "o-", ms=3, label=name)
        if all(name in accepting.get(n, {}) for n in sizes):
            more = [statistics.mean(accepting[n][name]) for n in sizes]
            if more != official:
                axis.plot(sizes, more, "--", lw=1, color=line.get_color())
    axis.axvspan(0, largest, color="k", alpha=0.05, lw=0)
    axis.set_xlim(left=min(sizes) / 2)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, sizes)
    axis.set_xlabel("nodes (shaded: sizes of the training inputs)")
    axis.set_ylabel("micro-F1, %")
    axis.legend(fontsize=7, frameon=False)
    _save(figure, path)


def draw_hints(right: dict[str, list[float]], n: int, path) -> None:
    """How right the hints are along a run, when the network is fed its own."""
    figure, axis = _axes(6, 4)
    for name, values in right.items():
        axis.plot(range(1, len(values) + 1), values, lw=1, label=name)
    axis.set_ylim(0, 103)
    axis.set_xlabel(f"step of the algorithm, n = {n}")
    axis.set_ylabel("right hints, %: F1 of masks, else accuracy")
    axis.legend(fontsize=7, frameon=False)
    _save(figure, path)


def draw_losses(curves: dict[int, dict[str, list[float]]], path) -> None:
    """Training losses of every task on the largest size, of the first seed."""
    figure, axis = _axes(6, 4)
    for _, curve in sorted(curves.items())[:1]:
        for name, values in curve.items():
            if name != "round":
                axis.plot(curve["round"], values, lw=1, label=name)
        axis.set_yscale("log")
        axis.legend(fontsize=7, frameon=False)
    axis.set_xlabel("round")
    axis.set_ylabel("loss, sum over probes")
    _save(figure, path)
