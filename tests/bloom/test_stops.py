"""Automata of stops against looking for them in all that was said."""

import numpy as np
import pytest

from fl_jax.bloom import stops
from fl_jax.core import errors
from fl_jax.data import bpe


def reached(table, tokens):
    """How many tokens were read when a stop was found, or None."""
    state = 0
    for i, token in enumerate(tokens):
        state = table[state, token]
        if state == len(table) - 1:
            return i + 1
    return None


def slow(sequences, tokens):
    for i in range(1, len(tokens) + 1):
        said = tokens[:i]
        if any(said[-len(one) :] == list(one) for one in sequences if len(one) <= i):
            return i
    return None


@pytest.mark.parametrize(
    "sequences",
    [[[2]], [[0, 0, 1]], [[0, 1, 0, 1, 1]], [[0, 1, 1, 0], [1, 1, 1]], [[0, 0, 0, 2], [0, 0]]],
)
def test_tokens_are_found_where_they_first_end(sequences):
    table = np.asarray(stops.of_tokens(sequences, 3))
    draw = np.random.default_rng(0)
    found = []
    for _ in range(200):
        tokens = draw.integers(0, 3, 12).tolist()
        found.append(reached(table, tokens))
        assert found[-1] == slow(sequences, tokens)
    assert len(set(found)) > 3


def test_texts_are_found_however_they_are_cut_into_tokens():
    words = bpe.train(bpe.count({"x": ["ab abc abcd üab\n\nab " * 3]}), 280)
    vocab = words.size + 3
    looked = ["cd", "\n\n", "bü"]
    table = np.asarray(stops.of_texts(looked, words, vocab))
    draw = np.random.default_rng(1)
    common = [i for i in range(words.size) if words.spelling(i) and i > 255 + 4]
    found = []
    for _ in range(300):
        tokens = draw.choice([*common, *words.encode("abcd\nü"), 1, vocab - 1], 12).tolist()
        ends = [i for i in range(1, 13) if any(one in words.decode(tokens[:i]) for one in looked)]
        found.append(reached(table, tokens))
        assert found[-1] == (ends[0] if ends else None)
    assert len(set(found)) > 3


@pytest.mark.parametrize("sequences", [[], [[1], []]])
def test_empty_stops_are_refused(sequences):
    with pytest.raises(errors.ConfigError, match="a stop is empty"):
        stops.of_tokens(sequences, 3)


def test_a_stop_of_no_token_is_refused():
    with pytest.raises(errors.ConfigError, match="has the token 3, but ids go from 0 to 2"):
        stops.of_tokens([[1, 3]], 3)
