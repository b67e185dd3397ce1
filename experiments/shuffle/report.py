"""Tables and plots of a shuffle run."""

from experiments import plots, result

STYLES = {
    "standard": ("certified band, standard clone", "#c1272d", "-"),
    "stronger": ("certified band, stronger clone (*)", "#0b6aa2", "-"),
    "attained": ("attained by some eps0-LDP mechanism", "#444444", ":"),
    "closed standard (FOCS 2021)": ("closed form, FOCS 2021", "#c1272d", "--"),
    "closed stronger (SODA 2023)": ("closed form, SODA 2023", "#0b6aa2", "--"),
    "SODA 2019": ("SODA 2019", "#999999", "--"),
    "k-RR blanket": ("certified band, 10-RR blanket", "#2c8c4a", "-"),
    "k-RR attained": ("attained by 10-RR", "#2c8c4a", ":"),
    "k-RR variation ratio": ("variation ratio, 10-RR (not a bound)", "#e08e0b", "-."),
}
FURTHER = {  # in the figures of Renyi divergences and of composition
    "standard by Renyi": ("standard clone, composed by Renyi", "#c1272d", "-."),
    "stronger by Renyi": ("stronger clone, composed by Renyi", "#0b6aa2", "-."),
    "Girgis 2021": ("Girgis et al. 2021", "#7b4fa3", "--"),
}
# What stands above each table.
TITLES = {
    "by_eps0": """## Bounds

Central eps of n shuffled reports at delta = {delta:g}: certified brackets [lower, upper], k-RR with
k = 10. "k-RR variation ratio" is the published merged pair, which is no upper bound (below).""",
    "rdp": "Renyi divergences of order alpha at eps0 = 1, n = 10,000.",
    "composition": "Central eps of T adaptive rounds at eps0 = 1, n = 10,000, delta = {delta:g}.",
    "counterexample": """## The merged pair is not an upper bound

Exact enumeration of shuffled k-RR over what the merged pair claims: above 1 it is refuted.""",
    "audit": """## Audit

A membership attack that knows every record but one: what it proves must stay below what is
certified.""",
    "training": "## Shuffled federated learning",
}


def report(outcome: result.Result, directory: result.RunDirectory) -> str:
    """Writes the plots and report.md; returns the text that ends the run."""
    details, parts = outcome.details, []
    if "plan" in details:
        p = details["plan"]
        parts.append(
            f"Plan: eps0 = {p['eps0']:.4f}; certified eps in [{p['lower']:.5f}, {p['upper']:.5f}]"
            f" ({p['status']}, {p['adjacency']})."
        )
    if "figures" in details:
        figures = details["figures"]
        _draw_figures(figures, directory.path)
        tables = {
            "by_eps0": bounds_table(figures["by_eps0"]),
            "rdp": curve_table(figures["rdp"]),
            "composition": curve_table(figures["composition"]),
            "counterexample": counter_table(figures["counterexample"]),
        }
        parts += [f"{TITLES[n].format(**figures)}\n\n{table}" for n, table in tables.items()]
    if "audit" in details:
        parts.append(f"{TITLES['audit']}\n\n{audit_table(details['audit'])}")
    if "training" in details:
        _draw_training(details["training"], directory.path)
        parts.append(f"{TITLES['training']}\n\n{training_table(details['training'])}")
    text = "\n\n".join(parts)
    pictures = "\n\n".join(f"![{p.stem}]({p.name})" for p in sorted(directory.path.glob("*.png")))
    (directory.path / "report.md").write_text(
        f"# Shuffling: bounds and federated learning\n\n{text}\n\n{pictures}\n"
    )
    return text


def _cell(value) -> str:
    if value is None:
        return "outside its region"
    return f"[{value[0]:.5g}, {value[1]:.5g}]" if isinstance(value, list) else f"{value:.5g}"


