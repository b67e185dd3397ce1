"""Directed deviation against slow NumPy references, and against the rules it is made for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, tree
from fl_jax.federated import round, sampling
from fl_jax.federated.aggregators import krum, median
from fl_jax.federated.aggregators.base import Stacked, Summed
from fl_jax.federated.attacks import directed
from fl_jax.federated.attacks.base import View
from tests.federated import toy

MANY, FEATURES = 9, 30  # places of the cohort that are not the attackers'
DRAW = np.random.default_rng(3)
X = (DRAW.normal(size=(MANY, FEATURES)) + DRAW.normal(size=FEATURES)).astype(np.float32)
X[4] = 0.0  # its update did not arrive
THERE = np.arange(MANY) != 4
BENIGN = Stacked({"w": jnp.asarray(X)}, jnp.asarray(THERE, jnp.float32))
MODEL = {"w": jnp.asarray(DRAW.normal(size=FEATURES), jnp.float32)}


def send(attack, count=2, key=0, model=MODEL):
    view = View(model, jnp.int32(count), jnp.int32(0), BENIGN, ())
    sent, _, info = jax.jit(attack.update)(view, (), jax.random.key(key))
    return np.asarray(sent["w"]), float(info.scale)


def together(sent, count):
    """The server's stack: the benign ones that arrived and the attackers."""
    stack = np.concatenate([X[THERE], sent[:count]])
    return Stacked({"w": jnp.asarray(stack)}, jnp.ones(len(stack)))


def krum_scores(x, f):
    """Blanchard et al., in plain Python."""
    out = []
    for i in range(len(x)):
        apart = sorted(float(((x[i] - x[j]) ** 2).sum()) for j in range(len(x)) if j != i)
        out.append(sum(apart[: len(x) - f - 2]))
    return np.array(out)


def krum_attack(x, c):
    """Section 4.2 in plain Python: lambda and what is sent."""
    x = x.astype(np.float64)
    m, d = len(x) + c, x.shape[1]
    s = np.sign(x[np.argmin(krum_scores(x, c))])
    near = []
    for i in range(len(x)):
        apart = sorted(((x[i] - x[j]) ** 2).sum() for j in range(len(x)) if j != i)
        near.append(sum(apart[: m - c - 2]))
    far = max(np.linalg.norm(a) for a in x)
    scale = np.sqrt(min(near) / ((m - 2 * c - 1) * d)) + far / np.sqrt(d)
    while True:
        everyone = np.concatenate([x, np.tile(-scale * s, (c, 1))])
        if np.argmin(krum_scores(everyone, c)) >= len(x) or scale / 2 < 1e-5:
            return scale, -scale * s
        scale /= 2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_krum_attack_equals_the_paper_in_plain_python(count):
    sent, scale = send(directed.against_krum(attackers=3), count)
    expected, vector = krum_attack(X[THERE], count)
    assert scale == pytest.approx(expected, rel=1e-4)
    for row in sent:
        np.testing.assert_allclose(row, vector, rtol=1e-4)


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_krum_takes_the_crafted_update_and_goes_the_other_way(spread):
    sent, scale = send(directed.against_krum(attackers=3, spread=spread), 3)
    apart = np.linalg.norm(sent - sent[0], axis=1)
    assert apart.max() <= spread * (1 + 1e-4)
    assert (apart[1:] > 0).all() == (spread > 0)
    rule = krum.krum(attackers=3)
    chosen, _ = rule.update(together(sent, 3), ())
    assert min(np.abs(sent - np.asarray(chosen["w"])).max(axis=1)) < 1e-5
    assert scale > 1e-5
    away = X[THERE][np.argmin(krum_scores(X[THERE], 3))]  # what it would have taken
    far = np.abs(away) > spread
    np.testing.assert_array_equal(np.sign(np.asarray(chosen["w"]))[far], -np.sign(away)[far])


def test_a_whole_round_by_krum_goes_where_the_attackers_want(key):
    made = round.make(
        client=toy.trainer(epochs=1),
        sampler=sampling.single_shot(toy.PARTICIPANTS, 9, attackers=[0, 1, 2], rounds=[0]),
        aggregator=krum.krum(attackers=3),
        attack=directed.against_krum(attackers=3),
        inspect=lambda seen: seen.updates,
    )
    g = toy.variables(key)
    state, info = jax.jit(made.step)(made.init(g), round.RoundData(toy.people()), key)
    moved = np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree.sub(state.variables, g))])
    np.testing.assert_allclose(np.abs(moved), float(info.attack.scale), rtol=1e-3)
    honest = np.concatenate(
        [
            np.asarray(a)[~np.asarray(info.malicious)].reshape(6, -1)
            for a in jax.tree.leaves(info.inspection)
        ],
        axis=1,
    )
    best = honest[np.argmin(krum_scores(honest, 3))]
    np.testing.assert_array_equal(np.sign(moved), -np.sign(best))


def test_a_lone_attacker_whom_krum_ignores_ends_at_the_least_lambda():
    _, scale = send(directed.against_krum(attackers=1, assumed=5, least=0.05), 1)
    assert 0.05 <= scale < 0.1


