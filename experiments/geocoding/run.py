"""The run: knowledge, training, calibration, evaluation beside the baselines, examples."""

import time

from experiments.geocoding import evaluation, ordinary
from experiments.geocoding import task as tasks
from experiments.geocoding.config import Config
from experiments.result import Metric, Result
from fl_jax.core import tree
from fl_jax.geocoding import store, train
from fl_jax.train import metrics

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
    print(f"data: {task.origin}; {len(task.train.lat)} training items", flush=True)
    own = task.train
    geocoder = train.train(
        own.text, own.lat, own.lon, parts=own.parts, places=task.gazetteer,
        rows=task.train_places, settings=config, folder=directory.path, resume=resume,
        **ordinary.load()._asdict(),
    )  # fmt: skip
    trained = time.perf_counter() - start, time.process_time() - used
    rows = metrics.read(directory.path / "metrics.jsonl")
    evaluation.calibrate(geocoder, task.dev)
    store.save(geocoder, directory.path / "geocoder")
    found = evaluation.everything(config, geocoder, task)
    details = {
        "origin": task.origin,
        "notices": list(task.gazetteer.notices),
        "items": [len(part.lat) for part in (task.train, task.dev, task.test)],
        "leaves": len(geocoder.partition.leaves),
        "phrases": len(geocoder.known.phrases.hashes),
        "parameters": tree.size(geocoder.params),
        "seconds_training": round(trained[0], 1),
        "cpu_seconds_training": round(trained[1], 1),
        "curve": [[r["step"], r["path"], r["evidence"], r["pointer"]] for r in rows],
        "temperature": geocoder.calibration.temperature.tolist(),
        "abstain": geocoder.calibration.abstain,
        "examples": evaluation.shown(geocoder, EXAMPLES),
        **found,
    }
    return Result(figures(details), headline(details), details)


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
