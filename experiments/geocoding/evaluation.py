"""Calibration on the development split, and every number on the test split."""

import numpy as np

from experiments.geocoding import baselines, checks, named, ordinary
from experiments.geocoding.config import Config
from fl_jax.geocoding import calibrate as calibration
from fl_jax.geocoding import (
    cells,
    density,
    estimate,
    mention,
    metrics,
    s2,
    sphere,
    texts,
    words,
)
from fl_jax.geocoding.geocoder import Geocoder, Inference

MASSES = (0.5, 0.8, 0.9)
DEV = 4000  # items to calibrate with at most


def calibrate(geocoder: Geocoder, dev) -> None:
    """Calibrates a geocoder on the development items, at most `DEV` of them."""
    calibration.fit(geocoder, dev.text[:DEV], dev.lat[:DEV], dev.lon[:DEV])


def everything(config: Config, geocoder: Geocoder, task) -> dict:
    """All numbers on the test split, from one exact posterior of each text."""
    test = task.test
    if config.test:
        test = type(test)(*(column[: config.test] for column in test))
    truth = s2.xyz(test.lat, test.lon)
    whole, partition = test.text, geocoder.partition
    found = geocoder.infer(whole, 0.0)
    answers, points = answered(geocoder, whole, found)
    km = {"ours with snap": sphere.chord_km(points, truth)}
    plain = answered(geocoder, whole, found, snap=False)[1]
    km["ours without snap"] = sphere.chord_km(plain, truth)
    neighbours = baselines.neighbour(task.train.text, task.train, whole)
    km["TF-IDF nearest neighbour"] = sphere.chord_km(neighbours, truth)
    rows = np.array([baselines.dictionary(task.gazetteer, t) for t in whole])
    looked_up = np.where((rows >= 0)[:, None], task.gazetteer.points[rows], neighbours)
    km["dictionary"] = sphere.chord_km(looked_up, truth)
    km["constant"] = baselines.constant(task.train, test)
    listed = in_gazetteer(task.gazetteer, test.label, truth)
    distances, groups = {}, {"all rows": np.ones(len(truth), bool)}
    groups |= {"rows in GeoNames": listed, "rows not in GeoNames": ~listed}
    for group, own in groups.items():
        for name, errors in km.items():
            if own.any():
                distances[f"{group}, {name}"] = metrics.distances(errors[own])
    leaf = cells.leaf(partition, test.lat, test.lon)
    scores = {"label and description": cell_scores(partition, found, leaf)}
    described = np.array([bool(d) for d in test.description])
    if described.any():
        some = [d for d in test.description if d]
        own = geocoder.infer(some, config.residual)
        scores["description alone, as in the paper"] = cell_scores(partition, own, leaf[described])
        told = _described(task.train)
        base = baselines.neighbour(told.description, told, some)
        kinds = {"TF-IDF nearest neighbour": base}
        for snap in (False, True):
            name = f"ours with{'' if snap else 'out'} snap"
            kinds[name] = answered(geocoder, some, own, snap=snap)[1]
        for name, guess in kinds.items():
            errors = sphere.chord_km(guess, truth[described])
            distances[f"descriptions alone, {name}"] = metrics.distances(errors)
    distances |= names_alone(config, geocoder, task)
    known = geocoder.geocode(checks.texts())
    lines = zip(answers, test.lat, test.lon, strict=True)
    low_high = metrics.interval(km["ours with snap"], np.median)
    return {
        "evaluated": len(truth),
        "distances": distances,
        "interval": {"median, all rows, ours with snap": low_high},
        "in_gazetteer": float(listed.mean()),
        "errors": {name: _histogram(e) for name, e in km.items()},
        "cells": scores,
        "mentions": mentioned(geocoder),
        "checks": checks.score(np.array([a.lat for a in known]), np.array([a.lon for a in known])),
        **probabilities(geocoder, found, answers, test, km["ours with snap"]),
        "map": [[a.lat, a.lon, float(x), float(y)] for a, x, y in lines][:1500],
        "countries": country_accuracy(task.gazetteer, points, truth),
    }


def mentioned(geocoder) -> dict | None:
    """How well places are found in marked sentences, and in how many where there are hardly any;
    None of a geocoder that cannot tell names from words."""
    if geocoder.told is None:
        return None
    places = geocoder.gazetteer
    country = lambda m: (
        places.country_code(m.row) if m.row >= 0 else places.regions[m.region].code[:2]
    )
    look = lambda text: [
        named.Place(m.start, m.end, country(m)) for m in mention.mentions(geocoder, text)
    ]
    found = {}
    for group, marked in (("seen", named.SEEN), ("unseen", named.UNSEEN)):
        given = named.sentences(marked)
        found[group] = named.score(given, [look(s.text) for s in given])
    stories = ordinary.stories()
    some = sum(bool(look(text)) for text in stories)
    return {**found, "stories": {"sentences": len(stories), "with a place": some}}


