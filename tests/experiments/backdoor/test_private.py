import dataclasses

import numpy as np
import pytest

from experiments.backdoor import private
from privacy.accounting.bound import Adjacency
from privacy.accounting.ledger import Ledger
from privacy.factorization import sensitivity


def test_more_noise_and_fewer_rounds_spend_less():
    usual = private.Private(cohort=10, rounds=60)
    found = private.spent(usual, 1.0)
    assert 18.71 < found.lower <= found.upper < 18.72
    assert private.spent(usual, 2.0).upper < found.lower
    assert private.spent(private.Private(cohort=10, rounds=30), 1.0).upper < found.lower


@pytest.mark.parametrize("cohort", [10, 30])
def test_correlated_noise_keeps_to_the_same_budget_and_no_less(cohort):
    usual = private.Private(cohort=cohort)
    budget = private.spent(usual, 2.0).upper
    found = private.correlated(usual, budget)
    sens = sensitivity.toeplitz(found.coefficients, usual.rounds, 100 // cohort)
    event = sensitivity.event(found.multiplier, sens)
    spent = Ledger(Adjacency.REPLACE).record(event).epsilon(usual.delta)
    assert 0.995 * budget < spent.upper <= budget
    fewer = private.correlated(dataclasses.replace(usual, rounds=10), budget)
    assert fewer.multiplier < found.multiplier
    independent = sensitivity.toeplitz(np.ones(1), usual.rounds, 100 // cohort)
    alone = found.multiplier * independent / sens * np.sqrt((usual.rounds + 1) / 2)
    assert found.noise < 0.75 * alone


@pytest.mark.slow
def test_honest_rounds_go_through_secure_aggregation_uncut():
    (row,) = private.run(private.SMOKE_PRIVATE)
    assert row["recovered"]
    assert row["clipped"] == 0
    assert f"| {row['noise multiplier']:g} | " in private.table([row])
