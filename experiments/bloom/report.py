"""Tables and plots of a run."""

import pathlib

from experiments import plots
from experiments.bloom import run


def report(result, directory) -> str:
    """Writes report.md and the plots; returns the text."""
    text = render(result.details)
    (directory.path / "report.md").write_text(text + "\n")
    plot(result.details, directory.path)
    return text


def render(details) -> str:
    """The report as text."""
    parts = (_pretraining, _languages, _clients, _tasks, _samples)
    head = f"# BLOOM in small\n\nText: {details['origin']}. Parameters: {details['parameters']:,}."
    return "\n\n".join([head, *(part(details) for part in parts)])


def _table(*rows) -> str:
    """Rows of cells, the first of them the head."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _pretraining(details) -> str:
    curve = details["curves"]["pretrain"]
    shown = curve[:: max(1, len(curve) // 8)]
    shown += [curve[-1]] if curve and shown[-1] != curve[-1] else []
    head = ("step", "loss (nats a token)", "seconds", "CPU seconds")
    number = lambda loss: "-" if loss is None else f"{loss:.3f}"  # where every step was skipped
    rows = [(step, number(loss), f"{wall:.0f}", f"{cpu:.0f}") for step, loss, wall, cpu in shown]
    return "## Pretraining\n\n" + _table(head, *rows)


def _languages(details) -> str:
    rows = [("language", "trained on", "byte perplexity", "bits per byte", "per word", "per byte")]
    for kind, label in (("seen", "yes"), ("never", "never")):
        found = details["perplexity"][kind]
        for name in sorted(found, key=lambda name: found[name]["byte_perplexity"]):
            one, per = found[name], details["fertility"][name]
            cells = one["byte_perplexity"], one["bits_per_byte"]
            tokens = f"{per['per_word']:.2f}", f"{per['per_byte']:.3f}"
            rows.append((name, label, *(f"{value:.3f}" for value in cells), *tokens))
    text = "Held-out texts. Fertility: tokens per word, per byte."
    if details["too_short"]:
        text += f" Too short for one row, so not trained on: {', '.join(details['too_short'])}."
    return f"## Byte perplexity and fertility\n\n{text}\n\n{_table(*rows)}"


def _clients(details) -> str:
    before, after = (details["perplexity"][kind] for kind in ("never", "federated"))
    curve = details["curves"]["federate"]
    rows = [("language", "before", "with the clients' adapters")]
    for name in sorted(before):
        cells = before[name]["byte_perplexity"], after[name]["byte_perplexity"]
        rows.append((name, *(f"{value:.3f}" for value in cells)))
    rows.append(("median", f"{run.median(before):.3f}", f"{run.median(after):.3f}"))
    text = (
        f"{len(before)} clients, one for each language never seen, train low-rank adapters side"
        f" by side; {len(curve)} rounds of averaging. Mean loss of the clients:"
        f" {curve[0][1]:.3f} in the first round, {curve[-1][1]:.3f} in the last. Byte perplexity"
        " of their held-out texts:"
    )
    return f"## Federated fine-tuning\n\n{text}\n\n{_table(*rows)}"


def _tasks(details) -> str:
    packing, held = details["packing"], details["held_out"]
    rows = [("held-out task", "questions", "chance", "before", "span loss", "token loss")]
    for task, one in held["before"].items():
        medians = [held[when][task]["median"] for when in ("before", "span", "token")]
        cells = [f"{value:.3f}" for value in (one["chance"], *medians)]
        rows.append((task, one["questions"], *cells))
    text = (
        f"{packing['rows']} rows of {packing['length']} tokens, {100 * packing['filled']:.1f} %"
        f" full (packed in order, as published: {100 * packing['next_fit']:.1f} %);"
        f" {packing['too_long']} examples did not fit.\n\n"
        "Accuracy of rank evaluation, median over prompts:"
    )
    return f"## Fine-tuning on prompted tasks\n\n{text}\n\n{_table(*rows)}"


def _samples(details) -> str:
    # A model of bytes writes control characters too, which a terminal would obey.
    shown = lambda text: "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    texts = [f"```\n{prompt + shown(text)}\n```" for prompt, text in details["samples"].items()]
    return "\n\n".join(["## Samples", *texts])


def plot(details, folder: pathlib.Path) -> None:
    """loss.png, perplexity.png, tasks.png. Nothing where matplotlib is not installed."""
    try:
        pyplot = plots.pyplot()
    except ModuleNotFoundError:
        return

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    curve = details["curves"]["pretrain"]
    left.plot([row[3] for row in curve], [row[1] for row in curve])
    left.set(xlabel="CPU seconds", ylabel="loss, nats a token", title="pretraining")
    for norm in ("span", "token"):
        curve = details["curves"][norm]
        right.plot([row[0] for row in curve], [row[1] for row in curve], label=f"{norm} loss")
    right.set(xlabel="step", ylabel="loss by its own weights", title="fine-tuning")
    right.legend()
    figure.tight_layout()
    figure.savefig(folder / "loss.png", dpi=120)

    figure, axes = pyplot.subplots(figsize=(11, 4))
    kinds = (("seen", "trained on"), ("never", "never seen"), ("federated", "after clients"))
    place = 0
    for kind, label in kinds:
        found = details["perplexity"][kind]
        names = sorted(found, key=lambda name: found[name]["byte_perplexity"])
        heights = [found[name]["byte_perplexity"] for name in names]
        places = range(place, place + len(names))
        axes.bar(places, heights, label=label)
        for at, name in zip(places, names, strict=True):
            axes.text(at, 1.05, name, rotation=90, ha="center", va="bottom", fontsize=7)
        place += len(names) + 1
    axes.set(ylabel="byte perplexity", xticks=[], yscale="log", ylim=(1, None))
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "perplexity.png", dpi=120)

    held = details["held_out"]
    tasks = list(held["before"])
    figure, axes = pyplot.subplots(figsize=(10, 4))
    for i, when in enumerate(("before", "span", "token")):
        places = [at + 0.27 * (i - 1) for at in range(len(tasks))]
        label = when if when == "before" else f"{when} loss"
        axes.bar(places, [held[when][task]["median"] for task in tasks], 0.25, label=label)
    chances = [held["before"][task]["chance"] for task in tasks]
    left, right = ([at + side for at in range(len(tasks))] for side in (-0.45, 0.45))
    axes.hlines(chances, left, right, colors="black", label="chance")
    axes.set_xticks(range(len(tasks)), [t.replace(" of ", "\nof ") for t in tasks], rotation=60)
    axes.set_ylabel("accuracy, median over prompts")
    axes.legend()
    figure.tight_layout()
    figure.savefig(folder / "tasks.png", dpi=120)
    pyplot.close("all")