def answered(geocoder, asked, found, *, snap=True):
    """(answers, unit vectors (n, 3) of their points)."""
    pairs = zip(asked, found, strict=True)
    answers = [geocoder.answer(t, own, snap=snap, abstain=False) for t, own in pairs]
    lat, lon = np.array([a.lat for a in answers]), np.array([a.lon for a in answers])
    return answers, s2.xyz(lat, lon)


def _described(part):
    kept = [n for n, d in enumerate(part.description) if d]
    return type(part)(*([c[n] for n in kept] if isinstance(c, list) else c[kept] for c in part))


def in_gazetteer(gazetteer, labels, truth, km: float = 25.0) -> np.ndarray:
    """Whether a place of the item's own name is near it in the gazetteer."""
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
    own = answered(geocoder, asked, geocoder.infer(asked, config.residual))[1]
    return {
        "names alone, population": metrics.distances(sphere.chord_km(guess, truth)),
        "names alone, ours": metrics.distances(sphere.chord_km(own, truth)),
    }


def cell_scores(partition, found: list[Inference], leaf) -> dict:
    """Flat and hierarchical accuracy, as the paper defines them, of the leaf that is served."""
    served = [estimate.nested(partition, own.logs)[-1][0] for own in found]
    true = partition.leaves[leaf]
    return metrics.cells(*([partition.label(n) for n in nodes] for nodes in (served, true)))


def probabilities(geocoder, found, answers, test, km) -> dict:
    """Coverage, calibration by level, log density, areas of regions, the confidence."""
    partition, calibrated = geocoder.partition, geocoder.calibration
    node = cells.deepest(partition, test.lat, test.lon)
    keys = s2.key(test.lat, test.lon, s2.LEVELS)
    top, right = [[] for _ in range(partition.depth)], [[] for _ in range(partition.depth)]
    before, nll, areas = [], [], {p: [] for p in MASSES}
    for own, deepest, key in zip(found, node, keys, strict=True):
        way = cells.ancestors(partition, int(deepest))
        for depth, (best, p) in enumerate(estimate.nested(partition, own.logs)):
            top[depth].append(p)
            right[depth].append(depth < len(way) and way[depth] == best)
        spread = calibration.spread_of(geocoder, own)
        before.append(density.mass_before(spread, key))
        nll.append(-density.log_at(spread, key))
        for p, kept in areas.items():
            kept.append(density.region_km2(spread, calibrated.region_mass(p)))
    before, nll = np.array(before), np.array(nll)
    confidence = np.array([a.confidence for a in answers])
    point = cells.deepest(partition, *np.array([[a.lat, a.lon] for a in answers]).T)
    served = np.array([a.nested[-1][0] for a in answers])
    held = lambda mass: metrics.coverage(before, mass)
    grid = np.linspace(0.05, 0.95, 19).tolist()
    errors = [
        metrics.calibration_error(np.array(p), np.array(r)) if p else None
        for p, r in zip(top, right, strict=True)
    ]
    return {
        "coverage": {f"{p:.0%}": held(calibrated.region_mass(p)) for p in MASSES},
        "coverage_raw": {f"{p:.0%}": held(p) for p in MASSES},
        "coverage_of_a_cell": held(0.0),
        "reliability": [[p, held(calibrated.region_mass(p)), held(p)] for p in grid],
        "ece": errors,
        "nll_per_km2": float(np.mean(nll[np.isfinite(nll)])),
        "in_no_cell": float(np.mean(np.isinf(nll))),
        "area_km2": {f"{p:.0%}": float(np.mean(a)) for p, a in areas.items()},
        "median_area_km2": {f"{p:.0%}": float(np.median(a)) for p, a in areas.items()},
        "confidence_ece": metrics.calibration_error(confidence, km < 161),
        "confidence": metrics.reliability(confidence, km < 161),
        "confidence_mean": [float(confidence.mean()), float((km < 161).mean())],
        "point_in_leaf": float(np.mean(point == served)),
        "silent": float(np.mean(confidence < calibrated.abstain)),
    }


def country_accuracy(gazetteer, points, truth) -> float:
    """Share of answers whose nearest gazetteer place is in the country of the truth's."""
    nearest = lambda p: gazetteer.country[np.argmax(gazetteer.points @ p)]
    some = range(0, len(truth), max(len(truth) // 500, 1))
    return float(np.mean([nearest(points[n]) == nearest(truth[n]) for n in some]))


def shown(geocoder: Geocoder, asked) -> list[dict]:
    """What the geocoder answers to a few texts."""
    found = []
    for answer in geocoder.geocode(asked):
        node, p = answer.nested[-1] if answer.nested else (0, 1.0)
        place = geocoder.gazetteer.display(answer.place) if answer.place >= 0 else None
        found.append(
            {
                "text": answer.text,
                "lat": round(answer.lat, 3) if answer.found else None,
                "lon": round(answer.lon, 3) if answer.found else None,
                "place": place if answer.found else None,
                "confidence": round(answer.confidence, 3),
                "cell": geocoder.partition.label(node),
                "cell_probability": round(p, 3),
            }
        )
    return found


def _histogram(km) -> list[int]:
    edges = np.concatenate([[0], np.logspace(0, np.log10(20040), 40)])
    return np.histogram(np.minimum(km, 20039), edges)[0].tolist()
