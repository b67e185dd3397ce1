"""Regions of linearised retrievals against what they are made of."""

import dataclasses

import numpy as np
import pytest

from algorithmic.disks import validation
from experiments.disks import config, coverage, stages
from fl_jax.core import errors
from tests.experiments.disks import toy

CONFIG = dataclasses.replace(
    config.SMOKE, fit_features=("numberdens", "temperature", "uv", "ionization")
)


def found(scatter: float) -> stages.Rows:
    """Disks on the config's grid whose CO is the same everywhere but for a scatter by disk."""
    rng = np.random.default_rng(0)
    whole = toy.cells(CONFIG, [-5 + scatter * rng.normal() for _ in range(6)])
    return stages.Rows(whole, *validation.split(whole, CONFIG.test_folds), ("CO",), "made up")


def test_what_the_emulator_gets_wrong_must_be_known():
    """Disks differ by what no feature says: noise alone misses, their errors do not."""
    held = coverage.run(CONFIG, found(0.5), k=12)
    assert held["noise alone"].inside95 < 0.7 < 0.85 <= held["in all"].inside95
    assert held["in all"].width > held["noise alone"].width
    right = coverage.run(CONFIG, found(0.0), k=12)["noise alone"]
    assert right.inside95 >= 0.85 and right.error < held["noise alone"].error


def test_a_posterior_is_that_of_linear_regression():
    rng = np.random.default_rng(0)
    slopes, miss, modes = rng.normal(size=(9, 2)), rng.normal(size=9), rng.normal(size=(2, 9))
    off, deviation = coverage._posterior(slopes, miss, 0.5, modes)
    # The same with the shared errors as further parameters, of prior variance one.
    wide = np.concatenate([slopes, modes.T], axis=1)
    inverse = np.linalg.inv(wide.T @ wide / 0.25 + np.diag([12.0, 12, 1, 1]))
    np.testing.assert_allclose(off, (inverse @ wide.T @ miss / 0.25)[:2], rtol=1e-9)
    np.testing.assert_allclose(deviation, np.sqrt(np.diag(inverse))[:2], rtol=1e-9)


def test_a_family_without_the_parameters_is_refused():
    with pytest.raises(errors.ConfigError, match="coverage gets back parameters"):
        dataclasses.replace(CONFIG, family="published", coverage=True).check()
