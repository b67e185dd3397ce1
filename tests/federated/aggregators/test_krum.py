import inspect

import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import krum
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.statistics import gram
from tests.federated.aggregators import reference


@pytest.mark.parametrize("f", [0, 2, 4])
def test_scores_are_sums_over_the_nearest(f):
    x = np.random.default_rng(f).normal(size=(11, 6)).astype(np.float32)
    found = krum.scores(gram.pairwise({"w": jnp.asarray(x)}), jnp.ones(11, bool), f)
    np.testing.assert_allclose(found, reference.krum_scores(x, f), rtol=1e-4)


def test_bulyan_with_two_attackers_equals_its_twin():
    x = np.random.default_rng(5).normal(size=(13, 40)).astype(np.float32)
    x[3] += 5
    x[9] -= 7
    found, _ = krum.bulyan(attackers=2).update(Stacked({"w": jnp.asarray(x)}, jnp.ones(13)), ())
    np.testing.assert_allclose(found["w"], reference.bulyan(x, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (krum.krum(attackers=2), r"Krum with f = 2 needs m >= 2f \+ 3 = 7 updates .* m = 6"),
        (krum.multi_krum(attackers=2), r"multi-Krum with f = 2 needs m >= 2f \+ 3 = 7"),
        (krum.bulyan(attackers=1), r"Bulyan with f = 1 needs m >= 4f \+ 3 = 7 updates .* m = 6"),
    ],
)
def test_too_small_cohorts_are_refused(rule, said):
    seen = Stacked({"w": jnp.zeros((6, 2))}, jnp.ones(6))
    with pytest.raises(errors.ConfigError, match=said):
        rule.update(seen, ())


def test_impossible_numbers_are_refused():
    with pytest.raises(errors.ConfigError, match="must be a whole number of 0 or more, got -1"):
        krum.bulyan(attackers=-1)
    with pytest.raises(errors.ConfigError, match=r"must be a whole number of 0 or more, got 0\.2"):
        # A share of the cohort; past the annotations, which are assertions in the tests alone.
        inspect.unwrap(krum.bulyan)(attackers=0.2)
    with pytest.raises(errors.ConfigError, match="keep must be a whole number of 1 or more"):
        krum.multi_krum(attackers=1, keep=0)
