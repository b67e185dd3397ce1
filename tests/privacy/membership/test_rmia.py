import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from fl_jax.core import errors, roc
from privacy.membership import rmia, table
from tests.privacy.membership import naive


@hypothesis.given(
    x=st.lists(st.integers(1, 12), min_size=1, max_size=20),
    z=st.lists(st.integers(1, 12), min_size=1, max_size=20),
    gamma=st.sampled_from([0.5, 1.0, 2.0]),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_sorting_equals_the_matrix_with_exact_ties(x, z, gamma):
    # eighths, so that every quotient that ties does so exactly
    x, z = np.array(x) / 8, 2.0 ** np.array(z)
    assert np.array_equal(rmia.exceeding(x, z, gamma), naive.rmia_matrix(x, z, gamma))


def test_sorting_equals_the_matrix_on_random_tables():
    rng = np.random.default_rng(0)
    x, z = rng.lognormal(size=300), rng.lognormal(size=200)
    gap = np.abs(rmia.exceeding(x, z, 1.3) - naive.rmia_matrix(x, z, 1.3))
    assert gap.max() <= 1 / len(z) + 1e-15


@pytest.mark.parametrize("a", [None, 0.0, 0.3, 1.0])
def test_the_whole_attack_equals_the_formulas(a):
    rng = np.random.default_rng(2)
    p, shadow = rng.random(30), rng.random((30, 8))
    z, z_shadow = rng.random(50), rng.random((50, 8))
    member = np.zeros((30, 8), bool)
    member[:, ::2] = True
    scores, population = table.make(p, shadow, member), table.make(z, z_shadow)
    if a is None:
        prior = (shadow[:, ::2].mean(1) + shadow[:, 1::2].mean(1)) / 2
        other = z_shadow.mean(1)
    else:
        prior = ((1 + a) * shadow[:, 1::2].mean(1) + 1 - a) / 2
        other = ((1 + a) * z_shadow.mean(1) + 1 - a) / 2
    expected = naive.rmia_matrix(p / prior, z / other, 1.0)
    found = rmia.attack(scores, population, a=a)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_tuning_finds_the_best_of_the_grid():
    rng = np.random.default_rng(4)
    member = rng.random((200, 6)) < 0.5
    member[:, 1], member[:, 2] = True, False
    hard = rng.random((200, 1)) * 0.8
    shadow = np.clip(hard + 0.1 * member + 0.05 * rng.random((200, 6)), 0, 1)
    scores = table.make(shadow[:, 0], shadow, member)
    population = table.make(rng.random(100), rng.random((100, 6)))
    best = rmia.tune(scores, population, grid=np.array([0.0, 0.5, 1.0]))
    inner, truth = table.leave_one_out(scores, 0)
    outer, _ = table.leave_one_out(population, 0)
    aucs = {a: roc.area(rmia.attack(inner, outer, a=a), truth) for a in (0.0, 0.5, 1.0)}
    assert aucs[best] == max(aucs.values())


def test_bad_input_is_refused():
    good = table.make(np.full(3, 0.5), np.full((3, 2), 0.5))
    with pytest.raises(errors.DataError, match="overlaps the audited records in 1"):
        rmia.attack(good, good, ids=(np.array([1, 2, 3]), np.array([3, 4, 5])))
    with pytest.raises(errors.DataError, match="probabilities of the true label"):
        rmia.attack(table.make(np.full(3, -2.0), np.full((3, 2), 0.5)), good)
    with pytest.raises(errors.DataError, match="trained on it"):
        rmia.attack(good, good, a=None)
    with pytest.raises(errors.ConfigError, match="a must lie"):
        rmia.attack(good, good, a=2.0)
    with pytest.raises(errors.DataError, match="same models"):
        rmia.attack(good, table.make(np.full(3, 0.5), np.full((3, 3), 0.5)))
    with pytest.raises(errors.DataError, match="population is empty"):
        rmia.exceeding(np.ones(2), np.ones(0))
    with pytest.raises(errors.DataError, match=r"population's records need a table .* NoneType"):
        rmia.attack.__wrapped__(good, None)
    with pytest.raises(errors.DataError, match=r"audited records need a table .* ndarray"):
        rmia.attack.__wrapped__(good.target, good)
