"""Tables and pictures of a membership run."""

from typing import Any

from experiments import plots, result
from experiments.membership import summary
from experiments.membership.attacks import DRAWN, NAMES

COLOURS = ("#c1272d", "#0b6aa2", "#2c8c4a", "#e08e0b", "#7a4fa3", "#444444", "#d45fa8", "#3fb5b5")
WIDE = (*COLOURS, "#8c5a2b", "#9aa02c")
TABLE_III = {  # Purchase-100: attack accuracy, precision, recall [from memory]
    "none": (0.92, 0.87, 1.00),
    "top k = 3": (0.92, 0.87, 0.99),
    "top k = 1": (0.89, 0.83, 1.00),
    "label only": (0.66, 0.60, 0.99),
    "rounding d = 3": (0.92, 0.87, 0.99),
    "rounding d = 1": (0.89, 0.83, 1.00),
    "temperature t = 5": (0.88, 0.86, 0.93),
    "temperature t = 20": (0.84, 0.83, 0.86),
    "L2 0.0001": (0.87, 0.81, 0.96),
    "L2 0.001": (0.77, 0.73, 0.86),
    "L2 0.01": (0.53, 0.54, 0.52),
}


def report(outcome: result.Result, directory: result.RunDirectory) -> str:
    """Writes the pictures and report.md; returns the text that ends the run."""
    details = outcome.details
    parts = {name: part["found"] for name, part in details["parts"].items()}
    sections = []
    if "attacks" in parts:
        sections.append(("Attacks", attacks_table(parts["attacks"], details)))
        draw_roc(parts["attacks"], directory.path / "roc.png", details["origin"])
        draw_classes(parts["attacks"], directory.path / "classes.png")
    for name, title in (
        ("mitigations", "Mitigations"),
        ("shadow_data", "Shadow data"),
        ("overfitting", "Overfitting"),
        ("shadow_count", "Number of shadows"),
        ("class_count", "Number of classes (synthetic stand-ins)"),
    ):
        if name in parts:
            sections.append((title, effect_table(parts[name], name, details)))
    if "overfitting" in parts or "class_count" in parts:
        draw_effects(parts, directory.path / "effects.png")
    if "online" in parts:
        sections.append(("Budgets of shadow models", online_table(parts["online"])))
        draw_online(parts["online"], directory.path / "budgets.png")
    if "audit" in parts:
        sections.append(("Audits of private training", audit_table(parts["audit"])))
    times = "\n".join(
        f"| {name} | {part['seconds']} | {part['cpu_seconds']} |"
        for name, part in details["parts"].items()
    )
    sections.append(("Time", f"| part | wall s | CPU s |\n|---|---|---|\n{times}"))
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections)
    pictures = "\n\n".join(f"![{p.stem}]({p.name})" for p in sorted(directory.path.glob("*.png")))
    warning = (
        ""
        if details["real"]
        else (
            "\n\nThe data are a synthetic stand-in: nothing here compares with published figures."
        )
    )
    plan = directory.resolved.get("plan", directory.config.plan)
    (directory.path / "report.md").write_text(
        f"# Membership inference\n\nData: {details['origin']}; preset {directory.preset}; models"
        f" run by {plan}.{warning}\n\n{text}\n\n{pictures}\n"
    )
    return text + warning


def _pm(value: tuple[float | None, float | None]) -> str:
    return summary.shown(*value)


