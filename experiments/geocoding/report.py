"""Tables and pictures of a run."""

from experiments import plots, result

RADII = ("acc@25", "acc@161")


def report(outcome: result.Result, directory: result.RunDirectory) -> str:
    """Writes the pictures and report.md; returns the text that ends the run."""
    details = outcome.details
    draw_errors(details, directory.path / "errors.png")
    draw_calibration(details, directory.path / "calibration.png")
    draw_map(details, directory.path / "map.png")
    text = table(details)
    examples = "\n\n".join(
        (
            check_table(details["checks"]),
            mention_table(details["mentions"]),
            example_table(details["examples"]),
        )
    )
    (directory.path / "report.md").write_text(
        f"# Text to place\n\nData: {details['origin']}; {details['items'][0]:,} training items,"
        f" {details['leaves']:,} leaves, {details['phrases']:,} phrases,"
        f" {details['parameters']:,} parameters. Knowledge and training:"
        f" {details['seconds_training']:.0f} s, {details['cpu_seconds_training']:.0f} CPU-seconds"
        f" (the machine may have been shared).\n\n{text}\n\n{probability_table(details)}\n\n"
        "![errors](errors.png)\n\n![calibration](calibration.png)\n\n![map](map.png)\n\n"
        f"{examples}\n\n{' '.join(details['notices'])}\n"
    )
    return f"{text}\n\n{probability_table(details)}\n\n{examples}"


