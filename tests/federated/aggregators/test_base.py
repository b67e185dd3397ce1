"""The contract of aggregators: each against a slow NumPy twin, and what it declares."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import tree
from fl_jax.federated import client
from fl_jax.federated.aggregators import (
    alignins,
    base,
    centred_clip,
    choice,
    clipped_clustering,
    deepsight,
    dnc,
    flame,
    flare,
    fltrust,
    foolsgold,
    geometric_median,
    indicator,
    krum,
    mean,
    median,
    mixing,
    multi_metrics,
    rflbat,
    robust_rate,
    signguard,
    snowball,
)
from fl_jax.federated.aggregators.base import Stacked, Summed
from fl_jax.federated.defences import norm_clip
from fl_jax.federated.statistics import coordinates
from fl_jax.nn.loss import cross_entropy
from fl_jax.train.state import Variables
from tests.federated.aggregators import reference

COHORT, SIZE = 7, 13
DRAW = np.random.default_rng(0)
UPDATES = (DRAW.normal(size=(COHORT, SIZE)) + 0.7).astype(np.float32)
ROOT = (DRAW.normal(size=SIZE) + 0.7).astype(np.float32)
MODEL = np.linspace(-2, 3, SIZE).astype(np.float32)
SHARES = np.array([3, 1, 4, 1, 5, 9, 2], np.float32)


def cut(flat):
    return {"w": jnp.asarray(flat[..., :10]), "b": jnp.asarray(flat[..., 10:])}


def flat(updates):
    return np.concatenate([updates["w"], updates["b"]], axis=-1)


def towards_root(variables, examples, start, size, key, *, longest):
    """A server whose own training moves by ROOT."""
    del examples, start, size, key, longest
    return tree.add(variables, tree.cast(cut(ROOT), variables)), client.ClientInfo(jnp.float32(0))


SERVER = client.Client(towards_root, lambda size: size)


def at_model(rule):
    """The rule in a round whose global model is MODEL, whatever it is given."""

    def begin(variables, state, key):
        return rule.begin(tree.cast(cut(MODEL), variables), state, key)

    return rule._replace(begin=begin)


def of_params(rule):
    """The rule on what updates are here, parameters without batch statistics."""
    return rule._replace(
        init=lambda params: rule.init(Variables(params, {})),
        begin=lambda params, state, key: rule.begin(Variables(params, {}), state, key),
        broadcast=lambda params, state: rule.broadcast(Variables(params, {}), state).params,
        arrive=lambda update, state: (update, rule.arrive(Variables(update, {}), state)[1]),
        score=lambda update, others, state: rule.score(Variables(update, {}), others, state),
    )


# The coordinates that rules with a draw see in `compiled`, as columns of `flat`.
draw = lambda key, count: np.r_[10:SIZE, 0:10][coordinates.choose(key, SIZE, count)]
DNC = draw(jax.random.split(jax.random.key(0), 1)[0], 8)
SIGNS = draw(jax.random.key(0), 9)
UNIFORM = np.asarray(jax.random.uniform(jax.random.key(0), (5, COHORT, 2)))
# A linear classifier of 3 classes on 3 inputs, at 0; the tenth of `w` is nobody's.
linear = lambda v, x: x @ v["w"][:9].reshape(3, 3) + v["b"][None, :]
DEEPSIGHT = deepsight.deepsight(
    apply=lambda v, x: linear(tree.wide(v), x),
    inputs=lambda key: jax.random.normal(key, (40, 3)),
    select=lambda u: deepsight.Layer(u["w"][:9].reshape(3, 3), u["b"]),
)
INPUTS = [np.asarray(jax.random.normal(k, (40, 3))) for k in jax.random.split(jax.random.key(0), 3)]
twin_of_deepsight = lambda u, n: reference.deepsight(
    u, u[:, :9].reshape(-1, 3, 3), u[:, 10:], (np.zeros((3, 3)), np.zeros(3)), INPUTS
)
# Features that saturate, of the same inputs as the classifier's.
inside = lambda v, x: jnp.tanh(x @ tree.wide(v)["w"][:9].reshape(3, 3))
FLARE = flare.flare(features=inside, root=INPUTS[0])
twin_of_flare = lambda u, n: reference.flare(
    u, lambda v: np.tanh(INPUTS[0] @ v[:9].reshape(3, 3)), MODEL
)
# The same inputs under labels that a server plants in that classifier.
INDICATOR = indicator.indicator(
    loss=lambda v, batch, key: (
        jnp.mean(cross_entropy(linear(tree.wide(v.params), batch["x"]), batch["y"])),
        ({}, {}),
    ),
    apply=lambda v, x: linear(tree.wide(v.params), x),
    images=INPUTS[0],
    labels=indicator.balanced(40, 3),
    classes=3,
    rate=0.1,
    epochs=5,
    batch_size=40,
    weight_decay=0.0,
    threshold=0.7,
)
twin_of_indicator = lambda u, n: reference.indicator(
    u, u[:, :9].reshape(-1, 3, 3), u[:, 10:], INPUTS[0], indicator.balanced(40, 3), 0.7
)
clipped = lambda u: u * np.minimum(1, 2.0 / np.linalg.norm(u, axis=1))[:, None]

# name: (aggregator, NumPy twin on (updates, shares)); one line each.
RULES = {
    "fedavg": (mean.fedavg(eta=2.0, participants=50), lambda u, n: 2.0 / 50 * u.sum(0)),
    "mean by examples": (mean.mean(), lambda u, n: np.average(u, axis=0, weights=n)),
    "uniform mean": (mean.mean(weight="uniform"), lambda u, n: u.mean(0)),
    "median": (median.median(), lambda u, n: np.median(u, axis=0)),
    "trimmed mean": (median.trimmed_mean(trim=1), lambda u, n: reference.trimmed_mean(u, 1)),
    "krum": (krum.krum(attackers=1), lambda u, n: reference.krum(u, 1)),
    "multi-krum": (krum.multi_krum(attackers=1), lambda u, n: reference.multi_krum(u, 1)),
    "multi-krum of 2": (
        krum.multi_krum(attackers=1, keep=2),
        lambda u, n: reference.multi_krum(u, 1, 2),
    ),
    "bulyan": (krum.bulyan(attackers=1), lambda u, n: reference.bulyan(u, 1)),
    "trimmed mean of mixed": (
        mixing.nearest_neighbours(median.trimmed_mean(trim=1), attackers=1),
        lambda u, n: reference.trimmed_mean(reference.mixed(u, 1), 1),
    ),
    "median of mixed": (
        mixing.nearest_neighbours(median.median(), attackers=2),
        lambda u, n: np.median(reference.mixed(u, 2), axis=0),
    ),
    "geometric median, published": (
        geometric_median.geometric_median(),
        lambda u, n: reference.geometric_median(u, n, 3, "mean"),
    ),
    "geometric median, converged": (
        geometric_median.geometric_median(iterations=100, start="median", weight="uniform"),
        lambda u, n: reference.geometric_median(u, np.ones(len(u)), 100, "median"),
    ),
    "centred clip": (
        centred_clip.centred_clip(radius=2.0),
        lambda u, n: reference.centred_clip(u, 2.0, 1),
    ),
    "centred clip, 3 iterations": (
        centred_clip.centred_clip(radius=2.0, iterations=3),
        lambda u, n: reference.centred_clip(u, 2.0, 3),
    ),
    "fltrust": (
        fltrust.fltrust(client=SERVER, root={"x": np.zeros((5, 2))}),
        lambda u, n: reference.fltrust(u, ROOT),
    ),
    "foolsgold": (foolsgold.foolsgold(), lambda u, n: reference.foolsgold(u)),
    "flame": (flame.flame(noise=0.0), lambda u, n: reference.flame(u)),
    "dnc": (dnc.dnc(attackers=1, count=8), lambda u, n: reference.dnc(u, 1, [DNC])),
    "signguard": (
        signguard.signguard(drawn=9 / SIZE),
        lambda u, n: reference.signguard(u, SIGNS),
    ),
    "signguard-sim": (
        signguard.signguard(similarity="cosine", drawn=9 / SIZE),
        lambda u, n: reference.signguard(u, SIGNS, reference.likeness(u, "cosine")),
    ),
    "signguard-dist": (
        signguard.signguard(similarity="distance", drawn=9 / SIZE),
        lambda u, n: reference.signguard(u, SIGNS, reference.likeness(u, "distance")),
    ),
    "rflbat": (rflbat.rflbat(), lambda u, n: reference.rflbat(u, UNIFORM[:, : len(u)])),
    "deepsight": (DEEPSIGHT, twin_of_deepsight),
    "clipped clustering": (
        clipped_clustering.clipped_clustering(kept=20),
        lambda u, n: reference.clipped_clustering(u),
    ),
    "multi-metrics": (
        at_model(multi_metrics.multi_metrics(share=0.5)),
        lambda u, n: reference.multi_metrics(u, MODEL, 0.5),
    ),
    "alignins": (at_model(alignins.alignins()), lambda u, n: reference.alignins(u, MODEL)),
    "flare": (at_model(FLARE), twin_of_flare),
    "snowball, bottom-up": (
        snowball.snowball(suspects=2, first=0.45, final=0.0),
        lambda u, n: reference.snowball(u, [u[:, :10], u[:, 10:]], 2, 0.45),
    ),
    "indicator": (of_params(INDICATOR), twin_of_indicator),
    "robust rate": (
        robust_rate.robust_rate(threshold=4),
        lambda u, n: reference.robust_rate(u, 4),
    ),
    "clipped mean": (
        choice.guarded(mean.mean(weight="uniform"), norm_clip.norm_clip(bound=2.0)),
        lambda u, n: clipped(u).mean(0),
    ),
}
SIDE_BY_SIDE = (
    "dnc",
    "signguard",
    "signguard-sim",
    "signguard-dist",
    "rflbat",
    "deepsight",
    "clipped clustering",
    "multi-metrics",
    "alignins",
    "flare",
    "snowball, bottom-up",
)
NEEDS = {
    "krum": 5,
    "multi-krum": 5,
    "multi-krum of 2": 5,
    "bulyan": 7,
    "median of mixed": 5,
    "snowball, bottom-up": 5,
}


@functools.cache
def compiled(name, stacked=False):
    """(updates, weights) -> aggregate, as a round calls the rule."""
    rule = RULES[name][0]
    if stacked:
        rule = base.as_stacked(rule)

    def run(updates, weights):
        zeros = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], a.dtype), updates)
        state = rule.begin(zeros, rule.init(zeros), jax.random.key(0))
        arrive = rule.arrive or (lambda update, state: (update, jnp.float32(1)))
        taken, factors = jax.vmap(arrive, (0, None))(updates, state)
        seen = Stacked(taken, weights * factors)
        out, after = rule.update(base.summed(seen) if rule.sees is Summed else seen, state)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        return out

    return jax.jit(run)


def aggregate(name, updates, arrived=None, shares=SHARES, stacked=False):
    """The rule on these updates, collected as a round collects them."""
    rule = RULES[name][0]
    weights = shares if rule.weight == "examples" else np.ones(COHORT, np.float32)
    weights = weights if arrived is None else weights * arrived
    there = np.where(weights[:, None] > 0, updates, 0).astype(np.float32)
    return flat(compiled(name, stacked)(cut(there), jnp.asarray(weights)))


def declaring(what):
    return [name for name, (rule, _) in RULES.items() if what in rule.properties]


@pytest.fixture(params=sorted(RULES))
def name(request):
    return request.param


def test_it_equals_its_twin_and_leaves_out_what_is_dropped(name):
    twin = RULES[name][1]
    close = {"rtol": 2e-5, "atol": 2e-6}
    np.testing.assert_allclose(aggregate(name, UPDATES), twin(UPDATES, SHARES), **close)
    arrived = np.array([1, 1, 0, 1, 1, 1, 1] if name in NEEDS else [1, 1, 0, 1, 1, 0, 1])
    there = arrived > 0
    if there.sum() >= NEEDS.get(name, 0):
        expected = twin(UPDATES[there], SHARES[there])
    else:
        expected = np.zeros(SIZE)  # too few for the rule: nothing moves
    broken = np.where(there[:, None], UPDATES, np.nan)
    np.testing.assert_allclose(
        aggregate(name, np.nan_to_num(broken), arrived.astype(np.float32)), expected, **close
    )


def test_the_stack_gives_what_the_running_sum_gives(name):
    np.testing.assert_allclose(
        aggregate(name, UPDATES, stacked=True), aggregate(name, UPDATES), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_rounds_side_by_side_are_those_one_by_one(name):
    """Loops that end by the data, and draws, under `vmap`."""
    rounds = np.stack([UPDATES, 3 * UPDATES[::-1] - 1])
    there = np.array([np.ones(COHORT), [1, 1, 0, 1, 1, 1, 0]], np.float32)
    rounds = (rounds * there[:, :, None]).astype(np.float32)
    found = flat(jax.vmap(compiled(name))(cut(rounds), jnp.asarray(there)))
    for i in range(2):
        alone = compiled(name)(cut(rounds[i]), jnp.asarray(there[i]))
        np.testing.assert_allclose(found[i], flat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("dtype", "digits"), [(jnp.bfloat16, 8), (jnp.float16, 11)])
def test_narrow_updates_are_aggregated_in_float32(name, dtype, digits):
    """Coefficients are not rounded, and sums may be beyond what the updates' dtype holds."""
    rule = RULES[name][0]
    narrow = jax.tree.map(lambda a: a.astype(dtype), cut(512 * UPDATES))
    shares = 101 * SHARES if rule.weight == "examples" else np.ones(COHORT, np.float32)
    run = lambda updates: compiled(name)(updates, jnp.asarray(shares))
    found = flat(jax.tree.map(lambda a: np.asarray(a, np.float32), run(narrow)))
    expected = flat(run(tree.wide(narrow)))
    # The rounding of the result, and of the updates where they are clipped first.
    loose = 2.0 if "clip" in name or name == "fltrust" else 1.01
    np.testing.assert_allclose(found, expected, rtol=loose * 2.0**-digits, atol=1e-2)


