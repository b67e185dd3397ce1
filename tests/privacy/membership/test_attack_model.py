import jax
import numpy as np
import pytest

from fl_jax.core import errors, roc
from privacy.membership import attack_model


def rows(count=600, classes=3, seed=0):
    """Answers in which members of class 0 are surer, and of class 1 less sure."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    member = rng.random(count) < 0.5
    side = np.where(labels == 1, -1, 1) * np.where(member, 1, -1)
    sure = 0.6 + 0.15 * side + 0.05 * rng.normal(size=count)
    answers = np.full((count, classes), ((1 - sure) / (classes - 1))[:, None])
    answers[np.arange(count), labels] = sure
    return attack_model.Rows(answers, labels, member)


def test_each_class_learns_its_own_rule(key):
    config = attack_model.Config(hidden=8, rate=0.02, steps=200, batch=50)
    attack = attack_model.fit(rows(), key, config)
    held = rows(seed=1)
    found = attack_model.score(attack, held.answers, held.labels)
    for c in range(3):
        own = held.labels == c
        assert roc.area(found[own], held.member[own]) > 0.98
    again = attack_model.fit(rows(), key, config)
    assert np.array_equal(found, attack_model.score(again, held.answers, held.labels))


def test_softmax_regression_is_the_released_code(key):
    config = attack_model.Config(hidden=0, rate=0.05, steps=200, l2=1e-6)
    attack = attack_model.fit(rows(), key, config)
    assert set(attack.params) == {"out", "out_bias"}
    held = rows(seed=1)
    found = attack_model.score(attack, held.answers, held.labels)
    assert roc.area(found, held.member) > 0.95


def test_angles_are_an_input_of_their_own(key):
    made = attack_model.angles(rows().answers)
    np.testing.assert_allclose(np.sin(made[:, :3] / 2) ** 2, rows().answers, atol=1e-12)
    assert (np.diff(made[:, 3:], axis=1) >= 0).all()
    config = attack_model.Config(hidden=8, rate=0.02, steps=100, batch=50, inputs="angles")
    attack = attack_model.fit(rows(), key, config)
    held = rows(seed=1)
    found = attack_model.score(attack, held.answers, held.labels)
    assert roc.area(found, held.member) > 0.95
    with pytest.raises(errors.ConfigError, match="unknown attack input 'logits'"):
        attack_model.fit(rows(), key, attack_model.Config(inputs="logits"))


def test_a_class_without_members_is_refused(key):
    data = rows()
    member = data.member & (data.labels != 2)
    with pytest.raises(errors.DataError, match="class 2 of 3 has no members"):
        attack_model.fit(data._replace(member=member), key)


def test_other_classes_are_refused(key):
    attack = attack_model.fit(rows(), key, attack_model.Config(steps=1))
    with pytest.raises(errors.DataError, match="over 3 classes, got 4"):
        attack_model.score(attack, np.zeros((2, 4)), np.zeros(2, int))
    for label in (-1, 3):
        with pytest.raises(errors.DataError, match=r"labels must lie in 0\.\.2"):
            attack_model.score(attack, np.zeros((2, 3)), np.array([0, label]))
        data = rows()
        labels = np.where(np.arange(len(data.labels)) == 5, label, data.labels)
        with pytest.raises(errors.DataError, match=r"labels must lie in 0\.\.2"):
            attack_model.fit(data._replace(labels=labels), key)


def test_a_mask_of_numbers_and_answers_that_are_nan_are_refused(key):
    data = rows()
    with pytest.raises(errors.DataError, match="bool mask of the rows, got int64"):
        attack_model.fit(data._replace(member=data.member.astype(int)), key)
    with pytest.raises(errors.DataError, match="not finite"):
        attack_model.fit(data._replace(answers=data.answers * np.nan), key)
    attack = attack_model.fit(data, key, attack_model.Config(steps=1))
    with pytest.raises(errors.DataError, match="not finite"):
        attack_model.score(attack, data.answers * np.nan, data.labels)


def test_rows_of_several_lengths_are_refused():
    rng = np.random.default_rng(0)
    answers, labels = rng.dirichlet(np.ones(3), 60), np.tile(np.arange(3), 20)
    member = np.arange(60) % 2 == 0
    key, config = jax.random.key(0), attack_model.Config(steps=1, batch=4)
    whole = attack_model.Rows(answers, labels, member)
    for short in ("answers", "labels", "member"):
        rows = whole._replace(**{short: getattr(whole, short)[:50]})
        with pytest.raises(errors.DataError, match="need an answer, a label and a membership"):
            attack_model.fit(rows, key, config)
    found = attack_model.fit(whole, key, config)
    for bad in (labels[:2], labels[:3, None]):
        with pytest.raises(errors.DataError, match="needs the true class of its record"):
            attack_model.score(found, answers[:3], bad)


def test_rows_and_settings_that_are_none_are_refused():
    labels, member = np.arange(8) % 2, np.arange(8) < 4
    with pytest.raises(errors.DataError, match=r"\(rows, classes\)"):
        attack_model.fit(attack_model.Rows(np.zeros(8), labels, member), jax.random.key(0))
    rows = attack_model.Rows(np.full((8, 2), 0.5), labels, member)
    with pytest.raises(errors.ConfigError, match="steps"):
        attack_model.fit(rows, jax.random.key(0), attack_model.Config(steps=0))
