import dataclasses

import pytest

from experiments.leakage import config, grid
from fl_jax.core import errors


def test_the_grid_covers_every_part_of_every_preset():
    for name, preset in config.PRESETS.items():
        cells = grid.cells(preset, "scan")
        names = [(cell.part, cell.name, cell.seed) for cell in cells]
        assert len(set(names)) == len(names), name
        parts = {cell.part for cell in cells}
        assert parts == set(preset.parts) - {"words", "inversion"}
        for cell in cells:
            assert cell.arm.rounds > cell.arm.warm
    active = [c for c in grid.cells(config.ADULT, "scan") if c.part == "active"]
    assert {c.arm.alpha for c in active} == {0.0, 0.3, 0.5, 0.7}
    assert all(c.arm.participants >= 5 and c.arm.mixed == 0.2 for c in active)


def test_a_run_in_which_nothing_is_recorded_is_refused():
    short = dataclasses.replace(config.SMOKE, two_rounds=10, warm=10)
    with pytest.raises(errors.ConfigError, match="first 10 rounds, and two-party has only 10"):
        grid.cells(short, "scan")


def test_small_portions_have_names_of_their_own():
    """0.1 % and 0.4 % were both "largest 0%", and their runs were averaged."""
    small = dataclasses.replace(config.SMOKE, portions=(0.001, 0.004), parts=("defences",))
    names = [cell.name for cell in grid.cells(small, "scan")]
    assert len(set(names)) == len(names) and {"largest 0.1%", "largest 0.4%"} <= set(names)
    default = [cell.name for cell in grid.cells(config.SMOKE, "scan")]
    assert {"largest 10%", "random 10%"} <= set(default)
