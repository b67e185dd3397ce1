import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import base, dp_fedavg
from fl_jax.federated.aggregators.base import Stacked

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
NORMS = np.linalg.norm(X, axis=1)
SEEN = Stacked({"w": jnp.asarray(X)}, jnp.ones(40))


def aggregate(rule, state, key=1):
    return rule.update(SEEN, rule.begin((), state, jax.random.key(key)))


def test_the_sum_is_of_clipped_updates_and_the_noise_is_z_times_the_bound():
    rule = base.as_stacked(dp_fedavg.dp_fedavg(bound=2.0, noise_multiplier=0.5, expected=50))
    clipped = (X * np.minimum(1, 2.0 / NORMS)[:, None]).sum(0) / 50
    draws = jax.vmap(
        lambda key: rule.update(SEEN, rule.begin((), rule.init(()), key))[0]["w"] - clipped
    )(jax.random.split(jax.random.key(0), 4000))
    assert float(draws.std()) == pytest.approx(0.5 * 2.0 / 50, rel=0.03)
    assert float(jnp.abs(draws.mean(0)).max()) < 0.002


def test_the_bound_goes_to_the_quantile():
    rule = base.as_stacked(
        dp_fedavg.dp_fedavg(bound=0.05, noise_multiplier=0.1, expected=40, quantile=0.7)
    )
    state = rule.init(())
    step = jax.jit(lambda state, key: rule.update(SEEN, rule.begin((), state, key))[1])
    bounds = []
    for r in range(150):
        state = step(state, jax.random.key(r))
        bounds.append(float(state.bound))
    assert np.mean(bounds[-50:]) == pytest.approx(np.quantile(NORMS, 0.7), rel=0.1)


def test_the_noise_multiplier_of_noise_after_averaging():
    z = dp_fedavg.multiplier(sigma=0.01, eta=1.0, participants=100, bound=2.0)
    assert z == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bound": 0.0}, "bound must be above 0"),
        ({"noise_multiplier": 0.0}, "noise_multiplier must be above 0"),
        ({"bound": np.inf}, "bound must be finite"),
        ({"quantile": 1.0}, r"quantile must lie in \(0, 1\), got 1.0"),
        ({"quantile": 0.5, "count_noise": 0.2}, "must be above half of the noise multiplier 1.0"),
        ({"quantile": 0.5, "count_noise": np.nan}, "must be above half of the noise multiplier"),
        ({"quantile": 0.5, "rate": -0.2}, "rate must be 0 or more"),
    ],
)
def test_bad_settings_are_refused(changes, said):
    usual = {"bound": 1.0, "noise_multiplier": 1.0, "expected": 10.0}
    with pytest.raises(errors.ConfigError, match=said):
        dp_fedavg.dp_fedavg(**(usual | changes))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_a_clipped_update_is_no_longer_than_the_bound(dtype):
    """Numbers that are all rounded up would be: in bfloat16 by 0.4 %."""
    rule = dp_fedavg.dp_fedavg(bound=1.0, noise_multiplier=1.0, expected=5)
    for size in (7, 13, 100, 1000):
        (sent, _), _ = rule.arrive({"w": jnp.full(size, 3.0, dtype)}, rule.init(()))
        assert np.linalg.norm(np.asarray(sent["w"], np.float64)) <= 1 + 1e-6


def test_without_a_quantile_nobody_is_counted():
    """So that no clip range of secure aggregation has to hold more than the update."""
    rule = dp_fedavg.dp_fedavg(bound=1.0, noise_multiplier=1.0, expected=5)
    (_, count), _ = rule.arrive({"w": jnp.ones(3)}, rule.init(()))
    assert float(count) == 0 == rule.reach
