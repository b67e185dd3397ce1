import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.data import speech
from fl_jax.federated.attacks import sentences

WINDOWS = speech.windows(list(range(10, 31)), 5)


def test_the_window_ends_in_the_sentence_and_asks_for_its_last_word():
    out = sentences.append(WINDOWS, [7, 8, 9])
    assert (out["x"][:, -2:] == [7, 8]).all()
    assert (out["y"][:, -1] == 9).all()
    np.testing.assert_array_equal(out["x"][:, :-2], WINDOWS["x"][:, :-2])
    np.testing.assert_array_equal(out["y"][:, :-1], out["x"][:, 1:])
    np.testing.assert_array_equal(out["w"], [[0, 0, 0, 0, 1]] * 4)
    assert WINDOWS["w"].sum() == 20  # not changed


@pytest.mark.parametrize("sentence", [[3], [1, 2, 3, 4, 5, 6, 7]])
def test_sentences_that_do_not_fit_are_refused(sentence):
    with pytest.raises(errors.ConfigError, match="has 2 to 6 words in windows of 5"):
        sentences.append(WINDOWS, sentence)
