from experiments.backdoor import grid_attacks
from experiments.backdoor import task as tasks
from experiments.backdoor.grid_config import ATTACKS, SMOKE_GRID
from experiments.backdoor.grid_poison import Poison
from fl_jax.federated.aggregators import median


def test_every_attack_has_a_program_and_its_data():
    task = tasks.make(SMOKE_GRID.config)
    kinds = grid_attacks.programs(SMOKE_GRID, task, median.median())
    assert {grid_attacks.program_of(attack) for attack in ATTACKS} == set(kinds)
    assert grid_attacks.chosen(SMOKE_GRID, task, median.median()).keys() == kinds.keys()
    parts = [own(Poison(1, 2, 3)) for own in grid_attacks.data_of(kinds)]
    assert parts[list(kinds).index("train")] == 1
    assert parts[list(kinds).index("DBA")] == 2
    assert parts[list(kinds).index("IBA")] == (1, 3)
    assert parts[list(kinds).index("ALIE")] == ()
