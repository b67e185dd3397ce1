"""The best validated parameters are kept, also over an interruption."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.clrs import config, selection, task

TINY = dataclasses.replace(config.SMOKE, tasks=("minimum",), rounds=5, validate_every=2)


def equal(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_best_of_the_validated_rounds_is_tested(monkeypatch):
    """Validations come after rounds 2, 4 and the last; the second is the best."""
    scores = {2: 0.5, 4: 0.75, 5: 0.6}
    seen = []
    monkeypatch.setattr(
        task, "validate", lambda _, state: seen.append(int(state.step)) or scores[seen[-1]]
    )
    run, kept = task.advance(TINY, (0,)), task.start(TINY, (0,))
    states = []
    for step in range(5):
        kept, _ = run(kept, step)
        states.append(jax.tree.map(np.asarray, kept))
    assert seen == [2, 4, 5]
    assert (float(kept.score), int(kept.round)) == (0.75, 4)
    equal(selection.chosen(kept).shared, states[3].state.shared)
    equal(selection.chosen(kept).own, states[3].state.own)
    pairs = zip(*map(jax.tree.leaves, (kept.shared, kept.state.shared)), strict=True)
    assert any(not np.array_equal(a, b) for a, b in pairs)
    # What goes on from the third round ends the same.
    again = jax.tree.map(jnp.asarray, states[2])
    for step in (3, 4):
        again, _ = run(again, step)
    equal(again, kept)


def test_seeds_together_are_chosen_one_by_one():
    state = task.training.State(
        jnp.zeros(2, jnp.int32), {"w": jnp.zeros((2, 3))}, ({"b": jnp.zeros((2, 1, 2))},),
        (), ((),), (jnp.zeros((2, 1), jnp.int32),), jnp.zeros(2, jnp.int32),
    )  # fmt: skip
    kept = selection.start(state)
    kept = selection.update(kept, np.array([0.2, 0.6]), 1)
    after = state._replace(shared={"w": jnp.ones((2, 3))}, own=({"b": jnp.ones((2, 1, 2))},))
    kept = selection.update(kept._replace(state=after), np.array([0.4, 0.5]), 2)
    assert kept.round.tolist() == [2, 1]
    assert kept.shared["w"][:, 0].tolist() == kept.own[0]["b"][:, 0, 0].tolist() == [1.0, 0.0]


def test_presets_validate_as_they_say():
    assert config.PAPER.validate_every == 50
    assert config.SMALL.validate_every == 0
    with pytest.raises(task.errors.ConfigError, match="validate_every must be at least 0"):
        task.check(dataclasses.replace(TINY, validate_every=-1))


def test_a_validation_scores_every_task(monkeypatch):
    """It was never told which tasks, and ended the preset `paper` at its fiftieth round."""
    asked = []

    def found(name, *_, length, **__):
        asked.append((name, length))
        return task.evaluate.Scores(0.25 * len(asked), 1.0, {}, {})

    monkeypatch.setattr(task.evaluate, "task", found)
    both = dataclasses.replace(TINY, tasks=("minimum", "bfs"), lengths=(4, 6))
    assert task.validate(both, task.start(both, (0,))) == pytest.approx(0.375)
    assert asked == [("minimum", 6), ("bfs", 6)]
