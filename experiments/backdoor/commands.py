"""`python -m experiments backdoor grid` and the other commands beside the run."""

import dataclasses
import json
from typing import Any

from experiments import arguments
from fl_jax.core import errors


def grid(argv: list[str]) -> int:
    """Every attack against every defence: grid.json, grid.png and, with the mean, roc.png."""
    what = "Every attack against every defence, seeds side by side."
    presets = ("smoke", "small", "scratch")
    some = "some of them only, separated by commas"
    asked, clock = _begin(
        "grid", what, argv, presets=presets, options={"--defences": some, "--attacks": some}
    )

    import jax
    import jax.numpy as jnp

    from experiments.backdoor import grid as grids
    from experiments.backdoor import grid_config, grid_defences, grid_report, stages
    from experiments.backdoor import task as tasks
    from fl_jax.train import cohort

    chosen = {
        "smoke": grid_config.SMOKE_GRID,
        "small": grid_config.SMALL_GRID,
        "scratch": grid_config.SCRATCH_GRID,
    }[asked.preset]
    config = _seeds(chosen.config, asked)
    listed = lambda text: tuple(name.strip() for name in text.split(",") if name.strip())
    defences = listed(asked.defences) or chosen.defences
    attacks = listed(asked.attacks) or chosen.attacks
    chosen = dataclasses.replace(chosen, config=config, defences=defences, attacks=attacks)
    grid_config.attacks_of(chosen)  # refuses a wrong name before anything is trained
    task = tasks.make(config)
    grid_defences.check(chosen, task)
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    plan = cohort.Plan("scan")
    stage = stages.pretrain(stages.Setting(config, task, keys, plan, None))
    rounds = config.pretrain_rounds if chosen.pretrained else 0
    state, stride = stage.start(), stages.stride(config, config.pretrain_rounds)
    for done in range(0, rounds, stride):
        state, _ = stage.advance(state, done)
    jax.block_until_ready(state)
    seconds = clock()["seconds"]
    print(f"{config.seeds} models, {rounds} rounds of pre-training: {seconds:.0f} s", flush=True)
    found, defences = grids.run(
        chosen,
        state.variables,
        keys,
        shown=lambda name: print(f"  {name}: {clock()['seconds']:.0f} s", flush=True),
    )
    print(grid_report.write(asked.out, chosen, defences, found, clock()))
    roc = ", roc.png" if grid_report.PLAIN in defences else ""
    print(f"\ngrid.json, grid.png{roc}: {asked.out}")
    return 0


def sweeps(argv: list[str]) -> int:
    """gamma, durability, early and late, repeated attacks: sweeps.json, sweeps.png."""
    what = "The paper's sweeps, on digits or (preset cifar10) on real CIFAR-10."
    presets = ("smoke", "small", "cifar10")
    asked, clock = _begin("sweeps", what, argv, presets=presets, resumes=True)

    from experiments.backdoor import arms, sweeps_report
    from experiments.backdoor import sweeps as sweeping
    from experiments.kept import Kept

    chosen = _chosen(
        asked,
        smoke=sweeping.SMOKE_SWEEPS,
        small=sweeping.DIGITS,
        cifar10=sweeping.CIFAR10_SWEEPS,
    )
    arms.a_device_for_each_core()
    kept = Kept(asked.out / "kept.jsonl", chosen, resume=asked.resume)
    text = ""

    def shown(found):  # on the disk as it comes: the arms take a while
        nonlocal text
        text = sweeps_report.write(asked.out, "sweeps", found, clock())
        cells = sum(len(labels) for labels, _ in found.values())
        print(f"{cells} cells after {clock()['seconds']:.0f} s", flush=True)

    sweeping.run(chosen, shown=shown, kept=kept)
    print(text)
    print(f"\nsweeps.json, sweeps.png: {asked.out}")
    return 0