def test_nothing_arrives_and_nothing_moves(name):
    gone = np.zeros(COHORT, np.float32)
    np.testing.assert_array_equal(aggregate(name, np.zeros_like(UPDATES), gone), 0)


def test_what_it_declares_is_known(name):
    rule = RULES[name][0]
    assert rule.properties <= set(base.PROPERTIES)
    assert rule.memory in base.MEMORY
    assert (rule.memory == "sum") == (rule.sees is Summed)


def test_order_does_not_matter(name):
    assert "permutation" in RULES[name][0].properties
    turned = np.roll(UPDATES, 3, axis=0)
    np.testing.assert_allclose(
        aggregate(name, turned, shares=np.roll(SHARES, 3)),
        aggregate(name, UPDATES),
        rtol=1e-5,
        atol=1e-6,
    )


def test_equal_updates_are_returned_by_those_that_say_so(name):
    same = np.broadcast_to(UPDATES[:1], UPDATES.shape)
    found = aggregate(name, same)
    assert np.isfinite(found).all()
    if "equal" in RULES[name][0].properties:
        np.testing.assert_allclose(found, UPDATES[0], rtol=1e-5, atol=1e-6)


def test_a_shift_of_all_shifts_the_result_of_those_that_say_so(name):
    shift = np.linspace(-3, 3, SIZE, dtype=np.float32)
    moved = aggregate(name, UPDATES + shift)
    follows = np.allclose(moved, aggregate(name, UPDATES) + shift, rtol=1e-4, atol=1e-4)
    if name != "rflbat":  # its cosines count where there are groups, and these seven make none
        assert follows == ("translation" in RULES[name][0].properties)