def bounds_table(rows: list[dict]) -> str:
    """Every bound over eps0, in Markdown."""
    names = list(STYLES)
    lines = ["| eps0 | n | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        cells = " | ".join(_cell(row[name]) for name in names)
        lines.append(f"| {row['eps0']:g} | {row['n']} | {cells} |")
    return "\n".join(lines)


def curve_table(rows: list[dict]) -> str:
    """Renyi divergences, or compositions, in Markdown: the first column is what they run over."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        cells = " | ".join(_cell(row[name]) for name in names[1:])
        lines.append(f"| {row[names[0]]:g} | {cells} |")
    return "\n".join(lines)


def counter_table(rows: list[dict]) -> str:
    """Enumeration against the merged pair, in Markdown."""
    lines = ["| n | k | eps0 | eps/eps0 | true delta / merged pair's |", "|---|---|---|---|---|"]
    for r in rows:
        lines.append(
            f"| {r['n']} | {r['k']} | {r['eps0']:g} | {r['eps/eps0']} | {r['true/claimed']:.4f} |"
        )
    return "\n".join(lines)


def audit_table(rows: list[dict]) -> str:
    """What the membership attack proves beside the certificates, in Markdown."""
    lines = [
        "| randomizer | eps0 | n | delta | proved by the attack (95 %) | certified | universal |",
        "|---" * 7 + "|",
    ]
    for r in rows:
        lines.append(
            f"| {r['randomizer']} | {r['eps0']:g} | {r['n']} | {r['delta']:g} | {r['proved']:.3f}"
            f" | {r['certified']:.3f} | {r['universal']:.3f} |"
        )
    return "\n".join(lines)


def training_table(training: dict) -> str:
    """Accuracy beside certified eps, in Markdown."""
    lines = [
        f"{training['origin']}, {training['clients']} clients",
        "",
        "| randomizer | parameter | certified eps | what is certified | accuracy, mean"
        " | sd over seeds | worst seed |",
        "|---" * 7 + "|",
    ]
    for r in training["rows"]:
        parameter = f"eps0 {r['eps0']:g}" if "eps0" in r else f"sigma {r['sigma']:.2f}"
        lines.append(
            f"| {r['randomizer']} | {parameter} | [{r['eps'][0]:.4f}, {r['eps'][1]:.4f}]"
            f" | {'; '.join((r['status'], *r['notes']))} | {r['accuracy']:.4f}"
            f" | {'-' if r['sd'] is None else format(r['sd'], '.4f')} | {r['worst']:.4f} |"
        )
    return "\n".join(lines)


def _draw_figures(figures: dict, path) -> None:
    plt = plots.pyplot()
    for name, rows, x in (
        ("eps_against_eps0", figures["by_eps0"], "eps0"),
        ("eps_against_n", figures["by_n"], "n"),
    ):
        figure, axis = plt.subplots(figsize=(7, 4.6))
        _curves(axis, rows, x, STYLES)
        axis.set_yscale("log")
        axis.set_xscale("log" if x == "n" else "linear")
        axis.set_xlabel("users n" if x == "n" else "local eps0")
        axis.set_ylabel(f"central eps at delta = {figures['delta']:g}")
        fixed = rows[0]["eps0"] if x == "n" else rows[0]["n"]
        axis.set_title(f"{'eps0' if x == 'n' else 'n'} = {fixed:g}", fontsize=10)
        axis.legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(path / f"{name}.png", dpi=130)
        plt.close(figure)
    for name, rows, x, label in (
        ("rdp", figures["rdp"], "alpha", "Renyi order"),
        ("composition", figures["composition"], "rounds", "rounds T"),
    ):
        figure, axis = plt.subplots(figsize=(7, 4.6))
        _curves(axis, rows, x, STYLES | FURTHER)
        axis.set(xscale="log", yscale="log", xlabel=label, title="eps0 = 1, n = 10,000")
        at = f"central eps at delta = {figures['delta']:g} (closed forms: advanced composition)"
        axis.set_ylabel("Renyi divergence" if name == "rdp" else at, fontsize=8)
        axis.legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(path / f"{name}.png", dpi=130)
        plt.close(figure)


def _curves(axis, rows, x, styles) -> None:
    """Every bound that the rows have, a band where it is one."""
    for key, (label, colour, style) in styles.items():
        known = [(r[x], r[key]) for r in rows if r.get(key) is not None]
        if not known:
            continue
        xs = [k for k, _ in known]
        if isinstance(known[0][1], list):
            low, high = ([v[i] for _, v in known] for i in (0, 1))
            axis.fill_between(xs, low, high, color=colour, lw=0)
            axis.plot(xs, high, color=colour, ls=style, label=label)
        else:
            axis.plot(xs, [v for _, v in known], color=colour, ls=style, label=label)


def _draw_training(training: dict, path) -> None:
    plt = plots.pyplot()
    figure, axis = plt.subplots(figsize=(5.5, 4))
    for name in dict.fromkeys(r["randomizer"] for r in training["rows"]):
        rows = [r for r in training["rows"] if r["randomizer"] == name]
        eps = [r["eps"][1] for r in rows]
        (line,) = axis.plot(eps, [r["accuracy"] for r in rows], label=name)
        for e, r in zip(eps, rows, strict=True):
            ends = [c[-1] for c in r["curves"]]
            axis.plot([e] * len(ends), ends, ".", color=line.get_color(), alpha=0.5)
    axis.legend(fontsize=8)
    axis.set(xlabel="certified eps", ylabel="test accuracy", title=training["origin"])
    figure.tight_layout()
    figure.savefig(path / "accuracy_against_eps.png", dpi=130)
    plt.close(figure)
