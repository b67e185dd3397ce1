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


def test_what_was_found_before_a_stop_is_not_found_again(monkeypatch):
    monkeypatch.setattr(
        words, "attack", lambda config, texts, size, batch, seed: {"precision": 1.0}
    )
    settings = dataclasses.replace(config.SMOKE, seeds=2)
    rows = list(words.run(settings))
    assert len(rows) == 2 * 3  # two batch sizes, one vocabulary that is cut
    done = [(row["name"], row["seed"]) for row in rows]
    assert list(words.run(settings, done[:4])) == rows[4:]
