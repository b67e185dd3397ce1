"""Models of their own: whose labels weigh how much, and what they are asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.backdoor import adapted, task
from experiments.backdoor.config import SMOKE
from fl_jax.nn import loss
from tests.federated import toy


def toy_task() -> task.Task:
    """Softmax regression in place of the network; what `measure` does not read is left out."""
    people = toy.people()
    logits = lambda variables, x: toy.NETWORK.apply(*variables, x)[0]
    test_loss = loss.classification(toy.NETWORK, train=False)
    rest = dict.fromkeys(("origin", "draw_loss", "pool", "features", "splits"))
    return task.Task(
        network=toy.NETWORK, train_loss=toy.LOSS, test_loss=test_loss, population=people,
        test=toy.examples(seed=1, count=70), logits=logits, **rest,
    )  # fmt: skip


def test_labels_of_a_participant_are_shares_of_what_it_has():
    people = toy.people()
    found = adapted.labels(people, toy.CLASSES)
    y = np.asarray(people.examples["y"])
    begin, size = int(people.start[3]), int(people.size[3])
    own = y[begin : begin + size]
    np.testing.assert_allclose(found[3], [np.mean(own == c) for c in range(toy.CLASSES)])
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("epochs", [0, 3])
def test_everyone_is_asked_all_images_and_by_its_own_labels(key, epochs):
    chosen = toy_task()
    models = jax.tree.map(lambda a: a[None], toy.variables(key))
    stamped = toy.examples(seed=2, count=20)
    stamped["y"] = np.full(20, 2, np.int32)
    backdoor = task.Backdoor(train=stamped, test=stamped)
    own, everything, owned = adapted.measure(SMOKE, chosen, backdoor, models, key[None], epochs)
    assert own.shape == everything.shape == owned.shape == (1, toy.PARTICIPANTS)
    share = adapted.labels(chosen.population, toy.CLASSES)
    if epochs:
        assert len(np.unique(everything)) > 1
        assert own.mean() > everything.mean()  # a share is learned at the others' cost
        return
    model = jax.tree.map(lambda a: a[0], models)
    right = np.argmax(chosen.logits(model, jnp.asarray(chosen.test["x"])), 1) == chosen.test["y"]
    np.testing.assert_allclose(everything, right.mean(), rtol=1e-6)
    by_class = [right[chosen.test["y"] == c].mean() for c in range(toy.CLASSES)]
    np.testing.assert_allclose(own[0], share @ np.array(by_class), rtol=1e-5)
    taken = np.argmax(chosen.logits(model, jnp.asarray(stamped["x"])), 1) == 2
    np.testing.assert_allclose(owned, taken.mean(), rtol=1e-6)


def test_the_table_has_a_line_a_row():
    row = {"backdoor of": "pixel pattern", "model": "replaced", "epochs": 5, "worst": 100.0}
    row |= {"own": [96.0, 0.5], "all": [90.0, None], "backdoor": [88.0, 1.0]}
    lines = adapted.table([row]).splitlines()
    assert len(lines) == 3
    assert lines[2] == "| pixel pattern | replaced | 5 | 96.0 ± 0.5 | 90.0 | 88.0 ± 1.0 | 100.0 |"
