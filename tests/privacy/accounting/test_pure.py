"""Pure mechanisms against sums over their outcomes and against integrals."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from privacy.accounting import pure, rdp
from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError
from privacy.accounting.events import Gaussian, Laplace, Pure
from privacy.accounting.ledger import Ledger

ADD = Adjacency.ADD_REMOVE


def integral(function, mu):
    """Of a function of x over the line, in pieces between the densities' kinks."""
    pieces = ((-60.0, 0.0), (0.0, mu), (mu, 60.0 + mu))
    return sum(integrate.quad(function, a, b, epsabs=1e-13)[0] for a, b in pieces)


@pytest.mark.parametrize("mu", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9, 1.3])
def test_the_laplace_profile_is_its_integral(mu, share):
    eps = share * mu
    p, q = stats.laplace(mu), stats.laplace(0)
    exact = integral(lambda x: max(p.pdf(x) - math.exp(eps) * q.pdf(x), 0.0), mu)
    low, high = pure.laplace(1 / mu, ADD).forward(np.array([eps]))
    assert low[0] <= exact + 1e-9 and high[0] >= exact - 1e-9
    assert high[0] - low[0] < 1e-13


def test_replacing_a_record_moves_the_sum_twice_as_far():
    eps = np.array([0.3])
    twice = pure.laplace(1.0, Adjacency.REPLACE).forward(eps)
    np.testing.assert_allclose(twice, pure.laplace(0.5, ADD).forward(eps))


@pytest.mark.parametrize("alpha", [1.5, 3.0, 20.0])
def test_renyi_divergences_are_their_integrals(alpha):
    mu = 0.8
    p, q = stats.laplace(mu), stats.laplace(0)
    moment = integral(lambda x: math.exp(alpha * p.logpdf(x) + (1 - alpha) * q.logpdf(x)), mu)
    np.testing.assert_allclose(rdp.laplace(alpha, mu), math.log(moment) / (alpha - 1), rtol=1e-7)
    yes = special.expit(mu)
    moment = yes**alpha * (1 - yes) ** (1 - alpha) + (1 - yes) ** alpha * yes ** (1 - alpha)
    np.testing.assert_allclose(rdp.pure(alpha, mu), math.log(moment) / (alpha - 1), rtol=1e-12)


@pytest.mark.parametrize("rounds", [1, 7, 60])
def test_composed_randomized_response_is_its_binomial_sum(rounds):
    """k answers of `rounds` lie: losses (2k - T) eps0 with binomial weights [Kairouz et al.]."""
    eps0, wanted = 0.3, 1e-5
    k = np.arange(rounds + 1)
    weight = stats.binom(rounds, special.expit(eps0)).pmf(k)
    losses = (2 * k - rounds) * eps0

    def delta(eps):
        return float(np.sum(weight * np.maximum(-np.expm1(eps - losses), 0.0)))

    exact = optimize.brentq(lambda e: delta(e) - wanted, 0, rounds * eps0)
    found = Ledger(ADD).record(Pure(eps0), rounds).epsilon(wanted)
    assert found.lower <= exact + 1e-9 and exact - 1e-9 <= found.upper
    assert found.gap < 1e-6
    spent = Ledger(ADD).record(Pure(eps0), rounds).delta(exact)
    assert spent.lower * (1 - 1e-9) <= delta(exact) <= spent.upper * (1 + 1e-9)


@pytest.mark.parametrize("eps0, rounds, wanted", [(1e-6, 10**6, 1e-10), (1e-4, 10**5, 1e-12)])
def test_many_tiny_rounds_are_their_binomial_sum_too(eps0, rounds, wanted):
    """A grid that is fine enough for one round would be too long for all of them."""
    found = Ledger(ADD).record(Pure(eps0), rounds).epsilon(wanted)
    assert found.gap < 1e-6 and not found.notes
    k = np.arange(rounds // 2, rounds // 2 + int(12 * math.sqrt(rounds)))
    weight = stats.binom(rounds, special.expit(eps0)).pmf(k)
    losses = (2 * k - rounds) * eps0
    delta = lambda eps: float(np.sum(weight * np.maximum(-np.expm1(eps - losses), 0.0)))
    assert delta(found.upper) <= wanted * (1 + 1e-6)
    assert delta(found.lower) >= wanted * (1 - 1e-5)


def test_two_rounds_of_much_loss_are_sharp():
    """Nearly all of the loss is at its end, where a grid was followed only in part."""
    found = Ledger(ADD).record(Pure(30.0), 2).epsilon(1e-5)
    assert 59.9 < found.lower <= found.upper < 60.0


def test_laplace_composes_better_than_what_is_only_known_to_be_pure():
    noisy = Ledger(ADD).record(Laplace(5.0), 50)
    known = Ledger(ADD).record(Pure(0.2), 50)
    assert noisy.epsilon(1e-6).upper < known.epsilon(1e-6).lower
    assert noisy.epsilon(1e-6).upper <= noisy.rdp_epsilon(1e-6)
    assert known.epsilon(1e-6).upper <= known.rdp_epsilon(1e-6)


def test_two_laplace_rounds_are_their_double_integral():
    """The law of the sum of two losses, from a fine grid of quantiles of one."""
    mu, eps = 1.0, 1.1
    levels = (np.arange(4000) + 0.5) / 4000
    x = stats.laplace(mu).ppf(levels)
    loss = np.abs(x) - np.abs(x - mu)
    total = loss[:, None] + loss[None]
    exact = np.mean(np.maximum(-np.expm1(eps - total), 0.0))
    found = Ledger(ADD).record(Laplace(1.0), 2).delta(eps)
    assert found.lower - 1e-4 < exact < found.upper + 1e-4
    assert found.gap < 5e-3


def test_pure_and_gaussian_rounds_mix():
    both = Ledger(ADD).record(Pure(0.1), 10).record(Gaussian(2.0), 5)
    alone = Ledger(ADD).record(Gaussian(2.0), 5).epsilon(1e-5)
    found = both.epsilon(1e-5)
    assert alone.upper < found.lower <= found.upper < alone.upper + 1.0


def test_what_is_no_mechanism_is_refused():
    with pytest.raises(PrivacyError, match="noise_multiplier must be > 0"):
        Laplace(0.0)
    with pytest.raises(PrivacyError, match="eps must be > 0"):
        Pure(-1.0)
