"""Beams against a search by lists, and against all sequences that there are."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn import beams

VOCAB, COUNT, EOS, PAD = 5, 6, 1, 0


def slow(search, logs, count, ends):
    """[(score, tokens)] of one text, best first; `logs(tokens)` is log p of the next token, and
    those of `ends` end a sequence."""
    running, finished = [(0.0, ())], []
    for i in range(count):
        grown = [(p + log, (*said, t)) for p, said in running for t, log in enumerate(logs(said))]
        grown = sorted(grown, key=lambda one: -one[0])
        for p, said in grown[: search.beams]:
            if said[-1] in ends or i == count - 1:
                finished.append((p / (i + 1) ** search.length_penalty, said))
        finished = sorted(finished, key=lambda one: -one[0])[: search.beams]
        running = [one for one in grown if one[1][-1] not in ends][: search.beams]
        if len(finished) == search.beams:
            if search.early_stopping is True:
                break
            never = search.early_stopping == "never" and search.length_penalty > 0
            hoped = running[0][0] / (count if never else i + 1) ** search.length_penalty
            if hoped <= finished[-1][0]:
                break
    return finished


def tables(key, batch, sharp=2.0):
    """log p of the next token by text, place and last token (the start being another one)."""
    shape = batch, COUNT, VOCAB + 1, VOCAB
    return jax.nn.log_softmax(sharp * jax.random.normal(key, shape), axis=-1)


def fast(search, table, ends=(EOS,)):
    batch = len(table)
    ends = jnp.isin(jnp.arange(VOCAB), jnp.array(ends))[None, None]

    @jax.jit
    def run(table):
        state = beams.start(search, batch, COUNT, PAD, jnp.float32)
        last = jnp.full((batch, search.beams), VOCAB)
        for i in range(COUNT):
            logs = jnp.take_along_axis(table[:, i], last[:, :, None], axis=1)
            state, _, last = beams.extend(search, state, logs, jnp.int32(i), ends)
        return *beams.found(state, PAD), state.open

    return run(table)


SEARCHES = [
    beams.Search(3),
    beams.Search(1),
    beams.Search(2, length_penalty=0.0),
    beams.Search(3, length_penalty=2.0, early_stopping=True),
    beams.Search(3, length_penalty=-1.0, early_stopping="never"),
    beams.Search(3, length_penalty=1.5, early_stopping="never"),
]


@pytest.mark.parametrize("ends", [(EOS,), (EOS, 3, 4)])
@pytest.mark.parametrize("search", SEARCHES)
def test_every_text_of_a_batch_gets_what_a_search_by_lists_finds(key, search, ends):
    table = tables(key, 16)
    tokens, scores, _ = fast(search, table, ends)
    for row, found, told in zip(np.asarray(table, np.float64), tokens, scores, strict=True):
        logs = lambda said, row=row: row[len(said), said[-1] if said else VOCAB]
        wanted = slow(search, logs, COUNT, ends)
        fill = [[*said, *(COUNT - len(said)) * [PAD]] for _, said in wanted]
        assert found.tolist() == fill
        np.testing.assert_allclose(told, [score for score, _ in wanted], rtol=1e-5)


def test_the_ways_to_end_differ(key):
    table = tables(key, 16)
    found = [fast(beams.Search(3, 2.0, stopping), table)[1].tolist() for stopping in beams.STOPS]
    assert found[0] != found[1] and found[0] != found[2] and found[1] != found[2]


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 0.7, 2.0])
def test_a_beam_as_wide_as_there_are_sequences_finds_them_all_in_order(key, penalty):
    table = tables(key, 1)[:, :3, [0, 1, 2, VOCAB]][..., :3]
    search = beams.Search(40, penalty, "never")

    def extend(state, i, last):
        logs = jnp.take_along_axis(table[:, i], last[:, :, None], axis=1)
        return beams.extend(search, state, logs, jnp.int32(i), (jnp.arange(3) == EOS)[None, None])

    state, last = beams.start(search, 1, 3, PAD, jnp.float32), jnp.full((1, 40), 3)
    for i in range(3):
        state, _, last = extend(state, i, last)
    tokens, scores = beams.found(state, PAD)
    every = {}
    for said in itertools.product(range(3), repeat=3):
        said = said[: said.index(EOS) + 1] if EOS in said else said
        p = sum(float(table[0, i, ([3, *said])[i], t]) for i, t in enumerate(said))
        every[(*said, *(3 - len(said)) * (PAD,))] = p / len(said) ** penalty
    assert len(every) == 15
    ordered = sorted(every, key=every.get, reverse=True)
    assert list(map(tuple, tokens[0, :15].tolist())) == ordered
    np.testing.assert_allclose(scores[0, :15], [every[one] for one in ordered], rtol=1e-5)
    assert (scores[0, 15:] == -np.inf).all() and (tokens[0, 15:] == PAD).all()


def test_nan_ends_a_text_and_no_other(key):
    table = tables(key, 2)
    whole = fast(beams.Search(2), table)
    tokens, scores, open_ = fast(beams.Search(2), table.at[0, 1].set(jnp.nan))
    assert tokens[0].tolist() == 2 * [[-1, *5 * [PAD]]] and np.isnan(scores[0]).all()
    assert not open_[0]
    np.testing.assert_array_equal(tokens[1], whole[0][1])
    np.testing.assert_array_equal(scores[1], whole[1][1])


def test_nan_behind_the_end_is_not_looked_at(key):
    """A text's row goes on while others do."""
    table = tables(key, 2).at[0, 0, VOCAB].set(jnp.log(jnp.array([0.03, 0.9, 0.03, 0.02, 0.02])))
    table = table.at[0, 1:, :, EOS].add(20)
    search = beams.Search(2, early_stopping=True)
    whole, broken = fast(search, table), fast(search, table.at[0, 3:].set(jnp.nan))
    for found, wanted in zip(broken, whole, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (whole[0][0] == PAD).any() and not np.isnan(broken[1]).any()


def test_rows_of_parents():
    assert beams.rows(jnp.array([[1, 1, 0], [2, 0, 0]])).tolist() == [1, 1, 0, 5, 3, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beams": 0}, "beams must be a whole number of 1 or more, got 0"),
        ({"length_penalty": float("nan")}, "length_penalty must be finite, got nan"),
        ({"early_stopping": "always"}, "early_stopping is False, True or 'never', got 'always'"),
    ],
)
def test_what_cannot_be_searched_by_is_refused(given, message):
    with pytest.raises(errors.ConfigError, match=message):
        beams.Search(**given)
