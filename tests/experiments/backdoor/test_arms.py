import jax.numpy as jnp
import numpy as np
import pytest

from experiments.backdoor import arms
from fl_jax.core import errors


def test_runs_are_dealt_and_come_back_in_place():
    offset = jnp.float32(0.5)
    run = lambda seed, cell, offset: {"value": (10 * seed + cell).astype(jnp.float32) + offset}
    found = arms.deal(run, 3, 3, (offset,))["value"]
    np.testing.assert_allclose(found, [[0.5, 1.5, 2.5], [10.5, 11.5, 12.5], [20.5, 21.5, 22.5]])


def test_what_was_found_is_not_computed_again(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"main": jnp.arange(3.0), "backdoor": jnp.ones((2, 2), jnp.int32)}

    like = {"main": 0, "backdoor": 0}
    first = arms.Kept(tmp_path / "pieces", "settings").piece("repeated, plain", compute, like)
    again = arms.Kept(tmp_path / "pieces", "settings", resume=True)
    second = again.piece("repeated, plain", compute, like)
    assert calls == [1]
    for name in like:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].dtype == second[name].dtype
    arms.Kept(tmp_path / "pieces", "settings").piece("repeated, plain", compute, like)
    assert calls == [1, 1]  # without `resume` it begins anew


def test_nothing_to_resume_and_other_settings_are_one_sentence(tmp_path):
    with pytest.raises(errors.ConfigError, match="there is no run to resume in"):
        arms.Kept(tmp_path / "pieces", "settings", resume=True)
    arms.Kept(tmp_path / "pieces", "settings")
    with pytest.raises(errors.ConfigError, match="holds a run with other settings"):
        arms.Kept(tmp_path / "pieces", "others", resume=True)


def test_a_folder_of_someone_elses_stays(tmp_path):
    """Every run removed what it found under this name."""
    mine = tmp_path / "pieces" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("kept")
    with pytest.raises(errors.ConfigError, match="is there, but not of a run"):
        arms.Kept(tmp_path / "pieces", "settings")
    assert mine.read_text() == "kept"
