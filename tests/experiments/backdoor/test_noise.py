import numpy as np
import pytest

from experiments.backdoor import noise
from privacy.accounting import calibrate


def test_optimised_factors_come_first():
    (row,) = noise.factors(noise.SMOKE_NOISE)
    others = ("independent", "tree, refined", "square root", "square root, banded")
    assert row["tree, refined"] < row["tree"]
    assert row["one buffer"] < row["square root"]
    assert row["banded"] <= row["banded Toeplitz"] < min(row[k] for k in others)


def test_one_block_is_dp_fedavg():
    usual = noise.Noise()
    z, _ = calibrate.noise_multiplier(8.0, usual.delta, 0.1, 20)
    alone = noise.blocks(usual, 0.1, 20, 8.0, 1)
    assert alone == pytest.approx(z * np.sqrt(21 / 2), rel=2e-3)


def test_turns_of_everyone_are_the_gaussian_mechanism_in_every_round():
    usual = noise.Noise()
    z, _ = calibrate.noise_multiplier(8.0, usual.delta, 1.0, 6)
    assert noise.turns(usual, 1.0, 6, 8.0) == pytest.approx(z * np.sqrt(7 / 2), rel=2e-3)


def test_the_tables_hold_every_row():
    found = noise.factors(noise.SMOKE_NOISE), noise.budgets(noise.SMOKE_NOISE)
    text = noise.table(*found)
    assert text.count("\n|") == 2 + sum(map(len, found)) + 1
    assert "| 16 | 4 |" in text
    (row,) = found[1]
    assert row["BandMF"] <= row["DP-FedAvg"]
    assert row["BandMF"] <= row["DP-FTRL"] * 1.01  # which is all blocks, each drawn as a whole
