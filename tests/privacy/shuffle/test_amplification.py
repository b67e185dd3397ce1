"""The public entry: labels, refusals, inverses, extremes."""

import math

import pytest

from privacy import shuffle
from privacy.accounting.bound import Adjacency, Status
from privacy.accounting.errors import PrivacyError, RegionError, WrongAccountantError
from privacy.accounting.events import Gaussian
from privacy.shuffle import mechanisms
from privacy.shuffle.mechanisms import RandomizedResponse, SubsetSelection
from tests.privacy.shuffle import brute


def test_every_bound_says_what_it_is_worth():
    plain = shuffle.epsilon(1.0, 1000, 1e-6)
    assert plain.status is Status.UNIVERSAL and plain.adjacency is Adjacency.REPLACE
    assert plain.attained <= plain.upper and plain.lower <= plain.upper
    assert shuffle.epsilon(1.0, 1000, 1e-6, bound="stronger").status is Status.CONDITIONAL
    assert shuffle.epsilon(1.0, 1000, 1e-6, bound="conjecture").status is Status.CONJECTURE
    krr = shuffle.epsilon(1.0, 1000, 1e-6, mechanism=RandomizedResponse(4))
    assert krr.status is Status.MECHANISM_EXACT


@pytest.mark.parametrize(
    "call",
    [
        lambda: shuffle.epsilon(0.0, 10, 1e-6),
        lambda: shuffle.epsilon(-1.0, 10, 1e-6),
        lambda: shuffle.epsilon(math.nan, 10, 1e-6),
        lambda: shuffle.epsilon(math.inf, 10, 1e-6),
        lambda: shuffle.epsilon(1.0, 0, 1e-6),
        lambda: shuffle.epsilon(1.0, 2.5, 1e-6),
        lambda: shuffle.epsilon(1.0, 10**14, 1e-6),
        lambda: shuffle.epsilon(1.0, 10, 0.0),
        lambda: shuffle.epsilon(1.0, 10, 1.0),
        lambda: shuffle.epsilon(1.0, 10, 1e-6, bound="tight"),
        lambda: shuffle.epsilon(1.0, 10, 1e-6, missing=10),
        lambda: shuffle.epsilon(1.0, 10, 1e-6, bound="blanket"),
        lambda: shuffle.rdp(1.0, 1.0, 10),
        lambda: shuffle.delta(-0.1, 1.0, 10),
    ],
)
def test_bad_arguments_are_refused(call):
    with pytest.raises(PrivacyError):
        call()


def test_the_wrong_accountant_names_the_right_one():
    with pytest.raises(WrongAccountantError, match="ClippedGaussian"):
        shuffle.epsilon(1.0, 1000, 1e-6, delta0=1e-8)
    with pytest.raises(WrongAccountantError, match="SampledGaussian"):
        shuffle.epsilon(1.0, 1000, 1e-6, shuffling="poisson")
    with pytest.raises(WrongAccountantError, match="minibatches"):
        shuffle.epsilon(1.0, 1000, 1e-6, shuffling="minibatches")
    with pytest.raises(WrongAccountantError, match="ledger"):
        shuffle.epsilon(1.0, 1000, 1e-6, mechanism=Gaussian(1.0))
    with pytest.raises(WrongAccountantError, match="blanket"):
        shuffle.epsilon(1.0, 1000, 1e-6, mechanism=SubsetSelection(5, 2), bound="stronger")


def test_closed_forms_hold_in_their_region_and_raise_outside():
    for name, clone in (("closed-standard", "standard"), ("closed-stronger", "stronger")):
        closed = shuffle.epsilon(4.0, 100_000, 1e-6, bound=name)
        exact = shuffle.epsilon(4.0, 100_000, 1e-6, bound=clone)
        assert closed.upper > exact.upper and closed.lower <= exact.upper
        with pytest.raises(RegionError, match=r"privacy\.shuffle\.epsilon"):
            shuffle.epsilon(8.0, 1000, 1e-6, bound=name)
    # the authors' own tool brackets the standard clone here
    assert 0.1675386 <= shuffle.epsilon(4.0, 100_000, 1e-6).upper <= 0.1727906


@pytest.mark.parametrize("eps0", [1e-6, 0.1, 30.0, 257.0, 490.0, 680.0, 731.0, 744.0, 1000.0])
@pytest.mark.parametrize("n", [1, 2, 1000, 10**12])
@pytest.mark.parametrize("delta", [1e-30, 0.3])
def test_extremes_end_and_are_never_nan(eps0, n, delta):
    for bound in ("standard", "stronger"):
        found = shuffle.epsilon(eps0, n, delta, bound=bound)
        assert 0 <= found.lower <= found.upper <= eps0
        if eps0 > 100:  # there are no clones: delta(eps) is 1 - e^(eps - eps0) of one report
            alone = eps0 + math.log1p(-delta)
            assert found.lower * (1 - 1e-12) <= alone <= found.upper * (1 + 1e-12)
            assert found.gap <= 1e-3
    for mechanism in (RandomizedResponse(4), mechanisms.UnaryEncoding(10)):
        found = shuffle.epsilon(eps0, n, delta, mechanism=mechanism, rtol=0.1)
        assert 0 <= found.lower <= found.upper <= eps0
        assert found.attained <= found.upper


