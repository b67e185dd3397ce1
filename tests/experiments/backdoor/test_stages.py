import jax.numpy as jnp
import pytest

from experiments.backdoor import config as configs
from experiments.backdoor import stages


@pytest.mark.parametrize(("rounds", "expected"), [(4, 2), (3, 1), (1, 1), (120, 2)])
def test_a_stride_divides_the_rounds(rounds, expected):
    assert stages.stride(configs.SMOKE, rounds) == expected


def test_a_curve_starts_before_the_rounds():
    found = stages.curve({"main": jnp.float32(0.5)}, {"main": jnp.array([0.25, 1.0])})
    assert found["main"].tolist() == [0.5, 0.25, 1.0]
