"""Abundances by nearest neighbours in local conditions: the regressor of the paper and kin.

Features and log10 abundances go through quantile transforms of 100 quantiles; the k nearest rows
are averaged in the transformed space and brought back. Forms of the average:

    "uniform"    the paper's: the mean
    "distance"   weights 1/d
    "linear"     a ridge-regularised plane through the neighbours, weights as "soft", clipped to
                 their range
    "soft"       weights exp(-d^2/2h^2), h the distance of the k-th
    "loess"      such a plane with weights (1 - (d/h)^3)^3, clipped to [0, 1] [Cleveland 1979]

Only the last is continuous in the features: elsewhere a neighbour comes in, or goes, with a weight.

Averages of log10 abundances without the transform are a different estimator: `target="log"`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from algorithmic import neighbors
from algorithmic.disks import conformal, quantile, table
from fl_jax.core import errors

FORMS = ("uniform", "distance", "linear", "soft", "loess")
TARGETS = ("quantile", "log")
VERSION = 1
INDEXED = 1024  # rows from which a tree is made once, for the many queries of a sampler


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the emulator says about rows of conditions."""

    values: np.ndarray  # (rows, species) log10 abundance
    spread: np.ndarray  # (rows, species) standard deviation of the neighbours [dex]
    low: np.ndarray  # (rows, species) conformal interval; NaN where none was calibrated
    high: np.ndarray
    outside: np.ndarray  # (rows,) bool: some feature lies beyond the training range


