"""The numbers of transformers 5.23.0: stored ones always, fresh ones with -m oracle."""

import pathlib

import numpy as np
import pytest

from experiments.bench import bloom_parity

STORED = pathlib.Path(__file__).parent / "transformers.npz"


def check(found):
    assert found.pop("gradients, relative norm") <= 1e-5
    assert found.pop("gradient of key bias, absolute") <= 1e-6
    assert found.pop("generated tokens that differ") == 0
    assert found.pop("keys missing or unexpected") == 0
    assert max(found.values()) <= 2e-5  # logits under every mask, and the loss


@pytest.mark.parametrize("attention", [pytest.param("einsum", marks=pytest.mark.slow), "blocked"])
def test_stored_numbers(attention):
    with np.load(STORED) as stored:
        check(bloom_parity.compare(bloom_parity.FIXTURE, attention, dict(stored)))


@pytest.mark.oracle
@pytest.mark.parametrize("attention", ["einsum", "blocked", "folded"])
@pytest.mark.parametrize("name", bloom_parity.CASES)
def test_fresh_numbers(name, attention):
    check(bloom_parity.compare(bloom_parity.CASES[name], attention))
