import numpy as np
import pytest

from fl_jax.core import errors
from privacy.membership import table


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(errors.DataError, match="a table needs"):
        table.make(np.zeros(3), np.zeros((4, 2)))
    with pytest.raises(errors.DataError, match=r"bool of shape \(3, 2\)"):
        table.make(np.zeros(3), np.zeros((3, 2)), np.zeros((2, 3), bool))
    with pytest.raises(errors.DataError, match="not finite"):
        table.make(np.zeros(3), np.full((3, 2), np.inf))


def test_leave_one_out_takes_the_model_out():
    shadow = np.arange(12.0).reshape(3, 4)
    member = np.arange(12).reshape(3, 4) % 2 == 0
    inner, truth = table.leave_one_out(table.make(np.zeros(3), shadow, member), 1)
    assert inner.target.tolist() == [1, 5, 9] and inner.shadow.shape == (3, 3)
    assert truth.tolist() == member[:, 1].tolist()
    assert inner.member.tolist() == member[:, [0, 2, 3]].tolist()


def test_records_without_models_of_a_kind_are_named():
    with pytest.raises(errors.DataError, match="record 1 has 0"):
        table.require(np.array([[True, False], [False, False]]), inside=1, outside=1)
