"""Where a text is to end: sequences of tokens, or texts, found while it is written.

All of them are looked for at once, by an automaton [Aho and Corasick 1975] that goes one state on
with every token. Texts are looked for byte by byte, so that it does not matter how they are cut
into tokens: a stop may begin and end inside of one.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors
from fl_jax.core.types import Array, Int


def of_tokens(sequences: Sequence[Sequence[int]], vocab: int) -> Int[Array, "states vocab"]:
    """The automaton of token sequences.

    Returns:
        int32: the state after each token. State 0 is the first, the last one says
        that a stop was found and is not left.

    Raises:
        ConfigError: an empty sequence, none at all, or what is no id of the vocabulary.

    Example:
        >>> of_tokens([[1, 2]], vocab=3).tolist()
        [[0, 1, 0], [0, 1, 2], [2, 2, 2]]
    """
    return jnp.asarray(_automaton(sequences, vocab))


def _automaton(sequences, vocab):
    if not len(sequences) or not all(map(len, sequences)):
        raise errors.ConfigError("a stop is empty, where every text would end; leave it out.")
    children: list[dict[int, int]] = [{}]
    found = [False]
    for sequence in sequences:
        node = 0
        for symbol in map(int, sequence):
            if not 0 <= symbol < vocab:
                raise errors.ConfigError(
                    f"a stop has the token {symbol}, but ids go from 0 to {vocab - 1}."
                )
            if symbol not in children[node]:
                children[node][symbol] = len(children)
                children.append({})
                found.append(False)
            node = children[node][symbol]
        found[node] = True
    after = np.zeros((len(children), vocab), np.int32)
    shorter = [0] * len(children)  # the longest end of a node's sequence that begins another
    queue = [0]
    for node in queue:
        found[node] |= found[shorter[node]]
        if node:
            after[node] = after[shorter[node]]
        for symbol, child in children[node].items():
            shorter[child] = after[node, symbol]
            after[node, symbol] = child
            queue.append(child)
    open_ = np.flatnonzero(~np.asarray(found))
    name = np.full(len(children), len(open_), np.int32)
    name[open_] = np.arange(len(open_))
    return np.concatenate([name[after[open_]], np.full((1, vocab), len(open_), np.int32)])


def of_texts(texts: Sequence[str], tokenizer, vocab: int) -> Int[Array, "states vocab"]:
    """The automaton of texts, over the tokens of a `fl_jax.data.tokenizer.Tokenizer`.

    Special tokens are no text, and a stop goes on behind them.

    Returns:
        As `of_tokens`.

    Raises:
        ConfigError: an empty text, or none at all.
    """
    after = _automaton([list(text.encode("utf-8", "surrogatepass")) for text in texts], 256)
    spelled = [tokenizer.spelling(token) for token in range(vocab)]
    state = np.repeat(np.arange(len(after), dtype=np.int32)[:, None], vocab, axis=1)
    order = np.argsort([-len(spelling) for spelling in spelled], kind="stable")
    lengths = np.array([len(spelled[token]) for token in order])
    for place in range(lengths[0]):
        longer = order[: np.searchsorted(-lengths, -place)]  # tokens that have a byte there
        byte = np.array([spelled[token][place] for token in longer])
        state[:, longer] = after[state[:, longer], byte[None]]
    return jnp.asarray(state)
