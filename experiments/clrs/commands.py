"""`python -m experiments clrs single`, `test`, `options`, `draw`, `text` and `salsa`."""

import contextlib
import json
import os
import pathlib
import time

from experiments import arguments
from fl_jax.core import errors


def numbers(field: str, words: list[str], least: int) -> tuple[int, ...]:
    """The numbers in `words`, apart or with commas between them.

    Raises:
        ConfigError: something else is there, nothing, or a number below `least`.
    """
    parts = arguments.several(words)
    if not parts or not all(part.isdecimal() and int(part) >= least for part in parts):
        raise errors.ConfigError(
            f"{field} are numbers of at least {least}, as in 16,32, got {' '.join(words)!r}."
        )
    return tuple(map(int, parts))


def test(argv: list[str]) -> int:
    """Scores the newest checkpoint of a run, finished or not, at any sizes; writes test.json, goes
    on with what stands there, and test.png."""
    parser = arguments.command(
        "clrs", "test", "Scores the newest checkpoint of every seed of a run."
    )
    parser.add_argument("run", help="the run's directory")
    parser.add_argument("--lengths", nargs="+", default=["64"], help="sizes, as in 16,32,64")
    parser.add_argument(
        "--samples",
        nargs="+",
        default=["256"],
        help="at most, for all sizes or one number each, as in 256,256,64; 0 = the benchmark's",
    )
    asked = arguments.read(parser, argv)
    lengths = numbers("--lengths", asked.lengths, 1)
    samples = numbers("--samples", asked.samples, 0)
    if len(samples) not in (1, len(lengths)):
        raise errors.ConfigError(
            f"--samples is one number, or one for each of the {len(lengths)} sizes, got"
            f" {' '.join(asked.samples)!r}."
        )
    stored = pathlib.Path(asked.run) / "config.json"
    if not stored.is_file():
        raise errors.ConfigError(
            f"test needs a run's directory, got {asked.run} (no config.json there)."
        )
    most = dict(zip(lengths, samples * len(lengths) if len(samples) == 1 else samples, strict=True))

    import dataclasses

    import jax

    from algorithmic.clrs import samplers
    from experiments.clrs import config as configs
    from experiments.clrs import report, run, summary, task
    from fl_jax.core import rng

    saved = json.loads(stored.read_text())["config"]
    saved = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    config = configs.Config(**saved)
    for name in task.tasks(config):
        for n in lengths:
            samplers.options(name, n)
    states = run.saved(config, pathlib.Path(asked.run))
    for seed, (step, _) in states.items():
        print(f"seed {seed} after {step} of {config.rounds} rounds", flush=True)
    if not states:
        raise errors.ConfigError(f"{asked.run} holds no checkpoint yet; train first.")
    key = rng.fold(jax.random.key(config.seed), "test")
    file = pathlib.Path(asked.run) / "test.json"
    rows = json.loads(file.read_text()) if file.is_file() else []
    place = lambda row: (row["seed"], row["round"], row["n"], row["task"])
    for n in lengths:
        asked_of = dataclasses.replace(config, test_samples=most[n])
        wanted = {name: task.samples(asked_of, name) for name in task.tasks(config)}
        for seed, (step, state) in states.items():
            done = {place(row) for row in rows if row["samples"] == wanted.get(row["task"])}
            left = [name for name in wanted if (seed, step, n, name) not in done]
            for name, scores, own_stop in task.test(asked_of, state, key, n, left):
                row = summary.row(seed, n, name, scores, own_stop, wanted[name])
                row = {"stage": "test", **row, "round": step}
                rows = [old for old in rows if place(old) != place(row)] + [row]
                print(f"seed {seed}, {summary.line(row)}, {wanted[name]} samples", flush=True)
                # After every task: large ones take long. Whole or not at all.
                fresh = file.with_suffix(".tmp")
                fresh.write_text(json.dumps(rows, indent=1) + "\n")
                os.replace(fresh, file)
    at = {(seed, step) for seed, (step, _) in states.items()}
    newest = [row for row in rows if (row["seed"], row["round"]) in at]
    found, accepting = summary.scores(newest), summary.scores(newest, "accepting")
    picture = pathlib.Path(asked.run) / "test.png"
    report.draw_sizes(found, accepting, picture, max(config.lengths))
    print(report.table(found, accepting))
    return 0