def attacks_table(found: dict[str, Any], details: dict[str, Any]) -> str:
    """Target, the paper's attack, and every attack's AUC and TPR at 1 %."""
    rows = found["rows"]
    known = summary.PUBLISHED.get(details["dataset"]) if details["real"] else None
    seeds = f"{len(rows)} seeds, mean ± standard deviation" if len(rows) > 1 else "1 seed"
    lines = [
        f"{seeds}; {found['members']} members and {found['non_members']} non-members evaluated.",
        "",
        "| quantity | ours | published (from memory, another target) |\n|---|---|---|",
    ]
    for i, name in enumerate(("train accuracy", "test accuracy", "precision")):
        lines.append(f"| {name} | {_pm(summary.mean(rows, name))} | {known[i] if known else '-'} |")
    for name in ("recall", "accuracy"):
        lines.append(f"| {name} | {_pm(summary.mean(rows, name))} | - |")
    lines += ["", "| attack | AUC | balanced accuracy | TPR at 1 % FPR | first seed's interval |"]
    lines.append("|---|---|---|---|---|")
    for name in rows[0]["attacks"]:
        tpr = [r["attacks"][name]["tpr"] for r in rows]
        resolved = all(t is not None for t in tpr)
        shown = _pm(summary.mean([{"t": t[0]} for t in tpr], "t")) if resolved else "not resolved"
        interval = f"[{tpr[0][1]:.3f}, {tpr[0][2]:.3f}]" if resolved else "-"
        auc = _pm(summary.mean(rows, "attacks", name, "auc"))
        accuracy = _pm(summary.mean(rows, "attacks", name, "balanced accuracy"))
        lines.append(f"| {NAMES[name]} | {auc} | {accuracy} | {shown} | {interval} |")
    calibrated = [r["calibrated"] for r in rows if r["calibrated"]]
    if calibrated:
        lines += [
            "",
            "Thresholds learnt on shadows for a nominal FPR of 1 %, applied to the target:",
            "",
            "| attack | TPR | FPR | PPV at 1 % members | at 10 % | at 50 % |",
            "|---|---|---|---|---|---|",
        ]
        for name in calibrated[0]:
            tpr, fpr = (summary.mean(calibrated, name, k) for k in ("tpr", "fpr"))
            by_prior = [[c[name]["ppv"][p] for c in calibrated] for p in ("0.01", "0.1", "0.5")]
            ppv = [[v for v in values if v is not None] for values in by_prior]
            cells = " | ".join(f"{sum(v) / len(v):.3f}" if v else "nobody accused" for v in ppv)
            lines.append(f"| {NAMES[name]} | {_pm(tpr)} | {_pm(fpr)} | {cells} |")
    return "\n".join(lines)