def table(details) -> str:
    """Distances of every group and method."""
    lines = ["| texts | method | median km | mean km | Acc@25 | Acc@161 | AUC |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, s in details["distances"].items():
        group, _, method = name.partition(", ")
        lines.append(
            f"| {group} | {method} | {s['median']:.1f} | {s['mean']:.0f} | {s['acc@25']:.3f} |"
            f" {s['acc@161']:.3f} | {s['auc']:.3f} |"
        )
    return "\n".join(lines)


def probability_table(details) -> str:
    """Leaves that are served, coverage, calibration."""
    lines = ["| likeliest leaf | flat | hP | hR | hF |", "|---|---|---|---|---|"]
    for name, s in details["cells"].items():
        lines.append(
            f"| {name} | {s['flat']:.3f} | {s['hP']:.3f} | {s['hR']:.3f} | {s['hF']:.3f} |"
        )
    lines.append("| published: t5-base, 8 M descriptions, 5000/8 | 0.515 | - | 0.791 | - |")
    covered = ", ".join(f"{m}: {v:.1%}" for m, v in details["coverage"].items())
    raw = ", ".join(f"{m}: {v:.1%}" for m, v in details["coverage_raw"].items())
    areas = ", ".join(f"{m}: {v:,.0f}" for m, v in details["median_area_km2"].items())
    means = ", ".join(f"{m}: {v:,.0f}" for m, v in details["area_km2"].items())
    ece = ", ".join("-" if e is None else f"{e:.3f}" for e in details["ece"])
    return "\n".join([*lines, "", *_confidence(details)]) + (
        f"\n\nCoverage of the regions that are returned: {covered} (before calibration of masses:"
        f" {raw}); of the densest cell alone, the smallest region:"
        f" {details['coverage_of_a_cell']:.1%}."
        f" Median area, km2: {areas}; mean: {means}. Expected calibration error by level: {ece};"
        f" of the confidence: {details['confidence_ece']:.3f}. Negative log density:"
        f" {details['nll_per_km2']:.2f} nats to a km2 ({details['in_no_cell']:.2%} of the items lie"
        f" in no cell). Right country: {details['countries']:.3f}."
        f" Left without an answer: {details['silent']:.1%}. Point inside the likeliest leaf:"
        f" {details['point_in_leaf']:.1%}."
    )


def _confidence(details) -> list[str]:
    """How often answers are right that are said to be with a probability."""
    said, right = details["confidence_mean"]
    lines = ["| confidence | said | right within 161 km | items |", "|---|---|---|---|"]
    for p, found, count in details["confidence"]:
        low = min(int(10 * p), 9) / 10  # ten bins
        lines.append(f"| {low:.1f} to {low + 0.1:.1f} | {p:.3f} | {found:.3f} | {count} |")
    count = sum(n for _, _, n in details["confidence"])
    return [*lines, f"| all | {said:.3f} | {right:.3f} | {count} |"]


def check_table(found) -> str:
    """How many of the texts whose answer everyone knows are answered so."""
    lines = ["| texts whose answer is known | right within 50 km | wrong |", "|---|---|---|"]
    for name, s in found.items():
        lines.append(f"| {name} | {s['right']} of {s['of']} | {'; '.join(s['wrong']) or '-'} |")
    return "\n".join(lines)


def mention_table(found) -> str:
    """How well the places in sentences are found."""
    if found is None:
        return "Places in sentences: this geocoder cannot tell names from words; calibrate it anew."
    lines = ["| sentences | places | precision | recall | F1 | right country |"]
    lines.append("|---|---|---|---|---|---|")
    for group in ("seen", "unseen"):
        s = found[group]
        lines.append(
            f"| {group} while it was made | {s['names']} | {s['precision']:.3f} |"
            f" {s['recall']:.3f} | {s['F1']:.3f} | {s['right country']:.3f} |"
        )
    stories = found["stories"]
    if stories["sentences"]:
        share = stories["with a place"] / stories["sentences"]
        lines.append("")
        lines.append(
            f"A place is found in {share:.1%} of {stories['sentences']:,} sentences of XCOPA, which"
            " name hardly any."
        )
    return "\n".join(lines)


def example_table(rows) -> str:
    """What a few texts are answered."""
    lines = [
        "| text | place | lat, lon | within 161 km | likeliest leaf |",
        "|---|---|---|---|---|",
    ]
    for r in rows:
        where = "-" if r["lat"] is None else f"{r['lat']}, {r['lon']}"
        lines.append(
            f"| {r['text']} | {r['place'] or '-'} | {where} | {r['confidence']:.2f} |"
            f" {r['cell']} ({r['cell_probability']:.2f}) |"
        )
    return "\n".join(lines)


COLOURS = {
    "ours with snap": "#c1272d",
    "ours without snap": "#e08a3c",
    "dictionary": "#0b6aa2",
    "TF-IDF nearest neighbour": "#6a9f58",
    "constant": "#999999",
}


def draw_errors(details, path) -> None:
    """Share of test items within each distance, and the training curve."""
    import numpy as np

    plt = plots.pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    edges = np.logspace(0, np.log10(20040), 40)
    for name, counts in details["errors"].items():
        share = np.cumsum(counts) / np.sum(counts)
        left.plot(edges, share[: len(edges)], color=COLOURS[name], label=name, lw=2)
    left.axvline(161, color="k", lw=0.6, ls=":")
    left.set(
        xscale="log", xlabel="error, km (dotted: 161)", ylabel="share of items within", ylim=(0, 1)
    )
    left.legend(frameon=False, fontsize=9)
    curve = np.array(details.get("curve") or np.zeros((0, 4)))
    for column, name in enumerate(("path: -log p(leaf)", "evidence alone", "pointer"), 1):
        right.plot(curve[:, 0], curve[:, column], label=name, lw=1)
    right.set(xlabel="step", ylabel="training loss, nats")
    right.legend(frameon=False, fontsize=9)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_calibration(details, path) -> None:
    """How often the region that is returned holds the truth."""
    import numpy as np

    plt = plots.pyplot()
    figure, axis = plt.subplots(figsize=(4.6, 4.4))
    rows = np.array(details["reliability"])
    axis.plot([0, 1], [0, 1], color="#999999", lw=0.8)
    axis.plot(rows[:, 0], rows[:, 2], color="#e08a3c", label="temperatures alone")
    axis.plot(rows[:, 0], rows[:, 1], color="#c1272d", label="masses calibrated too", lw=2)
    axis.set(
        xlabel="probability asked for",
        ylabel="regions that hold the truth",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axis.legend(frameon=False, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_map(details, path) -> None:
    """Test items where they are, coloured by the error, and where they were put."""
    import json

    import numpy as np
    from matplotlib.collections import LineCollection

    from fl_jax.geocoding import sphere
    from fl_jax.geocoding.service import page

    plt = plots.pyplot()
    rows = np.array(details["map"])
    km = sphere.distance(rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3])
    figure, axis = plt.subplots(figsize=(12, 6))
    rings = json.loads(page.outlines())
    axis.add_collection(LineCollection(rings, colors="#bbbbbb", linewidths=0.4))
    for row, distance in zip(rows, km, strict=True):
        if distance > 161 and abs(row[1] - row[3]) < 180:
            axis.plot(row[[1, 3]], row[[0, 2]], color="#c1272d", lw=0.25, alpha=0.5)
    dots = axis.scatter(rows[:, 3], rows[:, 2], c=np.log10(np.maximum(km, 1)), s=7, cmap="turbo",
                        vmin=0, vmax=4, zorder=3)  # fmt: skip
    bar = figure.colorbar(dots, ax=axis, ticks=[0, 1, 2, 3, 4], shrink=0.8)
    bar.ax.set_yticklabels(["1 km", "10", "100", "1,000", "10,000"])
    axis.set(xlim=(-180, 180), ylim=(-60, 80), xticks=[], yticks=[])
    axis.set_title(
        "held-out items, coloured by the error; lines lead to wrong answers", fontsize=10
    )
    axis.text(-178, -58, " ".join(details["notices"]), fontsize=6, color="#777777")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
