import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import base, centred_clip, crfl, krum, mean
from fl_jax.federated.aggregators.base import Stacked
from tests.federated import toy

X = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
W = np.random.default_rng(1).normal(size=6).astype(np.float32)
SEEN = Stacked({"w": jnp.asarray(X)}, jnp.ones(5))


def run(rule, seen=SEEN):
    rule, model = base.as_stacked(rule), {"w": jnp.asarray(W)}
    return rule.update(seen, rule.begin(model, rule.init(model), jax.random.key(2)))


@pytest.mark.parametrize("bound", [0.5, 100.0])
def test_the_model_is_clipped_after_the_rule(bound):
    for inner in (mean.mean(weight="uniform"), krum.krum(attackers=1)):
        reached = W + np.asarray(run(inner)[0]["w"])
        expected = reached * min(1, bound / np.linalg.norm(reached))
        out, _ = run(crfl.crfl(inner, bound=bound, noise=0.0))
        np.testing.assert_allclose(W + np.asarray(out["w"]), expected, rtol=1e-5, atol=1e-6)


def test_noise_has_its_deviation_and_a_key_of_the_round():
    model, rule = {"w": jnp.zeros(5000)}, crfl.crfl(mean.mean(), bound=1.0, noise=0.3)
    seen = base.summed(Stacked({"w": jnp.zeros((2, 5000))}, jnp.ones(2)))
    draw = lambda s: rule.update(seen, rule.begin(model, rule.init(model), jax.random.key(s)))[0]
    assert float(jnp.std(draw(0)["w"])) == pytest.approx(0.3, rel=0.05)
    assert float(jnp.std(draw(0)["w"] - draw(1)["w"])) == pytest.approx(0.3 * 2**0.5, rel=0.05)


def test_the_rule_keeps_its_state_and_score():
    inner = centred_clip.centred_clip(radius=0.5)
    _, after = run(crfl.crfl(inner, bound=10.0, noise=0.1))
    np.testing.assert_allclose(after.rule["w"], run(inner)[1]["w"], rtol=1e-6)
    smoothed, model = crfl.crfl(krum.krum(attackers=1), bound=1.0, noise=0.1), {"w": jnp.asarray(W)}
    state = smoothed.begin(model, smoothed.init(model), jax.random.key(0))
    expected = krum.krum(attackers=1).score(model, SEEN, ())
    assert float(smoothed.score(model, SEEN, state)) == float(expected)


def test_the_model_that_the_rule_sends_out_is_clipped():
    rule, model = crfl.crfl(toy.elsewhere(2.0), bound=0.5, noise=0.0), {"w": jnp.asarray(W)}
    state = rule.begin(model, rule.init(model), jax.random.key(2))
    sent = np.asarray(rule.broadcast(model, state)["w"])
    np.testing.assert_allclose(sent, W + 2, rtol=1e-6)
    out, _ = rule.update(base.summed(SEEN), state)
    reached = W + 2 + X.mean(0)
    expected = reached * 0.5 / np.linalg.norm(reached)
    np.testing.assert_allclose(sent + out["w"], expected, rtol=1e-5, atol=1e-6)
    assert crfl.crfl(mean.mean(), bound=1.0, noise=0.0).broadcast is None


def test_votes_are_the_normal_distribution_function_of_the_margin():
    """Logits (w, 0): the first class wins where w + noise > 0."""
    from scipy.stats import norm

    apply = lambda v, x: jnp.stack([v["w"] * x[:, 0], jnp.zeros(len(x))], axis=1)
    found = crfl.votes(
        apply,
        {"w": jnp.float32(0.5)},
        jnp.array([[1.0], [-1.0]]),
        jax.random.key(0),
        noise=0.7,
        draws=4000,
    )
    share = norm.cdf(0.5 / 0.7)
    np.testing.assert_allclose(found, [[share, 1 - share], [1 - share, share]], atol=0.03)


def test_bad_settings_are_refused():
    with pytest.raises(errors.ConfigError, match=r"\(rho\) must be above 0, got 0"):
        crfl.crfl(mean.mean(), bound=0, noise=0.1)
    with pytest.raises(errors.ConfigError, match=r"\(sigma\) must be 0 or more, got -1"):
        crfl.crfl(mean.mean(), bound=1.0, noise=-1)
    with pytest.raises(
        errors.ConfigError, match="draws of CRFL's models must be a whole number of 1"
    ):
        crfl.votes(lambda v, x: x, {}, jnp.zeros((1, 2)), jax.random.key(0), noise=0.1, draws=0)
