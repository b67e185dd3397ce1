import numpy as np
import pytest

from algorithmic.disks import conformal, emulator, mlp, quantile, table, validation
from fl_jax.core import errors


def cells(disks=6, count=60, seed=0):
    """A made-up population whose abundance is smooth in density and temperature."""
    rng = np.random.default_rng(seed)
    n, t = 10 ** rng.uniform(4, 12, disks * count), 10 ** rng.uniform(1, 3, disks * count)
    log = -4 - (np.log10(n) - 8) ** 2 / 8 + np.log10(t) / 3
    columns = {
        "disk": np.repeat(np.arange(disks), count),
        "radius": np.tile(np.repeat(np.arange(1.0, 7.0), count // 6), disks),
        "height": np.tile(np.linspace(0, 1, count // 6), 6 * disks) + 1e-3,
        "numberdens": n,
        "temperature": t,
        "uv": np.ones_like(n),
        "ionization": np.full_like(n, 1e-17),
    }
    values = np.stack([10**log, 10 ** (-log - 12)], axis=1)
    return table.Table(columns, ("CO", "HCO+"), values, {"made": "up"})


NAMES = {"features": ("numberdens", "temperature"), "species": ("CO", "HCO+")}


def test_quantile_transform_is_scikit_learns():
    from sklearn.preprocessing import QuantileTransformer

    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=500), np.round(rng.normal(size=500))], axis=1)  # ties too
    theirs = QuantileTransformer(n_quantiles=100, subsample=None).fit(x)
    ours = quantile.fit(x)
    probe = np.concatenate([x, rng.normal(size=(100, 2)) * 4, x.max(0)[None], x.min(0)[None]])
    np.testing.assert_allclose(quantile.forward(ours, probe), theirs.transform(probe), atol=1e-12)
    u = rng.random((50, 2))
    np.testing.assert_allclose(quantile.backward(ours, u), theirs.inverse_transform(u), atol=1e-12)
    assert quantile.outside(ours, [[99.0, 0.0]]).tolist() == [[True, False]]
    inner = x[:50, :1]
    one = quantile.fit(x[:, :1])
    jitted = quantile.forward_jax(one, inner.astype(np.float32))
    np.testing.assert_allclose(jitted, quantile.forward(one, inner), atol=1e-5)
    np.testing.assert_allclose(quantile.backward_jax(one, jitted), inner, atol=1e-4)
    with pytest.raises(errors.DataError, match="quantiles need finite rows"):
        quantile.fit([[np.nan]])


def test_the_papers_estimator_is_scikit_learns():
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import QuantileTransformer

    rows, probe = cells(), cells(seed=1)
    q = lambda: QuantileTransformer(n_quantiles=100, subsample=None)
    theirs = TransformedTargetRegressor(
        make_pipeline(q(), KNeighborsRegressor(n_neighbors=7)), transformer=q(),
        check_inverse=False,
    ).fit(rows.features(NAMES["features"]), rows.targets(NAMES["species"]))  # fmt: skip
    ours = emulator.fit(rows, k=7, **NAMES)
    wanted = theirs.predict(probe.features(NAMES["features"]))
    found = ours.predict(probe.features(NAMES["features"])).values
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("form", emulator.FORMS)
def test_every_form_learns_and_survives_saving(form, tmp_path):
    rows, probe = cells(), cells(seed=1)
    model = emulator.fit(rows, k=12, form=form, **NAMES)
    x = probe.features(NAMES["features"])
    found = model.predict(x)
    truth = probe.targets(NAMES["species"])
    assert np.sqrt(np.mean((found.values - truth) ** 2)) < 0.35
    model.save(tmp_path / "model.npz")
    again = emulator.Emulator.load(tmp_path / "model.npz").predict(x)
    np.testing.assert_array_equal(again.values, found.values)
    assert found.outside.mean() < 0.2


def test_a_plane_is_exact_on_a_plane_and_weights_sum_to_one():
    rng = np.random.default_rng(0)
    rows = rng.random((5, 30, 2))
    q = rows.mean(axis=1)
    values = (rows @ np.array([1.0, 2.0]))[..., None]
    d = np.linalg.norm(rows - q[:, None], axis=2)
    order = np.argsort(d, axis=1)
    d = np.take_along_axis(d, order, 1)
    rows = np.take_along_axis(rows, order[..., None], 1)
    values = np.take_along_axis(values, order[..., None], 1)
    found = emulator.average("linear", q, d, rows, values)[:, 0]
    np.testing.assert_allclose(found, q @ [1.0, 2.0], atol=0.02)
    for form in ("uniform", "distance", "soft", "loess"):
        np.testing.assert_allclose(emulator.weights(form, d).sum(1), 1.0)
    same = np.full((2, 3), 0.5)
    np.testing.assert_allclose(emulator.weights("loess", same), 1 / 3)  # none is nearer
    assert emulator.weights("distance", np.array([[0.0, 1.0]])).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("form", ["linear", "loess"])
def test_planes_are_the_normal_equations_solved_one_by_one(form):
    rng = np.random.default_rng(1)
    rows, values = rng.random((20, 12, 3)), rng.random((20, 12, 2))
    q = rows.mean(axis=1)
    d = np.sort(np.linalg.norm(rows - q[:, None], axis=2), axis=1)
    w = emulator.weights({"linear": "soft"}.get(form, form), d)
    found = emulator.average(form, q, d, rows, values)
    for m in range(20):
        x = np.concatenate([np.ones((12, 1)), (rows[m] - q[m]) / d[m, -1]], axis=1)
        gram = x.T @ np.diag(w[m]) @ x + 1e-2 * np.diag([0.0, 1, 1, 1])
        wanted = np.linalg.solve(gram, x.T @ np.diag(w[m]) @ values[m])[0]
        near = values[m].min(0), values[m].max(0)
        wanted = np.clip(wanted, *(near if form == "linear" else (0, 1)))
        np.testing.assert_allclose(found[m], wanted, rtol=1e-10)


def test_only_loess_is_continuous():
    rows = cells()
    ends = np.array([[5.0, 1.2], [11.0, 2.8]])
    line = ends[0] + np.linspace(0, 1, 20001)[:, None] * (ends[1] - ends[0])
    step = {}
    for form in emulator.FORMS:
        model = emulator.fit(rows, k=12, form=form, **NAMES)
        step[form] = np.abs(np.diff(model.predict(line).values[:, 0])).max()
    assert step.pop("loess") < 2e-3 < 0.01 < min(step.values())


def test_means_are_those_of_a_prediction():
    for target in emulator.TARGETS:
        model = emulator.fit(cells(), k=6, form="loess", target=target, **NAMES)
        x = cells(seed=1).features(NAMES["features"])
        whole = model.predict(x).values
        np.testing.assert_allclose(model.means(x, ("HCO+",))[:, 0], whole[:, 1], rtol=1e-12)


def test_folds_keep_disks_whole_as_scikit_learn_does():
    from sklearn.model_selection import GroupKFold

    groups = np.repeat(np.arange(7), [5, 9, 2, 7, 7, 3, 6])
    mine = validation.folds(groups, 3)
    for fold, (_, test) in enumerate(GroupKFold(3).split(groups, groups=groups)):
        assert set(groups[mine == fold]) == set(groups[test])
    with pytest.raises(errors.ConfigError, match="folds need at least as many disks"):
        validation.folds(groups, 8)


def test_cross_validation_is_the_slow_loop():
    rows = cells()
    found = validation.cross_validate(rows, candidates=(1, 4), count=3, **NAMES)
    fold = validation.folds(rows.columns["disk"], 3)
    slow = np.empty((3, 2))
    for f in range(3):
        for c, k in enumerate((1, 4)):
            model = emulator.fit(rows.select(fold != f), k=k, **NAMES)
            rest = rows.select(fold == f)
            miss = model.predict(rest.features(NAMES["features"])).values - rest.targets(
                NAMES["species"]
            )
            slow[f, c] = np.mean(miss**2)
    np.testing.assert_allclose(found, slow, rtol=1e-4)


def test_conformal_widths_cover_new_disks():
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(40), 30)
    scale = np.repeat(rng.uniform(0.5, 2, 40), 30)
    misses = np.abs(rng.normal(size=(1200, 1)) * scale[:, None])
    widths = conformal.widths(misses[:600], owner[:600], 0.9)
    share, deviation = conformal.coverage(misses[600:], widths, owner[600:])
    # At least what was asked for; the unseen disk, counted as a miss, adds up to 1/20 of it.
    assert 0.9 - 3 * deviation < share < 0.9 * 21 / 20 + 3 * deviation
    with pytest.raises(errors.ConfigError, match="at least 9 calibration disks"):
        conformal.widths(misses[:60], owner[:60], 0.9)
    rows = cells(12)
    model = emulator.calibrate(emulator.fit(rows, k=5, **NAMES), cells(12, seed=2))
    found = model.predict(cells(seed=3).features(NAMES["features"]))
    assert ((found.high - found.low) > 0).all()


