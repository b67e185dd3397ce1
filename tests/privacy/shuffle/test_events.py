"""Shuffled rounds in a ledger."""

import dataclasses
import math

import numpy as np
import pytest

from privacy import shuffle
from privacy.accounting import binomial, gaussian
from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError, WrongAccountantError
from privacy.accounting.ledger import Ledger
from privacy.shuffle.events import GaussianReports, SampledShuffledReports, ShuffledReports
from privacy.shuffle.mechanisms import RandomizedResponse
from tests.privacy.shuffle import brute


def test_missing_reports_do_not_count_and_renyi_is_the_pairs():
    some = ShuffledReports(1.0, 1000, missing=100).profiles(Adjacency.REPLACE)[0].scale()
    less = ShuffledReports(1.0, 900).profiles(Adjacency.REPLACE)[0].scale()
    assert some == pytest.approx(less, rel=1e-9)
    assert ShuffledReports(1.0, 1000).rdp(2.0, Adjacency.REPLACE).upper < 0.0024
    with pytest.raises(PrivacyError):
        ShuffledReports(1.0, 10, missing=10)


def test_a_closed_form_is_no_event():
    """It would otherwise be taken for the stronger pair under a universal label."""
    for name in ("closed-standard", "closed-stronger"):
        with pytest.raises(PrivacyError, match="no privacy profile"):
            ShuffledReports(1.0, 1000, bound=name)


def test_gaussian_reports_are_accounted_locally_and_say_so():
    ledger = Ledger(Adjacency.REPLACE).record(GaussianReports(24.0, 2.0), 10)
    found = ledger.epsilon(1e-5)
    mu = 10**0.5 * 2 * 2.0 / 24.0  # ten releases of one report, replaced at distance 2 radius
    assert gaussian.delta(found.lower, mu) >= 1e-5 * (1 - 1e-9)
    assert gaussian.delta(found.upper, mu) <= 1e-5 * (1 + 1e-9)
    assert found.notes == ("no amplification: the local guarantee",)
    assert ledger.rdp_epsilon(1e-5) > found.upper
    with pytest.raises(WrongAccountantError, match="replace-one"):
        Ledger(Adjacency.ADD_REMOVE).record(GaussianReports(1.0)).epsilon(1e-5)


def _hidden(eps0, honest, eps, users):
    """delta of a round with this many honest reports, a uniform subset of `users`."""
    shifted = math.log1p(math.expm1(eps) * users / honest)
    p, q = brute.pair(eps0, honest, math.exp(-eps0))
    return honest / users * brute.delta(p, q, shifted)


@pytest.mark.parametrize("cohort, missing", [(4, 0), (4, 1), (4, 3), (4, 5), (2, 6)])
def test_colluders_know_who_of_them_was_drawn(cohort, missing):
    """Whatever number of them is in the cohort, the bound covers what is left; also if all are."""
    eps0, population = 1.5, 8
    event = SampledShuffledReports(eps0, population, cohort, missing=missing)
    curve = event.profiles(Adjacency.REPLACE)[0].forward
    users = population - missing
    for eps in (0.0, 0.2, 0.7):
        drawn = range(max(0, cohort - users), min(missing, cohort - 1) + 1)
        worst = max(_hidden(eps0, cohort - k, eps, users) for k in drawn)
        assert worst <= float(curve(np.array([eps]))[1][0]) * (1 + 1e-12)
        seen = dataclasses.replace(event, sampling="visible").profiles(Adjacency.REPLACE)[0]
        p, q = brute.pair(eps0, max(cohort - missing, 1), math.exp(-eps0))
        exact = cohort / population * brute.delta(p, q, eps)
        assert float(seen.forward(np.array([eps]))[1][0]) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("mechanism", [None, RandomizedResponse(3)])
def test_check_in_is_the_mean_over_counts(mechanism):
    event = SampledShuffledReports(1.0, 60, 20, "check-in", mechanism, missing=10)
    low, high = event.profiles(Adjacency.REPLACE)[0].forward(np.array([0.02]))
    weights = np.exp(binomial.log_pmf(np.arange(51), binomial.Binomial(50.0, 1 / 3, 2 / 3)))
    total = 0.0
    for m in range(1, 51):
        eps = math.log1p(math.expm1(0.02) * 50 / m)
        found = shuffle.delta(eps, 1.0, m, mechanism=mechanism)
        total += float(weights[m]) * m / 50 * found.upper
    assert low[0] <= total * (1 + 1e-4) and total <= high[0] * (1 + 1e-4)
    assert high[0] <= low[0] * (1.001 if mechanism is None else 1.05)


def test_sampled_rounds_have_renyi_divergences():
    """Hidden: below the whole round's and above the sampled profile's own eps; visible: exact."""
    for kind in ("fixed", "check-in"):
        event = SampledShuffledReports(1.0, 2000, 200, kind)
        ledger = Ledger(Adjacency.REPLACE).record(event, 5)
        direct = ledger.epsilon(1e-6)
        assert direct.upper <= ledger.rdp_epsilon(1e-6) <= 1.2 * direct.upper
        found = event.rdp(3.0, Adjacency.REPLACE)
        assert found.gap < 1e-2 and found.quantity == "rdp"
        # small sampling rates count with their square
        whole = ShuffledReports(1.0, 200).rdp(3.0, Adjacency.REPLACE)
        assert found.upper == pytest.approx(whole.upper / 100, rel=0.15)
    seen = SampledShuffledReports(1.0, 2000, 200, "visible").rdp(3.0, Adjacency.REPLACE)
    whole = ShuffledReports(1.0, 200).rdp(3.0, Adjacency.REPLACE)
    assert seen.upper == pytest.approx(math.log1p(0.1 * math.expm1(2 * whole.upper)) / 2, rel=1e-9)
    everyone = SampledShuffledReports(1.0, 200, 200).rdp(8.0, Adjacency.REPLACE)
    whole = ShuffledReports(1.0, 200).rdp(8.0, Adjacency.REPLACE)
    assert everyone.lower <= whole.upper and whole.lower <= everyone.upper


def test_a_mechanisms_renyi_divergence_is_its_own():
    """Below the universal one, above its leading term, and exact where the law is known."""
    universal = ShuffledReports(1.0, 2000).rdp(4.0, Adjacency.REPLACE)
    found = ShuffledReports(1.0, 2000, RandomizedResponse(10)).rdp(4.0, Adjacency.REPLACE)
    leading = 4 * math.expm1(1.0) ** 2 / ((math.e + 9) * 2000)
    assert found.upper < universal.lower and found.upper == pytest.approx(leading, rel=0.03)
    # two symbols: the blanket is the stronger pair
    pair_ = shuffle.rdp(4.0, 1.0, 2000, bound="stronger")
    found = ShuffledReports(1.0, 2000, RandomizedResponse(2)).rdp(4.0, Adjacency.REPLACE)
    assert found.lower <= pair_.upper and pair_.lower <= found.upper <= found.lower * 1.02