def test_eps_is_exactly_zero_above_total_variation():
    total = shuffle.delta(0.0, 1.0, 1000)
    assert shuffle.epsilon(1.0, 1000, total.upper * 1.001).upper == 0.0
    assert shuffle.epsilon(1.0, 1000, total.lower * 0.99).upper > 0.0


def test_no_known_mechanism_beats_a_guarantee():
    """Enumerated losses of shuffled k-RR stay below every bound that covers it."""
    n, eps0 = 4, 1.5
    for k in (2, 3, 4):
        matrix = RandomizedResponse(k).matrix(eps0)
        for share in (0.2, 0.6):
            eps = share * eps0
            true = brute.worst_delta(matrix, n, eps)
            for options in ({}, {"bound": "stronger"}, {"mechanism": RandomizedResponse(k)}):
                assert shuffle.delta(eps, eps0, n, **options).upper >= true * (1 - 1e-12)


def test_inverses_return_the_safe_end():
    found = shuffle.local_epsilon(0.5, 10_000, 1e-6)
    assert shuffle.epsilon(found.lower, 10_000, 1e-6, rtol=5e-4).upper <= 0.5
    assert shuffle.epsilon(found.upper * 1.01, 10_000, 1e-6).lower > 0.5
    found = shuffle.clients(0.5, 4.0, 1e-6)
    assert shuffle.epsilon(4.0, int(found.upper), 1e-6, rtol=5e-4).upper <= 0.5
    assert shuffle.epsilon(4.0, int(found.lower) - 1 or 1, 1e-6).upper > 0.5 * (1 - 2e-3)
    lost = shuffle.clients(0.5, 4.0, 1e-6, missing=7)
    assert lost.upper == found.upper + 7
    assert shuffle.epsilon(4.0, int(lost.upper), 1e-6, missing=7, rtol=5e-4).upper <= 0.5
    with pytest.raises(WrongAccountantError, match="SampledGaussian"):
        shuffle.local_epsilon(0.5, 10_000, 1e-6, shuffling="poisson")
    with pytest.raises(PrivacyError, match="not even"):
        shuffle.clients(1e-9, 4.0, 1e-6)


def test_the_most_users_are_tried_too():
    enough = int(shuffle.clients(1.0, 2.0, 1e-6).upper)
    assert enough < 512  # the search goes on from 64
    assert shuffle.clients(1.0, 2.0, 1e-6, most=500).upper == pytest.approx(enough, rel=2e-3)
    assert shuffle.clients(1.0, 2.0, 1e-6, most=enough).upper <= enough
    with pytest.raises(PrivacyError, match=f"not even {enough // 2} users"):
        shuffle.clients(1.0, 2.0, 1e-6, most=enough // 2)


def test_inverses_of_closed_forms_stay_in_their_region():
    bound = "closed-standard"
    found = shuffle.local_epsilon(0.5, 100_000, 1e-6, bound=bound)
    assert shuffle.epsilon(found.lower, 100_000, 1e-6, bound=bound).upper <= 0.5
    assert shuffle.epsilon(found.lower * 1.01, 100_000, 1e-6, bound=bound).upper > 0.5
    assert found.upper > shuffle.local_epsilon(0.5, 100_000, 1e-6).lower
    found = shuffle.clients(0.5, 4.0, 1e-6, bound=bound)
    assert shuffle.epsilon(4.0, int(found.upper), 1e-6, bound=bound).upper <= 0.5
    assert found.lower <= shuffle.clients(0.5, 4.0, 1e-6).upper < found.upper
    with pytest.raises(RegionError, match="at no eps0"):
        shuffle.local_epsilon(0.5, 100, 1e-6, bound=bound)


@pytest.mark.parametrize(
    "mechanism",
    [
        mechanisms.RandomizedResponse(10),
        mechanisms.SubsetSelection(10, 3),
        mechanisms.UnaryEncoding(10),
        mechanisms.Rappor(10),
        mechanisms.HadamardResponse(10),
        mechanisms.LocalHashing(8),
        mechanisms.PrivUnit(50),
    ],
)
def test_mechanisms_lie_between_attained_and_universal(mechanism):
    found = shuffle.epsilon(1.0, 100_000, 1e-6, mechanism=mechanism)
    universal = shuffle.epsilon(1.0, 100_000, 1e-6)
    assert found.attained <= found.upper <= universal.upper * 1.0001
    assert found.upper <= found.attained * 1.35


def test_importing_the_bounds_imports_no_jax():
    import subprocess
    import sys

    code = "import privacy.shuffle, privacy.accounting.ledger, sys; assert 'jax' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
