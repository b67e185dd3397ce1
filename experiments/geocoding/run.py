"""The run: knowledge, training, calibration, evaluation beside the baselines, examples."""

import time

import jax
import numpy as np

from experiments.geocoding import evaluation
from experiments.geocoding import task as tasks
from experiments.geocoding.config import Config
from experiments.result import Metric, Result
from fl_jax.core import rng, tree
from fl_jax.geocoding import network
from fl_jax.geocoding.geocoder import Geocoder
from fl_jax.train import checkpoint, loop, metrics, optimizer, schedule, state, step

EXAMPLES = (
    "Paris", "Paris, Texas", "巴黎", "Москва", "القاهرة", "東京の神社", "서울", "דרום תל אביב",
    "दिल्ली में एक स्कूल", "Αθήνα", "กรุงเทพ", "Երևան", "თბილისი", "ቤተ ክርስቲያን በአዲስ አበባ",
    "বাংলাদেশের ঢাকা", "50 km north of Lyon", "village in Burgundy", "25 km südlich von Graz",
    "whisky distillery in Highland, Scotland, UK", "sovereign state in South America",
    "lake in Eksjö Municipality, Sweden", "asdf qwer",
)  # fmt: skip


def run(config: Config, directory, resume: bool = False) -> Result:
    """Everything that RESULTS.md shows, in one go; `resume` goes on where it stopped."""
    start, used = time.perf_counter(), time.process_time()
    task = tasks.load(config)
    known = tasks.know(config, task)
    words = tasks.tokenizer(config, task)
    net = tasks.model(config, known, words.size)
    print(f"data: {task.origin}; {len(task.train.lat)} training items,"
          f" {len(known.partition.leaves)} leaves", flush=True)  # fmt: skip
    params, curve = fit(config, task, known, words, net, directory, resume)
    geocoder = Geocoder(params, net, known, words)
    trained = time.perf_counter() - start, time.process_time() - used
    evaluation.calibrate(geocoder, task.dev)
    geocoder.save(directory.path / "geocoder")
    found = evaluation.everything(config, geocoder, task)
    details = {
        "origin": task.origin,
        "notices": list(task.gazetteer.notices),
        "items": [len(part.lat) for part in (task.train, task.dev, task.test)],
        "leaves": len(known.partition.leaves),
        "phrases": len(known.phrases.hashes),
        "parameters": tree.size(params),
        "seconds_training": round(trained[0], 1),
        "cpu_seconds_training": round(trained[1], 1),
        "curve": curve,
        "temperature": geocoder.calibration.temperature.tolist(),
        "abstain": geocoder.calibration.abstain,
        "examples": evaluation.shown(geocoder, EXAMPLES),
        **found,
    }
    return Result(figures(details), headline(details), details)


def fit(config, task, known, words, net, directory, resume):
    """(parameters, [(step, loss of the path, of the evidence, of the pointer)])."""
    data = tasks.training(config, task, known, words)
    tables = network.tables(known)
    decay = schedule.Schedule(
        "cosine", warmup=config.warmup, decay_steps=config.steps - config.warmup, final=0.02
    )
    optimizer_ = optimizer.make(
        optimizer.Optimizer(
            "adamw",
            rate=config.rate,
            weight_decay=config.weight_decay,
            clip_norm=1.0,
            schedule=decay,
        ),
        decay_mask=optimizer.decay_matrices,
    )
    key = jax.random.key(config.seed)
    params = network.init(rng.fold(key, "init"), net)
    start = state.init(state.Variables(params, {}), optimizer_)
    compiled = jax.jit(step.make(network.losses(net, tables), optimizer_), donate_argnums=0)
    curve: list[list[float]] = []

    def advance(current, at):
        infos = []
        for n in range(at, at + config.stride):
            current, info = compiled(current, data.batch(n), rng.fold(key, "step", n))
            infos.append(info)
        return current, infos

    def rows(infos, at):
        row = {"step": at}
        for name in ("path", "evidence", "pointer"):
            row[name] = float(np.mean([float(i.metrics[name]) for i in infos]))
        curve.append([at, row["path"], row["evidence"], row["pointer"]])
        return [row]

    def failed(infos):
        flags = [bool(info.finite) for info in reversed(infos)]
        return flags.index(True) if True in flags else len(flags)

    with (
        checkpoint.Checkpoints(directory.path / "checkpoints", keep=2) as saved,
        metrics.Metrics(directory.path / "metrics.jsonl") as written,
        metrics.Progress(config.steps) as progress,
    ):
        end = loop.run(
            advance,
            start,
            steps=config.steps,
            stride=config.stride,
            checkpoints=saved,
            save_every=config.save_every,
            resume=resume,
            metrics=written,
            rows=rows,
            progress=progress,
            failed=failed,
        )
    read = metrics.read(directory.path / "metrics.jsonl")
    curve = [[r["step"], r["path"], r["evidence"], r["pointer"]] for r in read]
    return end.variables.params, curve


PUBLISHED = {"flat": 0.51547, "hR": 0.791}


def figures(details) -> dict[str, Metric]:
    """The numbers of result.json."""
    found = {}
    units = {"median": "km", "mean": "km"}
    for name, scores in details["distances"].items():
        for metric in ("median", "mean", "acc@161", "auc"):
            found[f"{metric}, {name}"] = Metric(scores[metric], units.get(metric, ""))
    source = "poster of the paper: t5-base, 8 M items, 5000/8; other data, leaves and inputs"
    for name, scores in details["cells"].items():
        for metric, value in scores.items():
            published = PUBLISHED.get(metric)
            found[f"{metric}, {name}"] = Metric(value, "", published, source if published else "")
    for name, scores in details["checks"].items():
        found[f"right, {name}"] = Metric(scores["right"] / scores["of"])
    for mass, value in details["coverage"].items():
        found[f"coverage of {mass} regions"] = Metric(value)
    return found


def headline(details) -> dict:
    """The line of the table of systems."""
    ours = details["distances"]["all rows, ours with snap"]
    return {
        "what": f"median error / Acc@161 on {details['evaluated']:,} held-out Wikidata items"
        " (label and description)",
        "ours": f"{ours['median']:.0f} km / {ours['acc@161']:.2f}",
        "published": None,
        "command": "python -m experiments geocoding",
    }
