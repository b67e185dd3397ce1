"""Late updates side by side with synchronous rounds: as many of them, in their simulated time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.backdoor import asynchronous
from experiments.backdoor.asynchronous import Arm
from experiments.backdoor.config import SMOKE
from fl_jax.core import rng
from fl_jax.federated.asynchronous import arrivals
from privacy.accounting.bound import Adjacency
from privacy.accounting.events import Gaussian
from privacy.accounting.ledger import Ledger

CHOSEN = dataclasses.replace(
    asynchronous.SMOKE_ASYNCHRONOUS, config=dataclasses.replace(SMOKE, pretrain_rounds=100)
)
KEYS = jnp.stack([jax.random.key(0), jax.random.key(1)])


def test_every_arm_takes_as_many_updates_and_lasts_as_long_as_they_do():
    """M participants deliver M updates in a mean delay; a round waits for its slowest."""
    updates, mean = 400, (2 / np.pi) ** 0.5
    for arm in (Arm(4), Arm(1, 6), Arm(4, 6), Arm(8, 10)):
        assert asynchronous.steps_of(CHOSEN.config, arm) * arm.buffer == updates
        found = asynchronous.duration(CHOSEN, KEYS, arm)
        if arm.concurrency:
            assert found == pytest.approx(updates * mean / arm.concurrency, rel=0.1)
        else:
            slowest = np.abs(np.random.default_rng(0).normal(size=(20_000, 4))).max(axis=1).mean()
            assert found == pytest.approx(100 * slowest, rel=0.05)


@pytest.mark.parametrize("age", [0, 2])
def test_the_attacker_comes_after_the_pretraining_as_old_as_asked(age):
    arm = Arm(4, 6, 0.5)
    late = asynchronous.sampler_of(CHOSEN, arm, KEYS, age)
    own = rng.fold(KEYS[0], "pretrain")
    found = jax.jit(lambda key: arrivals.observe(late.arrivals, key, 101))(own)
    assert np.argwhere(found.cohort.malicious).tolist() == [[100, 0]]
    assert int(found.age[100, 0]) == age < late.versions
    assert int(found.age.max()) < late.versions
    np.testing.assert_allclose(late.discount(jnp.int32(3)), 0.5)


def test_the_tables_have_a_line_a_row():
    found = {"main": [95.0, 1.0], "backdoor": [100.0, None]}
    lines = asynchronous.table(
        {
            "training": [
                {"arm": str(Arm(1, 30, 0.5, True)), "age": 29.04, "oldest": 99, "time": 1234.5}
                | {"halfway": [90.0, 1.0], "end": [95.0, None], "milliseconds": 0.512}
            ],
            "single": [
                {"arm": str(Arm(10)), "defence": "mean", "attacker": "fresh", "norm": 2000.4}
                | {"found": found}
            ],
            "repeated": [
                {"arm": str(Arm(10, 30)), "separation": 5, "attacker": "fast", "share": 8.66}
                | {"age": None, "found": found}
            ],
            "epsilon": [
                {"noise multiplier": 2.0, "late": 1234.51, "separation": 10, "separated": 3.0}
                | {"sampled": 0.12}
            ],
        }
    ).splitlines()
    assert lines[2::4] == [
        "| FedAsync, M = 30, a = 0.5 | 29.0 | 99 | 1,234 | 90.0 ± 1.0 | 95.0 | 0.51 |",
        "| synchronous, 10 a round | mean | fresh | 2,000x | 95.0 ± 1.0 | 100.0 |",
        "| K = 10, M = 30, a = 0 | 5 | fast | 8.7 | - | 95.0 ± 1.0 | 100.0 |",
        "| 2 | 1,234.6 | 10 | 3.0 | 0.2 |",
    ]


def test_epsilon_of_late_updates_is_that_of_gaussians_added_up():
    """P steps of noise z are one of z / sqrt(P)."""
    found = asynchronous.budget(asynchronous.SMALL_ASYNCHRONOUS, 4.0)
    for name, steps in (("late", 120), ("separated", 12)):
        one = Ledger(Adjacency.ADD_REMOVE).record(Gaussian(4 / steps**0.5))
        assert found[name] == pytest.approx(one.epsilon(1e-3).upper, rel=1e-3)


@pytest.mark.slow
def test_a_small_run_whole():
    found = asynchronous.run(asynchronous.SMOKE_ASYNCHRONOUS)
    assert [len(rows) for rows in found.values()] == [2, 3, 2, 4]
    assert [row["age"] > 0 for row in found["training"]] == [False, True]
    _, stale, scaled = found["single"]
    assert scaled["norm"] > 1.3 * stale["norm"]
