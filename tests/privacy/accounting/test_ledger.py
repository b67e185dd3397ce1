"""The ledger, its events, sampling, calibration and what it refuses."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import optimize, special, stats

from privacy.accounting import calibrate, gaussian, interop, pld, rdp
from privacy.accounting.bound import Adjacency, Status
from privacy.accounting.errors import PrivacyError, WrongAccountantError
from privacy.accounting.events import Gaussian, Pure, SampledGaussian
from privacy.accounting.ledger import Ledger
from privacy.shuffle.events import SampledShuffledReports, ShuffledReports
from privacy.shuffle.mechanisms import RandomizedResponse


def test_adjacencies_are_kept_apart():
    event = ShuffledReports(1.0, 1000)
    with pytest.raises(WrongAccountantError, match="replace-one"):
        Ledger(Adjacency.ADD_REMOVE).record(event).epsilon(1e-6)
    removed = Ledger(Adjacency.ADD_REMOVE).record(Gaussian(5.0), 3).epsilon(1e-5)
    replaced = Ledger(Adjacency.REPLACE).record(Gaussian(5.0), 3).epsilon(1e-5)
    assert replaced.lower > 1.8 * removed.upper
    fixed = SampledGaussian(1.0, 0.1, "fixed")
    with pytest.raises(PrivacyError, match="add-or-remove"):
        Ledger(Adjacency.ADD_REMOVE).record(fixed).epsilon(1e-5)


def test_sampled_gaussian_lies_between_its_pld_and_renyi_values():
    ledger = Ledger(Adjacency.ADD_REMOVE).record(SampledGaussian(1.0, 0.01), 1000)
    found = ledger.epsilon(1e-5)
    assert found.gap <= 1e-3
    assert 1.8 < found.lower <= found.upper < 1.85
    assert ledger.rdp_epsilon(1e-5, 1 + np.geomspace(1, 60, 20)) > found.upper


# eps of an independent loss distribution on a fine uniform grid, rounded down and up; delta = 1e-6
@pytest.mark.parametrize(
    "noise, rate, rounds, low, high",
    [
        (0.5, 1e-4, 100, 0.5380, 0.5481),
        (0.6, 1e-4, 1000, 0.2542, 0.2743),
        (0.7, 1e-4, 1000, 0.0666, 0.0867),
    ],
)
def test_rare_participation_is_as_sharp_as_any(noise, rate, rounds, low, high):
    event = SampledGaussian(noise, rate)
    found = Ledger(Adjacency.ADD_REMOVE).record(event, rounds).epsilon(1e-6)
    assert low <= found.upper and found.lower <= high and found.gap <= 1e-3 and not found.notes


def test_a_cohort_that_is_seldom_seen_is_sharp_too():
    event = SampledShuffledReports(2.0, 10**6, 100, "visible")
    assert Ledger(Adjacency.REPLACE).record(event, 3).epsilon(1e-6).gap <= 1e-3


class Loose:
    """A Gaussian whose upper curve is another's: its loss distributions leave a wide bracket."""

    def profiles(self, adjacency, tail=1e-16):
        low, high = (gaussian.profile(s, adjacency).forward for s in (10.0, 5.0))
        return [
            dataclasses.replace(
                gaussian.profile(5.0, adjacency), forward=lambda eps: (low(eps)[0], high(eps)[1])
            )
        ]


class LooseRenyi(Loose):
    def rdp(self, alpha, adjacency):
        return rdp.gaussian(alpha, gaussian.sensitivity(adjacency) / 10.0)


def test_a_wide_bracket_says_so_and_renyi_may_be_smaller():
    alone = Ledger(Adjacency.ADD_REMOVE).record(Loose(), 20).epsilon(1e-6)
    assert alone.gap > 0.5 and "wider than 0.001" in alone.notes[-1]
    ledger = Ledger(Adjacency.ADD_REMOVE).record(LooseRenyi(), 20)
    found = ledger.epsilon(1e-6)
    assert found.upper < alone.upper and "Renyi" in found.notes[0]
    assert found.upper == pytest.approx(ledger.rdp_epsilon(1e-6), rel=1e-6)
    exact = Ledger(Adjacency.ADD_REMOVE).record(Gaussian(10.0), 20).epsilon(1e-6)
    assert found.lower <= exact.upper <= found.upper


def test_an_adjacency_is_one_of_the_two():
    named = Ledger("replace-one").record(Gaussian(5.0), 3)
    assert named.adjacency is Adjacency.REPLACE
    assert named.epsilon(1e-5).upper == pytest.approx(
        Ledger(Adjacency.REPLACE).record(Gaussian(5.0), 3).epsilon(1e-5).upper
    )
    with pytest.raises(PrivacyError, match="replace-one, add-or-remove-one"):
        Ledger("replace")