@dataclasses.dataclass(frozen=True, eq=False)
class Emulator:
    """A fitted regressor: arrays and names, no code."""

    features: tuple[str, ...]
    species: tuple[str, ...]
    k: int
    form: str
    target: str
    x: quantile.Quantiles
    y: quantile.Quantiles
    rows: np.ndarray  # (n, d) float32, transformed features
    values: np.ndarray  # (n, species) float32: transformed targets, or log10 for "log"
    widths: np.ndarray  # (species,) conformal half widths [dex], NaN without
    index: neighbors.Index | None = dataclasses.field(default=None, repr=False)

    def predict(self, features) -> Prediction:
        """log10 abundances at (rows, d) features, log10 as in the table.

        Raises:
            DataError: a feature that is not finite.
        """
        d, at, unit = self._search(features)
        near = self.values[at].astype(np.float64)
        logs = near if self.target == "log" else self._back(near)
        found = self._mean(d, at, unit, near, slice(None))
        return Prediction(
            found,
            logs.std(axis=1),
            found - self.widths[None],
            found + self.widths[None],
            quantile.outside(self.x, features).any(axis=1),
        )

    def means(self, features, species: Sequence[str]) -> np.ndarray:
        """(rows, species) of `predict(features).values`, of some species and without the rest."""
        columns = [self.species.index(s) for s in species]
        d, at, unit = self._search(features)
        return self._mean(d, at, unit, self.values[:, columns][at].astype(np.float64), columns)

    def _search(self, features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(distances, indices, transformed features)"""
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != len(self.features):
            raise errors.ConfigError(
                f"features should be (rows, {len(self.features)}): {', '.join(self.features)};"
                f" {features.shape} came."
            )
        bad = ~np.isfinite(features).all(axis=1)
        if bad.any():
            raise errors.DataError(
                f"{int(bad.sum())} rows of features hold NaN or infinity, the first is row"
                f" {int(bad.argmax())}; remove them: nothing is put in their place."
            )
        unit = quantile.forward(self.x, features).astype(np.float32)
        return *neighbors.knn(unit, self.rows, self.k, index=self.index), unit

    def _mean(self, d, at, unit, near, columns) -> np.ndarray:
        bounds = (-np.inf, np.inf) if self.target == "log" else (0.0, 1.0)
        mean = average(self.form, unit, d, self.rows[at], near, bounds)
        return mean if self.target == "log" else self._back(mean, columns)

    def _back(self, unit, columns=slice(None)):
        some = quantile.Quantiles(self.y.values[:, columns])
        return quantile.backward(some, unit.reshape(-1, unit.shape[-1])).reshape(unit.shape)

    def save(self, path) -> None:
        """A .npz without pickle, with its schema in a JSON header."""
        keys = ("features", "species", "k", "form", "target")
        header = {"version": VERSION, **{k: getattr(self, k) for k in keys}}
        arrays = {k: getattr(self, k) for k in ("rows", "values", "widths")}
        table.write_npz(path, header, x=self.x.values, y=self.y.values, **arrays)

    @classmethod
    def load(cls, path) -> "Emulator":
        """What `save` wrote.

        Raises:
            DataError: the file is missing or holds something else.
        """
        header, arrays = table.read_npz(path, VERSION, ("rows", "values", "widths", "x", "y"))
        header.pop("version")
        header |= {k: tuple(header[k]) for k in ("features", "species")}
        x, y = (quantile.Quantiles(arrays.pop(k)) for k in ("x", "y"))
        return cls(**header, x=x, y=y, **arrays, index=_index(arrays["rows"]))


def fit(
    rows: table.Table,
    *,
    features: Sequence[str],
    species: Sequence[str],
    k: int = 20,
    form: str = "uniform",
    target: str = "quantile",
    quantiles: int = 100,
) -> Emulator:
    """The emulator of these rows.

    Raises:
        ConfigError: unknown names or forms, no features or species, or k that is no whole number
            from 1 to the rows.
        DataError: values that are not finite, or no rows.
    """
    errors.one_of("form", form, FORMS)
    errors.one_of("target", target, TARGETS)
    if not (len(features) and len(species)):
        raise errors.ConfigError("an emulator needs one feature and one species at least.")
    if not len(rows):
        raise errors.DataError("an emulator is made of rows, but the table has none.")
    errors.whole("k", k, 1)
    x, y = rows.features(features), rows.targets(species)
    if not 1 <= k <= len(x):
        raise errors.ConfigError(f"k must lie in 1..{len(x)}, the number of rows, got {k}.")
    qx, qy = quantile.fit(x, quantiles), quantile.fit(y, quantiles)
    unit = quantile.forward(qx, x).astype(np.float32)
    values = (y if target == "log" else quantile.forward(qy, y)).astype(np.float32)
    none = np.full(len(species), np.nan)
    names = tuple(features), tuple(species)
    return Emulator(*names, k, form, target, qx, qy, unit, values, none, _index(unit))


def _index(rows: np.ndarray) -> neighbors.Index | None:
    small = rows.shape[1] <= neighbors.search.TREE_DIMS
    return neighbors.build(rows) if small and len(rows) >= INDEXED else None


def average(
    form: str, queries, distances, rows, values, bounds: tuple[float, float] = (0.0, 1.0)
) -> np.ndarray:
    """(m, species) means of the neighbours' values (m, k, species), see the module.

    Args:
        form: one of `FORMS`.
        queries: (m, d).
        distances: (m, k) to the neighbours, rising.
        rows: (m, k, d) the neighbours.
        values: of them.
        bounds: of values, which no plane leaves.
    """
    distances = np.asarray(distances, np.float64)
    if form == "linear":
        found = _plane(weights("soft", distances), queries, distances, rows, values)
        return np.clip(found, values.min(axis=1), values.max(axis=1))
    if form == "loess":
        found = _plane(weights("loess", distances), queries, distances, rows, values)
        return np.clip(found, *bounds)
    return np.einsum("mk,mks->ms", weights(form, distances), values)


def weights(form: str, distances: np.ndarray) -> np.ndarray:
    """(m, k) weights that sum to one; a neighbour at distance zero takes all of "distance"."""
    if form == "uniform":
        w = np.ones_like(distances)
    elif form == "distance":
        exact = distances == 0
        w = np.where(exact.any(1, keepdims=True), exact, 1 / np.where(exact, 1.0, distances))
    else:
        share = distances / np.maximum(distances[:, -1:], 1e-12)
        # The least weight is for neighbours that are all equally far.
        w = np.exp(-0.5 * share**2) if form == "soft" else (1 - share**3) ** 3 + 1e-12
    return w / w.sum(axis=1, keepdims=True)


def _plane(w, queries, distances, rows, values, ridge: float = 1e-2):
    """Weighted linear regression at the query.

    The small normal equations are solved by elimination without pivots, which symmetric positive
    matrices do not need, all queries at once, where LAPACK takes one after another.
    """
    away = np.asarray(rows, np.float64) - np.asarray(queries, np.float64)[:, None]
    away /= np.maximum(distances[:, -1], 1e-12)[:, None, None]
    x = [np.ones_like(distances), *np.moveaxis(away, 2, 0)]
    size = len(x)
    gram = [[None] * size for _ in x]
    for i in range(size):
        weighed = w * x[i]
        for j in range(i, size):
            gram[i][j] = np.einsum("mk,mk->m", weighed, x[j])
        gram[i].append(np.einsum("mk,mks->ms", weighed, values))
        gram[i][i] = gram[i][i] + (ridge if i else 0.0)
    # From the last slope to the constant, so that the constant alone is substituted.
    for p in range(size - 1, 0, -1):
        for i in range(p):
            share = gram[i][p] / gram[p][p]
            for j in range(i, p):
                gram[i][j] = gram[i][j] - share * gram[j][p]
            gram[i][-1] = gram[i][-1] - share[:, None] * gram[p][-1]
    return gram[0][-1] / gram[0][0][:, None]


def calibrate(emulator: Emulator, rows: table.Table, level: float = 0.9) -> Emulator:
    """The emulator with conformal half widths from disks that it has not seen."""
    errors_dex = np.abs(
        rows.targets(emulator.species) - emulator.predict(rows.features(emulator.features)).values
    )
    found = conformal.widths(errors_dex, rows.columns["disk"], level)
    return dataclasses.replace(emulator, widths=found)
