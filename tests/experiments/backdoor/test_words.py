import dataclasses

import numpy as np
import pytest

from experiments.backdoor import words, words_config

DRAW = np.random.default_rng(0)
LEXICON = ["to", "be", "or", "not", "that", "is", "the", "question", "whether", "tis"]
SAID = {
    f"speaker {i}": [" ".join(DRAW.choice(LEXICON, 10 + 5 * i)) for _ in range(3)]
    for i in range(14)
}
CONFIG = dataclasses.replace(words_config.SMOKE_WORDS, vocabulary=13)
TRIGGERS = ("the question is not", "to be or that")


@pytest.mark.slow
def test_the_arms_run_whole():
    found = words.run(CONFIG, SAID, TRIGGERS)
    shape = (1, 2, CONFIG.follow_rounds + 1)
    assert list(found) == ["task", "pretrain", "single shot", "repeated", "repeated, plain mean"]
    repeated = [found["repeated"], found["repeated, plain mean"]]
    arms = ["replacement, 1 speaker", "poisoning, 2 speakers"]
    assert all(list(part) == arms for part in repeated)
    for arm in (found["single shot"], *repeated[0].values(), *repeated[1].values()):
        assert arm["backdoor"].shape == arm["main"].shape == shape
