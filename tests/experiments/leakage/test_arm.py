import dataclasses

import numpy as np
import pytest

from experiments.leakage import arm, task
from privacy.leakage import classifiers, scores

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


def test_a_run_records_what_the_adversary_needs(table):
    made = {}
    record = arm.run(SMALL, table, 0, made)
    assert record.observed.shape[0] == 60
    assert record.auxiliary.shape[0] == len(record.labels) == 25 * 16
    assert record.labels[:16].tolist() == [1] * 8 + [0] * 8
    np.testing.assert_allclose(record.shares[:6], [1, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(np.linalg.norm(record.observed, axis=1), 1, rtol=1e-5)
    score = classifiers.mlp(steps=300).fit(record.auxiliary, record.labels)(record.observed[10:])
    assert scores.auc(score, record.shares[10:] > 0) > 0.9
    again = arm.run(SMALL, table, 0, made)
    np.testing.assert_array_equal(again.auxiliary, record.auxiliary)
    assert len(made) == 1
    assert arm.run(SMALL, table, 1, made).accuracy > 0.6
    assert len(made) == 1  # another seed compiles nothing


def test_the_record_to_find_is_in_the_batch_or_not(table):
    one = dataclasses.replace(SMALL, record=True, schedule=("every", 2, 1 / 8), rounds=30)
    record = arm.run(one, table, 0)
    np.testing.assert_allclose(record.shares[:4], [1 / 8, 0, 1 / 8, 0])