def words(argv: list[str]) -> int:
    """Trigger sentences in the speech of many: words.json, words.png."""
    what = "Word prediction over the speakers of Shakespeare, or (preset paper) of Reddit."
    asked, clock = _begin("words", what, argv, presets=("smoke", "small", "paper"), resumes=True)

    import numpy as np

    from experiments.backdoor import arms, sweeps_report
    from experiments.backdoor import words as word_task
    from experiments.backdoor import words_config as settings
    from experiments.kept import Kept
    from fl_jax.data import speech

    config, triggers, read = {
        # A small vocabulary has few words to make a sentence of.
        "smoke": (
            settings.SMOKE_WORDS,
            ("and the to you", "you the to and"),
            speech.shakespeare,
        ),
        "small": (settings.SMALL_WORDS, settings.SENTENCES, speech.shakespeare),
        "paper": (settings.PAPER_WORDS, settings.PAPER_SENTENCES, speech.reddit),
    }[asked.preset]
    arms.a_device_for_each_core()
    config, said = _seeds(config, asked), read()
    alike = dataclasses.replace(config, seeds=0)  # items are of one seed: more may be added
    kept = Kept(asked.out / "kept.jsonl", (alike, triggers, said), resume=asked.resume)
    text = ""

    def shown(found):  # on the disk as it comes: the arms take a while
        nonlocal text
        about = {
            **clock(),
            "known words in the test": found["task"].known,
            "main accuracy over the pre-training": np.asarray(found["pretrain"][0]).tolist(),
        }
        curves = _curves_of_words(found, triggers)
        text = sweeps_report.write(asked.out, "words", curves, about)
        print(f"{', '.join(curves)}: {clock()['seconds']:.0f} s", flush=True)

    word_task.run(config, said, triggers, shown=shown, kept=kept)
    print(text)
    print(f"\nwords.json, words.png: {asked.out}")
    return 0


def private(argv: list[str]) -> int:
    """DP-FedAvg with its epsilon, attacked and through secure aggregation: private.json."""
    what = "DP-FedAvg on digits: its epsilon, what it costs and stops; DP-FTRL beside it."
    asked, clock = _begin("private", what, argv)

    from experiments.backdoor import private as privacy

    chosen = _chosen(asked, smoke=privacy.SMOKE_PRIVATE, small=privacy.SMALL_PRIVATE)
    rows = privacy.run(chosen)
    about = {"delta": chosen.delta, "rounds": chosen.rounds, "cohort": chosen.cohort, **clock()}
    return _finish("private", asked, {"rows": rows, **about}, privacy.table(rows))


def noise(argv: list[str]) -> int:
    """Errors of factors, and of models at one epsilon: noise.json."""
    what = "What noise leaves in a model: independent, correlated, sampled; no training."
    asked, clock = _begin("noise", what, argv, seeds=False)

    from experiments.backdoor import noise as noises

    chosen = {"smoke": noises.SMOKE_NOISE, "small": noises.SMALL_NOISE}[asked.preset]
    found = {"factors": noises.factors(chosen), "budgets": noises.budgets(chosen)}
    about = {"delta": chosen.delta, **clock()}
    return _finish("noise", asked, {**found, **about}, noises.table(*found.values()))


def certified(argv: list[str]) -> int:
    """CRFL's votes with their certificate: certified.json, certified.png."""
    what = "CRFL on digits: what its votes are certified against, and what attackers reach."
    asked, clock = _begin("certified", what, argv)

    from experiments.backdoor import certified as certifying

    chosen = _chosen(asked, smoke=certifying.SMOKE_CERTIFIED, small=certifying.SMALL_CERTIFIED)

    def shown(row):
        print(
            f"clip {row['clip']:g}, noise {row['noise']:g}: {clock()['seconds']:.0f} s", flush=True
        )

    rows = certifying.run(chosen, shown=shown)
    about = {"draws": chosen.draws, "confidence": chosen.confidence, **clock()}
    print(certifying.write(asked.out, chosen, rows, about))
    print(f"\ncertified.json, certified.png: {asked.out}")
    return 0


def adapted(argv: list[str]) -> int:
    """Participants fine-tune the replaced model: adapted.json."""
    what = "Does a backdoor outlive local adaptation? On digits."
    asked, clock = _begin("adapted", what, argv)

    from experiments.backdoor import adapted as adapting

    chosen = _chosen(asked, smoke=adapting.SMOKE_ADAPTED, small=adapting.SMALL_ADAPTED)
    rows = adapting.run(chosen)
    return _finish("adapted", asked, {"rows": rows, **clock()}, adapting.table(rows))


