"""The exact identities of the paper (model replacement, constrain-and-scale), on a toy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors, rng, tree
from fl_jax.federated import round, sampling
from fl_jax.federated.aggregators import krum, mean
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.attacks import anomaly, constrain_and_scale, replacement
from fl_jax.federated.attacks.base import View
from tests.federated import toy

N, M, ETA = toy.PARTICIPANTS, toy.COHORT, 2.0
GAMMA = replacement.full_scale(eta=ETA, participants=N)
WANTED = {"x": toy.examples(1)["x"][:4], "y": np.full(4, 2, np.int32)}


def settings(**changes):
    usual = {"per_batch": 2, "epochs": 3, "rate": 0.1, "gamma": GAMMA}
    return constrain_and_scale.poison(toy.examples(2, 20), WANTED, **(usual | changes))


@functools.cache
def attack(attackers=1, score=anomaly.squared_l2):
    return constrain_and_scale.constrain_and_scale(
        toy.LOSS, optax.sgd(1.0), batch_size=4, attackers=attackers, anomaly=score
    )


@functools.cache
def stepper(attackers, honest):
    made = round.make(
        client=toy.trainer() if honest else toy.STILL,
        sampler=sampling.single_shot(N, M, attackers=list(range(attackers)), rounds=[0]),
        aggregator=mean.fedavg(eta=ETA, participants=N),
        attack=attack(attackers),
    )
    return made, jax.jit(made.step)


def one_round(poison, *, attackers=1, honest=False):
    """(G, G', info) of a round in which the attackers take part."""
    made, step = stepper(attackers, honest)
    g = toy.variables(jax.random.key(0))
    state, info = step(made.init(g), round.RoundData(toy.people(), poison), jax.random.key(4))
    return g, state.variables, info


def close(x, y, **tolerance):
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


@functools.cache
def trained():
    """X straight from the attack, without any round."""
    g = toy.variables(jax.random.key(0))
    view = View(g, jnp.int32(1), jnp.int32(0), None, settings(gamma=1.0))
    key = rng.fold(rng.fold(jax.random.key(4), "round", 0), "attack")
    sent, _, info = jax.jit(attack().update)(view, (), key)
    return tree.add(g, jax.tree.map(lambda a: a[0], sent)), info


def test_1_replacement_puts_the_malicious_model_in_place():
    _, after, _ = one_round(settings())
    x, _ = trained()
    close(after, x, rtol=1e-5, atol=1e-5)


def test_1_what_remains_is_the_benign_step():
    g, after, info = one_round(settings(), honest=True)
    x, _ = trained()
    # The same cohort without its attacker: eq. 1 over the benign updates alone.
    benign = round.make(
        client=toy.trainer(),
        sampler=sampling.Sampler(_without_attacker, N),
        aggregator=mean.fedavg(eta=ETA, participants=N),
    )
    state, _ = jax.jit(benign.step)(
        benign.init(g), round.RoundData(toy.people()), jax.random.key(4)
    )
    close(tree.sub(after, x), tree.sub(state.variables, g), rtol=1e-4, atol=1e-5)
    assert bool(info.malicious[0])


def _without_attacker(key, r):
    chosen = sampling.single_shot(N, M, attackers=[0], rounds=[0]).draw(key, r)
    return chosen._replace(active=~chosen.malicious)


def test_2_half_of_gamma_goes_half_the_way():
    g, after, _ = one_round(settings(gamma=GAMMA / 2))
    x, _ = trained()
    close(after, jax.tree.map(lambda a, b: (a + b) / 2, g, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attackers", [2, 4])
def test_3_colluders_share_gamma(attackers):
    _, alone, _ = one_round(settings())
    _, together, info = one_round(settings(), attackers=attackers)
    close(alone, together, rtol=1e-5, atol=1e-5)
    assert int(info.malicious.sum()) == attackers


@pytest.mark.parametrize("attackers", [1, 2, 4])
@pytest.mark.parametrize("bound", [0.01, 0.5, 1e6])
def test_4_train_and_scale_sends_what_the_bound_lets_pass(bound, attackers):
    _, _, info = one_round(settings(bound=bound), attackers=attackers)
    norm = float(info.attack.local_norm)
    sent = min(bound, GAMMA * norm / attackers)
    np.testing.assert_allclose(float(info.attack.sent_norm), sent, rtol=1e-5)
    np.testing.assert_allclose(info.norm[info.malicious], sent, rtol=1e-5)
    np.testing.assert_allclose(float(info.attack.gamma), sent * attackers / norm, rtol=1e-5)


def test_5_alpha_one_is_plain_training_bit_for_bit():
    plain, _ = trained()

    def never(local, base):
        return 1e3 * anomaly.squared_l2(local, base)

    g = toy.variables(jax.random.key(0))
    view = View(g, jnp.int32(1), jnp.int32(0), None, settings(gamma=1.0, alpha=1.0))
    key = rng.fold(rng.fold(jax.random.key(4), "round", 0), "attack")
    sent, _, _ = jax.jit(attack(1, never).update)(view, (), key)
    other = tree.add(g, jax.tree.map(lambda a: a[0], sent))
    jax.tree.map(np.testing.assert_array_equal, plain, other)


def test_5_a_smaller_alpha_stays_closer_and_zero_does_not_move():
    norms = []
    for alpha in (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.0):
        _, _, info = one_round(settings(alpha=alpha, epochs=30, rate=0.05))
        norms.append(float(info.attack.local_norm))
    assert norms == sorted(norms, reverse=True)
    assert norms[0] > 0.1
    assert norms[-1] == 0.0


@pytest.mark.parametrize("name", sorted(anomaly.SCORES))
def test_no_score_is_nan_at_the_start(name):
    g = toy.variables(jax.random.key(0)).params
    score = anomaly.by_name(name)
    assert float(score(g, g)) == pytest.approx(0, abs=1e-6)
    assert bool(tree.all_finite(jax.grad(score)(g, g)))
    moved = jax.tree.map(lambda a: a + 0.1 * jnp.sin(jnp.arange(a.size)).reshape(a.shape), g)
    assert float(score(moved, g)) > 0


def test_training_stops_once_the_backdoor_is_learnt():
    _, _, long = one_round(settings(epochs=50, rate=0.5))
    _, _, short = one_round(settings(epochs=50, rate=0.5, stop=1.0))
    assert int(long.attack.epochs) == 50
    assert int(short.attack.epochs) < 50
    assert float(short.attack.backdoor_loss) < 1.0


def test_the_backdoor_is_learnt_and_poisoning_alone_is_not():
    def success(variables):
        _, (_, found) = toy.LOSS(variables, jax.tree.map(jnp.asarray, WANTED), jax.random.key(0))
        return float(found["accuracy"])

    hard = {"epochs": 60, "rate": 0.3}
    _, replaced, _ = one_round(settings(**hard))
    g, poisoned, _ = one_round(settings(gamma=1.0, **hard))
    assert success(replaced) == 1.0
    assert success(poisoned) <= success(g) + 0.25


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gamma": 0.0}, "gamma must be above 0"),
        ({"gamma": -1.0}, "gamma must be above 0"),
        ({"rate": 0.0}, "learning rate must be above 0"),
        ({"alpha": 1.5}, r"alpha must lie in \[0, 1\], got 1.5"),
        ({"bound": 0.0}, "norm bound must be above 0"),
        ({"per_batch": -1}, r"\(per_batch\) must be a whole number of 0 or more, got -1"),
        ({"epochs": -1}, "epochs must be a whole number of 0 or more, got -1"),
    ],
)
def test_impossible_settings_are_refused(changes, said):
    with pytest.raises(errors.ConfigError, match=said):
        settings(**changes)


def adaptive(alpha, halvings=0, gamma=1.0):
    """(score of what is sent, worst benign score, info) of an attacker who knows the rule."""
    rule = krum.krum(attackers=1)
    made = constrain_and_scale.constrain_and_scale(
        toy.LOSS, optax.sgd(1.0), batch_size=4, against=rule, halvings=halvings
    )
    g = toy.variables(jax.random.key(0))
    draw = np.random.default_rng(5)
    near = lambda a: jnp.asarray(0.05 * draw.normal(size=(6, *a.shape)), jnp.float32)
    benign = Stacked(jax.tree.map(near, g), jnp.ones(6))
    view = View(g, jnp.int32(1), jnp.int32(0), benign, settings(alpha=alpha, gamma=gamma))
    sent, _, info = jax.jit(made.update)(view, (), jax.random.key(4))
    mine = rule.score(jax.tree.map(lambda a: a[0], sent), benign, ())
    place = jnp.arange(6)
    worst = max(
        float(
            rule.score(
                jax.tree.map(lambda a, i=i: a[i], benign.updates),
                benign._replace(weights=(place != i).astype(jnp.float32)),
                (),
            )
        )
        for i in range(6)
    )
    return float(mine), worst, info


def test_an_adaptive_attacker_lowers_the_rules_own_score():
    assert adaptive(0.3)[0] < adaptive(0.9)[0] < adaptive(1.0)[0]


def test_a_fitted_scale_passes_the_rule():
    mine, worst, info = adaptive(0.3, halvings=5, gamma=8.0)
    assert mine <= worst
    assert float(info.gamma) >= 1
    unfitted, worst, _ = adaptive(1.0, gamma=8.0)
    assert unfitted > worst


def test_an_adaptive_attack_needs_a_score():
    with pytest.raises(errors.ConfigError, match="needs an aggregator with a score"):
        constrain_and_scale.constrain_and_scale(
            toy.LOSS, optax.sgd(1.0), batch_size=4, against=mean.mean()
        )
    with pytest.raises(errors.ConfigError, match="name it in `against`"):
        constrain_and_scale.constrain_and_scale(toy.LOSS, optax.sgd(1.0), batch_size=4, halvings=3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of 1 or more"),
        ({"attackers": 0}, "attackers must be a whole number of 1 or more"),
        ({"drop_every": 0}, "drop_every must be a whole number of 1 or more"),
    ],
)
def test_impossible_attacks_are_refused(changes, said):
    usual = {"batch_size": 4}
    with pytest.raises(errors.ConfigError, match=said):
        constrain_and_scale.constrain_and_scale(toy.LOSS, optax.sgd(1.0), **(usual | changes))


