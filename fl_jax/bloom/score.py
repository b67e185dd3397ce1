"""Likelihoods as numbers people compare: byte perplexity, rank evaluation.

Everything is made of `loss.log_likelihoods`; texts of any length become windows of one shape,
so that one program scores them all.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import loss
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.core.types import PyTree
from fl_jax.nn.tokens import check_tokens


class Perplexity(NamedTuple):
    """How well texts are predicted; comparable between tokenizers."""

    nats: float  # negative log-likelihood of all texts
    tokens: int
    bytes: int  # in UTF-8

    @property
    def per_byte(self) -> float:
        """Byte perplexity exp(nats / bytes) [FLORES-101 figures of the BLOOM paper]; infinite where
        a float does not hold it."""
        try:
            return math.exp(self.nats / self.bytes)
        except OverflowError:
            return math.inf

    @property
    def bits_per_byte(self) -> float:
        """nats / (bytes log 2)."""
        return self.nats / self.bytes / math.log(2)


class Window(NamedTuple):
    """A piece of a sequence: `tokens[first:]` are scored, the rest is context."""

    text: int
    tokens: Sequence[int]
    first: int


def windows(text: int, tokens: Sequence[int], length: int, stride: int) -> list[Window]:
    """A sequence in pieces of up to length + 1 tokens; every token but the first scored once.

    The first piece scores all it has; each further one `stride` tokens, behind as much context
    as fits.

    Raises:
        ConfigError: a stride that is not from 1 to the length: tokens would be left out.
    """
    if not 1 <= stride <= length:
        raise errors.ConfigError(
            f"windows of {length} tokens that move by {stride} would leave tokens out; choose a"
            " stride from 1 to the length."
        )
    found = []
    start = 1
    while start < len(tokens):
        end = min(len(tokens), length + 1 if start == 1 else start + stride)
        begin = max(0, end - length - 1)
        found.append(Window(text, tokens[begin:end], start - begin))
        start = end
    return found


def sequence_scores(
    params: PyTree,
    config: Config,
    pieces: Sequence[Window],
    *,
    length: int,
    batch: int = 16,
) -> np.ndarray:
    """(pieces,) float64 log-likelihood of the scored tokens of each piece.

    Raises:
        DataError: a piece of more than length + 1 tokens, or tokens outside the vocabulary.
    """
    out = np.zeros(len(pieces))
    for some, tokens in batches(pieces, length, batch):
        check_tokens(tokens, config.vocab)
        found = np.asarray(loss.log_likelihoods(params, config, jnp.asarray(tokens)), np.float64)
        for row, i in enumerate(some):
            out[i] = found[row, pieces[i].first - 1 : len(pieces[i].tokens) - 1].sum()
    return out


def batches(
    pieces: Sequence[Window], length: int, batch: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """(indices of the pieces, their tokens (batch, width + 1) int32), in few widths.

    Pieces of like length go together, in batches whose width is a multiple of 64, so that few
    shapes are compiled; they are filled up on the right, which causal attention does not see.

    Raises:
        ConfigError: a batch that is no whole number above 0.
        DataError: a piece of more than length + 1 tokens.
    """
    errors.whole("batch", batch, 1)
    order = sorted(range(len(pieces)), key=lambda i: -len(pieces[i].tokens))
    if order and len(pieces[order[0]].tokens) > length + 1:
        raise errors.DataError(
            f"a piece of {len(pieces[order[0]].tokens)} tokens is longer than {length + 1}."
        )
    for start in range(0, len(pieces), batch):
        some = order[start : start + batch]
        longest = len(pieces[some[0]].tokens) - 1
        width = min(length, -(-max(longest, 1) // 64) * 64)
        tokens = np.zeros((batch, width + 1), np.int32)
        for row, i in enumerate(some):
            tokens[row, : len(pieces[i].tokens)] = pieces[i].tokens
        yield some, tokens


def perplexity(
    params: PyTree,
    config: Config,
    tokenizer,
    texts: Sequence[str],
    *,
    length: int | None = None,
    stride: int | None = None,
    batch: int = 16,
) -> Perplexity:
    """Over documents, each behind a `</s>` as in training; empty ones count nothing.

    Args:
        params, config, tokenizer: the model.
        texts: documents.
        length: context; the training length by default.
        stride: tokens scored per further window; half the length by default.
        batch: windows at once.

    Raises:
        ConfigError: a stride that is not from 1 to the length.
        DataError: texts without a byte, whose perplexity would be a perfect 1.
    """
    length = config.length if length is None else length
    stride = max(1, length // 2) if stride is None else stride
    pieces, tokens, size = [], 0, 0
    for i, text in enumerate(texts):
        ids = tokenizer.encode(text)
        tokens += len(ids)
        size += len(text.encode("utf-8"))
        pieces += windows(i, [config.eos, *ids], length, stride)
    if not size:
        raise errors.DataError("there is no text to measure the perplexity of.")
    scores = sequence_scores(params, config, pieces, length=length, batch=batch)
    return Perplexity(-float(scores.sum()), tokens, size)


class Question(NamedTuple):
    """A prompt and the answers to choose from."""

    prompt: str
    choices: tuple[str, ...]
    answer: int


class Ranked(NamedTuple):
    """What rank evaluation finds."""

    accuracy: float  # the answer with the greatest log-likelihood
    accuracy_per_byte: float  # the same, the likelihood divided by the answer's length in bytes
    scores: list[list[float]]  # log-likelihood of each answer to each question


def rank(
    params: PyTree,
    config: Config,
    tokenizer,
    questions: Sequence[Question],
    *,
    length: int | None = None,
    batch: int = 16,
) -> Ranked:
    """Rank evaluation [BLOOMZ, section 4]: log p(answer | prompt) of each, the greatest chosen.

    An answer is tokenised behind a space, as targets are in training. A prompt that is too long
    loses its beginning.

    Raises:
        DataError: no questions, one whose right answer is none of its choices, an answer that does
            not fit, or likelihoods that are NaN, of which the first would be the greatest.
    """
    if not questions:
        raise errors.DataError("there are no questions to rank answers of.")
    for question in questions:
        if not 0 <= question.answer < len(question.choices):
            raise errors.DataError(
                f"the right answer to {question.prompt!r:.60} is number {question.answer} of"
                f" {len(question.choices)} choices, counted from 0."
            )
    length = length or config.length
    pieces = []
    for i, question in enumerate(questions):
        prompt = [config.eos, *tokenizer.encode(question.prompt)]
        for choice in question.choices:
            answer = tokenizer.encode(" " + choice)
            if len(answer) > length:
                raise errors.DataError(f"an answer of {len(answer)} tokens exceeds {length}.")
            kept = prompt[-(length + 1 - len(answer)) :]
            pieces.append(Window(i, [*kept, *answer], len(kept)))
    found = sequence_scores(params, config, pieces, length=length, batch=batch)
    check_likelihoods(found)
    flat = iter(found)
    scores = [[float(next(flat)) for _ in question.choices] for question in questions]
    right = right_per_byte = 0
    for question, own in zip(questions, scores, strict=True):
        sizes = [max(1, len(choice.encode())) for choice in question.choices]
        right += int(np.argmax(own)) == question.answer
        right_per_byte += int(np.argmax(np.divide(own, sizes))) == question.answer
    count = len(questions)
    return Ranked(right / count, right_per_byte / count, scores)


def check_likelihoods(found: np.ndarray) -> None:
    """Refuses likelihoods that cannot be compared: the first of several NaN would be the greatest.

    Raises:
        DataError: one is NaN.
    """
    if np.isnan(found).any():
        raise errors.DataError("some likelihoods are NaN; look for a model that diverged.")
