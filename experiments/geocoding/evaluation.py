"""Calibration on the development split, and every number on the test split."""

import numpy as np

from experiments.geocoding import baselines
from experiments.geocoding.config import Config
from fl_jax.geocoding import calibrate as calibration
from fl_jax.geocoding import examples as examples_
from fl_jax.geocoding import cells, estimate, evidence, metrics, s2, sphere, texts
from fl_jax.geocoding.geocoder import Geocoder

MASSES = (0.5, 0.8, 0.9)
AREA_MASSES = (0.5, 0.9)
ABSTAIN_SHARE = 0.02  # of the development items may be left without an answer


def calibrate(config: Config, geocoder: Geocoder, dev) -> calibration.Calibration:
    """Temperatures first; then, with them, masses of regions, the pointer, the abstention."""
    partition = geocoder.partition
    count = min(len(dev.lat), config.test or 2000)
    asked, lat, lon = dev.text[:count], dev.lat[:count], dev.lon[:count]
    node = cells.deepest(partition, lat, lon)
    steps = [([], []) for _ in range(partition.depth)]
    for n, (logs, _, _) in enumerate(posteriors(geocoder, asked, 0.0)):
        way = [0, *cells.ancestors(partition, int(node[n]))]
        for depth, (above, below) in enumerate(zip(way[:-1], way[1:], strict=True)):
            children = partition.children[above]
            own = np.where(children >= 0, logs[np.maximum(children, 0)] - logs[above], -1e9)
            steps[depth][0].append(own)
            steps[depth][1].append(int(np.flatnonzero(children == below)[0]))
    found = calibration.identity(partition.depth)._replace(
        temperature=calibration.temperatures(
            [np.array(logs).reshape(-1, 6) for logs, _ in steps],
            [np.array(right, int) for _, right in steps],
        )
    )
    geocoder.calibrate(found)
    above = masses_above(geocoder, asked, lat, lon, config.seed)
    found = found._replace(mass=calibration.masses(above), pointer=_pointer(geocoder, asked, lat, lon))
    geocoder.calibrate(found)
    near = np.array([a.confidence for a in geocoder.geocode(asked, abstain=False)])
    return found._replace(abstain=float(np.quantile(near, ABSTAIN_SHARE)))


def posteriors(geocoder: Geocoder, asked, residual: float):
    """(log p (nodes,), stopped (nodes,), residual) of each text."""
    for start in range(0, len(asked), 64):
        some = asked[start : start + 64]
        _, encoded = geocoder.encode(some)
        yield from zip(*geocoder.expand(encoded, len(some), residual), strict=True)


def masses_above(geocoder, asked, lat, lon, seed) -> np.ndarray:
    """`estimate.mass_above` of each item, the share of its own cell drawn."""
    node = cells.deepest(geocoder.partition, lat, lon)
    draws = np.random.default_rng(seed)
    found = []
    for n, (logs, stopped, _) in enumerate(posteriors(geocoder, asked, 0.0)):
        own = estimate.distribution(logs, stopped)
        share = float(draws.random())
        found.append(estimate.mass_above(geocoder.partition, own, int(node[n]), share))
    return np.array(found)


def _pointer(geocoder, asked, lat, lon) -> float:
    """The temperature of the pointer with the least loss."""
    logs, right = [], []
    points = s2.xyz(lat, lon)
    for start in range(0, len(asked), 64):
        some = asked[start : start + 64]
        data, encoded = geocoder.encode(some)
        own = points[start : start + 64]
        found = examples_.unit(evidence.candidates(data.evidence.points))
        near = sphere.chord_km(found, own[:, None]) < examples_.NEAR_KM
        near &= evidence.candidates(data.evidence.there)
        logs.append(np.asarray(encoded.pointer)[: len(some)])
        right.append(np.concatenate([near, ~near.any(1, keepdims=True)], axis=1))
    logs, right = np.concatenate(logs), np.concatenate(right)
    losses = []
    for t in calibration.GRID:
        scaled = logs / t
        own = np.logaddexp.reduce(np.where(right, scaled, -1e9), axis=1)
        losses.append(np.mean(np.logaddexp.reduce(scaled, axis=1) - own))
    return float(calibration.GRID[int(np.argmin(losses))])


