"""The retrieval's parts: what is observed, line fluxes of unseen disks, the whole in small."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.disks import emulator, forward, mlp, table
from experiments.disks import calibration, config, heldout, observation, report, stages, task
from tests.experiments.disks import toy

CONFIG = dataclasses.replace(config.SMOKE, chains=2, chains_samples=12)
FEATURES = ("numberdens", "temperature", "uv", "ionization")


def constant(log_abundance: float) -> mlp.MLP:
    """A perceptron that gives CO the same abundance everywhere."""
    layers = [(jnp.zeros((4, 1)), jnp.zeros(1))]
    ends = np.zeros(4), np.ones(4), np.full(1, log_abundance), np.ones(1)
    return mlp.MLP(FEATURES, ("CO",), layers, *ends)


def test_rows_go_back_to_their_place():
    rows = toy.cells(CONFIG, [-4.0, -4.0])
    one = rows.select(rows.columns["disk"] == 1)
    i, j = heldout.place(one, CONFIG)
    size = CONFIG.radii * CONFIG.layers
    assert (i * CONFIG.layers + j).tolist() == list(range(size))
    some = one.select(np.arange(size) % 2 == 0)
    found = heldout.maps(some, CONFIG, np.arange(len(some), dtype=np.float64))
    assert found.ravel()[2] == 1.0 and found.ravel()[1] == np.log10(table.FLOOR)


def test_fluxes_of_unseen_disks():
    rows = toy.cells(CONFIG, [-4.0, -4.0])
    less = np.full((len(rows), 1), -9.0)  # thin: half as much gives half the flux
    predictions = {"same": rows.targets(("CO",)), "thin": less, "half": less - np.log10(2)}
    found = heldout.fluxes(CONFIG, rows, ("CO",), predictions)
    assert found.species == ("CO",) and found.truth.shape == (2, 1) and (found.truth > 0).all()
    np.testing.assert_allclose(heldout.errors_dex(found, "same"), 0.0, atol=1e-12)
    ratio = found.found["half"] / found.found["thin"]
    np.testing.assert_allclose(ratio, 0.5, rtol=1e-2)
    assert heldout.relative_error(found, "same", "CO") == pytest.approx(0.0, abs=1e-12)
    assert heldout.relative_error(found, "thin", "CO") > 0.5
    assert heldout.relative_error(found, "thin", "HCN") == 0.0


def test_visibilities_at_the_centre_are_the_spectrum():
    kept = observation.setup(CONFIG)
    x = np.full(CONFIG.radii * CONFIG.layers, -5.0)
    with jax.enable_x64(True):
        zero = jnp.zeros(1)
        found = forward.visibilities(kept, observation.TRUTH, zero, zero, jnp.asarray(x))
        line = forward.spectrum(kept, observation.TRUTH, jnp.asarray(x))
        np.testing.assert_allclose(found[0, 0], line, rtol=1e-12)
        np.testing.assert_allclose(found[1], 0.0, atol=1e-12 * float(line.max()))
    u, v = observation.baselines(230e9)
    lengths = np.hypot(u, v) * 2.99792458e8 / 230e9
    np.testing.assert_allclose(lengths[[0, -1]], observation.METRES)
    data, sigma = observation.measure(CONFIG, kept, x)
    assert data.shape == (2 * observation.BASELINES * CONFIG.channels,) and sigma > 0


def test_errors_of_distant_radii_are_kept_apart():
    r = np.geomspace(1, 400, 9)
    parts = observation.zones(r)[..., 0]
    np.testing.assert_allclose(np.sum(parts**2, axis=0), 1.0)
    together = parts.T @ parts  # what the covariance of errors is multiplied by
    assert together[0, -1] == 0 and (np.diff(together[0]) <= 1e-12).all()
    modes = np.random.default_rng(0).normal(size=(3, 8)) * np.array([[1.0], [1.0], [1e-5]])
    kept = observation.leading(modes)
    assert kept.shape == (2, 8)
    np.testing.assert_allclose(kept.T @ kept, modes.T @ modes, atol=1e-8)
    np.testing.assert_allclose(kept @ kept.T, np.diag(np.diag(kept @ kept.T)), atol=1e-12)


def test_every_disk_is_unseen_once():
    rows = toy.cells(CONFIG, [-4.0, -4.0])
    three = table.concatenate(
        [dataclasses.replace(rows, columns={**rows.columns, "disk": rows.columns["disk"] + 2 * i})
         for i in range(3)]
    )  # fmt: skip
    asked = dataclasses.replace(CONFIG, test_folds=3, folds=2)
    fold = stages.validation.folds(three.columns["disk"], 3)
    test = fold == 0
    found = stages.Rows(three, three.select(~test), three.select(test), ("CO",), "")
    seen = []

    class Model:
        features = FEATURES

        def predict(self, x):
            return SimpleNamespace(values=np.full((len(x), 1), -3.0))

    def make(near):
        seen.append(set(np.unique(near.columns["disk"])))
        return Model()

    predicted = np.full((int(test.sum()), 1), -3.5)
    maps = stages.unseen_maps(asked, found, predicted, make)
    assert maps.shape == (6, CONFIG.radii, CONFIG.layers)
    np.testing.assert_allclose(maps[:2], 0.5)  # the test disks, by the emulator in use
    np.testing.assert_allclose(maps[2:], 1.0)
    everything = set(range(6))
    others = [everything - set(np.unique(three.columns["disk"][fold == f])) for f in (1, 2)]
    assert seen == others


def test_likelihoods_of_many_points_are_those_of_each():
    knn = emulator.fit(
        toy.cells(CONFIG, [-4.0, -4.0]), features=FEATURES, species=("CO",), k=9, form="loess"
    )
    kept = observation.setup(CONFIG)
    none = lambda model: jnp.zeros((1, *model.shape))
    data = np.zeros(2 * observation.BASELINES * CONFIG.channels)
    found = task.through_neighbours(CONFIG, kept, knn, data, 0.1, none)
    units = np.random.default_rng(0).random((6, 5))
    some = found(units)
    assert some.shape == (6,) and len(np.unique(some)) == 6
    np.testing.assert_allclose(found(units[3:]), some[3:], rtol=1e-12)
    with jax.enable_x64(True):
        for unit, value in zip(units[:2], some, strict=False):
            values = task.retrieval.from_cube(observation.PRIORS, jnp.asarray(unit))
            features = np.asarray(forward.cells(kept, values)[1])
            x = jnp.asarray(forward.knn_abundances(knn, kept, features))
            got = np.asarray(observation.predict(CONFIG, kept, values, x))
            wanted = -0.5 * np.sum(got**2 / 0.1**2 + np.log(2 * np.pi * 0.1**2))
            assert value == pytest.approx(wanted)


@pytest.mark.slow
def test_the_retrieval_in_small(tmp_path):
    pytest.importorskip("blackjax")
    rows = toy.cells(CONFIG, [-4.0, -4.0])
    knn = emulator.fit(rows, features=FEATURES, species=("CO",), k=3, form="loess")
    models = {"perceptron": constant(-4.0), stages.CONTINUOUS: knn}
    predictions = {name: rows.targets(("CO",)) for name in models}
    fitted = SimpleNamespace(
        models=models,
        fluxes=heldout.fluxes(CONFIG, rows, ("CO",), predictions),
        residuals={name: np.full((2, CONFIG.radii, CONFIG.layers), 0.1) for name in models},
    )  # fmt: skip
    directory = SimpleNamespace(path=tmp_path)
    found = task.retrieve(CONFIG, fitted, directory)
    assert set(found.nuts) == set(observation.TRUTH)
    assert all(len(draws) == 24 for draws in found.nuts.values())
    for name, prior in observation.PRIORS.items():
        assert (found.nuts[name] >= prior.low).all() and (found.nuts[name] <= prior.high).all()
    assert (tmp_path / "truth.npz").is_file()  # solved once
    again = observation.chemistry(CONFIG, observation.setup(CONFIG), tmp_path / "truth.npz")
    assert again.shape == (CONFIG.radii * CONFIG.layers,)
    report.draw_retrieval(found, tmp_path)
    assert (tmp_path / report.CORNER).stat().st_size > 1000
    assert (tmp_path / report.CHANNELS).stat().st_size > 1000
    small = dataclasses.replace(CONFIG, calibration=20, calibration_batch=20)
    ranks = calibration.run(small, constant(-4.0))
    assert ranks.ranks.shape == (20, 2) and (ranks.p > 1e-4).all()
