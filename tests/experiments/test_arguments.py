import dataclasses

import pytest

from experiments import arguments
from fl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Config:
    """Something to configure."""

    rate: float = 0.1  # of learning
    sizes: tuple[int, ...] = (1, 2)  # of layers
    name: str = "a"  # of the thing
    test_examples: int = 5  # how many


PRESETS = {"small": Config(), "paper": Config(rate=1.0)}


def parse(*words):
    return arguments.parse("thing", PRESETS, list(words))


def test_presets_and_fields():
    assert parse() == arguments.Arguments("small", None, False, Config())
    asked = parse("--preset", "paper", "--out", "d", "--resume", "--sizes", "3", "4")
    assert asked == arguments.Arguments("paper", "d", True, Config(rate=1.0, sizes=(3, 4)))
    for words in (["3,4"], ["3,", "4"], ["3", "4"]):
        assert parse("--sizes", *words).config.sizes == (3, 4)
    assert parse("--sizes=3,4", "--rate", "2").config == Config(rate=2.0, sizes=(3, 4))
    assert parse("--test-examples", "7").config.test_examples == 7
    assert parse("--test_examples", "7").config.test_examples == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--preset", "papr"], r"unknown preset 'papr'; did you mean 'paper'\?"),
        (["--raet", "1"], r"unknown field of thing 'raet'; did you mean 'rate'\?"),
        (["--rate", "fast"], "could not be read: .*fast"),
        (["--rate", "1,5"], "could not be read: .*1,5"),
        (["--sizes", ","], "could not be read"),
        (["--preset"], "could not be read"),
        (["stray"], "unknown field of thing 'stray'"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(words, said):
    with pytest.raises(errors.ConfigError, match=said) as caught:
        parse(*words)
    assert "\n" not in str(caught.value)


def test_help_names_every_field_and_its_comment(capsys):
    with pytest.raises(SystemExit) as stop:
        arguments.parse("thing", PRESETS, ["--help"], {"weigh": "weighs it"})
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "--preset smoke|small|paper" in said
    assert "presets of thing: small, paper" in said
    assert "--test-examples" in said.replace("_", "-")
    assert "of learning" in said
    assert "python -m experiments thing weigh   weighs it" in said


def test_a_command_reads_all_of_its_words():
    parser = arguments.command("thing", "weigh", "Weighs it.")
    parser.add_argument("--times", type=int, default=1)
    assert parser.prog == "python -m experiments thing weigh"
    assert arguments.read(parser, ["--times", "3"]).times == 3
    with pytest.raises(errors.ConfigError, match="invalid int value: 'x'"):
        arguments.read(parser, ["--times", "x"])
    with pytest.raises(errors.ConfigError, match="from 'more' on"):
        arguments.read(parser, ["more"])