def test_a_leaking_split_and_bad_features_are_refused():
    rows = cells()
    training, test = validation.split(rows, 3)
    validation.apart(training, test)
    with pytest.raises(errors.DataError, match="the split leaks: 6 disks"):
        validation.apart(rows, rows)
    model = emulator.fit(rows, k=5, **NAMES)
    with pytest.raises(errors.DataError, match="hold NaN"):
        model.predict([[np.nan, 1.0]])
    with pytest.raises(errors.ConfigError, match="features should be"):
        model.predict([[1.0]])
    with pytest.raises(errors.ConfigError, match="did you mean 'uniform'"):
        emulator.fit(rows, form="uniforn", **NAMES)


def test_scores_and_columns():
    rows = cells()
    truth = rows.targets(("CO", "HCO+"))
    found = validation.scores(truth, truth + 0.5, rows.columns["numberdens"])
    for name in ("rmse", "mae", "median", "p90", "bias", "weighted"):
        np.testing.assert_allclose(found[name], 0.5)
    one, disks = validation.columns(rows, truth)
    more, _ = validation.columns(rows, truth + 0.5)
    np.testing.assert_allclose(np.log10(more / one), 0.5)
    assert len(one) == len(disks) == 36


def test_the_perceptron_learns_and_survives_saving(tmp_path):
    rows = cells()
    model = mlp.fit(rows, hidden=(16,), epochs=40, batch=32, rate=1e-2, **NAMES)
    x = rows.features(NAMES["features"]).astype(np.float32)
    found = np.asarray(model.apply(x))
    assert np.sqrt(np.mean((found - rows.targets(NAMES["species"])) ** 2)) < 0.4
    model.save(tmp_path / "mlp.npz")
    np.testing.assert_array_equal(mlp.MLP.load(tmp_path / "mlp.npz").apply(x), found)


