"""The stages: population, cross-validation, ablation, emulators, errors."""

from typing import Any, NamedTuple

import numpy as np

from algorithmic.disks import conformal, emulator, mlp, population, table, validation
from experiments import result
from experiments.disks import heldout
from experiments.disks.config import FEATURES, Config
from fl_jax.data import sources
from fl_jax.train import metrics

NOTEBOOK = ("CO", "HCO+", "e-", "DCO+")  # the species of the notebook's stored run
SHIPPED = ("CO", "CN", "HCN", "HNC", "HCO+", "H2CO", "N2H+", "CS", "C2H", "e-")  # the package's
SIMPLE = ("CO", "HCO+", "e-", "C", "C+")  # of the hand-typed network
ALL = FEATURES


class Rows(NamedTuple):
    """The population, split by disk."""

    all: table.Table
    training: table.Table
    test: table.Table
    species: tuple[str, ...]
    origin: str


def rows(config: Config, directory: result.RunDirectory) -> Rows:
    """Makes the population, or what of it is not there yet, and splits it."""
    data = sources.folder("astrochem")
    asked = population.Population(
        disks=config.disks,
        family=config.family,
        seed=config.seed,
        radii=config.radii,
        layers=config.layers,
        years=config.years,
        network=config.network,
        rtol=config.rtol,
    )
    simple = data is None or config.network == "hand"
    origin = "33 hand-typed reactions" if simple else f"RATE22 {config.network} with ices"
    print(f"chemistry: {origin}; {config.disks} disks of {config.radii} x {config.layers} cells")
    with metrics.Progress(config.disks, what="disk") as shown:
        whole = population.make(
            asked,
            directory.path / "population",
            data=data,
            workers=config.workers or None,
            progress=lambda done, total: shown.update(done),
        )
    whole.save(directory.path / "population.npz")
    directory.write_json("data_card.json", whole.meta)
    training, test = validation.split(whole, config.test_folds)
    validation.apart(training, test)
    species = SIMPLE if simple else SHIPPED
    return Rows(whole, training, test, species, origin)


def curve(config: Config, found: Rows) -> dict[str, Any]:
    """The cross-validation over k with the notebook's features and species."""
    species = tuple(s for s in NOTEBOOK if s in found.all.species)
    candidates = validation.CANDIDATES[config.largest_k >= validation.CANDIDATES]
    errors = validation.cross_validate(
        found.training,
        features=config.features,
        species=species,
        candidates=candidates,
        count=config.folds,
    )
    mean = errors.mean(axis=0)
    best = int(mean.argmin())
    return {
        "k": candidates.tolist(),
        "mse": mean.tolist(),
        "deviation": errors.std(axis=0).tolist(),
        "best": int(candidates[best]),
        "rmse": float(np.sqrt(mean[best])),
        "species": list(species),
    }


def ablation(config: Config, found: Rows, largest: int = 3) -> list[dict[str, Any]]:
    """Cross-validated error of each condition alone and of growing sets, greedily, and of all.

    Every set of two and three that holds the best of the smaller ones is tried: 9 + 8 + 7 sets.
    """
    candidates = [k for k in (1, 2, 3, 5, 8, 12, 20, 35) if k <= config.largest_k]
    species = tuple(s for s in NOTEBOOK if s in found.all.species)

    def error(subset):
        errors = validation.cross_validate(
            found.training,
            features=subset,
            species=species,
            candidates=candidates,
            count=min(config.folds, 3),
        ).mean(axis=0)
        best = int(errors.argmin())
        rmse = float(np.sqrt(errors[best]))
        return {"features": list(subset), "k": candidates[best], "rmse": rmse}

    out, base = [], ()
    for _ in range(largest):
        tried = [error((*base, name)) for name in ALL if name not in base]
        base = tuple(min(tried, key=lambda row: row["rmse"])["features"])
        out += tried
    out += [error(config.features), error(ALL)]
    return sorted(out, key=lambda row: row["rmse"])


class Coverage(NamedTuple):
    """Share of a disk's cells inside their intervals."""

    mean: float  # over disks
    error: float  # standard error
    level: float  # that the intervals were made for


