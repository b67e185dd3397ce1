"""A trace as text is the trace: the example of the module, and every value of a run."""

import numpy as np
import pytest

from algorithmic.clrs import text, trajectory
from fl_jax.core import errors


def run(hints, outputs, inputs, length):
    return trajectory.Trajectory(inputs, hints, outputs, np.int32(length))


def test_a_sort_reads_as_clrs_text_has_it():
    hints = np.array([[0, 0, 1], [1, 1, 0], [2, 1, 1], [0, 0, 0]])  # the last beyond the run
    sort = run({"pred_h": hints}, {"pred": hints[2]}, {"pos": np.arange(3) / 3,
               "key": np.array([0.3, 0.125, 2.0])}, 3)  # fmt: skip
    shown = text.render("insertion_sort", sort)
    assert shown.prompt == (
        "insertion_sort:\nkey: [0.3 0.125 2], initial_trace: [0 0 1]\ntrace | pred:\n"
    )
    assert shown.answer == "[1 1 0], [2 1 1] | [2 1 1]\n"


def test_one_hots_are_nodes_and_matrices_are_rows():
    graph = np.array([[0, 0.25], [0.25, 0]])
    bfs = run({"pi_h": np.array([[0, 1], [0, 0]])}, {"pi": np.array([0, 0])},
              {"s": np.array([0, 1]), "A": graph}, 2)  # fmt: skip
    shown = text.render("bfs", bfs)
    assert "s: 1, A: [[0 0.25] [0.25 0]], initial_trace: [0 1]" in shown.prompt
    with pytest.raises(errors.ConfigError, match="hint of bfs"):
        text.render("bfs", bfs, hint="d")
    assert text.traced("minimum") == "min_h" and text.traced("dfs") == "pi_h"


def test_a_batch_and_no_digits_are_refused():
    run = trajectory.trace("minimum", key=np.array([0.3, 0.1]))
    with pytest.raises(errors.ConfigError, match="digits"):
        text.render("minimum", run, digits=0)
    with pytest.raises(errors.DataError, match="take one of the batch"):
        text.render("minimum", run._replace(length=np.array([2, 2])))