def trimmed_reference(c):
    """What the trimmed mean gives with all c attackers cut off on the side they are on."""
    x = np.sort(X[THERE].astype(np.float64), axis=0)
    grows = X[THERE].mean(axis=0) > 0
    low, high = x[: len(x) - c].mean(axis=0), x[c:].mean(axis=0)
    return np.where(grows, low, high)


@pytest.mark.parametrize("of", ["model", "update"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_trimmed_mean_loses_its_best_benign_values(of, count):
    sent, _ = send(directed.against_trimmed_mean(attackers=3, of=of), count)
    rule = median.trimmed_mean(trim=count)
    got, _ = rule.update(together(sent, count), ())
    np.testing.assert_allclose(got["w"], trimmed_reference(count), rtol=1e-4, atol=1e-5)
    before, _ = rule.update(Stacked({"w": jnp.asarray(X[THERE])}, jnp.ones(8)), ())
    moved = np.asarray(got["w"] - before["w"])
    assert (moved * X[THERE].mean(axis=0) < 0).all()
    middle, _ = median.median().update(together(sent, count), ())
    centre = np.median(X[THERE], axis=0)
    assert ((np.asarray(middle["w"]) - centre) * X[THERE].mean(axis=0) <= 0).all()


@pytest.mark.parametrize("of", ["model", "update"])
def test_draws_fill_the_papers_intervals(of):
    base = np.asarray(MODEL["w"]) if of == "model" else 0.0
    attack = directed.against_trimmed_mean(attackers=200, of=of)
    sent, _ = send(attack)
    values = sent + base
    w = X[THERE] + base
    ends = []
    for j in range(FEATURES):
        if X[THERE][:, j].mean() > 0:
            edge = w[:, j].min()
            ends.append(sorted([edge, edge / 2 if edge > 0 else edge * 2]))
        else:
            edge = w[:, j].max()
            ends.append(sorted([edge, edge * 2 if edge > 0 else edge / 2]))
    low, high = np.array(ends).T
    assert (values >= low - 1e-5).all()
    assert (values <= high + 1e-5).all()
    share = (values - low) / (high - low)
    assert (share.min(axis=0) < 0.05).all()
    assert (share.max(axis=0) > 0.95).all()
    again, _ = send(attack, key=1)
    assert (again != sent).any()


def test_a_round_nobody_benign_arrives_in_is_finite():
    empty = Stacked({"w": jnp.zeros((MANY, FEATURES))}, jnp.zeros(MANY))
    view = View(MODEL, jnp.int32(2), jnp.int32(0), empty, ())
    for attack in (directed.against_krum(attackers=2), directed.against_trimmed_mean(attackers=2)):
        sent, _, info = attack.update(view, (), jax.random.key(0))
        assert np.isfinite(sent["w"]).all()
        assert np.isfinite(info.scale)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: directed.against_krum(attackers=0),
            "attackers must be a whole number of 1",
        ),
        (lambda: directed.against_krum(attackers=1, spread=-1.0), "spread must be 0 or more"),
        (lambda: directed.against_krum(attackers=1, assumed=-1), "must be 0 or more, got -1"),
        (lambda: directed.against_krum(attackers=1, least=0.0), "least lambda must be above 0"),
        (lambda: directed.against_trimmed_mean(attackers=1, reach=1.0), "must be above 1, got 1.0"),
        (lambda: directed.against_trimmed_mean(attackers=1, of="modal"), "did you mean 'model'"),
    ],
)
def test_bad_settings_are_refused(make, said):
    with pytest.raises(errors.ConfigError, match=said):
        make()


BOTH = pytest.mark.parametrize("make", [directed.against_krum, directed.against_trimmed_mean])


@BOTH
def test_seeds_side_by_side_and_half_precision(make):
    attack = make(attackers=2)
    half = lambda a: jnp.asarray(a, jnp.bfloat16)
    benign = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), BENIGN.updates)

    def one(x, key):
        view = View(MODEL, jnp.int32(2), jnp.int32(0), BENIGN._replace(updates=x), ())
        return attack.update(view, (), key)[0]

    keys = jax.random.split(jax.random.key(0), 2)
    both = jax.jit(jax.vmap(one))(benign, keys)["w"]
    for i in range(2):
        alone = one({"w": benign["w"][i]}, keys[i])["w"]
        np.testing.assert_allclose(both[i], alone, rtol=1e-5, atol=1e-6)
    lower = BENIGN._replace(updates=jax.tree.map(half, BENIGN.updates))
    view = View(jax.tree.map(half, MODEL), jnp.int32(2), jnp.int32(0), lower, ())
    sent = attack.update(view, (), keys[0])[0]["w"]
    assert sent.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(sent, np.float32), both[0], rtol=0.1, atol=0.1)


@BOTH
def test_a_sum_of_updates_is_not_enough(make):
    view = View(MODEL, jnp.int32(1), jnp.int32(0), Summed(MODEL, jnp.float32(3)), ())
    with pytest.raises(errors.ConfigError, match="must be `Stacked`, but Summed came"):
        make(attackers=1).update(view, (), jax.random.key(0))