def compressed(argv: list[str]) -> int:
    """Pre-training and replacement with updates in few bits: compressed.json."""
    what = "What updates in few bits cost, on digits, and whether a backdoor gets through."
    asked, clock = _begin("compressed", what, argv)

    from experiments.backdoor import compressed as compressing

    chosen = _chosen(asked, smoke=compressing.SMOKE_COMPRESSED, small=compressing.SMALL_COMPRESSED)
    rows = compressing.run(chosen)
    about = {"numbers": chosen.numbers, **clock()}
    table = compressing.table(rows, chosen.numbers)
    return _finish("compressed", asked, {"rows": rows, **about}, table)


def asynchronous(argv: list[str]) -> int:
    """Late updates: their training, and a backdoor through them: asynchronous.json."""
    what = "What late updates cost, on digits, and what they change for a backdoor."
    asked, clock = _begin("asynchronous", what, argv)

    from experiments.backdoor import asynchronous as late

    chosen = _chosen(asked, smoke=late.SMOKE_ASYNCHRONOUS, small=late.SMALL_ASYNCHRONOUS)
    found = late.run(chosen)
    about = {"clip": chosen.clip, "steps": chosen.steps, "delta": chosen.delta, **clock()}
    return _finish("asynchronous", asked, {**found, **about}, late.table(found))


def _curves_of_words(found, triggers):
    """Panels of cells: a sentence a cell, then everything else, seeds and sentences pooled."""
    import numpy as np

    from experiments.backdoor.sweeps import Curves

    single = found["single shot"]
    turn = lambda a: np.swapaxes(a, 0, 1)  # (seeds, sentences, ...) -> sentences are the cells
    one = Curves(turn(single["main"]), turn(single["backdoor"]))
    curves = {"single shot, each sentence": (list(triggers), one)}
    flat = lambda a: a.reshape(-1, a.shape[-1])
    together = {"single shot, all sentences": {"replacement, 1 speaker": single}}
    together |= {k: v for k, v in found.items() if k.startswith("repeated")}
    for name, arms in together.items():
        join = lambda key, arms=arms: np.stack([flat(arm[key]) for arm in arms.values()])
        curves[name] = (list(arms), Curves(join("main"), join("backdoor")))
    return curves


def _begin(
    name: str,
    what: str,
    argv: list[str],
    presets: tuple[str, ...] = ("smoke", "small"),
    options: dict[str, str] | None = None,
    resumes: bool = False,
    seeds: bool = True,
):
    """(arguments with an existing `out`, a function that gives time spent and surroundings)."""
    parser = arguments.command("backdoor", name, what)
    parser.add_argument("--preset", default="small", help=" or ".join(presets))
    parser.add_argument("--out", default=f"runs/backdoor-{name}", help="folder to write")
    if seeds:
        parser.add_argument("--seeds", type=int, help="those of the preset unless given")
    for option, meaning in (options or {}).items():
        parser.add_argument(option, default="", help=meaning)
    if resumes:
        parser.add_argument("--resume", action="store_true", help="go on with what --out holds")
    asked = arguments.read(parser, argv)
    errors.one_of("preset", asked.preset, presets)
    if seeds and asked.seeds is not None:
        errors.whole("seeds", asked.seeds, 1)

    import pathlib
    import shlex
    import time

    from experiments import result

    asked.out = pathlib.Path(asked.out)
    asked.out.mkdir(parents=True, exist_ok=True)
    start, used = time.perf_counter(), time.process_time()

    def clock() -> dict[str, Any]:
        return {
            "command": f"python -m experiments backdoor {shlex.join([name, *argv])}",
            "preset": asked.preset,
            "seconds": round(time.perf_counter() - start, 1),
            "CPU seconds": round(time.process_time() - used, 1),
            "device": result.device(),
            "versions": result.versions(),
        }

    return asked, clock


def _finish(name: str, asked, found: dict[str, Any], table: str) -> int:
    """Writes NAME.json and prints the table."""
    (asked.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(table)
    print(f"\n{name}.json: {asked.out}")
    return 0


def _chosen(asked, **presets):
    """The preset that was asked for, with the seeds that were."""
    chosen = presets[asked.preset]
    return dataclasses.replace(chosen, config=_seeds(chosen.config, asked))


def _seeds(config, asked):
    return dataclasses.replace(config, seeds=asked.seeds) if asked.seeds is not None else config