def effect_table(rows: list[dict], part: str, details: dict[str, Any]) -> str:
    """One line an arm; published values where there are any for this data."""
    location = details["real"] and details["dataset"] == "location30"
    lines = [
        "| | train | test | attack accuracy | precision | recall | AUC | published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        published = "-"
        if part == "mitigations" and r["name"] in TABLE_III:
            published = "Purchase-100: " + " / ".join(f"{v:.2f}" for v in TABLE_III[r["name"]])
        if part == "shadow_data" and location and r["name"] in summary.SHADOW_DATA:
            published = f"precision {summary.SHADOW_DATA[r['name']]}"
        name = r["name"]
        if "queries per record" in r:
            name += (
                f" ({r['queries per record']:.0f} queries a record, {r['share found']:.0%} found)"
            )
        cells = " | ".join(
            summary.shown(r[k], r[f"{k} sd"])
            for k in (
                "train accuracy",
                "test accuracy",
                "attack accuracy",
                "precision",
                "recall",
                "auc",
            )
        )
        lines.append(f"| {name} | {cells} | {published} |")
    if all("precision, as many" in r for r in rows):
        lines += [
            "",
            "The shadows' own accuracy on records with and without, and the attack's precision when"
            " it accuses as many as with real shadow data:",
            "",
            "| | shadows' train | shadows' test | precision, as many accused |",
            "|---|---|---|---|",
        ]
        names = ("shadows' train", "shadows' test", "precision, as many")
        for r in rows:
            cells = " | ".join(summary.shown(r[k], r[f"{k} sd"]) for k in names)
            lines.append(f"| {r['name']} | {cells} |")
    return "\n".join(lines)


def online_table(found: dict[str, Any]) -> str:
    """AUC and TPR at 1 % of every attack at every budget."""
    budgets = sorted({r["budget"] for r in found["rows"]})
    names = list(dict.fromkeys(r["attack"] for r in found["rows"]))
    lines = [
        f"{found['records']} records, each in half of the models; mean over {found['targets']}"
        " models attacked; AUC / TPR at 1 % FPR.",
        "",
        "| attack | " + " | ".join(f"{b} models" for b in budgets) + " |",
        "|---" * (len(budgets) + 1) + "|",
    ]
    for name in names:
        cells = []
        for budget in budgets:
            at = [r for r in found["rows"] if r["attack"] == name and r["budget"] == budget]
            tpr = f" / {at[0]['tpr']:.3f}" if at and "tpr" in at[0] else ""
            cells.append(f"{at[0]['auc']:.3f}{tpr}" if at else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def audit_table(rows: list[dict]) -> str:
    """Certified above, refuted below."""
    lines = [
        "Lower bounds at 95 % confidence, mean (largest) over repetitions. The last bound treats"
        " canaries of one run as independent and is an estimate.",
        "",
        "| training | canaries | noise | certified eps | one run | one run, f-DP | rates | AUC"
        " | test accuracy |\n" + "|---" * 9 + "|",
    ]
    for r in rows:
        certified = "infinite" if r["certified"] is None else f"{r['certified']:.2f}"
        cells = " | ".join(
            f"{r[k]['mean']:.2f} ({r[k]['max']:.2f})"
            for k in ("one run", "one run, f-DP", "rates (estimate)")
        )
        lines.append(
            f"| {r['training']} | {r['canaries']} | {r['noise']:g} | {certified} | {cells}"
            f" | {r['auc']['mean']:.3f} | {r['test accuracy']['mean']:.3f} |"
        )
    return "\n".join(lines)


def draw_roc(found: dict[str, Any], path, origin: str) -> None:
    """Log-log ROC of the first repetition; grey where the sample cannot resolve the rate."""
    plt = plots.pyplot()
    figure, axis = plt.subplots(figsize=(6.2, 5.4))
    for name, colour in zip(DRAWN, COLOURS, strict=True):
        curve = found["curves"][name]
        axis.plot(curve["fpr"], curve["tpr"], color=colour, lw=1.5, label=NAMES[name])
    low = 1 / found["non_members"]
    axis.plot([low / 2, 1], [low / 2, 1], color="k", lw=0.6, ls=":")
    axis.axvspan(low / 2, 5 * low, color="0.9", lw=0, label="fewer than 5 false positives")
    axis.set(xscale="log", yscale="log", xlim=(low / 2, 1), ylim=(low / 2, 1.05))
    axis.set(xlabel="false-positive rate", ylabel="true-positive rate", title=origin)
    axis.legend(fontsize=7.5, loc="lower right")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_classes(found: dict[str, Any], path) -> None:
    """Precision and recall of the per-class attack, cumulative over classes [paper, Figure 4]."""
    plt = plots.pyplot()
    figure, axis = plt.subplots(figsize=(5.2, 3.8))
    for name, colour in (("precision", COLOURS[0]), ("recall", COLOURS[1])):
        values = sorted(v for v in found["classes"][name] if v is not None)
        shares = [(i + 1) / len(values) for i in range(len(values))]
        axis.step([0, *values, 1], [0, *shares, 1], where="post", color=colour, label=name)
    axis.set(xlabel="value", ylabel="share of classes at or below", xlim=(0, 1.01), ylim=(0, 1.01))
    axis.legend()
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_effects(parts: dict[str, Any], path) -> None:
    """The attack over epochs, shadows and classes."""
    plt = plots.pyplot()
    panels = [
        (part, key, label)
        for part, key, label in (
            ("overfitting", "epochs", "epochs of the target"),
            ("shadow_count", "shadows", "shadow models"),
            ("class_count", "classes", "classes (stand-in)"),
        )
        if part in parts
    ]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(4.3 * len(panels), 3.8), sharey=True, squeeze=False
    )
    lines = (
        ("auc", "attack AUC", COLOURS[0]),
        ("precision", "attack precision", COLOURS[1]),
        ("train accuracy", "train accuracy", "0.6"),
        ("test accuracy", "test accuracy", "0.4"),
    )
    for axis, (part, key, label) in zip(axes[0], panels, strict=True):
        rows = parts[part]
        x = [r[key] for r in rows]
        for name, text, colour in lines:
            y = [float("nan") if r[name] is None else r[name] for r in rows]
            sd = [r[f"{name} sd"] or 0.0 for r in rows]
            style = "--" if "accuracy" in name else "-"
            axis.errorbar(x, y, yerr=sd, color=colour, ls=style, capsize=2, label=text)
        axis.set(xscale="log", xlabel=label, ylim=(None, 1.03))
        axis.set_xticks(x, [str(v) for v in x])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    plots.floor(axes[0], 0.3)
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_online(found: dict[str, Any], path) -> None:
    """AUC and TPR over the number of shadow models."""
    plt = plots.pyplot()
    names = list(dict.fromkeys(r["attack"] for r in found["rows"]))
    figure, axes = plt.subplots(1, 2, figsize=(11.5, 4))
    for i, name in enumerate(names):
        rows = [r for r in found["rows"] if r["attack"] == name]
        style = "--" if "offline" in name else "-"
        for axis, key in zip(axes, ("auc", "tpr"), strict=True):
            kept = [r for r in rows if key in r]
            axis.plot(
                [r["budget"] for r in kept], [r[key] for r in kept], marker="o", ms=3, ls=style,
                color=WIDE[i % len(WIDE)], label=name,
            )  # fmt: skip
    budgets = sorted({r["budget"] for r in found["rows"]})
    for axis, label in zip(axes, ("AUC", "TPR at 1 % FPR"), strict=True):
        axis.set(xscale="log", xlabel="shadow models", ylabel=label)
        axis.set_xticks(budgets, [str(b) for b in budgets])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
