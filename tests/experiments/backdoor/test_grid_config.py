import dataclasses

import pytest

from experiments.backdoor.grid_config import (
    ATTACKS,
    SCRATCH_GRID,
    SMALL_GRID,
    SMOKE_GRID,
    attacks_of,
)
from fl_jax.core import errors


def test_cohorts_fit_every_rule():
    for grid in (SMOKE_GRID, SMALL_GRID, SCRATCH_GRID):
        assert grid.cohort >= 4 * grid.attackers + 3


def test_some_attacks_only_keep_their_order():
    some = dataclasses.replace(SMOKE_GRID, attacks=("IPM", "DBA"))
    assert attacks_of(some) == ("DBA", "IPM")
    assert attacks_of(SMOKE_GRID) == ATTACKS
    scratch = dataclasses.replace(some, pretrained=False)
    assert attacks_of(scratch) == ("none", "DBA", "IPM")
    with pytest.raises(errors.ConfigError, match="unknown attack 'DBQ'; did you mean 'DBA'"):
        attacks_of(dataclasses.replace(SMOKE_GRID, attacks=("DBQ",)))


def test_names_can_be_listed_with_commas():
    assert not [name for name in ATTACKS if "," in name]