def single(argv: list[str]) -> int:
    """Trains a model for every algorithm, as published; writes single.json and single.png."""
    parser = arguments.command(
        "clrs", "single", "A model for every algorithm, with the settings of the default run."
    )
    parser.add_argument("--out", default="runs/clrs-single", help="goes on with what is there")
    parser.add_argument("--tasks", nargs="+", default=[], help="as in bfs,dfs; default: all thirty")
    parser.add_argument("--rounds", type=int, help="of training, in place of the default run's")
    parser.add_argument("--hidden", type=int, help="h, in place of the default run's")
    parser.add_argument("--seeds", type=int, default=1)
    asked = arguments.read(parser, argv)

    import dataclasses

    from algorithmic.clrs import ALGORITHMS
    from experiments.clrs import config as configs
    from experiments.clrs import report, summary
    from experiments.clrs import single as models

    names = arguments.several(asked.tasks) or list(ALGORITHMS)
    for name in names:
        errors.one_of("algorithm", name, ALGORITHMS)
    given = {k: getattr(asked, k) for k in ("rounds", "hidden", "seeds")}
    given = {k: v for k, v in given.items() if v is not None}
    for field, value in given.items():
        errors.whole(f"--{field}", value, 1)
    base = dataclasses.replace(configs.SMALL, **given)
    folder, rows, found = pathlib.Path(asked.out), [], {}
    for name in dict.fromkeys(names):
        found[name] = models.measure(models.settings(base, name), folder)
        rows += found[name].pop("rows")
    scores, accepting = summary.scores(rows), summary.scores(rows, "accepting")
    told = {"models": found, "scores": scores, "scores that accept every right answer": accepting}
    (folder / "single.json").write_text(json.dumps(told, indent=1) + "\n")
    report.draw_dots(scores[summary.BENCHMARK], folder / "single.png")
    print(report.table(scores, accepting))
    return 0


def options(argv: list[str]) -> int:
    """Trains the plain network and every option of the preset `brief`; writes options.json."""
    parser = arguments.command(
        "clrs", "options", "The plain network and every option at equal settings, briefly."
    )
    parser.add_argument("--out", default="runs/clrs-options", help="goes on with what is there")
    parser.add_argument("--rounds", type=int, help="of training, in place of the preset's")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="these variants alone, such as plain")
    asked = arguments.read(parser, argv)

    import dataclasses

    from experiments.clrs import config as configs
    from experiments.clrs import options as variants

    for variant in asked.only or ():
        errors.one_of("variant", variant, variants.VARIANTS)
    for field in ("rounds", "seeds"):
        if getattr(asked, field) is not None:
            errors.whole(f"--{field}", getattr(asked, field), 1)
    base = dataclasses.replace(
        configs.BRIEF, rounds=asked.rounds or configs.BRIEF.rounds, seeds=asked.seeds
    )
    folder, found = pathlib.Path(asked.out), []
    for variant in asked.only or variants.VARIANTS:
        print(f"{variant}: python -m experiments clrs --preset brief {variants.words(variant)}")
        found.append(variants.measure(base, variant, folder))
    (folder / "options.json").write_text(json.dumps(found, indent=1) + "\n")
    print(variants.table(found))
    return 0


def text(argv: list[str]) -> int:
    """Prints random runs of an algorithm for a language model, one JSON object a line."""
    parser = arguments.command(
        "clrs", "text", "Random runs as prompts and answers, one JSON object a line."
    )
    parser.add_argument("algorithm")
    parser.add_argument("--length", type=int, default=8, help="nodes")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hint", help="the probe to trace; the one that becomes the output")
    asked = arguments.read(parser, argv)
    errors.whole("--samples", asked.samples, 1)

    import jax

    from algorithmic import clrs
    from algorithmic.clrs import text as export

    batch = clrs.sample(asked.algorithm, jax.random.key(asked.seed), asked.samples, asked.length)
    for i in range(asked.samples):
        one = _one(batch, i)
        print(json.dumps(export.render(asked.algorithm, one, hint=asked.hint)._asdict()))
    return 0


