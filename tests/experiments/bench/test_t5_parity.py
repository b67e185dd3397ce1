"""Against what transformers 5.23.0 computed for the same checkpoints (stored)."""

import pathlib

import numpy as np
import pytest

from experiments.bench import t5_parity

FOLDER = pathlib.Path(__file__).parents[2] / "t5"


@pytest.mark.parametrize("name", t5_parity.CASES)
def test_parity_with_transformers(name):
    config = t5_parity.CASES[name]
    with np.load(FOLDER / f"transformers-{name}.npz") as stored:
        reference = dict(stored)
    given = t5_parity.inputs(config)
    params = t5_parity.params_of(config)
    found = t5_parity.differences(
        t5_parity.ours(params, config, given), reference, t5_parity.exact(params, config, given)
    )
    # A head that does not scale gives logits up to 8, whose last bit is 1e-6: both codes then
    # round, each in its own order, and what counts is the distance of each from float64.
    # Measured: 2.2e-6, 7.2e-6 and 9.6e-6; another CPU's order of sums may add a little.
    assert found["logits, ours from float64"] <= 1.5e-5
    assert found["logits"] <= (1e-5 if name == "v1.0" else 2.5e-5)
    assert found["loss"] <= 1e-5
    assert found["gradients, relative norm"] <= 1e-4
    assert found["greedy tokens that differ"] == 0
    assert found["beam tokens that differ"] == 0
    assert found["beam scores"] <= 1e-4
    assert found["keys missing or unexpected"] == 0
