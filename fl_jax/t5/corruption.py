"""Span corruption, T5's pre-training task [Raffel et al. 2020, section 3.1.4]."""

from typing import NamedTuple

import numpy as np

from fl_jax.core import errors


class Pair(NamedTuple):
    """What the encoder reads and what the decoder is to write."""

    inputs: np.ndarray  # int32
    targets: np.ndarray  # int32


def corrupt(
    tokens: np.ndarray,
    rng: np.random.Generator,
    *,
    sentinels: np.ndarray,
    eos: int,
    density: float = 0.15,
    mean_span: float = 3.0,
) -> Pair:
    """Replaces random spans by sentinels; the target lists the sentinels with what they hide.

    round(n density) tokens are hidden in round(hidden / mean_span) spans, at least one of each;
    hidden and kept tokens are each cut into so many parts at random, and the parts alternate,
    a kept one first.

    Args:
        tokens: (n,) ids, n >= 2.
        rng: draws the spans.
        sentinels: ids of <extra_id_0>, <extra_id_1>, ..., one for each span.
        eos: closes both sequences.
        density: share of tokens that is hidden.
        mean_span: tokens of a span, on average.

    Raises:
        DataError: fewer than two tokens, more spans than sentinels, or tokens that are sentinels.
        ConfigError: a density that is not a share, or spans of less than a token.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> pair = corrupt(np.arange(10, 20), rng, sentinels=np.array([99, 98]), eos=1)
        >>> pair.inputs.tolist(), pair.targets.tolist()
        ([10, 11, 12, 13, 14, 15, 16, 17, 99, 1], [99, 18, 19, 1])
    """
    n = len(tokens)
    errors.below_one("density", density)
    if not mean_span >= 1:
        raise errors.ConfigError(f"mean_span must be 1 token or more, got {mean_span}.")
    if n < 2:
        raise errors.DataError(f"span corruption needs two tokens or more, got {n}.")
    hidden = min(max(round(n * density), 1), n - 1)
    spans = min(max(round(hidden / mean_span), 1), n - hidden)
    if spans > len(sentinels):
        raise errors.DataError(
            f"{n} tokens make {spans} spans, and there are {len(sentinels)} sentinels; cut the"
            " text into shorter windows."
        )
    if np.isin(tokens, sentinels[:spans]).any():
        raise errors.DataError(
            "the tokens hold sentinels, which could not be told from those that mark the spans;"
            " choose sentinels that no text has."
        )
    kept_parts, hidden_parts = _parts(n - hidden, spans, rng), _parts(hidden, spans, rng)
    inputs, targets, at = [], [], 0
    for sentinel, kept, gone in zip(sentinels, kept_parts, hidden_parts, strict=False):
        inputs += [*tokens[at : at + kept], sentinel]
        at += kept
        targets += [sentinel, *tokens[at : at + gone]]
        at += gone
    as_ids = lambda ids: np.array([*ids, eos], np.int32)
    return Pair(as_ids(inputs), as_ids(targets))


def restore(pair: Pair, sentinels: np.ndarray, eos: int) -> np.ndarray:
    """The tokens that `corrupt` was given."""
    marks = {int(s) for s in sentinels}
    spans: dict[int, list[int]] = {}
    for token in pair.targets.tolist():
        if token in marks:
            current = spans.setdefault(token, [])
        elif token != eos:
            current.append(token)
    out: list[int] = []
    for token in pair.inputs.tolist():
        if token in marks:
            out += spans[token]
        elif token != eos:
            out.append(token)
    return np.array(out, np.int32)


def _parts(total: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`total` cut into `count` parts of at least one, each cut equally likely."""
    cuts = np.sort(rng.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
