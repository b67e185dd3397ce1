import pytest

from experiments import __main__ as command
from experiments.backdoor import commands


@pytest.mark.parametrize(
    "name", ["grid", "sweeps", "words", "private", "certified", "asynchronous"]
)
def test_bad_words_are_one_sentence(name, capsys, tmp_path):
    out = ["--out", str(tmp_path)]
    for words, said in {
        ("--preset", "large"): "unknown preset 'large'",
        ("--colour", "red"): "could not be read from '--colour' on",
        ("--seeds", "two"): "could not be read",
        ("--seeds", "0"): "seeds must be a whole number of 1 or more, got 0",
    }.items():
        assert command.main(["backdoor", name, *words, *out]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert said in lines[0]


def test_words_without_the_folder_is_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    assert command.main(["backdoor", "words", "--out", str(tmp_path)]) == 2
    assert "needs the data folder 'tinyshakespeare'" in capsys.readouterr().err
    assert command.main(["backdoor", "words", "--preset", "paper", "--out", str(tmp_path)]) == 2
    assert "needs the data folder 'reddit'" in capsys.readouterr().err


def test_what_was_asked_for_is_recorded(tmp_path):
    argv = ["--defences", "norm clip,mean", "--preset", "smoke", "--out", str(tmp_path)]
    _, clock = commands._begin("grid", "", argv, options={"--defences": ""})
    assert clock()["command"].startswith(
        "python -m experiments backdoor grid --defences 'norm clip,mean' --preset smoke --out "
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grid", "sweeps"])
def test_a_command_runs_whole(name, tmp_path, capsys):
    out = ["--preset", "smoke", "--out", str(tmp_path)]
    assert command.main(["backdoor", name, *out]) == 0
    assert (tmp_path / f"{name}.json").is_file()
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    assert "| mean |" in capsys.readouterr().out or name != "grid"
