"""Shuffled rounds: what reaches the server is exchangeable, unbiased and accounted for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import tree
from fl_jax.federated import client, population
from fl_jax.train import cohort
from fl_jax.train.state import Variables
from privacy import shuffle
from privacy.accounting.errors import PrivacyError
from privacy.shuffle import audit, federated, randomizers

CLIENTS = 12


def people():
    x = jnp.eye(CLIENTS, 6) + 0.1
    return population.Population(
        {"x": x, "y": jnp.arange(CLIENTS, dtype=jnp.int32) % 2},
        jnp.arange(CLIENTS, dtype=jnp.int32),
        jnp.ones(CLIENTS, jnp.int32),
        longest=1,
    )


def loss(variables, batch, key):
    del key
    logits = batch["x"] @ variables.params["w"]
    each = optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return jnp.sum(each * batch["mask"]) / jnp.sum(batch["mask"]), (variables.batch_stats, {})


def make(eps0=3.0, plan="vmap", randomizer=None):
    return federated.make(
        client=client.make(loss, optax.sgd(1.0), epochs=1, batch_size=1),
        randomizer=randomizer or (lambda d: randomizers.privunit(d, eps0)),
        clients=CLIENTS,
        server=optax.sgd(0.5),
        plan=cohort.Plan.parse(plan),
    )


INITIAL = Variables({"w": jnp.zeros((6, 2), jnp.float32)}, {})


def identity(dimension):
    del dimension
    return randomizers.Randomizer(lambda key, x: x, lambda r: jnp.mean(r, axis=0))


def test_the_server_sees_an_exchangeable_array():
    """Every client's report lands in every place equally often."""
    algorithm = make(randomizer=identity)
    state = algorithm.init(INITIAL)
    seen = jax.jit(jax.vmap(lambda k: algorithm.reports(state, people(), k)[0]))(
        jax.random.split(jax.random.key(3), 2400)
    )
    first = np.asarray(seen[:, :, :])  # (draws, places, dimension)
    reference = np.asarray(algorithm.reports(state, people(), jax.random.key(0))[0])
    order = np.lexsort(reference.T)
    place = np.zeros((CLIENTS, CLIENTS))
    for c, row in enumerate(reference[order]):
        hits = np.abs(first - row).sum(-1) < 1e-6
        same = (np.abs(reference - row).sum(-1) < 1e-6).sum()  # clients with equal data
        place[c] = hits.mean(0) / same
    np.testing.assert_allclose(place, 1 / CLIENTS, atol=0.03)


@pytest.mark.parametrize("name", ["cldp", "gaussian"])
def test_other_randomizers_fill_the_slot(name):
    """A report of two parts is shuffled as one, and the mean that comes back is the update's."""
    if name == "cldp":
        made = lambda d: randomizers.cldp(d, 6.0, radius=1.0, basis=randomizers.rotation(d, 0))
    else:
        made = lambda d: randomizers.gaussian(1.0, 0.05)
    algorithm, plain = make(randomizer=made), make(randomizer=identity)
    state = algorithm.init(INITIAL)
    seen, _ = algorithm.reports(state, people(), jax.random.key(2))
    assert all(leaf.shape[0] == CLIENTS for leaf in jax.tree.leaves(seen))
    estimate = jax.jit(
        jax.vmap(lambda k: made(12).estimate(algorithm.reports(state, people(), k)[0]))
    )
    found = np.asarray(estimate(jax.random.split(jax.random.key(3), 800)))
    sent = np.asarray(plain.reports(state, people(), jax.random.key(3))[0]).mean(0)
    # the clients' own randomness differs between rounds, so the mean converges on the update
    assert np.abs(found.mean(0) - sent).max() < 5 * found.std(0).max() / np.sqrt(800) + 1e-3
    assert np.isfinite(
        np.asarray(jax.jit(algorithm.step)(state, (people(), ()), jax.random.key(1))[1].step)
    )