def test_features_that_are_not_finite_are_refused():
    model = emulator.fit(cells(), k=3, **NAMES)
    for bad in (np.nan, np.inf, -np.inf):  # minus infinity is log10 of a field of 0
        with pytest.raises(errors.DataError, match=r"1 rows of features hold NaN.*row 1"):
            model.predict([[8.0, 2.0], [bad, 2.0]])


def test_a_constant_column_is_scikit_learns():
    from sklearn.preprocessing import QuantileTransformer

    x = np.full((30, 1), 3.0)
    theirs = QuantileTransformer(n_quantiles=30, subsample=None).fit(x)
    probe = np.array([[2.0], [3.0], [4.0]])
    np.testing.assert_array_equal(quantile.forward(quantile.fit(x), probe), theirs.transform(probe))


def test_candidates_come_in_any_order_and_are_counts():
    rising = validation.cross_validate(cells(), candidates=[2, 5, 9], count=3, **NAMES)
    mixed = validation.cross_validate(cells(), candidates=[9, 2, 5, 9], count=3, **NAMES)
    np.testing.assert_allclose(mixed, rising[:, [2, 0, 1, 2]], rtol=1e-12)
    for bad in ([0, 5], np.array([2.0]), []):
        with pytest.raises(errors.ConfigError, match="whole numbers above 0"):
            validation.cross_validate(cells(), candidates=bad, count=3, **NAMES)
    with pytest.raises(errors.ConfigError, match="two folds at least, got 1"):
        validation.split(cells(), 1)


def test_levels_are_shares_and_errors_are_numbers():
    misses, disks = np.ones((6, 1)), np.arange(6)
    for bad in (0.0, 1.0, 90, np.nan):  # 1 looked for a number of disks that there is not
        with pytest.raises(errors.ConfigError, match="between 0 and 1"):
            conformal.widths(misses, disks, bad)
    misses[2] = np.nan
    with pytest.raises(errors.DataError, match="1 rows have errors that are NaN"):
        conformal.widths(misses, disks, 0.5)


def test_a_perceptron_that_cannot_learn_says_so():
    rows = cells(disks=2)
    with pytest.raises(errors.DataError, match="one to stop on, but 1 came"):
        mlp.fit(rows.select(rows.columns["disk"] == 0), epochs=1, **NAMES)
    with pytest.raises(errors.DataError, match=r"lower the rate of 1e\+30"):
        mlp.fit(rows, epochs=1, rate=1e30, hidden=(4,), **NAMES)


def test_no_rows_one_cell_and_one_disk():
    rows = cells()
    none, one = rows.select([]), rows.select([0])
    names = NAMES["species"]
    with pytest.raises(errors.DataError, match="made of rows, but the table has none"):
        emulator.fit(none, k=1, **NAMES)
    for empty in ({"features": ()}, {"species": ()}):
        with pytest.raises(errors.ConfigError, match="one feature and one species at least"):
            emulator.fit(rows, k=1, **{**NAMES, **empty})
    with pytest.raises(errors.DataError, match="errors of one row at least"):
        conformal.widths(np.zeros((0, 2)), np.zeros(0), bound=False)
    with pytest.raises(errors.DataError, match="no rows to compare"):
        validation.scores(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    for few in (none, one):  # of one cell there is no column
        found, disks = validation.columns(few, few.targets(names))
        assert found.shape == (0, 2) and disks.shape == (0,)
    mean, error = conformal.coverage(np.ones((3, 2)), np.ones(2), np.zeros(3))
    assert mean == 1 and np.isnan(error)
