"""A model an algorithm: their settings, a run in its folder, and what is read again."""

import dataclasses
import json

import pytest

from experiments import __main__ as command
from experiments.clrs import config, single
from fl_jax.core import errors


def test_models_see_as_many_hints_as_the_default_run_in_longer_chunks():
    made = single.settings(config.SMALL, "dfs")
    differ = {k for k, v in vars(made).items() if v != vars(config.SMALL)[k]}
    assert differ == {"tasks", "processor", "chunk", "batch"} and made.tasks == ("dfs",)
    assert made.chunk * made.batch == config.SMALL.chunk * config.SMALL.batch


def test_a_model_is_a_run_and_what_it_found_is_not_measured_again(tmp_path, capsys):
    base = dataclasses.replace(config.SMOKE, rounds=2, test_lengths=(4,))
    made = single.settings(base, "minimum")
    found = single.measure(made, tmp_path)
    stored = json.loads((tmp_path / "minimum" / "result.json").read_text())
    assert found["rounds"] == 2 and found["parameters"] == stored["details"]["parameters"]
    assert found["cpu"] == stored["details"]["cpu_seconds_of_this_process"]
    (row,) = [row for row in found["rows"] if row["stage"] == "test"]
    assert (row["task"], row["n"], row["seed"]) == ("minimum", 4, 0)
    assert 100 * row["score"] == pytest.approx(
        stored["metrics"]["minimum, n = 4"]["value"], abs=0.01
    )
    capsys.readouterr()
    assert single.measure(made, tmp_path) == found
    assert capsys.readouterr().out == ""  # nothing was trained
    with pytest.raises(errors.ConfigError, match="rounds is 3 but was 2"):
        single.measure(dataclasses.replace(made, rounds=3), tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "bfs,dsf"], "unknown algorithm 'dsf'; did you mean 'dfs'"),
        (["--rounds", "0"], "--rounds must be a whole number of 1 or more"),
        (["--hidden", "0"], "--hidden must be a whole number of 1 or more"),
        (["--seeds", "0"], "--seeds must be a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(words, said, capsys):
    assert command.main(["clrs", "single", *words]) == 2
    assert said in capsys.readouterr().err