class Fitted(NamedTuple):
    """The emulators that are compared, and their errors."""

    models: dict[str, Any]
    predictions: dict[str, np.ndarray]  # log10 abundances of the test rows
    scores: dict[str, dict[str, list[float]]]
    fluxes: heldout.Fluxes
    residuals: dict[str, np.ndarray]  # of the two that samplers go through, see `unseen_maps`
    validated: dict[str, float]  # error of each form on training disks left out [dex]
    best: str  # of these
    k: int
    coverage: dict[str, Coverage]  # "bound" and "plain"
    outside: float


PUBLISHED = "KNN, paper's features"
CONTINUOUS = "KNN loess"  # the one for samplers


def fit(config: Config, found: Rows) -> Fitted:
    """Every form of the regressor and the perceptron on the same split.

    The best form is that of the smallest error on training disks that were left out, so that its
    errors on the test disks are not those it was chosen by.
    """
    candidates = validation.CANDIDATES[config.largest_k >= validation.CANDIDATES]
    errors = validation.cross_validate(
        found.training,
        features=config.fit_features,
        species=found.species,
        candidates=candidates,
        count=config.folds,
    ).mean(axis=0)
    k = int(candidates[errors.argmin()])
    common = {"species": found.species, "features": config.fit_features}
    forms = {f"KNN {form}": {"k": k, "form": form, **common} for form in emulator.FORMS}
    # A plane needs more points than a mean, and more where the farthest weigh nothing.
    for name, least in (("KNN linear", 16), (CONTINUOUS, 48)):
        forms[name]["k"] = min(max(k, least), len(found.training))
    forms["KNN uniform, log target"] = {"k": k, "target": "log", **common}
    models: dict[str, Any] = {
        PUBLISHED: emulator.fit(
            found.training, species=found.species, features=config.features, k=k
        ),
        **{name: emulator.fit(found.training, **how) for name, how in forms.items()},
    }
    train = lambda rows: mlp.fit(rows, epochs=config.epochs, seed=config.seed, **common)
    models["perceptron"] = train(found.training)
    validated = _validated(config, found, forms)
    best = min(validated, key=validated.get)
    truth, density = found.test.targets(found.species), found.test.columns["numberdens"]
    predictions, scores = {}, {}
    for name, model in models.items():
        x = found.test.features(model.features)
        values = np.asarray(model.apply(x)) if name == "perceptron" else model.predict(x).values
        predictions[name] = values
        scores[name] = {k: v.tolist() for k, v in validation.scores(truth, values, density).items()}
        wanted, _ = validation.columns(found.test, truth)
        got, _ = validation.columns(found.test, values)
        miss = np.log10(np.maximum(got, 1.0)) - np.log10(np.maximum(wanted, 1.0))
        scores[name]["column"] = np.sqrt(np.mean(miss**2, axis=0)).tolist()
    compared = {k: v for k, v in predictions.items() if k != PUBLISHED}
    fluxes = heldout.fluxes(config, found.test, found.species, compared)
    again = {"perceptron": train, CONTINUOUS: lambda rows: fitted(rows, forms[CONTINUOUS])}
    misses = {
        name: unseen_maps(config, found, predictions[name], make) for name, make in again.items()
    }
    for name, one in scores.items():
        errors = heldout.errors_dex(fluxes, name) if name in compared else []
        by_line = dict(zip(fluxes.species, map(float, errors), strict=False))
        one["flux"] = [by_line.get(s) for s in found.species]  # None: no line, or not compared
    coverage = _coverage(config, found, forms[best])
    outside = models[best].predict(found.test.features(models[best].features)).outside.mean()
    return Fitted(
        models, predictions, scores, fluxes, misses, validated, best, k, coverage, float(outside)
    )


def _validated(config: Config, found: Rows, forms: dict[str, dict]) -> dict[str, float]:
    """Root mean square error of each form, averaged over species, cross-validated [dex]."""
    truth = found.training.targets(found.species)
    fold = validation.folds(found.training.columns["disk"], config.folds)
    error = lambda values: float(np.mean(np.sqrt(np.mean((values - truth) ** 2, axis=0))))
    return {name: error(_unseen(found.training, fold, how)) for name, how in forms.items()}


