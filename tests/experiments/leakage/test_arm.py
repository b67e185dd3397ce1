import dataclasses

import numpy as np
import pytest

from experiments.leakage import arm, task
from fl_jax.core import roc
from privacy.leakage import classifiers

SMALL = arm.Arm(
    rounds=60, batch=8, rate=0.1, warm=10, period=2, hidden=8, dispatch=30, method="patches"
)


@pytest.fixture(scope="module")
def table():
    """Drawn records whose property shows in one entry and not in the label."""
    draw = np.random.default_rng(0)
    holds = draw.random(800) < 0.3
    x = draw.normal(size=(800, 6)) + 2 * holds[:, None] * np.eye(6)[0]
    y = (x[:, 1] > 0).astype(np.int32)
    return task.Task(x.astype(np.float32), y, holds, 2, "", "", 0.0, "drawn")


@pytest.fixture(scope="module")
def made():
    """The programs of the tests, shared."""
    return {}


def test_a_run_records_what_the_adversary_needs(table, made):
    record = arm.run(SMALL, table, 0, made)
    assert record.observed.shape[0] == 60
    assert record.auxiliary.shape[0] == len(record.labels) == 25 * 16
    assert record.labels[:16].tolist() == [1] * 8 + [0] * 8
    np.testing.assert_allclose(record.shares[:6], [1, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(np.linalg.norm(record.observed, axis=1), 1, rtol=1e-5)
    score = classifiers.mlp(steps=300).fit(record.auxiliary, record.labels)(record.observed[10:])
    assert roc.area(score, record.shares[10:] > 0) > 0.9
    again = arm.run(SMALL, table, 0, made)
    np.testing.assert_array_equal(again.auxiliary, record.auxiliary)
    assert len(made) == 1
    assert arm.run(SMALL, table, 1, made).accuracy > 0.6
    assert len(made) == 1  # another seed compiles nothing


def test_the_record_to_find_is_in_the_batch_or_not(table, made):
    one = dataclasses.replace(SMALL, record=True, schedule=("every", 2, 1 / 8), rounds=30)
    record = arm.run(one, table, 0, made)
    np.testing.assert_allclose(record.shares[:4], [1 / 8, 0, 1 / 8, 0])
    assert len(made) == 1  # it is a matter of what is drawn


def test_defences_and_threat_models_reach_the_rounds(table):
    """Three participants, a tenth of the updates shared, the sum seen under encryption."""
    arms = dataclasses.replace(
        SMALL,
        participants=3,
        rounds=30,
        pool=0,
        share="largest",
        portion=0.1,
        view="secure aggregation",
    )
    record = arm.run(arms, table, 0)
    assert record.auxiliary.shape[0] == 10 * 16
    # Each sends 4 of the 48 + 8 entries of the hidden layer at most; the biases are not features.
    assert 0 < (record.observed > 0).sum(axis=1).max() <= 3 * 7
