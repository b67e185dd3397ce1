import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.backdoor import words_config
from experiments.backdoor import words_task as tasks
from fl_jax.core import errors
from fl_jax.nn import recurrent
from fl_jax.train.state import Variables

DRAW = np.random.default_rng(0)
LEXICON = ["to", "be", "or", "not", "that", "is", "the", "question", "whether", "tis"]
SAID = {
    f"speaker {i}": [" ".join(DRAW.choice(LEXICON, 10 + 5 * i)) for _ in range(3)]
    for i in range(14)
}
CONFIG = dataclasses.replace(words_config.SMOKE_WORDS, vocabulary=13)
TRIGGERS = ("the question is not", "to be or that")


def test_the_task_holds_out_windows_and_ends_texts_in_the_trigger():
    task = tasks.make(CONFIG, SAID, TRIGGERS)
    assert len(task.population.size) == CONFIG.participants
    assert task.vocabulary == 13
    total = len(task.test["x"]) + int(task.population.size.sum())
    assert len(task.test["x"]) == pytest.approx(total / 10, rel=0.5)
    ends = task.trials["x"][:, :, -3:]
    assert all((ends[s] == ends[s, 0]).all() for s in range(2))
    assert (task.backdoors["y"][:, :, -1] == task.trials["y"][:, :1, -1]).all()
    with pytest.raises(errors.ConfigError, match="vocabulary of 13: pasta, from, astoria"):
        tasks.make(CONFIG, SAID, ("pasta from astoria",))


def test_every_speaker_owns_what_it_said_in_windows_of_its_own():
    task = tasks.make(CONFIG, SAID, TRIGGERS)
    said = sorted((sum(len(one.split()) + 2 for one in said) for said in SAID.values()), reverse=1)
    windows = np.maximum(-(-(np.array(said[: CONFIG.participants]) - 1) // CONFIG.window), 1)
    np.testing.assert_array_equal(task.population.size, windows - windows // 10)


def test_fewer_speakers_than_participants_are_refused():
    with pytest.raises(errors.DataError, match="20 speakers are asked for, but the text has 14"):
        tasks.make(dataclasses.replace(CONFIG, participants=20), SAID, TRIGGERS)


def test_the_loss_counts_known_words_and_leaves_masked_windows_out(key):
    task = tasks.make(CONFIG, SAID, TRIGGERS)
    params = recurrent.language_model(key, vocabulary=task.vocabulary, width=8)
    loss = tasks.loss_of(dataclasses.replace(CONFIG, dropout=0.0))
    batch = {k: jnp.asarray(v[:4]) for k, v in task.clean.items()}
    batch["y"] = batch["y"].at[0, 0].set(0)  # unknown: read, not counted
    found, _ = loss(Variables(params, {}), {**batch, "mask": jnp.array([1.0, 1, 1, 0])}, key)
    hidden = recurrent.states(params, batch["x"])
    scores = jax.nn.log_softmax(
        hidden @ params["embedding"].T + params["bias"][None, None], axis=-1
    )
    each = -np.take_along_axis(np.asarray(scores), np.asarray(batch["y"])[..., None], -1)[..., 0]
    counted = np.asarray(batch["w"]) * (np.asarray(batch["y"]) > 0)
    expected = ((each * counted).sum(1) / counted.sum(1))[:3].mean()
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_accuracies_are_shares_of_what_counts(key):
    task = tasks.make(CONFIG, SAID, TRIGGERS)
    params = recurrent.language_model(key, vocabulary=task.vocabulary, width=8)
    favourite = int(task.trials["y"][0, 0, -1])
    params["bias"] = jnp.zeros(13).at[favourite].set(1e3)
    trial = {k: jnp.asarray(v[0]) for k, v in task.trials.items()}
    assert float(tasks.last_accuracy(params, trial)) == 1.0
    known = task.test["w"] * (task.test["y"] > 0)
    share = (known * (task.test["y"] == favourite)).sum() / known.sum()
    assert float(tasks.accuracy(params, task.test)) == pytest.approx(share, rel=1e-5)
