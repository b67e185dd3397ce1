"""The choice of a regressor, and what its intervals were made for."""

import dataclasses

import numpy as np
import pytest

from algorithmic.disks import table, validation
from experiments.disks import config, heldout, stages

CONFIG = dataclasses.replace(
    config.SMOKE, fit_features=("numberdens", "temperature"), epochs=1, level=0.9
)


def population(disks: int = 6, count: int = 40) -> stages.Rows:
    """Disks whose CO goes with the ionisation, which only the notebook's features hold."""
    rng = np.random.default_rng(0)
    drawn = lambda low, high: 10 ** rng.uniform(low, high, disks * count)
    columns = {
        "disk": np.repeat(np.arange(disks), count),
        "radius": np.tile(np.repeat(np.arange(1.0, 5.0), count // 4), disks),
        "height": np.tile(np.linspace(0.1, 1, count // 4), 4 * disks),
        "numberdens": drawn(4, 12),
        "temperature": drawn(1, 3),
        "ionization": drawn(-19, -16),
    }
    x = 1e12 * columns["ionization"][:, None]
    whole = table.Table(columns, ("CO",), x, {})
    return stages.Rows(whole, *validation.split(whole, CONFIG.test_folds), ("CO",), "made up")


@pytest.fixture(autouse=True)
def no_rays(monkeypatch):
    """What is tested here needs no lines."""
    none = heldout.Fluxes((), (), np.zeros((2, 0)), {})
    monkeypatch.setattr(heldout, "fluxes", lambda *_: none)
    monkeypatch.setattr(heldout, "residuals", lambda *_: np.zeros((2, 1, 1)))
    monkeypatch.setattr(heldout, "errors_dex", lambda *_: np.zeros(0))


def test_the_published_features_are_compared_but_not_taken_on():
    found = stages.fit(CONFIG, population())
    error = lambda name: np.mean(found.scores[name]["rmse"])
    assert error(stages.PUBLISHED) < error(found.best)
    assert found.models[found.best].features == CONFIG.fit_features
    assert found.best == min(found.validated, key=found.validated.get)


def test_test_disks_have_no_say_in_the_choice():
    rows = population()
    found = stages.fit(CONFIG, rows)
    rng = np.random.default_rng(1)
    for _ in range(4):
        x = rows.test.abundances * 10 ** rng.normal(size=rows.test.abundances.shape)
        other = rows._replace(test=dataclasses.replace(rows.test, abundances=x))
        again = stages.fit(CONFIG, other)
        assert (again.best, again.validated) == (found.best, found.validated)
        assert again.scores != found.scores


def test_the_level_that_few_disks_can_bound_is_told(capsys):
    found = stages.fit(CONFIG, population(disks=6))
    assert found.coverage["bound"].level == pytest.approx(5 / 6)
    assert found.coverage["plain"].level == CONFIG.level
    assert "6 disks can bound a coverage of 83.3 %" in capsys.readouterr().out
    stages.fit(dataclasses.replace(CONFIG, level=0.8), population(disks=6))
    assert "can bound" not in capsys.readouterr().out
