"""The picture and the table."""

from experiments import plots, result
from experiments.backdoor import summary
from fl_jax.train import metrics

COLOURS = {
    "data poisoning": "#7a7a7a",
    "model replacement": "#c1272d",
    "constrain-and-scale": "#0b6aa2",
}


def report(outcome: result.Result, directory: result.RunDirectory) -> str:
    """Writes accuracy.png and report.md; returns the text that ends the run."""
    rows = metrics.read(directory.path / "metrics.jsonl")
    draw(summary.curves(rows), rows, directory.path / "accuracy.png", outcome.details["origin"])
    details = outcome.details
    text = table(details["table"])
    plan = directory.resolved.get("plan", directory.config.plan)
    (directory.path / "report.md").write_text(
        f"# How to backdoor federated learning\n\n"
        f"Data: {details['origin']}; {details['seeds']} seeds, {details['splits']} splits; preset"
        f" {directory.preset}; clients run by {plan}.\n\n"
        "![both accuracies over the rounds](accuracy.png)\n\n"
        f"{text}\n\n{NOTES}"
    )
    return text


NOTES = """Backdoor accuracy is the share of held-out backdoor inputs that the global model gives
the attacker's label: before the attack, right after the one malicious round, and at the end, when
only benign participants have trained since. The half-life is the number of rounds until half of it
is lost. ± is half of Student's 95 % interval over the seeds and over the splits of the semantic
images into those that are trained on and those held out, "worst" the worst of these; at the main
accuracy ten rounds later ± is that of what was lost. "norm" is what the attacker sent over the
median benign update; "left out" are runs whose attack or whose benign updates were not finite, so
that the server took none of them. The paper's figures (100 % for replacement, 0 % for one round of
poisoning) are from memory and not verified.
"""


def table(rows: list[dict]) -> str:
    """The table of the arms in Markdown."""
    head = (
        "| backdoor | attack | backdoor % before | after 1 round | worst | at the end "
        "| half-life | main % before | after | 10 rounds later | norm |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|"
    )
    lines = [head]
    for r in rows:
        life = "-" if r["half_life"] is None else r["half_life"]
        lines.append(
            f"| {r['backdoor']} | {r['attack']} | {r['before']:.1f}"
            f" | **{r['after']:.1f}**{summary.plus(r['after_margin'])} | {r['after_min']:.1f}"
            f" | {r['end']:.1f}{summary.plus(r['end_margin'])} | {life} | {r['main_before']:.1f}"
            f" | {r['main_after']:.1f} | {r['main_later']:.1f}{summary.plus(r['lost_margin'])}"
            f" | {_norm(r)} |"
        )
    return "\n".join(lines)


def _norm(row: dict) -> str:
    """What was sent over the median benign update, and how often it was no number."""
    sent = "-" if row["norm_ratio"] is None else f"{row['norm_ratio']:.1f}x"
    return f"{sent} ({row['left_out']} left out)" if row["left_out"] else sent


def draw(curves, rows, path, origin: str) -> None:
    """Main accuracy (thin) and backdoor accuracy (thick) over the rounds, a panel a backdoor."""
    plt = plots.pyplot()
    import numpy as np

    columns = len(curves)
    figure, axes = plt.subplots(
        1, columns, figsize=(1.5 + 4.2 * columns, 3.9), sharey=True, squeeze=False
    )
    for axis, (backdoor, attacks) in zip(axes[0], curves.items(), strict=True):
        for attack, found in attacks.items():
            success, main = 100 * found["success"], 100 * found["main"]
            rounds = np.arange(success.shape[1])
            colour = COLOURS[attack]
            axis.plot(rounds, success.mean(0), color=colour, lw=2.2, label=attack)
            if len(success) > 1:
                axis.fill_between(
                    rounds, success.min(0), success.max(0), color=colour, alpha=0.15, lw=0
                )
            axis.plot(rounds, main.mean(0), color=colour, lw=0.9, ls="--")
        axis.axvline(1, color="k", lw=0.6, ls=":")
        axis.set_title(backdoor, fontsize=11)
        axis.set_xlabel("round (the attack is round 1)")
        axis.set_ylim(-2, 102)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("accuracy, %")
    handles, labels = axes[0][0].get_legend_handles_labels()
    handles.append(plt.Line2D([], [], color="k", lw=0.9, ls="--"))
    labels.append("main task")
    figure.legend(handles, labels, ncol=4, loc="lower center", frameon=False, fontsize=9)
    figure.suptitle(f"One malicious round, then benign training ({origin})", fontsize=11)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, dpi=140)
    plt.close(figure)
