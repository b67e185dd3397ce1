"""The commands beside the run: text of traces, tests of a checkpoint, what they refuse."""

import json

import pytest

from experiments import __main__ as command
from experiments.clrs import commands
from fl_jax.core import errors


def test_text_is_a_prompt_and_an_answer_a_line(capsys):
    assert commands.text(["minimum", "--length", "4", "--samples", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2 and lines[0] != lines[1]
    assert lines[0]["prompt"].startswith("minimum:\nkey: [")
    trace, output = lines[0]["answer"].rstrip().split(" | ")
    assert trace.split(", ")[-1] == output  # the last hint is the answer
    assert len(trace.split(", ")) == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["test", "nowhere"], "no config.json there"),
        (["test", "nowhere", "--lengths", "many"], "--lengths are numbers of at least 1"),
        (["test", "nowhere", "--lengths", "8,x,-4"], "as in 16,32, got '8,x,-4'"),
        (["test", "nowhere", "--samples", "-1"], "--samples are numbers of at least 0"),
        (["salsa", "--lengths", "abc"], "--lengths are numbers of at least 2"),
        (["salsa", "--out", __file__], "--out is a folder"),
        (
            ["test", "nowhere", "--lengths", "16,64", "--samples", "8,8,8"],
            "for each of the 2 sizes",
        ),
        (["text", "bsf"], "did you mean 'bfs'"),
        (["text", "bfs", "--length", "many"], "could not be read"),
        (["text", "bfs", "--samples", "-1"], "--samples must be a whole number of 1 or more"),
        (["options", "--rounds", "0"], "--rounds must be a whole number of 1 or more"),
        (["options", "--seeds", "0"], "--seeds must be a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(words, expected, capsys):
    assert command.main(["clrs", *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and expected in said[0]


def test_a_word_too_many_is_named():
    with pytest.raises(errors.ConfigError, match="from 'more' on"):
        commands.text(["bfs", "more"])


def test_a_folder_with_rows_of_sparse_graphs_is_not_written_into(tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text("")
    assert command.main(["clrs", "salsa", "--out", str(tmp_path)]) == 2
    assert "holds what an earlier run found" in capsys.readouterr().err
