"""Against what transformers 5.23.0 computed for the same checkpoints (stored)."""

import pathlib

import numpy as np
import pytest

from experiments.bench import t5_parity

FOLDER = pathlib.Path(__file__).parents[2] / "t5"


@pytest.mark.parametrize("kind", t5_parity.WEIGHTS)
@pytest.mark.parametrize("name", t5_parity.CASES)
def test_parity_with_transformers(name, kind):
    config = t5_parity.CASES[name]
    with np.load(FOLDER / f"transformers-{name}-{kind}.npz") as stored:
        reference = dict(stored)
    given = t5_parity.inputs(config)
    params = t5_parity.WEIGHTS[kind](config)
    found = t5_parity.differences(
        t5_parity.ours(params, config, given), reference, t5_parity.exact(params, config, given)
    )
    # What float32 rounds differs between processors (their sums go another way, and so do their
    # estimates of 1 / sqrt): up to 1.0 of this unit was measured.
    unit = 2 * t5_parity.last_bit(params, config, given)
    assert found["logits, ours from float64"] <= unit
    assert found["logits"] <= max(1e-5, unit)
    assert found["loss"] <= 1e-5
    assert found["gradients, relative norm"] <= 1e-4
    assert found["greedy tokens that differ"] == 0
    assert found["beam tokens that differ"] == 0
    assert found["beam scores"] <= 1e-4
    assert found["keys missing or unexpected"] == 0
