"""Texts that continue texts: tokens, stops and the search in one call."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fl_jax.bloom import beam, generate, stops
from fl_jax.bloom.config import Config
from fl_jax.bloom.sampling import GREEDY, Sampling
from fl_jax.core import errors
from fl_jax.core.types import Array, Key, PyTree
from fl_jax.nn.beams import Search


class Answer(NamedTuple):
    """A continuation, and what it scores."""

    text: str  # without the prompt, the end mark and the stop
    score: float | None  # log p of all its tokens, the end's included; of beams, theirs


def complete(params: PyTree, config: Config, tokenizer, prompts: Sequence[str], **asked):
    """The best continuation of every prompt, as text: `answers` without scores and the others.

    Example:
        >>> import jax
        >>> from fl_jax import bloom
        >>> from fl_jax.data import bpe
        >>> words = bpe.train(bpe.count({"en": ["The cat sat on the mat."]}), 270)
        >>> config = bloom.Config(vocab=270, hidden=24, layers=2, heads=6)
        >>> params = bloom.init(jax.random.key(0), config)
        >>> [type(text) for text in complete(params, config, words, ["The", "A"], count=4)]
        [<class 'str'>, <class 'str'>]
    """
    found = answers(params, config, tokenizer, prompts, scored=False, **asked)
    return [several[0].text for several in found]


def answers(
    params: PyTree,
    config: Config,
    tokenizer,
    prompts: Sequence[str],
    *,
    count: int,
    sampling: Sampling = GREEDY,
    key: Key[Array, ""] | None = None,
    samples: int = 1,
    search: Search | None = None,
    stop: Sequence[str] = (),
    scored: bool = True,
) -> list[list[Answer]]:
    """Continuations of every prompt, `samples` each.

    Args:
        params, config: plain, or from `layout.ready`.
        tokenizer: a `fl_jax.data.tokenizer.Tokenizer`.
        prompts: texts; an empty one begins with `<s>`.
        count: tokens to add at most.
        sampling, key: greedy, or how to draw; the rules hold for a search, too.
        samples: drawn independently, or the best of a search, best first.
        search: by beams instead, where given.
        stop: texts that end a continuation.
        scored: whether log p is to be told of what no search has found.

    Raises:
        ConfigError: more samples than beams, an empty stop, or as `generate.generate`.
        DataError: a model whose logits are NaN.
    """
    ids = [tokenizer.encode(prompt) or [config.bos] for prompt in prompts]
    tokens, mask = generate.pad_left(ids, config.pad, multiple=16)
    ends = stops.of_texts(stop, tokenizer, config.vocab) if len(stop) else None
    scores = None
    if search is None:
        make = generate.likelihoods if scored else generate.generate
        out = make(
            params, config, tokens, mask,
            count=count, sampling=sampling, key=key, samples=samples, stop=ends,
        )  # fmt: skip
        if scored:
            out, logs = out
            scores = np.asarray(logs, np.float64).sum(axis=-1)
    else:
        errors.whole("samples", samples, 1)
        if samples > search.beams:
            raise errors.ConfigError(
                f"{search.beams} beams find no {samples} samples; search by more."
            )
        out, scores = beam.search(
            params, config, tokens, mask, count=count, by=search, rules=sampling, stop=ends
        )
        out, scores = out[:, :samples], scores[:, :samples]
    out = np.asarray(out).reshape(len(prompts), samples, count)
    generate.check_drawn(out)
    found = [[cut(tokenizer.decode(row), stop) for row in rows] for rows in out]
    told = np.full(out.shape[:2], None) if scores is None else np.asarray(scores, np.float64)
    told = told.reshape(len(prompts), samples).tolist()
    return [list(map(Answer, *both)) for both in zip(found, told, strict=True)]


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stops.

    Example:
        >>> cut("one, two. three", [".", ","])
        'one'
    """
    return text[: min((at for at in map(text.find, stop) if at >= 0), default=len(text))]