def test_poisoners_who_share_nothing_send_gamma_each():
    g = toy.variables(jax.random.key(0))
    made = {
        shared: constrain_and_scale.constrain_and_scale(
            toy.LOSS, optax.sgd(1.0), batch_size=4, attackers=2, shared=shared
        )
        for shared in (True, False)
    }
    view = View(g, jnp.int32(2), jnp.int32(0), None, settings(gamma=2.0))
    together, apart = (
        jax.jit(made[shared].update)(view, (), jax.random.key(1))[0] for shared in (True, False)
    )
    close(apart, tree.scale(2.0, together), rtol=1e-5, atol=1e-7)


def test_a_round_without_the_attackers_data_is_a_sentence(key):
    view = View(toy.variables(key), jnp.int32(1), jnp.int32(0), None, ())
    with pytest.raises(errors.ConfigError, match=r"in `RoundData.attack`, but tuple came"):
        attack().update(view, (), key)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clean": {"x": np.zeros((0, 4)), "y": np.zeros(0)}}, r"clean examples .* \[\(0,\)\]"),
        ({"clean": {"x": np.zeros((5, 4)), "y": np.zeros(3)}}, r"clean examples .* one leading"),
        ({"backdoor": {}}, r"backdoor examples are arrays of one leading length"),
        ({"backdoor": {"x": np.zeros((5, 3)), "y": np.zeros(5)}}, "both must be alike"),
        ({"backdoor": {"x": np.zeros((5, 4))}}, "both must be alike"),
    ],
)
def test_examples_that_make_no_batch_are_refused(changes, said):
    """Rows that one array has and another has not would be read as its last one."""
    examples = {"clean": toy.examples(2, 20), "backdoor": WANTED} | changes
    with pytest.raises(errors.DataError, match=said):
        constrain_and_scale.poison(**examples, per_batch=1, epochs=1, rate=0.1, gamma=1.0)
