"""Likelihoods as numbers people compare: byte perplexity, rank evaluation, the lm-eval adapter.

Everything is made of `loss.log_likelihoods`; texts of any length become windows of one shape,
so that one program scores them all.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import generate, loss
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.core.types import PyTree


class Perplexity(NamedTuple):
    """How well texts are predicted; comparable between tokenizers."""

    nats: float  # negative log-likelihood of all texts
    tokens: int
    bytes: int  # in UTF-8

    @property
    def per_byte(self) -> float:
        """Byte perplexity exp(nats / bytes) [FLORES-101 figures of the BLOOM paper]."""
        return math.exp(self.nats / max(self.bytes, 1))

    @property
    def bits_per_byte(self) -> float:
        """nats / (bytes log 2)."""
        return self.nats / max(self.bytes, 1) / math.log(2)


class Window(NamedTuple):
    """A piece of a sequence: `tokens[first:]` are scored, the rest is context."""

    text: int
    tokens: Sequence[int]
    first: int


def windows(text: int, tokens: Sequence[int], length: int, stride: int) -> list[Window]:
    """A sequence in pieces of up to length + 1 tokens; every token but the first scored once.

    The first piece scores all it has; each further one `stride` tokens, behind as much context
    as fits.
    """
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

    Pieces of like length go together, in batches whose width is a multiple of 64, so that few
    shapes are compiled; they are filled up on the right, which causal attention does not see.

    Raises:
        DataError: a piece of more than length + 1 tokens.
    """
    out = np.zeros(len(pieces))
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
        scores = np.asarray(loss.log_likelihoods(params, config, jnp.asarray(tokens)), np.float64)
        for row, i in enumerate(some):
            out[i] = scores[row, pieces[i].first - 1 : len(pieces[i].tokens) - 1].sum()
    return out


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
    """
    length = length or config.length
    pieces, tokens, size = [], 0, 0
    for i, text in enumerate(texts):
        ids = tokenizer.encode(text)
        tokens += len(ids)
        size += len(text.encode("utf-8"))
        pieces += windows(i, [config.eos, *ids], length, stride or max(1, length // 2))
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
        DataError: no questions, or an answer that does not fit.
    """
    if not questions:
        raise errors.DataError("there are no questions to rank answers of.")
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
    flat = iter(sequence_scores(params, config, pieces, length=length, batch=batch))
    scores = [[float(next(flat)) for _ in question.choices] for question in questions]
    right = right_per_byte = 0
    for question, own in zip(questions, scores, strict=True):
        sizes = [max(1, len(choice.encode())) for choice in question.choices]
        right += int(np.argmax(own)) == question.answer
        right_per_byte += int(np.argmax(np.divide(own, sizes))) == question.answer
    count = len(questions)
    return Ranked(right / count, right_per_byte / count, scores)


class Harness:
    """What lm-evaluation-harness asks of a model, in its three request types.

    Pass it where an `lm_eval.api.model.LM` is expected, by `harness(...)`; the package is not
    needed to use or test it. A request has `args`: (context, continuation), (text,), or
    (context, {"until": [...], "max_gen_toks": n}).
    """

    def __init__(self, params: PyTree, config: Config, tokenizer, *, batch: int = 16):
        self.params, self.config, self.tokenizer, self.batch = params, config, tokenizer, batch

    def loglikelihood(self, requests) -> list[tuple[float, bool]]:
        """(log p(continuation | context), whether greedy decoding would produce it)."""
        out = []
        for request in requests:
            context, continuation = request.args
            whole = [self.config.eos, *self.tokenizer.encode(context)]
            answer = self.tokenizer.encode(continuation)
            kept = whole[-(self.config.length + 1 - len(answer)) :]
            piece = Window(0, [*kept, *answer], len(kept))
            score = self._scores([piece])[0]
            out.append((float(score), self._greedy(kept, answer)))
        return out

    def loglikelihood_rolling(self, requests) -> list[float]:
        """log p of whole texts."""
        out = []
        for request in requests:
            (text,) = request.args
            found = perplexity(self.params, self.config, self.tokenizer, [text], batch=self.batch)
            out.append(-found.nats)
        return out

    def generate_until(self, requests) -> list[str]:
        """Greedy continuations, cut before the first stop string."""
        out = []
        for request in requests:
            context, options = request.args
            text = generate.complete(
                self.params,
                self.config,
                self.tokenizer,
                [context],
                count=int(options.get("max_gen_toks", 64)),
            )[0]
            for stop in options.get("until", []):
                text = text.split(stop)[0]
            out.append(text)
        return out

    def _scores(self, pieces):
        length = self.config.length
        return sequence_scores(self.params, self.config, pieces, length=length, batch=self.batch)

    def _greedy(self, context, answer) -> bool:
        if not answer:
            return True
        tokens, mask = generate.pad_left([context], self.config.pad, multiple=16)
        made = generate.generate(self.params, self.config, tokens, mask, count=len(answer))
        return np.asarray(made)[0].tolist() == list(answer)


def harness(params: PyTree, config: Config, tokenizer, *, batch: int = 16):
    """The model as an `lm_eval.api.model.LM`, for `lm_eval.simple_evaluate(model=...)`.

    Raises:
        ConfigError: lm-evaluation-harness is not installed.
    """
    try:
        from lm_eval.api.model import LM
    except ModuleNotFoundError:
        raise errors.ConfigError(
            "lm-evaluation-harness is not installed; install the package lm-eval."
        ) from None

    return type("BloomLM", (Harness, LM), {})(params, config, tokenizer, batch=batch)
