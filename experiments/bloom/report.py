"""Tables and plots of a run."""

import pathlib


def report(result, directory) -> str:
    """Writes report.md and the plots; returns the text."""
    text = render(result.details)
    (directory.path / "report.md").write_text(text + "\n")
    plot(result.details, directory.path)
    return text


def render(details) -> str:
    """The report as text."""
    lines = [
        "# BLOOM in small",
        "",
        f"Text: {details['origin']}. Parameters: {details['parameters']:,}.",
        "",
        "## Pretraining",
        "",
        "| step | loss (nats a token) | seconds |",
        "|---|---|---|",
    ]
    curve = details["curve"]
    shown = curve[:: max(1, len(curve) // 8)]
    shown += [curve[-1]] if curve and shown[-1] != curve[-1] else []
    lines += [f"| {step} | {loss:.3f} | {seconds:.0f} |" for step, loss, seconds in shown]
    lines += [
        "",
        "## Byte perplexity and fertility",
        "",
        "Held-out texts. Fertility: tokens per word, per byte.",
        "",
        "| language | trained on | byte perplexity | bits per byte | per word | per byte |",
        "|---|---|---|---|---|---|",
    ]
    order = lambda item: (item[1]["kind"] == "never", item[1]["byte_perplexity"])
    for language, one in sorted(details["perplexity"].items(), key=order):
        per = details["fertility"][language]
        lines.append(
            f"| {language} | {'yes' if one['kind'] == 'seen' else 'never'} |"
            f" {one['byte_perplexity']:.3f} | {one['bits_per_byte']:.3f} |"
            f" {per['per_word']:.2f} | {per['per_byte']:.3f} |"
        )
    packing = details["packing"]
    lines += [
        "",
        "## Fine-tuning on prompted tasks",
        "",
        f"{packing['rows']} rows, {100 * packing['filled']:.1f} % full; {packing['too_long']}"
        " examples did not fit.",
        "",
        "Accuracy of rank evaluation, median over prompts:",
        "",
        "| held-out task | questions | chance | before | span loss | token loss |",
        "|---|---|---|---|---|---|",
    ]
    held = details["held_out"]
    for task, one in held["before"].items():
        lines.append(
            f"| {task} | {one['questions']} | {one['chance']:.3f} | {one['median']:.3f} |"
            f" {held['span'][task]['median']:.3f} | {held['token'][task]['median']:.3f} |"
        )
    lines += ["", "## Samples", ""]
    for prompt, text in details["samples"].items():
        lines += ["```", prompt + text, "```", ""]
    return "\n".join(lines)


def plot(details, folder: pathlib.Path) -> None:
    """loss.png: the loss against time. Nothing where matplotlib is not installed."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot([row[2] for row in details["curve"]], [row[1] for row in details["curve"]])
    axes.set_xlabel("seconds")
    axes.set_ylabel("loss, nats a token")
    figure.tight_layout()
    figure.savefig(folder / "loss.png", dpi=120)
    pyplot.close(figure)
