import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.attacks import indicators

DRAW = np.random.default_rng(0)
PARAMS = {
    "conv": {"kernel": jnp.asarray(DRAW.normal(size=(2, 3)), jnp.float32)},
    "head": jnp.ones(2),
}
PATH = "conv/kernel"


def test_the_curvature_is_the_sum_of_a_row_of_the_hessian():
    half = DRAW.normal(size=(6, 6))
    hessian = half + half.T
    h = jnp.asarray(hessian, jnp.float32)

    def value(params):
        w = params["conv"]["kernel"].reshape(-1)
        return 0.5 * w @ h @ w + jnp.sum(params["head"]) * jnp.sum(w)

    found = jax.jit(lambda p: indicators.curvature(value, p, PATH))(PARAMS)
    np.testing.assert_allclose(found, hessian.sum(1), rtol=1e-4, atol=1e-5)


def test_the_least_curved_of_the_stillest_are_chosen():
    moved, bend = DRAW.uniform(size=40), DRAW.normal(size=40)
    still = np.argsort(moved)[:6]
    expected = still[np.argsort(np.abs(bend[still]))[:2]]
    found = indicators.choose(jnp.asarray(moved), jnp.asarray(bend), 2, 3)
    np.testing.assert_array_equal(found, expected)
    # Of coordinates that all bend alike, the stillest; of few, all are looked at.
    found = indicators.choose(jnp.array([3.0, 1.0, 2.0]), jnp.zeros(3), 2, 10)
    np.testing.assert_array_equal(found, [1, 2])
    with pytest.raises(
        errors.ConfigError, match=r"4 indicators need as many coordinates, .* has 3"
    ):
        indicators.choose(jnp.zeros(3), jnp.zeros(3), 4)


def test_an_indicator_enlarges_its_own_value_and_no_other():
    marked, value = indicators.implant(PARAMS, PATH, jnp.int32(4), factor=100.0)
    assert float(value) == pytest.approx(100 * float(PARAMS["conv"]["kernel"][1, 1]))
    expected = np.array(PARAMS["conv"]["kernel"])
    expected[1, 1] = value
    np.testing.assert_array_equal(marked["conv"]["kernel"], expected)
    np.testing.assert_array_equal(marked["head"], PARAMS["head"])
    still = {**PARAMS, "conv": {"kernel": jnp.zeros((2, 3))}}
    marked, value = indicators.implant(still, PATH, jnp.int32(0), least=0.01)
    assert float(value) == float(marked["conv"]["kernel"][0, 0]) == np.float32(0.01)
    short = {**PARAMS, "conv": {"kernel": jnp.full((2, 3), -1e-9)}}
    assert float(indicators.implant(short, PATH, jnp.int32(0))[1]) == np.float32(-1e-3)
    assert float(indicators.implant(PARAMS, PATH, jnp.int32(4), most=2.0)[1]) in (-2.0, 2.0)


def test_feedback_is_read_as_published():
    there = jnp.array([True, True, True, True, False])
    told, noisy = indicators.verdicts(jnp.array([0.1, 0.07, 1e-6, 0.09, 0.0]), there, 1e-5)
    np.testing.assert_array_equal(told[:4], [2, 1, 0, 2])
    assert not noisy
    for wrong in (1.5, -0.01, np.nan, np.inf):
        feedback = jnp.array([0.1, wrong, 0.1, 0.1, 0.1])
        assert indicators.verdicts(feedback, there, 1e-5)[1]
        assert not indicators.verdicts(feedback, there & (jnp.arange(5) != 1), 1e-5)[1]
    # What an aggregate that is one update gives, rounded.
    assert not indicators.verdicts(jnp.full(5, 1.000007), there, 1e-5)[1]


def test_a_parameter_that_there_is_not_is_refused():
    with pytest.raises(errors.ConfigError, match="unknown parameter for indicators 'conv/kernal'"):
        indicators.leaf_of(PARAMS, "conv/kernal")
