"""Tables and pictures of a leakage run."""

import pathlib

import numpy as np

from experiments import plots, result
from experiments.leakage import summary
from fl_jax.train import metrics

BLUE, RED, GREY, GREEN = "#0b6aa2", "#c1272d", "#7a7a7a", "#2c8c4a"
# Precision at recall 1 on Yelp-health, by batch size [from memory of the paper, not verified].
YELP = {32: 0.92, 64: 0.84, 128: 0.75, 256: 0.66, 512: 0.62}

INFERENCE = """How well updates tell whether a batch has the property: AUC (0.5 = chance), mean over
seeds with Student's 95 % interval, worst and best seed. Then the main task's accuracy, and where it
was asked the AUC of two other classifiers, and that with the labels shuffled."""


def report(outcome: result.Result, directory: result.RunDirectory) -> str:
    """Writes the pictures and report.md; returns the text that ends the run."""
    details, path = outcome.details, directory.path
    rows = metrics.read(path / "metrics.jsonl")
    _draw_roc(rows, path)
    _draw_curves(details, path)
    _draw_timeline(rows, path, directory.config.timeline)
    _draw_words(summary.words(details["words"]), path)
    _draw_inversion(path)
    about = details["about"]
    parts = [INFERENCE, inference_table(details["table"])]
    for line in details["table"]:
        if "shares" in line:
            parts.append(share_table(line))
        if "error" in line:
            parts.append(timeline_text(line))
    if details.get("active"):
        parts.append(active_table(details["active"]))
    if details.get("privacy"):
        parts.append(privacy_text(details["privacy"], directory.config))
    if details["words"]:
        parts.append(words_table(summary.words(details["words"])))
    if details["inversion"]:
        parts.append(inversion_table(details["inversion"]))
    text = "\n\n".join(parts)
    pictures = "\n\n".join(f"![{p.stem}]({p.name})" for p in sorted(path.glob("*.png")))
    (path / "report.md").write_text(
        "# What collaborative learning gives away\n\n"
        f"Data: {about['origin']}, {about['records']} records. Main task: {about['main']}."
        f" Property: {about['property']}, {about['frequency']:.1%} of the records, Pearson"
        f" correlation with the main label {about['correlation']:.5f}. Preset"
        f" {directory.preset}.\n\n{text}\n\n{pictures}\n"
    )
    return text


def _rank(correlation: float | None) -> str:
    return "none, the scores are all equal" if correlation is None else f"{correlation:.3f}"


def _plus(line: dict) -> str:
    half = line["half"]
    return f"{line['auc']:.3f}" + ("" if half is None else f" ± {half:.3f}")


def inference_table(table: list[dict]) -> str:
    """AUC of every arm: mean over seeds, Student's 95 % interval, worst and best seed."""
    lines = [
        "| part | arm | AUC | worst | best | seeds | main accuracy | logistic | mlp | shuffled |",
        "|" + "---|" * 10,
    ]
    for line in table:
        more = " | ".join(
            f"{line[name]:.3f}" if name in line else "" for name in ("logistic", "mlp", "shuffled")
        )
        lines.append(
            f"| {line['part']} | {line['name']} | **{_plus(line)}** | {line['min']:.3f}"
            f" | {line['max']:.3f} | {line['seeds']} | {line['accuracy']:.3f} | {more} |"
        )
    return "\n".join(lines)


def share_table(line: dict) -> str:
    """AUC by the share of property records in the batch."""
    shares = line["shares"]
    return (
        f"| share of property records | {' | '.join(shares)} |\n|{'---|' * (len(shares) + 1)}\n"
        f"| AUC | {' | '.join(f'{area:.3f}' for area in shares.values())} |\n\n"
        f"Spearman's correlation of score and share: {_rank(line['spearman'])}."
    )


def timeline_text(line: dict) -> str:
    """How exactly the property's coming and going is found."""
    shown = ", ".join(f"{a:+d}/{b:+d}" for a, b in line["error"])
    return (
        "Rounds by which the property's appearance/disappearance is missed, a pair a seed"
        f" ({line['name']}): {shown}."
    )