def test_the_sum_of_pure_losses_is_rounded_up():
    for eps0, rounds in ((0.01, 3), (1e-6, 10), (0.01, 200)):
        found = Ledger(Adjacency.REPLACE).record(ShuffledReports(eps0, 1), rounds).epsilon(1e-100)
        assert Fraction(found.upper) >= rounds * Fraction(eps0)


def test_a_delta_below_what_doubles_can_say_is_refused():
    with pytest.raises(PrivacyError, match="1e-270"):
        Ledger(Adjacency.ADD_REMOVE).record(Gaussian(1.0), 2).epsilon(5e-324)


def test_status_of_a_ledger_is_its_weakest():
    ledger = (
        Ledger(Adjacency.REPLACE)
        .record(Gaussian(50.0))
        .record(ShuffledReports(0.5, 100_000, bound="stronger"))
    )
    assert ledger.epsilon(1e-5).status is Status.CONDITIONAL
    krr = Ledger(Adjacency.REPLACE).record(ShuffledReports(1.0, 10_000, RandomizedResponse(5)))
    assert krr.epsilon(1e-6).status is Status.MECHANISM_EXACT
    assert krr.epsilon(1e-6).upper < 0.043  # below the pair that covers every randomizer with (*)


def test_one_round_is_the_direct_bound_and_pure_composition_caps():
    from privacy import shuffle

    one = Ledger(Adjacency.REPLACE).record(ShuffledReports(1.0, 1000)).epsilon(1e-6)
    direct = shuffle.epsilon(1.0, 1000, 1e-6)
    assert one.lower <= direct.upper and direct.lower <= one.upper
    few = Ledger(Adjacency.REPLACE).record(ShuffledReports(2.0, 2), 3).epsilon(1e-9)
    assert few.upper <= 6.0
    assert Ledger(Adjacency.REPLACE).epsilon(1e-6).upper == 0.0


def test_hiding_who_takes_part_is_worth_more_than_being_spared():
    values = {}
    for sampling in ("fixed", "check-in", "visible"):
        event = SampledShuffledReports(1.0, 5_000, 2_500, sampling)
        values[sampling] = Ledger(Adjacency.REPLACE).record(event).epsilon(1e-6)
    assert values["fixed"].upper < values["visible"].lower
    assert values["check-in"].upper == pytest.approx(values["fixed"].upper, rel=0.05)
    whole = SampledShuffledReports(1.0, 5_000, 5_000, "fixed")
    same = Ledger(Adjacency.REPLACE).record(whole).epsilon(1e-6)
    direct = Ledger(Adjacency.REPLACE).record(ShuffledReports(1.0, 5_000)).epsilon(1e-6)
    assert same.upper == pytest.approx(direct.upper, rel=2e-3)


def test_fixed_size_sampling_is_the_theorem():
    profile = gaussian.profile(1.0, Adjacency.REPLACE)
    event = SampledGaussian(1.0, 0.25, "fixed").profiles(Adjacency.REPLACE)[0]
    eps = np.array([0.3])
    shifted = np.log1p(np.expm1(eps) / 0.25)
    np.testing.assert_allclose(event.forward(eps)[1], 0.25 * profile.forward(shifted)[1])


@pytest.mark.parametrize("eps", [0.3, 2.0])
def test_calibration_returns_the_safe_end(eps):
    make = lambda s: Ledger(Adjacency.ADD_REMOVE).record(Gaussian(s), 10)
    value, bound = calibrate.calibrate(make, eps, 1e-6, 0.5, 200.0, grows=False)
    assert bound.upper <= eps
    assert float(gaussian.delta(eps, math.sqrt(10) / value)) <= 1e-6
    assert float(gaussian.delta(eps, math.sqrt(10) / (value * 0.99))) > 1e-6
    with pytest.raises(PrivacyError, match="budget"):
        calibrate.calibrate(make, eps, 1e-6, 0.5, 0.6, grows=False)
    rounds = lambda e: Ledger(Adjacency.REPLACE).record(ShuffledReports(e, 10_000), 5)
    value, bound = calibrate.calibrate(rounds, eps, 1e-6, 0.01, 8.0, grows=True, rtol=1e-2)
    assert bound.upper <= eps and rounds(value * 1.03).epsilon(1e-6).upper > eps


