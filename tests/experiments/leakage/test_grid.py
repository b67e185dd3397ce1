from experiments.leakage import config, grid


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
