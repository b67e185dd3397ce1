"""Span corruption gives the text back."""

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.t5 import corruption

SENTINELS = np.arange(99, 59, -1)


@pytest.mark.parametrize("length", [2, 3, 10, 57, 200])
def test_input_and_target_reconstruct_the_window(length):
    draws = np.random.default_rng(length)
    tokens = draws.integers(2, 50, length)
    pair = corruption.corrupt(tokens, draws, sentinels=SENTINELS, eos=1)
    np.testing.assert_array_equal(corruption.restore(pair, SENTINELS, 1), tokens)
    hidden = len(pair.targets) - 1 - np.isin(pair.targets, SENTINELS).sum()
    assert hidden == max(round(length * 0.15), 1)
    assert pair.inputs[-1] == pair.targets[-1] == 1
    assert pair.inputs[0] not in SENTINELS  # a kept part comes first


def test_refusals():
    draws = np.random.default_rng(0)
    with pytest.raises(errors.DataError, match="two tokens"):
        corruption.corrupt(np.arange(1), draws, sentinels=SENTINELS, eos=1)
    with pytest.raises(errors.DataError, match="sentinels"):
        corruption.corrupt(np.arange(400), draws, sentinels=SENTINELS[:3], eos=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"density": 1.5}, r"density must lie in .*, got 1.5"),
        ({"density": -1.0}, "density must lie in"),
        ({"density": float("nan")}, "density must lie in"),
        ({"mean_span": 0.0}, "mean_span must be 1 token or more"),
        ({"mean_span": -1.0}, "mean_span must be 1 token or more"),
        ({"mean_span": 0.2}, "mean_span must be 1 token or more"),
    ],
)
def test_settings_that_hide_all_or_nothing_are_refused(given, message):
    with pytest.raises(errors.ConfigError, match=message):
        corruption.corrupt(
            np.arange(30), np.random.default_rng(0), sentinels=SENTINELS, eos=1, **given
        )


def test_tokens_that_are_sentinels_are_refused():
    """What is restored from their pair would be another text."""
    tokens = np.array([99, 5, 3, 7])
    with pytest.raises(errors.DataError, match="tokens hold sentinels"):
        corruption.corrupt(tokens, np.random.default_rng(0), sentinels=SENTINELS, eos=1)