def active_table(rows: list[dict]) -> str:
    """Active against passive, paired by seed."""
    lines = [
        "| active | AUC over alpha = 0 | p, sign flips | p, t test | seeds |",
        "|" + "---|" * 5,
    ]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['mean']:+.3f} | {row['p']:.4f} | {row['t_p']:.4f}"
            f" | {row['pairs']} |"
        )
    return "\n".join(lines)


def privacy_text(rows: list[dict], config) -> str:
    """The privacy loss of each noise."""
    eps = lambda row: "above 1e6" if row["eps"] is None else f"{row['eps']:.3g}"
    shown = ", ".join(f"noise {row['noise']:g}: eps {eps(row)}" for row in rows)
    return (
        f"Participant-level DP over {config.rounds} rounds, bound {config.clip:g}, delta"
        f" {config.delta:g}, add-or-remove-one: {shown}."
    )


def words_table(rows: list[dict]) -> str:
    """Membership from the embedding layer."""
    lines = [
        "| texts in a batch | vocabulary | precision | recall | main accuracy | majority class"
        " | seeds | published, Yelp-health (recall 1) |",
        "|" + "---|" * 8,
    ]
    largest = max(row["vocabulary"] for row in rows)
    for row in rows:
        known = YELP.get(row["batch"]) if row["vocabulary"] == largest else None
        lines.append(
            f"| {row['batch']} | {row['vocabulary']} | {row['precision']:.3f}"
            f" | {row['recall']:.3f} | {row['accuracy']:.3f} | {row['majority']:.3f}"
            f" | {row['seeds']} | {known or ''} |"
        )
    return f"Texts: {rows[0]['texts']}.\n\n" + "\n".join(lines)


def inversion_table(rows: list[dict]) -> str:
    """How close reconstructions come."""
    lines = ["| inversion | PSNR of each image, dB | labels read off |", "|---|---|---|"]
    for row in rows:
        quality = ", ".join(f"{value:.1f}" for value in row["psnr"])
        lines.append(f"| {row['name']} | {quality} | {row['labels']:.0%} |")
    return "\n".join(lines)


def _figure(width: float, height: float, columns: int = 1):
    plt = plots.pyplot()
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[0]


def _save(figure, path: pathlib.Path) -> None:
    import matplotlib.pyplot as plt

    figure.subplots_adjust(wspace=0.3)
    figure.savefig(path, dpi=140, bbox_inches="tight")
    plt.close(figure)


def _draw_roc(rows: list[dict], path: pathlib.Path) -> None:
    """ROC of the two-party attack, a curve a seed, on linear and logarithmic axes."""
    curves = [row["roc"] for row in rows if "roc" in row]
    if not curves:
        return
    figure, (linear, logarithmic) = _figure(8.4, 3.6, 2)
    for false, true in curves:
        for axis in (linear, logarithmic):
            axis.plot(false, true, color=BLUE, lw=1.2, alpha=0.8)
    linear.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--")
    logarithmic.set(xscale="log", yscale="log", xlim=(1e-3, 1.05), ylim=(1e-3, 1.05))
    x = np.geomspace(1e-3, 1, 9)
    logarithmic.plot(x, x, color=GREY, lw=0.8, ls="--")
    for axis in (linear, logarithmic):
        axis.set_xlabel("false positive rate")
        axis.set_ylabel("true positive rate")
    figure.suptitle("Does the batch have the property? Two parties, a curve a seed", fontsize=10)
    _save(figure, path / "roc.png")


