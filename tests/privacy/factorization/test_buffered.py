import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.factorization import buffered, sensitivity, toeplitz, workload
from tests.privacy.factorization import brute

DRAW = np.random.default_rng(0)
WORKLOADS = {
    "prefix": workload.momentum(60),
    "momentum": workload.momentum(60, 0.9),
    "cooldown": workload.scheduled(np.linspace(1, 0, 60), 0.5),
}


def draw(buffers):
    weights = DRAW.dirichlet(np.ones(buffers + 1))[:buffers]
    return buffered.Buffers(weights, DRAW.uniform(size=buffers))


@pytest.mark.parametrize("buffers", [1, 2, 4])
def test_coefficients_are_those_of_a_linear_system_with_that_many_states(buffers):
    weights, decays = (v.astype(np.float32).astype(float) for v in draw(buffers))
    state, want = np.zeros(buffers), []
    for impulse in [1.0, *np.zeros(11)]:
        want.append(impulse + state.sum())
        state = decays * state + weights * impulse
    found = buffered.coefficients(buffered.Buffers(weights, decays), 12)
    np.testing.assert_allclose(found, want, rtol=1e-12)
    assert np.all(found >= 0) and np.all(np.diff(found) <= 0)


@pytest.mark.parametrize(("separation", "most"), [(1, None), (3, None), (4, 2), (12, None)])
def test_they_cost_what_the_worst_of_all_schedules_does(separation, most):
    for buffers in (1, 3):
        c = buffered.coefficients(draw(buffers), 12)
        want = brute.sensitivity(workload.matrix(c), separation, most)
        found = sensitivity.toeplitz(c, 12, separation, most)
        assert want <= found < want * (1 + 2e-7)


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("separation", [5, 60])
def test_no_neighbouring_buffers_are_better_and_more_of_them_hardly_ever_worse(name, separation):
    of, values = WORKLOADS[name], []
    error = lambda found: toeplitz.rmse(of, buffered.coefficients(found, 60), separation)
    for buffers in (1, 2, 3):
        found = buffered.optimise(of, buffers, separation)
        values.append(error(found))
        for _ in range(20):
            weights, decays = (np.abs(v + 1e-3 * DRAW.normal(size=buffers)) for v in found)
            if weights.sum() <= 1 and decays.max() < 1:
                other = buffered.Buffers(weights, decays)
                assert error(other) > values[-1] * (1 - 1e-6)
    assert values[1] < values[0] * (1 + 1e-5)
    assert values[2] < values[1] * (1 + 1e-5)
    assert values[0] < 0.75 * toeplitz.rmse(of, np.ones(1), separation)


def test_five_buffers_are_within_a_percent_of_the_best_coefficients_of_any_kind():
    """Of one participation, where the best Toeplitz factor has all bands."""
    of = np.ones(512)
    found = buffered.coefficients(buffered.optimise(of, 5, 512), 512)
    best = toeplitz.rmse(of, toeplitz.optimise(of, 512, 512), 512)
    assert best * (1 - 1e-6) < toeplitz.rmse(of, found, 512) < 1.01 * best


def test_one_buffer_is_better_than_as_many_bands_and_not_far_from_many():
    of, separation = np.ones(512), 16
    one = buffered.coefficients(buffered.optimise(of, 1, separation), 512)
    error = toeplitz.rmse(of, one, separation)
    assert error < 0.6 * toeplitz.rmse(of, toeplitz.optimise(of, 2, separation), separation)
    assert error < 1.1 * toeplitz.rmse(of, toeplitz.optimise(of, 16, separation), separation)


@pytest.mark.parametrize(
    ("weights", "decays", "said"),
    [
        ([0.5, 0.6], [0.1, 0.2], "add up to 1 at most"),
        ([-0.1], [0.1], "must not be negative"),
        ([0.5], [1.0], r"decays lie in \[0, 1\)"),
        ([0.5], [1 - 1e-9], r"decays lie in \[0, 1\)"),  # 1 in float32
        ([np.nan], [0.5], "must not be negative"),
        ([0.5], [0.5, 0.5], r"shapes \(1,\) and \(2,\)"),
        ([], [], r"shapes \(0,\) and \(0,\)"),
    ],
)
def test_buffers_whose_coefficients_need_not_fall_are_refused(weights, decays, said):
    with pytest.raises(PrivacyError, match=said):
        buffered.coefficients(buffered.Buffers(np.array(weights), np.array(decays)), 5)


def test_no_buffers_are_refused():
    with pytest.raises(PrivacyError, match="buffers must be a whole number >= 1"):
        buffered.optimise(np.ones(5), 0, 2)
