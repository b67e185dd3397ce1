"""Rows that outlive a stop."""

import pytest

from experiments.geocoding.kept import Kept
from fl_jax.core import errors


def test_what_was_measured_is_not_measured_again(tmp_path):
    path = tmp_path / "run" / "rows.jsonl"
    never = lambda: pytest.fail("measured again")
    begun = Kept.open(path, {"rounds": 2}, False)
    first = {"name": "a", "median": 1 / 3, "epsilon": [1.0, 2.0], "TPR": None}
    assert begun.row("a", lambda: first) == first == begun.row("a", never)
    with path.open("a") as file:
        file.write('{"name": "b", "med')  # a kill
    again = Kept.open(path, {"rounds": 2}, True)
    assert again.row("a", never) == first and again.row("b", lambda: {"name": "b"}) == {"name": "b"}
    assert set(Kept.open(path, {"rounds": 2}, True).rows) == {"a", "b"}
    with pytest.raises(errors.ConfigError, match="other settings"):
        Kept.open(path, {"rounds": 3}, True)
    assert not Kept.open(path, {"rounds": 3}, False).rows
    assert not Kept.open(tmp_path / "new" / "rows.jsonl", {"rounds": 2}, True).rows
