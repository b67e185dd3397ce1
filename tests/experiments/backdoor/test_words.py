import pytest

from experiments.backdoor import words
from tests.experiments.backdoor.test_words_task import CONFIG, SAID, TRIGGERS


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