def everything(config: Config, geocoder: Geocoder, task) -> dict:
    """All numbers on the test split."""
    test = task.test
    if config.test:
        test = type(test)(*(column[: config.test] for column in test))
    truth = s2.xyz(test.lat, test.lon)
    whole, labels, descriptions = test.text, test.label, test.description
    km = {}
    answers = geocoder.geocode(whole, residual=config.residual, abstain=False)
    points = s2.xyz(np.array([a.lat for a in answers]), np.array([a.lon for a in answers]))
    km["ours with snap"] = sphere.chord_km(points, truth)
    km["ours without snap"] = _errors(geocoder, whole, truth, config, snap=False)
    km["TF-IDF nearest neighbour"] = sphere.chord_km(
        neighbours := baselines.neighbour(task.train.text, task.train, whole), truth
    )
    rows = np.array([baselines.dictionary(task.gazetteer, t) for t in whole])
    looked_up = np.where((rows >= 0)[:, None], task.gazetteer.points[rows], neighbours)
    km["dictionary"] = sphere.chord_km(looked_up, truth)
    km["constant"] = baselines.constant(task.train, test)
    listed = in_gazetteer(task.gazetteer, labels, truth)
    distances, groups = {}, {"all rows": np.ones(len(truth), bool)}
    groups |= {"rows in GeoNames": listed, "rows not in GeoNames": ~listed}
    for group, own in groups.items():
        for name, errors in km.items():
            if own.any():
                distances[f"{group}, {name}"] = metrics.distances(errors[own])
    described = np.array([bool(d) for d in descriptions])
    if described.any():
        some = [d for d in descriptions if d]
        base = baselines.neighbour(
            [d for d in task.train.description if d], _described(task.train), some
        )
        distances["descriptions alone, TF-IDF nearest neighbour"] = metrics.distances(
            sphere.chord_km(base, truth[described])
        )
        for snap in (False, True):
            errors = _errors(geocoder, some, truth[described], config, snap=snap)
            name = f"descriptions alone, ours with{'' if snap else 'out'} snap"
            distances[name] = metrics.distances(errors)
    distances |= names_alone(config, geocoder, task)
    low_high = metrics.interval(km["ours with snap"], np.median)
    return {
        "distances": distances,
        "interval": {"median, all rows, ours with snap": low_high},
        "errors": {name: _histogram(e) for name, e in km.items()},
        "cells": cell_scores(config, geocoder, test),
        **probabilities(config, geocoder, test, answers, km["ours with snap"]),
        "map": [[a.lat, a.lon, float(x), float(y)] for a, x, y in
                zip(answers, test.lat, test.lon, strict=True)][:1500],
        "countries": country_accuracy(task.gazetteer, points, truth),
    }  # fmt: skip


def _errors(geocoder, asked, truth, config, *, snap):
    found = geocoder.geocode(asked, residual=config.residual, snap=snap, abstain=False)
    points = s2.xyz(np.array([a.lat for a in found]), np.array([a.lon for a in found]))
    return sphere.chord_km(points, truth)


def _described(part):
    kept = [n for n, d in enumerate(part.description) if d]
    return type(part)(*([c[n] for n in kept] if isinstance(c, list) else c[kept] for c in part))


def in_gazetteer(gazetteer, labels, truth, km: float = 25.0) -> np.ndarray:
    """Whether a place of the item's own name is near it in the gazetteer."""
    from fl_jax.geocoding import words

    hashes = np.array([words.name_key(label) for label in labels], np.int64)
    a, b = gazetteer.place_index.find(hashes)
    found = np.zeros(len(labels), bool)
    for n in np.flatnonzero((b > a) & (hashes != 0)):
        rows = gazetteer.place_index.rows[a[n] : b[n]] >> 1
        found[n] = bool((sphere.chord_km(gazetteer.points[rows], truth[n]) < km).any())
    return found


def names_alone(config, geocoder, task) -> dict:
    """Names of held-out places without context, beside the largest place of each name."""
    draws = np.random.default_rng((config.seed, 2))
    places = task.gazetteer
    p = texts.weights(places, task.test_places)
    rows = draws.choice(task.test_places, config.names, p=p)
    asked = [texts.name(places, int(row), draws) for row in rows]
    truth = places.points[rows]
    largest = np.array([baselines.population(places, name) for name in asked])
    guess = np.where((largest >= 0)[:, None], places.points[largest], places.points[0])
    return {
        "names alone, population": metrics.distances(sphere.chord_km(guess, truth)),
        "names alone, ours": metrics.distances(
            _errors(geocoder, asked, truth, config, snap=True)
        ),
    }


