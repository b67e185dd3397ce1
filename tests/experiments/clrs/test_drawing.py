"""A run is drawn step by step, whatever its hints lie on."""

import numpy as np
import pytest

from algorithmic.clrs import Trajectory, specs
from experiments.clrs import drawing


def made(name, n=4, length=3):
    """Zeros in the shape of a run."""
    shapes = {specs.NODE: (n,), specs.EDGE: (n, n), specs.GRAPH: ()}

    def zeros(stage, lead=()):
        probes = specs.stage(name, stage).items()
        full = lambda p: (*lead, *shapes[p.location], *((p.classes,) if p.classes else ()))
        return {k: np.zeros(full(p)) for k, p in probes}

    hints = zeros(specs.HINT, (length,))
    return Trajectory(zeros(specs.INPUT), hints, zeros(specs.OUTPUT), np.int32(length))


@pytest.mark.parametrize("name", ["bfs", "insertion_sort", "graham_scan", "lcs_length"])
def test_there_is_a_picture(name, tmp_path):
    drawing.draw(name, made(name), tmp_path / "trace.png")
    assert (tmp_path / "trace.png").stat().st_size > 5000


def test_nodes_lie_where_their_inputs_say():
    pos = np.arange(3) / 3
    points = drawing.places({"pos": pos, "x": np.array([1, 2, 3]), "y": np.array([4, 5, 6])})
    assert points.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert drawing.places({"pos": pos, "key": np.array([0.5, 0.1, 0.9])})[:, 1].tolist() == [
        0.5, 0.1, 0.9,
    ]  # fmt: skip
    circle = drawing.places({"pos": pos, "A": np.zeros((3, 3))})
    np.testing.assert_allclose(np.linalg.norm(circle, axis=1), 1)