def test_reports_that_nobody_sends_are_refused():
    """What the ledger counts is what is sent: neither fewer reports nor one user's several."""
    rules = {"client": client.make(loss, optax.sgd(1.0), epochs=1, batch_size=1),
             "randomizer": identity, "server": optax.sgd(0.5)}  # fmt: skip
    with pytest.raises(PrivacyError, match="20 reports"):
        federated.make(clients=20, participants=CLIENTS, **rules)
    algorithm = federated.make(clients=4, participants=CLIENTS + 1, **rules)
    with pytest.raises(PrivacyError, match="more than once"):
        algorithm.step(algorithm.init(INITIAL), (people(), ()), jax.random.key(1))


def test_plans_agree_and_the_second_call_compiles_nothing():
    outcome = []
    for plan in ("vmap", "chunk:5"):
        algorithm = make(plan=plan)
        step = jax.jit(algorithm.step)
        state, info = step(algorithm.init(INITIAL), (people(), ()), jax.random.key(1))
        state, info = step(state, (people(), ()), jax.random.key(1))
        assert step._cache_size() == 1 and np.isfinite(info.step)
        outcome.append(np.asarray(state.variables.params["w"]))
    np.testing.assert_allclose(outcome[1], outcome[0], rtol=2e-4, atol=1e-5)


def test_without_noise_the_step_is_the_mean_update():
    algorithm = make(randomizer=identity)
    state, _ = jax.jit(algorithm.step)(algorithm.init(INITIAL), (people(), ()), jax.random.key(1))
    grad = jax.grad(
        lambda w: jnp.mean(
            optax.softmax_cross_entropy_with_integer_labels(
                people().examples["x"] @ w, people().examples["y"]
            )
        )
    )(INITIAL.params["w"])
    np.testing.assert_allclose(state.variables.params["w"], -0.5 * grad, rtol=1e-4, atol=1e-6)


def test_the_audit_stays_below_the_certificate(key):
    """The attack must prove something, and never more than the accountant allows."""
    eps0, n, delta = 2.0, 20, 1e-3
    made = randomizers.randomized_response(2, eps0)
    others = np.zeros(n - 1, np.int32)
    score = lambda reports: jnp.mean(reports.astype(jnp.float32))
    first, second = (
        audit.scores(made, np.int32(v), others, score, jax.random.fold_in(key, v), trials=6000)
        for v in (1, 0)
    )
    proved = audit.lower_bound(first, second, delta)
    certified = shuffle.epsilon(eps0, n, delta).upper
    assert 0.1 < proved <= certified
    assert audit.lower_bound(first, first[::-1], delta) < 0.1


def test_a_narrow_model_is_reported_in_float32_and_stays_narrow():
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), INITIAL)

    def wide_loss(variables, batch, key):
        return loss(tree.wide(variables), batch, key)

    algorithm = federated.make(
        client=client.make(wide_loss, optax.sgd(1.0), epochs=1, batch_size=1),
        randomizer=lambda d: randomizers.privunit(d, 3.0),
        clients=CLIENTS,
        server=optax.sgd(0.5, momentum=0.9),
    )
    state, data = algorithm.init(narrow), (people(), ())
    reports, _ = jax.eval_shape(algorithm.reports, state, people(), jax.random.key(0))
    assert reports.dtype == jnp.float32
    step = jax.jit(algorithm.step)
    for _ in range(2):
        state, _ = step(state, data, jax.random.key(0))
    assert state.variables.params["w"].dtype == jnp.bfloat16
    assert step._cache_size() == 1
    assert bool(tree.all_finite(state))


def test_a_fresh_state_can_be_donated_whatever_the_server_begins_with():
    keeps = optax.GradientTransformation(lambda params: params, lambda g, s, p: (g, s))
    algorithm = federated.make(
        client=client.make(loss, optax.sgd(1.0), epochs=1, batch_size=1),
        randomizer=identity,
        clients=CLIENTS,
        server=keeps,
    )
    later = jax.jit(lambda s: s._replace(round=s.round + 1), donate_argnums=0)
    assert int(later(algorithm.init(jax.tree.map(jnp.copy, INITIAL))).round) == 1