def salsa(argv: list[str]) -> int:
    """Trains a model per task on sparse graphs of up to 16 nodes and tests it up to 1,600."""
    parser = arguments.command(
        "clrs", "salsa", "SALSA-CLRS: sparse graphs, trained on 16 nodes, tested up to 1,600."
    )
    parser.add_argument("--tasks", nargs="+", default=[], help="as in bfs,mis; default: all six")
    parser.add_argument("--rounds", type=int, help="updates per task")
    parser.add_argument("--hidden", type=int, help="features of nodes, edges and graph")
    parser.add_argument("--lengths", nargs="+", help="sizes of the tests, as in 16,80")
    parser.add_argument("--processor", help="mpnn, gmpnn, pgn, gat or gatv2")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out", help="a folder for the rows and every task's parameters")
    asked = arguments.read(parser, argv)

    import dataclasses

    from algorithmic.clrs import specs
    from algorithmic.clrs.sparse import tasks
    from experiments.clrs import salsa as experiment
    from fl_jax.train import metrics

    names = tuple(arguments.several(asked.tasks)) or specs.SALSA
    for name in names:
        tasks.check(name)
    given = {k: getattr(asked, k) for k in ("rounds", "hidden", "processor", "seed")}
    given = {k: v for k, v in given.items() if v is not None}
    if asked.lengths:
        given["test_lengths"] = numbers("--lengths", asked.lengths, 2)
    config = dataclasses.replace(experiment.Config(), **given)
    for field in ("rounds", "hidden"):
        errors.positive(field, getattr(config, field))
    folder = pathlib.Path(asked.out) if asked.out else None
    if folder is not None and folder.exists() and not folder.is_dir():
        raise errors.ConfigError(f"--out is a folder, but {folder} is a file; name another.")
    if folder is not None and (folder / "rows.jsonl").exists():
        raise errors.ConfigError(f"{folder} holds what an earlier run found; name another --out.")
    print(config, flush=True)
    say = lambda line: print(line, flush=True)
    rows = []
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(metrics.Metrics(folder / "rows.jsonl")) if folder else None
        for name in names:
            start = time.process_time()
            params = experiment.train(name, config, say)
            say(f"{name}: trained in {time.process_time() - start:.0f} CPU-seconds")
            if folder is not None:
                experiment.save(folder / f"{name}.safetensors", params, config)
            for row in experiment.test(name, params, config):
                say(json.dumps(row))
                rows.append(row)
                if log:
                    log.write(row)
    print(experiment.table(rows))
    return 0


def draw(argv: list[str]) -> int:
    """Draws a random run of an algorithm, a panel per step."""
    parser = arguments.command("clrs", "draw", "A random run of an algorithm, step by step.")
    parser.add_argument("algorithm")
    parser.add_argument("--length", type=int, default=8, help="nodes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="trace.png", help="the picture")
    asked = arguments.read(parser, argv)

    import jax

    from algorithmic import clrs
    from experiments.clrs import drawing

    batch = clrs.sample(asked.algorithm, jax.random.key(asked.seed), 1, asked.length)
    drawing.draw(asked.algorithm, _one(batch, 0), asked.out)
    print(f"{asked.out}: {asked.algorithm} on {asked.length} nodes")
    return 0


def _one(batch, i):
    """Run i of a batch."""
    return batch._replace(
        inputs={k: v[i] for k, v in batch.inputs.items()},
        hints={k: v[:, i] for k, v in batch.hints.items()},
        outputs={k: v[i] for k, v in batch.outputs.items()},
        length=batch.length[i],
    )
