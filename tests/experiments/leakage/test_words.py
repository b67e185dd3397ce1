import dataclasses

from experiments.leakage import config, data, words


def test_members_are_all_found_and_larger_batches_hide_better():
    texts = data.texts("zipf", vocabulary=300, length=12)
    settings = dataclasses.replace(config.SMOKE, word_rounds=20)
    small, large = (words.attack(settings, texts, 300, batch, 0) for batch in (4, 64))
    assert small["recall"] == large["recall"] == 1.0
    assert small["precision"] > large["precision"] >= 0.5
    hidden = words.attack(settings, texts, 30, 4, 0)  # words beyond the 30 most frequent are cut
    assert hidden["recall"] == 1.0
    assert hidden["precision"] < small["precision"]
