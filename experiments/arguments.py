"""The command line: presets, fields, help. Nothing here imports JAX."""

import argparse
import contextlib
import io
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fl_jax.core import errors

USAGE = """\
usage: python -m experiments                        the eight systems and their numbers
       python -m experiments NAME [options]         run one of them
       python -m experiments bench [NAME]           side by side with its peers; which there are

options: --preset smoke|small|paper   seconds, minutes (the default), or the published setting
         --out DIR                    the run directory; runs/NAME-PRESET-TIME unless given
         --resume                     go on with the run in --out, or with the newest one
         --field value                any field of the preset; `NAME --help` lists them; where one
                                      takes several values: --field 4 7 or --field 4,7
"""


class Arguments(NamedTuple):
    """A parsed command."""

    preset: str
    out: str | None
    resume: bool
    config: Any  # the preset with the fields that were given


def parse(
    name: str,
    presets: dict[str, Any],
    argv: list[str],
    commands: Mapping[str, str] = MappingProxyType({}),
) -> Arguments:
    """What `argv`, the words after the system's name, ask for.

    Args:
        name: the system, for the help text.
        presets: configs by name: frozen dataclasses of one type.
        argv: the words.
        commands: further commands of the system and what they do, for the help text.

    Raises:
        ConfigError: an unknown preset or field, or a value of the wrong type.
        SystemExit: after printing the help that was asked for.
    """
    common = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    common.add_argument("--preset", default="small")
    common.add_argument("--out")
    common.add_argument("--resume", action="store_true")
    try:
        given, rest = common.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise errors.ConfigError(f"the command could not be read: {error}.") from error
    preset = errors.one_of("preset", given.preset, presets)
    if {"-h", "--help"} & set(rest):
        print(USAGE)
        print(f"presets of {name}: {', '.join(presets)}")
        width = max(map(len, commands), default=0)
        for command, what in commands.items():
            print(f"python -m experiments {name} {command:{width}}   {what}")
        print()
    return Arguments(preset, given.out, given.resume, _fields(name, presets[preset], rest))


def command(system: str, name: str, what: str) -> argparse.ArgumentParser:
    """The parser of `python -m experiments SYSTEM NAME`, for `read`."""
    return argparse.ArgumentParser(
        prog=f"python -m experiments {system} {name}", description=what, exit_on_error=False
    )


def read(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """What `argv` asks of a parser, all of it.

    Raises:
        ConfigError: words that it does not know, or cannot read.
    """
    try:
        asked, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise errors.ConfigError(f"the command could not be read: {error}.") from error
    if rest:
        raise errors.ConfigError(f"the command could not be read from {rest[0]!r} on.")
    return asked


def several(words: Iterable[str]) -> list[str]:
    """The values in `words`, which may stand apart or with commas between them.

    Example:
        >>> several(["4", "7,11"])
        ['4', '7', '11']
    """
    return [part.strip() for word in words for part in word.split(",") if part.strip()]


def _fields(name: str, default: Any, words: list[str]) -> Any:
    """`default` with the fields that `words` name."""
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            config, unknown = tyro.cli(
                type(default),
                default=default,
                args=_apart(default, words),
                prog=f"python -m experiments {name}",
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        # tyro draws a box around its message; the sentence inside it is what is wanted.
        words_said = [line.strip(" │╭╮╰╯─\n") for line in said.getvalue().splitlines()]
        text = " ".join(line for line in words_said if line and not line.startswith("For full"))
        raise errors.ConfigError(f"the command could not be read: {text}") from None
    if unknown:
        field = unknown[0].lstrip("-").partition("=")[0].replace("-", "_")
        known = list(vars(default))
        errors.one_of(f"field of {name}", field, known)
        raise errors.ConfigError(f"the command could not be read from {unknown[0]!r} on.")
    return config


def _apart(default: Any, words: list[str]) -> list[str]:
    """The words, with `4,7` as `4 7` where a field takes several values."""
    many = {key for key, value in vars(default).items() if isinstance(value, tuple)}
    out, field = [], ""
    for word in words:
        if word.startswith("--"):
            field, given, word = word.partition("=")
            out.append(field)
            if not given:
                continue
        listed = field.lstrip("-").replace("-", "_") in many
        out += (several([word]) if listed else []) or [word]
    return out