def cell_scores(config, geocoder, test) -> dict:
    """Flat and hierarchical accuracy as the paper defines them, for texts and descriptions."""
    partition = geocoder.partition
    labels = np.array([partition.label(n) for n in partition.leaves])
    true = labels[cells.leaf(partition, test.lat, test.lon)]
    described = np.array([bool(d) for d in test.description])
    found = {}
    for name, asked, own in (
        ("label and description", test.text, np.ones(len(true), bool)),
        ("description alone, as in the paper", [d for d in test.description if d], described),
    ):
        if not own.any():
            continue
        best = [
            labels[np.argmax(logs[partition.leaves])]
            for logs, _, _ in posteriors(geocoder, asked, config.residual)
        ]
        found[name] = metrics.cells(best, true[own].tolist())
    return found


def probabilities(config, geocoder, test, answers, km) -> dict:
    """Coverage, calibration by level, log density, areas of regions, the confidence."""
    partition = geocoder.partition
    node = cells.deepest(partition, test.lat, test.lon)
    above = masses_above(geocoder, test.text, test.lat, test.lon, config.seed + 1)
    needed = {p: geocoder.calibration.region_mass(p) for p in MASSES}
    grid = np.linspace(0.05, 0.95, 19)
    top, right = [[] for _ in range(partition.depth)], [[] for _ in range(partition.depth)]
    nll, areas = [], {p: [] for p in AREA_MASSES}
    for n, (logs, stopped, _) in enumerate(posteriors(geocoder, test.text, 0.0)):
        way = cells.ancestors(partition, int(node[n]))
        for depth, (best, p) in enumerate(estimate.nested(partition, logs)):
            top[depth].append(p)
            right[depth].append(depth < len(way) and way[depth] == best)
        last = way[-1] if way else 0
        nll.append(-logs[last] + np.log(partition.area[last]))
        own = estimate.distribution(logs, stopped)
        for p, kept in areas.items():
            mass = geocoder.calibration.region_mass(p)
            kept.append(estimate.spread_km2(partition, estimate.region(partition, own, mass)))
    confidence = np.array([a.confidence for a in answers])
    return {
        "coverage": {f"{p:.0%}": float(np.mean(above <= m)) for p, m in needed.items()},
        "coverage_raw": {f"{p:.0%}": v for p, v in metrics.coverage(above, MASSES).items()},
        "reliability": [
            [float(p), float(np.mean(above <= geocoder.calibration.region_mass(p))),
             float(np.mean(above <= p))] for p in grid
        ],
        "ece": [
            metrics.calibration_error(np.array(p), np.array(r)) if p else None
            for p, r in zip(top, right, strict=True)
        ],
        "nll_per_km2": float(np.mean(nll)),
        "area_km2": {f"{p:.0%}": float(np.mean(a)) for p, a in areas.items()},
        "confidence_ece": metrics.calibration_error(confidence, km < 161),
        "silent": float(np.mean(confidence < geocoder.calibration.abstain)),
    }  # fmt: skip


def country_accuracy(gazetteer, points, truth) -> float:
    """Share of answers whose nearest gazetteer place is in the country of the truth's."""
    nearest = lambda p: gazetteer.country[np.argmax(gazetteer.points @ p)]
    some = range(0, len(truth), max(len(truth) // 500, 1))
    return float(np.mean([nearest(points[n]) == nearest(truth[n]) for n in some]))


def examples(geocoder: Geocoder, asked) -> list[dict]:
    """What the geocoder answers to a few texts."""
    found = []
    for answer in geocoder.geocode(asked):
        nested = answer.nested[-1] if answer.nested else (0, 1.0)
        found.append(
            {
                "text": answer.text,
                "lat": round(answer.lat, 3) if answer.found else None,
                "lon": round(answer.lon, 3) if answer.found else None,
                "place": geocoder.gazetteer.display(answer.place) if answer.place >= 0 else None,
                "confidence": round(answer.confidence, 3),
                "cell": geocoder.partition.label(nested[0]),
                "cell_probability": round(nested[1], 3),
            }
        )
    return found


def _histogram(km) -> list[int]:
    edges = np.concatenate([[0], np.logspace(0, np.log10(20040), 40)])
    return np.histogram(np.minimum(km, 20039), edges)[0].tolist()