@pytest.mark.parametrize("name", declaring("scale"))
def test_a_factor_on_all_is_a_factor_on_the_result(name):
    np.testing.assert_allclose(
        aggregate(name, 4 * UPDATES), 4 * aggregate(name, UPDATES), rtol=1e-5, atol=1e-5
    )


def outlier():
    thrown = UPDATES.copy()
    thrown[2] = 1e6 * np.sign(UPDATES[2])
    return thrown, np.delete(UPDATES, 2, axis=0)


def test_one_outlier_stays_outside_for_those_that_say_so(name):
    thrown, benign = outlier()
    found = aggregate(name, thrown)
    inside = bool(np.all((found >= benign.min(0) - 1e-5) & (found <= benign.max(0) + 1e-5)))
    if "outlier" in RULES[name][0].properties:
        assert inside
    elif name in ("fedavg", "mean by examples", "uniform mean", "geometric median, published"):
        assert not inside  # the test can tell


def test_the_converged_geometric_median_moves_less_than_the_benign_are_apart():
    thrown, benign = outlier()
    diameter = max(np.linalg.norm(a - b) for a in benign for b in benign)
    move = lambda name: np.linalg.norm(aggregate(name, thrown) - aggregate(name, UPDATES))
    assert move("geometric median, converged") <= diameter
    assert move("geometric median, published") > 100 * diameter  # three steps from the mean


@pytest.mark.parametrize("name", [n for n, (rule, _) in RULES.items() if rule.score is not None])
def test_a_score_is_finite_with_its_derivative_and_higher_far_outside(name):
    rule = RULES[name][0]
    zeros = jax.tree.map(jnp.zeros_like, cut(ROOT))
    state = rule.begin(zeros, rule.init(zeros), jax.random.key(0))
    others = Stacked(cut(UPDATES[1:]), jnp.ones(COHORT - 1))
    score = jax.jit(jax.value_and_grad(lambda u: rule.score(u, others, state)))
    none, begin = score(zeros)  # where an attacker begins
    own, slope = score(cut(UPDATES[0]))
    away, _ = score(cut(-30 * UPDATES[0]))
    assert bool(tree.all_finite((none, own, slope))) and float(tree.norm(begin)) < 100
    if name != "foolsgold":  # which suspects the ones that are alike
        assert float(away) > float(own)