def _draw_curves(details: dict, path: pathlib.Path) -> None:
    """AUC over the number of participants, over the share, over alpha: what was run of them."""
    table = details["table"]
    panels = []
    parties = [ln for ln in table if ln["part"] == "parties" and "," not in ln["name"]]
    if len(parties) > 1:
        panels.append(("participants K", [int(ln["name"][4:]) for ln in parties], parties))
    for line in table:
        if "shares" in line:
            shares = [float(s) for s in line["shares"]]
            lines = [{"auc": a, "half": None} for a in line["shares"].values()]
            panels.append(("share of property records in a batch", shares, lines))
    active = [ln for ln in table if ln["part"] == "active"]
    if len(active) > 1:
        panels.append(
            ("alpha of the active attack", [float(a["name"][8:]) for a in active], active)
        )
    if not panels:
        return
    figure, axes = _figure(3.6 * len(panels), 3.3, len(panels))
    for axis, (label, x, lines) in zip(axes, panels, strict=True):
        half = [line["half"] or 0 for line in lines]
        axis.errorbar(
            x, [ln["auc"] for ln in lines], half, color=BLUE, marker="o", capsize=3, lw=1.5
        )
        for line, at in zip(lines, x, strict=True):
            if "areas" in line:
                axis.plot([at] * len(line["areas"]), line["areas"], ".", color=GREY, ms=4)
        axis.axhline(0.5, color=GREY, lw=0.8, ls="--")
        axis.set_xlabel(label)
        axis.set_ylim(top=1.02)
    plots.floor(axes, 0.45)
    axes[0].set_ylabel("AUC")
    _save(figure, path / "auc.png")


def _draw_timeline(rows: list[dict], path: pathlib.Path, truth: tuple[int, int]) -> None:
    """The score of every round of the first seed, with the true and the found window."""
    row = next((row for row in rows if "scores" in row), None)
    if row is None:
        return
    figure, (axis,) = _figure(7.5, 2.8)
    scores = np.array(row["scores"])
    rounds = row["first"] + np.arange(len(scores)) - row["offset"]
    axis.plot(rounds, scores, ".", color=GREY, ms=3)
    axis.axvspan(*truth, color=GREEN, alpha=0.15, lw=0, label="the victim has such records")
    for at in (row["first"], row["last"]):
        axis.axvline(at, color=RED, lw=1.2)
    axis.plot([], [], color=RED, lw=1.2, label="found by the adversary")
    axis.set(xlabel="round", ylabel="score")
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, 1.2), ncol=2)
    _save(figure, path / "timeline.png")


def _draw_words(rows: list[dict], path: pathlib.Path) -> None:
    """Precision over the batch size."""
    largest = max((row["vocabulary"] for row in rows), default=0)
    rows = [row for row in rows if row["vocabulary"] == largest]
    if len(rows) < 2:
        return
    figure, (axis,) = _figure(4.6, 3.3)
    batches = [row["batch"] for row in rows]
    axis.plot(batches, [r["precision"] for r in rows], "o-", color=BLUE, label="precision, ours")
    axis.plot(batches, [r["recall"] for r in rows], "s-", color=GREEN, label="recall, ours")
    if set(batches) == set(YELP):
        known = [YELP[b] for b in batches]
        axis.plot(batches, known, "o--", color=GREY, label="precision, Yelp-health (from memory)")
    axis.set(xscale="log", xlabel="texts in a batch", ylim=(None, 1.05))
    plots.floor([axis], 0.45)
    axis.set_xticks(batches, [str(b) for b in batches])
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=8)
    _save(figure, path / "words.png")


def _draw_inversion(path: pathlib.Path) -> None:
    """Originals above what was read off their gradients."""
    if not (path / "inversion.npz").is_file():
        return
    plt = plots.pyplot()
    with np.load(path / "inversion.npz") as file:
        attacks = {name: file[name] for name in file.files}
    columns = max(pair.shape[1] for pair in attacks.values())
    figure, axes = plt.subplots(
        2 * len(attacks), columns, figsize=(1.3 * columns + 1.4, 2.6 * len(attacks)), squeeze=False
    )
    for axis in axes.ravel():
        axis.axis("off")
    for i, (name, pair) in enumerate(attacks.items()):
        for j, kind in enumerate(("original", "reconstruction")):
            row = axes[2 * i + j]
            for axis, image in zip(row, pair[j], strict=False):
                grey = image.shape[-1] == 1
                shown = image[..., 0] if grey else image
                axis.imshow(shown, cmap="gray" if grey else None, vmin=0, vmax=1)
            row[0].text(
                -0.1,
                0.5,
                f"{name}\n{kind}",
                transform=row[0].transAxes,
                ha="right",
                va="center",
                fontsize=8,
            )
    figure.savefig(path / "inversion.png", dpi=130, bbox_inches="tight")
    plt.close(figure)
