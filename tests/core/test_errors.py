import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors


def test_unknown_names_are_told_what_is_known():
    with pytest.raises(errors.ConfigError, match=r"unknown preset 'papr'; did you mean 'paper'\?"):
        errors.one_of("preset", "papr", ["smoke", "paper"])
    with pytest.raises(errors.ConfigError, match=r"unknown preset 'x'\. Known: smoke, paper"):
        errors.one_of("preset", "x", ["smoke", "paper"])
    assert errors.one_of("preset", "smoke", ["smoke"]) == "smoke"


@pytest.mark.parametrize("value", [0, -1.5, float("nan")])
def test_positive_refuses(value):
    with pytest.raises(errors.ConfigError, match="rate must be above 0"):
        errors.positive("rate", value)


@pytest.mark.parametrize("value", [-1, -1e-9, float("nan")])
def test_not_negative_refuses(value):
    with pytest.raises(errors.ConfigError, match="bound must be 0 or more"):
        errors.not_negative("bound", value)
    errors.not_negative("bound", 0)


def test_whole_refuses_shares_and_takes_every_kind_of_integer():
    for value in (2, np.int64(2), jnp.int32(2)):
        errors.whole("f", value, least=2)
    for value in (1, 2.0, float("nan"), "2"):
        with pytest.raises(errors.ConfigError, match="f must be a whole number of 2 or more"):
            errors.whole("f", value, least=2)


@pytest.mark.parametrize("value", [-0.1, 1, float("nan")])
def test_below_one_refuses(value):
    with pytest.raises(errors.ConfigError, match=r"b1 must lie in \[0, 1\)"):
        errors.below_one("b1", value)
    errors.below_one("b1", 0)
