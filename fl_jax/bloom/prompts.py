"""Prompted tasks as BLOOMZ is fine-tuned on: templates, xP3 files, examples, packed rows."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fl_jax.bloom.config import Config
from fl_jax.bloom.score import Question
from fl_jax.core import errors
from fl_jax.data import files, packing

_FIELD = re.compile(r"\{(\w+)\}")


class Template(NamedTuple):
    """One way to ask: fields of a record in braces, `{field}`."""

    name: str
    inputs: str
    target: str
    choices: tuple[str, ...] = ()  # answers to rank; may hold fields

    def fill(self, record: Mapping[str, object]) -> "Prompted":
        """The template with the record's fields; nothing else of the record can be reached.

        Raises:
            DataError: a field that the record has not.

        Example:
            >>> Template("t", "Translate: {a}", "{b}").fill({"a": "eau", "b": "water"})
            Prompted(inputs='Translate: eau', target='water', choices=())
        """

        def field(match):
            if match[1] not in record:
                raise errors.DataError(
                    f"template {self.name!r} asks for {match[1]!r}; the record has"
                    f" {', '.join(map(str, record))}."
                )
            return str(record[match[1]])

        fill = lambda text: _FIELD.sub(field, text)
        return Prompted(fill(self.inputs), fill(self.target), tuple(map(fill, self.choices)))


class Prompted(NamedTuple):
    """Inputs and target as text."""

    inputs: str
    target: str
    choices: tuple[str, ...] = ()

    def question(self) -> Question:
        """For rank evaluation.

        Raises:
            DataError: the target is none of the choices.
        """
        if self.target not in self.choices:
            raise errors.DataError(f"the target {self.target!r} is none of {self.choices}.")
        return Question(self.inputs, self.choices, self.choices.index(self.target))


def read_xp3(path) -> list[Prompted]:
    """Examples of an xP3 file: JSON lines with `inputs` and `targets`, plain or compressed.

    Raises:
        DataError: a file that cannot be read, or a line that is not that, which one.
    """
    records = files.records(path, "inputs", "targets", texts=True)
    return [Prompted(record["inputs"], record["targets"]) for record in records]


def encode(tokenizer, example: Prompted, config: Config) -> packing.Example:
    """Inputs, then the target behind a space, then `</s>`; the target span includes it."""
    inputs = tokenizer.encode(example.inputs)
    target = tokenizer.encode(" " + example.target)
    return packing.Example([*inputs, *target, config.eos], len(inputs))


def pack(
    tokenizer, examples: Sequence[Prompted], config: Config, length: int, *, how: str = "best_fit"
) -> tuple[packing.Packed, int]:
    """Rows of length + 1 tokens, and how many examples were left out as too long.

    Raises:
        DataError: no example fits.
    """
    encoded = [encode(tokenizer, example, config) for example in examples]
    kept = [example for example in encoded if len(example.tokens) <= length + 1]
    if not kept:
        raise errors.DataError(f"none of {len(encoded)} examples fits in {length + 1} tokens.")
    return packing.pack(kept, length + 1, how=how), len(encoded) - len(kept)


def batch(packed: packing.Packed, rows: np.ndarray) -> dict[str, np.ndarray]:
    """These rows as a batch for `fl_jax.bloom.loss`."""
    return {
        "tokens": packed.tokens[rows],
        "segments": packed.segments[rows],
        "spans": packed.spans[rows],
    }
