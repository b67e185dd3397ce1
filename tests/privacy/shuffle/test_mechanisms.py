"""The kinds of output of every mechanism, against its matrix, and condition (*)."""

import itertools
import math

import numpy as np
import pytest
from scipy import linalg

from privacy.shuffle import condition, mechanisms, mixture, twolevel
from tests.privacy.shuffle import brute

EPS0 = 1.3
E0 = math.exp(EPS0)


def subset_matrix(k, size):
    rows = [
        [E0 if x in s else 1.0 for s in itertools.combinations(range(k), size)] for x in range(k)
    ]
    rows = np.array(rows)
    return rows / rows.sum(1, keepdims=True)


def bits_matrix(k, own, other):
    outputs = np.array(list(itertools.product((0, 1), repeat=k)))
    rows = []
    for x in range(k):
        rate = np.full(k, other)
        rate[x] = own
        rows.append(np.prod(np.where(outputs == 1, rate, 1 - rate), axis=1))
    return np.array(rows)


def hadamard_matrix(k):
    order = 1 << k.bit_length()
    high = linalg.hadamard(order)[1 : k + 1] == 1
    return np.where(high, E0, 1.0) * 2 / (order * (E0 + 1))


def hashing_matrix(k, g):
    functions = list(itertools.product(range(g), repeat=k))
    rows = []
    for x in range(k):
        row = [E0 if h[x] == z else 1.0 for h in functions for z in range(g)]
        rows.append(np.array(row) / (len(functions) * (E0 + g - 1)))
    return np.array(rows)


HALF = 1 / (1 + math.exp(EPS0 / 2))
CASES = [
    (mechanisms.RandomizedResponse(4), mechanisms.RandomizedResponse(4).matrix(EPS0), True),
    (mechanisms.SubsetSelection(5, 2), subset_matrix(5, 2), False),
    (mechanisms.UnaryEncoding(4), bits_matrix(4, 0.5, 1 / (E0 + 1)), False),
    (mechanisms.Rappor(4), bits_matrix(4, 1 - HALF, HALF), False),
    (mechanisms.HadamardResponse(4), hadamard_matrix(4), False),
    (mechanisms.LocalHashing(3), hashing_matrix(4, 3), False),
]


@pytest.mark.parametrize("mechanism, matrix, holds", CASES)
def test_kinds_and_condition(mechanism, matrix, holds):
    assert condition.local_epsilon(matrix) == pytest.approx(EPS0, rel=1e-12)
    assert condition.satisfies(matrix) is holds is type(mechanism).condition
    level = mechanism.level(EPS0)
    total = (E0 + 1) * level.only + E0 * level.both + level.neither
    assert total == pytest.approx(1, rel=1e-12)
    # total low density = sum of min over the inputs where some input is low at every output
    low = matrix.min(0).sum()
    assert level.gamma <= low * (1 + 1e-12)
    # every pair of inputs looks alike: the same mass of outputs that tell them apart
    for a, b in itertools.combinations(range(matrix.shape[0]), 2):
        apart = np.abs(matrix[a] - matrix[b]).sum() / 2
        assert apart == pytest.approx(level.only * (E0 - 1), rel=1e-9)


def test_only_extreme_laplace_inputs_satisfy_the_condition():
    edges = np.linspace(-4, 5, 200)

    def row(x):
        low = lambda y: np.where(y < x, 0.5 * np.exp(y - x), 1 - 0.5 * np.exp(x - y))
        return np.diff(np.concatenate([[0.0], low(edges), [1.0]]))

    assert condition.satisfies(np.array([row(0.0), row(1.0)]), 1.0)
    assert not condition.satisfies(np.array([row(0.0), row(0.1), row(1.0)]), 1.0)


@pytest.mark.parametrize("dimension", [3, 50, 2000])
@pytest.mark.parametrize("eps0", [0.5, 4.0])
def test_privunit_cap_is_the_best(dimension, eps0):
    g = mechanisms.best_cap(dimension, eps0)
    best = mechanisms.mean_projection(dimension, eps0, g)
    for other in np.linspace(0, min(3 * g + 0.1, 0.99), 50):
        assert mechanisms.mean_projection(dimension, eps0, float(other)) <= best * (1 + 1e-9)


def _moved(level, overlap):
    """The level of two inputs whose high outputs have this share in common."""
    e0, share = math.exp(level.eps0), level.only + level.both
    both = share * overlap
    rest = 1 - (e0 + 1) * (share - both) - e0 * both
    return twolevel.TwoLevel(level.eps0, share - both, both, rest)


@pytest.mark.parametrize(
    "level", [mechanisms.PrivUnit(20).level(2.0), mechanisms.OneBit(20).level(2.0)]
)
@pytest.mark.parametrize("n", [3, 300])
def test_opposite_inputs_are_the_worst(level, n):
    """Over overlaps of what is high for either input: what the status `conditional` rests on."""
    for eps in (0.1, 0.6):
        worst = twolevel.delta(level, n, eps)[1]
        for overlap in (0.05, 0.5, 0.9):
            assert twolevel.delta(_moved(level, overlap), n, eps, 0.1)[0] <= worst


def test_one_bit_is_its_matrix():
    from privacy.shuffle import randomizers

    matrix = randomizers.cldp_matrix(np.array(list(itertools.product((-1, 1), repeat=3))), EPS0)
    level = mechanisms.OneBit(3).level(EPS0)
    assert matrix.min(0).sum() == pytest.approx(level.gamma, rel=1e-12)
    assert np.abs(matrix[0] - matrix[-1]).sum() / 2 == pytest.approx(level.only * (E0 - 1))
    assert not condition.satisfies(matrix)


@pytest.mark.parametrize("mechanism, matrix, holds", CASES)
@pytest.mark.parametrize("eps", [0.2, 0.8])
def test_bystanders_bound_from_below_and_blankets_from_above(mechanism, matrix, holds, eps):
    """Against the true loss of three users, by enumeration over all data sets."""
    del holds
    true = brute.worst_delta(_collapsed(matrix), 3, eps)
    assert twolevel.delta(mechanism.level(EPS0), 3, eps)[1] >= true * (1 - 1e-9)
    for only, shown in mechanism.bystanders(EPS0):
        part = twolevel.merged(EPS0, 3, only, shown, 64, 60.0)
        assert mixture.bracket(part, eps, 3)[0][0] <= true * (1 + 1e-9)


def _collapsed(matrix):
    """Three inputs, outputs that look alike from them as one: nothing of the loss is lost."""
    rows = matrix[:3]
    _, kind = np.unique(np.round(rows / rows.min(0), 9), axis=1, return_inverse=True)
    return np.array([np.bincount(kind.ravel(), row) for row in rows])
