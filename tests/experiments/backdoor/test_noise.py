import numpy as np
import pytest

from experiments.backdoor import noise
from privacy.accounting import calibrate


def test_optimised_factors_come_first():
    (row,) = noise.factors(noise.SMOKE_NOISE)
    others = ("independent", "tree", "square root", "square root, banded")
    assert row["banded"] <= row["banded Toeplitz"] < min(row[k] for k in others)


def test_one_block_is_dp_fedavg():
    usual = noise.Noise()
    z, _ = calibrate.noise_multiplier(8.0, usual.delta, 0.1, 20)
    alone = noise.blocks(usual, 0.1, 20, 8.0, 1)
    assert alone == pytest.approx(z * np.sqrt(21 / 2), rel=2e-3)


def test_turns_cost_the_same_whatever_the_share_of_the_first_round():
    """All in every round: one band, the Gaussian mechanism n times."""
    usual = noise.Noise()
    z, _ = calibrate.noise_multiplier(8.0, usual.delta, 1.0, 6)
    assert noise.turns(usual, 1.0, 6, 8.0) == pytest.approx(z * np.sqrt(7 / 2), rel=2e-3)


def test_the_tables_hold_every_row():
    found = noise.factors(noise.SMOKE_NOISE), noise.budgets(noise.SMOKE_NOISE)
    text = noise.table(*found)
    assert text.count("\n|") == 2 + sum(map(len, found)) + 1
    assert "| 16 | 4 |" in text
    assert found[1][0]["BandMF"] <= found[1][0]["DP-FedAvg"]