def test_a_million_rounds_of_randomized_response_are_near_the_truth():
    rounds, eps0, target = 1_000_000, 1e-3, 1e-10
    found = Ledger(Adjacency.REPLACE).record(Pure(eps0), rounds).epsilon(target)
    loss = eps0 * (2 * np.arange(rounds + 1) - rounds)  # of so many answers that are true
    mass = stats.binom.pmf(np.arange(rounds + 1), rounds, special.expit(eps0))
    delta = lambda eps: float(mass @ -np.expm1(np.minimum(eps - loss, 0.0)))
    truth = optimize.brentq(lambda eps: math.log(delta(eps) / target), 1, 20)
    assert found.lower * (1 - 1e-7) <= truth <= found.upper * (1 + 1e-7) and found.gap < 1e-6


def test_renyi_conversion_both_ways():
    mu = 0.4
    curve = lambda alpha: rdp.gaussian(alpha, mu)
    eps, _ = rdp.epsilon(curve, 1e-6)
    delta, _ = rdp.delta(curve, eps)
    assert delta == pytest.approx(1e-6, rel=1e-3)
    assert float(gaussian.delta(eps, mu)) <= 1e-6


def test_export_and_load_are_inverse():
    made = pld.from_profile(gaussian.profile(2.0, Adjacency.ADD_REMOVE), 0.05)[1]

    class Dense:
        def __init__(self, discretization, lower_loss, probs, infinity_mass, pessimistic_estimate):
            self._discretization, self._lower_loss = discretization, lower_loss
            self._probs, self._infinity_mass = probs, infinity_mass
            self._pessimistic_estimate = pessimistic_estimate

    back = interop.load(Dense(**interop.export(made)))
    assert back.step == made.step and back.start == made.start
    np.testing.assert_array_equal(back.probs, made.probs)
    with pytest.raises(PrivacyError, match="dp_accounting"):
        interop.load(3)


def test_bad_events_are_refused():
    for call in (
        lambda: Gaussian(0.0),
        lambda: SampledGaussian(1.0, 1.5),
        lambda: SampledGaussian(1.0, 0.1, "shuffled"),
        lambda: SampledShuffledReports(1.0, 10, 20),
        lambda: Ledger(Adjacency.REPLACE).record(3),
        lambda: Ledger(Adjacency.REPLACE).record(Gaussian(1.0), 0),
    ):
        with pytest.raises(Exception) as caught:
            call()
        assert (
            isinstance(caught.value, PrivacyError) or "check" in type(caught.value).__name__.lower()
        )


def _judge(script, *arguments):
    """What dp_accounting says, in an environment of its own."""
    import json
    import subprocess

    from experiments.bench import peers

    command = [peers.python("dp_accounting"), "-W", "ignore", peers.HERE / script]
    done = subprocess.run(
        [*command, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.oracle
@pytest.mark.parametrize("noise, rate, rounds", [(5.0, 1.0, 20), (1.0, 0.01, 500), (0.8, 0.1, 50)])
@pytest.mark.parametrize("neighbours", ["add", "replace"])
def test_dp_accounting_agrees_on_the_gaussian(noise, rate, rounds, neighbours):
    if neighbours == "replace" and rate < 1:
        return  # it offers Poisson sampling for add-or-remove neighbours alone
    adjacency = Adjacency.REPLACE if neighbours == "replace" else Adjacency.ADD_REMOVE
    event = Gaussian(noise) if rate == 1 else SampledGaussian(noise, rate)
    ledger = Ledger(adjacency).record(event, rounds)
    ours = ledger.epsilon(1e-6)
    theirs = _judge("dp_accounting_gaussian.py", noise, rate, rounds, 1e-6, neighbours)
    assert ours.lower <= theirs["upper"] and theirs["lower"] <= ours.upper
    assert ours.upper <= theirs["upper"] * (1 + 1e-3)
    if "rdp" in theirs:
        assert ledger.rdp_epsilon(1e-6) <= theirs["rdp"] * (1 + 1e-6)  # real orders, finer


@pytest.mark.oracle
@pytest.mark.parametrize("rounds", [1, 30])
def test_dp_accounting_agrees_on_the_shuffled_pair(rounds):
    from privacy.shuffle import pair

    event = ShuffledReports(1.0, 1000, bound="stronger")
    ours = Ledger(Adjacency.REPLACE).record(event, rounds).epsilon(1e-6)
    rate = pair.stronger(1.0, 1000).rate
    theirs = _judge("dp_accounting_pair.py", 1.0, 1000, rate, rounds, 1e-6, 1e-4)
    assert ours.lower <= theirs["upper"] and theirs["lower"] <= ours.upper