def _unseen(rows: table.Table, fold: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """(rows, species) log10 abundances, each by an emulator of the other folds' rows."""
    values = np.empty((len(rows), len(how["species"])))
    for f in range(fold.max() + 1):
        near, far = rows.select(fold != f), rows.select(fold == f)
        fresh = fitted(near, how)
        values[fold == f] = fresh.predict(far.features(fresh.features)).values
    return values


def fitted(rows: table.Table, how: dict[str, Any]) -> emulator.Emulator:
    """The emulator of `how`, with no more neighbours than rows."""
    return emulator.fit(rows, **{**how, "k": min(how["k"], len(rows))})


ENOUGH = 40  # disks whose errors a likelihood takes


def unseen_maps(config: Config, found: Rows, predicted: np.ndarray, make) -> np.ndarray:
    """(disks, I, J) errors of the first species in disks that an emulator had not seen [dex].

    The test disks', and where they are few also those of the training disks, fold by fold, each by
    an emulator of as many others: seven disks of 32 know few of the ways to be wrong.

    Args:
        config: folds and grid.
        found: the rows.
        predicted: log10 abundances of the test rows.
        make: (rows) -> an emulator.
    """
    truth = lambda rows: rows.targets(found.species)
    out = [heldout.residuals(config, found.test, truth(found.test), predicted)]
    fold = validation.folds(found.all.columns["disk"], config.test_folds)
    for f in range(1, config.test_folds):  # the first is the test
        if sum(map(len, out)) >= ENOUGH:
            break
        model, far = make(found.all.select(fold != f)), found.all.select(fold == f)
        x = far.features(model.features)
        values = model.predict(x).values if hasattr(model, "predict") else model.apply(x)
        out.append(heldout.residuals(config, far, truth(far), np.asarray(values)))
    return np.concatenate(out)


def _coverage(config: Config, found: Rows, how: dict[str, Any]) -> dict[str, Coverage]:
    """Of intervals calibrated on all other disks.

    "bound": with the level a lower bound for any number of disks, or what so many disks can bound;
    "plain": the pooled quantile. The errors are those of emulators that did not see the disk.
    """
    owner = found.all.columns["disk"]
    disks = np.unique(owner)
    fold = validation.folds(owner, min(config.test_folds, len(disks)))
    misses = np.abs(_unseen(found.all, fold, how) - found.all.targets(found.species))
    levels = {"bound": min(config.level, (len(disks) - 1) / len(disks)), "plain": config.level}
    if levels["bound"] < config.level:
        print(
            f"conformal intervals: {len(disks)} disks can bound a coverage of"
            f" {100 * levels['bound']:.1f} %, less than the {100 * config.level:g} % asked for"
        )
    out = {}
    for name, level in levels.items():
        shares = []
        for d in disks:  # every disk against the intervals of all the others
            rest = owner != d
            widths = conformal.widths(misses[rest], owner[rest], level, bound=name == "bound")
            shares.append(float((misses[~rest] <= widths[None]).mean()))
        error = np.std(shares, ddof=1) / np.sqrt(len(shares))
        out[name] = Coverage(float(np.mean(shares)), float(error), level)
    return out


def residuals(found: Rows, predicted: np.ndarray, species: str, bins: int = 24) -> dict[str, Any]:
    """Bias, scatter and share of the molecules in bins of log T and log n, of the test disks."""
    at = found.species.index(species)
    truth = found.test.targets(found.species)[:, at]
    miss = predicted[:, at] - truth
    t = np.log10(found.test.columns["temperature"])
    n = np.log10(found.test.columns["numberdens"])
    edges = [np.linspace(v.min(), v.max(), bins + 1) for v in (t, n)]
    weight = 10**truth * 10**n
    count = np.histogram2d(t, n, edges)[0]
    total = np.histogram2d(t, n, edges, weights=miss)[0]
    square = np.histogram2d(t, n, edges, weights=miss**2)[0]
    share = np.histogram2d(t, n, edges, weights=weight)[0] / weight.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        bias = total / count
        scatter = np.sqrt(np.maximum(square / count - bias**2, 0))
    return {"edges": edges, "bias": bias, "scatter": scatter, "share": share}


def card(found: Rows) -> dict[str, Any]:
    """The data card's counts for the report."""
    keys = ("disks", "rows", "cells", "species", "reactions", "steps")
    return {k: found.all.meta[k] for k in keys}
