import numpy as np
import pytest

from fl_jax.core import errors
from privacy.membership import bavaria, lira, rmia, table, thresholds


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(errors.DataError, match="a table needs"):
        table.make(np.zeros(3), np.zeros((4, 2)))
    with pytest.raises(errors.DataError, match=r"bool of shape \(3, 2\)"):
        table.make(np.zeros(3), np.zeros((3, 2)), np.zeros((2, 3), bool))
    with pytest.raises(errors.DataError, match="not finite"):
        table.make(np.zeros(3), np.full((3, 2), np.inf))


def test_leave_one_out_takes_the_model_out():
    shadow = np.arange(12.0).reshape(3, 4)
    member = np.arange(12).reshape(3, 4) % 2 == 0
    inner, truth = table.leave_one_out(table.make(np.zeros(3), shadow, member), 1)
    assert inner.target.tolist() == [1, 5, 9] and inner.shadow.shape == (3, 3)
    assert truth.tolist() == member[:, 1].tolist()
    assert inner.member.tolist() == member[:, [0, 2, 3]].tolist()


def test_records_without_models_of_a_kind_are_named():
    with pytest.raises(errors.DataError, match="record 1 has 0"):
        table.require(np.array([[True, False], [False, False]]), inside=1, outside=1)


def augmented(seed, records=6, models=6, queries=6):
    """Probabilities under several views of each record; all sizes alike, so that none can hide."""
    rng = np.random.default_rng(seed)
    member = np.tile(np.arange(models) % 2 == 0, (records, 1))
    return table.make(
        rng.random((records, queries)), rng.random((records, models, queries)), member
    )


@pytest.mark.parametrize(
    "attack",
    [
        lira.online,
        lira.offline,
        bavaria.online,
        bavaria.offline,
        thresholds.calibrated,
        thresholds.midpoint,
        lambda scores: rmia.attack(scores, scores._replace(target=scores.target[::-1])),
        lambda scores: rmia.attack(scores, scores, a=None),
    ],
)
def test_every_attack_takes_the_mean_over_queries(attack):
    whole = augmented(0)
    each = [
        attack(table.make(whole.target[:, q], whole.shadow[:, :, q], whole.member))
        for q in range(whole.target.shape[1])
    ]
    found = attack(whole)
    assert found.shape == (6,)
    np.testing.assert_allclose(found, np.mean(each, axis=0))


def test_queries_that_differ_are_refused():
    with pytest.raises(errors.DataError, match="as many queries"):
        rmia.attack(augmented(0), augmented(1, queries=3))
    with pytest.raises(errors.DataError, match="one query"):
        rmia.evidence(augmented(0))


@pytest.mark.parametrize("model", [-1, 4])
def test_a_model_that_there_is_not_attacks_nobody(model):
    """Counted from the end, it would have stayed among its own attackers."""
    scores = table.make(np.zeros(2), np.zeros((2, 4)), np.ones((2, 4), bool))
    with pytest.raises(errors.ConfigError, match=r"shadow models 0\.\.3"):
        table.leave_one_out(scores, model)
