"""The worst bystanders of randomized response: against enumeration, and close on both sides."""

import math

import pytest

from privacy import shuffle
from privacy.accounting.bound import Status
from privacy.accounting.errors import PrivacyError, WrongAccountantError
from privacy.shuffle import worst
from privacy.shuffle.events import ShuffledReports
from privacy.shuffle.mechanisms import RandomizedResponse, Rappor
from privacy.shuffle.worst import Bystanders, Response
from tests.privacy.shuffle import brute


@pytest.mark.parametrize(
    "k, n, eps0", [(2, 9, 1.0), (2, 4, 3.0), (3, 7, 1.0), (3, 5, 3.0), (4, 5, 1.5)]
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_true_loss_lies_between_the_ends(k, n, eps0, share):
    eps = share * eps0
    true = brute.worst_delta(RandomizedResponse(k).matrix(eps0), n, eps)
    found = shuffle.delta(eps, eps0, n, mechanism=RandomizedResponse(k), bound="exact")
    assert found.lower * (1 - 1e-9) <= true <= found.upper * (1 + 1e-9)
    assert found.upper <= 1.05 * true
    if 1e-9 < true < 0.9:
        found = shuffle.epsilon(eps0, n, true, mechanism=RandomizedResponse(k), bound="exact")
        assert found.lower * (1 - 1e-5) <= eps <= found.upper * (1 + 1e-9)
        assert found.upper <= 1.005 * eps


def test_every_data_set_is_covered_once():
    for response in (Response(2, 1.0, 41), Response(3, 1.0, 23)):
        met = []

        def value(others, response=response, met=met):
            missing = response.n - 1 - sum(others)
            met.append(others) if missing == 0 else None
            return 1e-3 if missing else 1e-7

        assert worst.uncovered(response, value, 1e-6) is None
        assert len(met) == len(set(met))
        assert len(met) == (41 if response.k == 2 else 23 * 24 // 2)


def test_the_one_bad_data_set_is_found():
    response, bad = Response(3, 1.0, 30), Bystanders(4, 2, 23)
    below = lambda others: all(a <= b for a, b in zip(others, bad, strict=True))
    assert worst.uncovered(response, lambda o: 1.0 if below(o) else 0.0, 1e-6) == bad


def test_without_work_the_bound_stays_as_it_was():
    response = Response(4, 1.0, 86)
    assert worst.epsilon(response, 1e-6, 0.3, 0.4, 1e-3, work=1e6) == (0.3, 0.4)
    some = worst.epsilon(response, 1e-6, 0.3, 0.4, 1e-3, work=1e9)
    assert 0.3 < some.lower < some.upper == 0.4
    budget = worst.Budget(10.0)
    budget.pay(9.0)
    with pytest.raises(PrivacyError, match="more work"):
        budget.pay(2.0)


def test_a_few_holders_of_the_second_symbol_are_tried_first():
    response, met = Response(4, 1.0, 60), []
    value = lambda others: met.append(others) or (0.0 if others.twos >= worst.FEW else 1.0)
    assert worst.uncovered(response, value, 1e-6) is not None
    assert all(others.twos <= worst.FEW for others in met)
    everything = Bystanders(1, 30, 5)
    assert response.shown(everything) == [Bystanders(1, worst.FEW, 5), everything]
    assert Response(3, 1.0, 60).shown(everything) == [everything]


@pytest.mark.parametrize(
    "k, eps0, delta",
    [
        (2, 0.1, 1e-8),
        (2, 1.0, 1e-6),
        (2, 4.0, 1e-6),
        (3, 1.0, 1e-6),
        (3, 2.0, 1e-10),
        (3, 4.0, 1e-9),
        (3, 6.0, 1e-12),
    ],
)
@pytest.mark.parametrize("times", [15, 100, 10**5])
def test_the_sandwich_is_within_half_a_percent(k, eps0, delta, times):
    n = math.ceil(times * (math.exp(eps0) + k - 1))
    found = shuffle.epsilon(eps0, n, delta, mechanism=RandomizedResponse(k))
    assert 0 < found.attained <= found.upper <= 1.005 * found.attained
    assert found.status is Status.MECHANISM_EXACT


@pytest.mark.slow
@pytest.mark.parametrize(
    "k, eps0, n, delta",
    [
        (4, 1.0, 86, 1e-9),
        (5, 2.0, 342, 2.4e-8),
        (20, 3.0, 587, 1e-9),
        (4, 4.0, 870, 1e-9),
        (5, 6.0, 6200, 1e-10),
        (10, 4.0, 955, 1e-12),
        (4, 1.0, 86, 1e-15),
        (3, 2.0, 939, 1e-30),
        (3, 1.0, 472, 1e-15),
    ],
)
def test_the_sandwich_of_many_symbols_when_asked_for(k, eps0, n, delta):
    found = shuffle.epsilon(eps0, n, delta, mechanism=RandomizedResponse(k), bound="exact")
    assert 0 < found.attained <= found.upper <= 1.005 * found.attained


def test_bystanders_with_both_symbols_leave_nothing():
    """Where the blanket still shows a loss, two symbols may show none at all."""
    blanket = shuffle.epsilon(1.0, 10**12, 4.5e-7, mechanism=RandomizedResponse(2), bound="blanket")
    exact = shuffle.epsilon(1.0, 10**12, 4.5e-7, mechanism=RandomizedResponse(2))
    assert blanket.upper > 0 and exact.upper == 0.0


def test_it_is_about_randomized_response_and_one_round():
    with pytest.raises(WrongAccountantError, match="RandomizedResponse"):
        shuffle.epsilon(1.0, 100, 1e-6, mechanism=Rappor(3), bound="exact")
    with pytest.raises(WrongAccountantError, match="RandomizedResponse"):
        shuffle.epsilon(1.0, 100, 1e-6, bound="exact")
    with pytest.raises(PrivacyError, match="blanket"):
        ShuffledReports(1.0, 100, RandomizedResponse(3), "exact")
