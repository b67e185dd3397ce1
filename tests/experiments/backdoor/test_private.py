import pytest

from experiments.backdoor import private


def test_more_noise_and_fewer_rounds_spend_less():
    usual = private.Private(cohort=10, rounds=60)
    found = private.spent(usual, 1.0)
    assert 18.71 < found.lower <= found.upper < 18.72
    assert private.spent(usual, 2.0).upper < found.lower
    assert private.spent(private.Private(cohort=10, rounds=30), 1.0).upper < found.lower


@pytest.mark.slow
def test_honest_rounds_go_through_secure_aggregation_uncut():
    (row,) = private.run(private.SMOKE_PRIVATE)
    assert row["recovered"]
    assert row["clipped"] == 0
    assert f"| {row['noise multiplier']:g} | " in private.table([row])
