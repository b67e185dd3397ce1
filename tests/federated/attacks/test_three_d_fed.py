"""3DFed: what it sends, part by part; its tuning against plain Python; whole rounds that answer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from fl_jax.core import errors, rng, tree
from fl_jax.federated import round, sampling
from fl_jax.federated.aggregators import base
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks import three_d_fed
from fl_jax.federated.attacks.base import View
from fl_jax.nn import loss, network
from fl_jax.train.state import Variables
from tests.federated import toy


class Net(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(4, 16, rngs=rngs)
        self.head = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(jax.nn.tanh(self.dense(x)))


NET = network.from_nnx(Net)
LOSS = loss.classification(NET)
CLEAN = toy.examples(2, 40)
X = CLEAN["x"][CLEAN["y"] == 0][:8] + np.array([0, 0, 0, 2.0], np.float32)
WANTED = {"x": X, "y": np.full(len(X), 2, np.int32)}
POISON = scaling.poison(CLEAN, WANTED, per_batch=4, epochs=2, rate=0.05, gamma=5.0, alpha=0.6)
ATTACKERS, PATH = 4, "dense/kernel"
PEOPLE = toy.people()
START = Variables(*NET.init(jax.random.key(0)))


def make(value=LOSS, **settings):
    usual = {
        "batch_size": 16,
        "attackers": ATTACKERS,
        "target": 2,
        "indicator": PATH,
        "benign": optax.sgd(0.1, momentum=0.9),
        "neurons": 2,
    }
    return three_d_fed.three_d_fed(value, optax.sgd(1.0, momentum=0.9), **{**usual, **settings})


def view_of(count, poison):
    ids = jnp.arange(3, 3 + ATTACKERS)
    return View(START, count, jnp.int32(0), None, poison, ids, PEOPLE)


@functools.cache
def compiled(value=LOSS, **settings):
    attack = make(value, **settings)

    @jax.jit
    def run(count, decoys, noisy, poison):
        state = attack.init(START)._replace(
            count=decoys, begun=jnp.bool_(True), alpha=jnp.full(2, 0.4), noisy=noisy
        )
        view = view_of(count, poison)
        return attack.update(view, state, jax.random.key(4))

    return run


def sent(count=ATTACKERS, decoys=0, noisy=False, poison=POISON, run=compiled):
    """(updates, state, info) of an attack with this many decoys."""
    return run()(jnp.int32(count), jnp.int32(decoys), jnp.bool_(noisy), poison)


def test_all_send_one_model_with_noise_that_cancels_and_a_mark_of_their_own():
    out, state, info = sent()
    kernel = np.asarray(out.params["dense"]["kernel"]).reshape(ATTACKERS, -1)
    places, values = np.asarray(state.places), np.asarray(state.values)
    assert len(set(places)) == ATTACKERS
    for i in range(ATTACKERS):
        assert kernel[i, places[i]] == values[i]
    unmarked = kernel.copy()
    for i in range(ATTACKERS):
        unmarked[i, places] = 0
    np.testing.assert_array_equal(unmarked, np.broadcast_to(unmarked[:1], unmarked.shape))
    head = np.asarray(out.params["head"]["kernel"])
    np.testing.assert_array_equal(
        head[:, :, 2], np.broadcast_to(head[:1, :, 2], head[:, :, 2].shape)
    )
    differ = np.abs(head[0] - head[1]).max(0)
    assert (differ[:2] > 0.01).all()
    pair = head[:2].mean(0)[:, :2] - head[2:].mean(0)[:, :2]  # without noise, up to what is left
    assert np.linalg.norm(pair) < 0.4 * np.linalg.norm(head[0] - head[1])
    assert int(info.decoys) == 0
    assert (np.asarray(info.verdicts) == -1).all()


def test_without_camouflage_it_is_constrained_training():
    """Where neither marks nor noise are, what is sent is s (X - G)."""
    plain = scaling.constrain_and_scale(
        LOSS, optax.sgd(1.0, momentum=0.9), batch_size=16, shared=False
    )

    @jax.jit
    def trained(poison):
        view = View(START, jnp.int32(4), jnp.int32(0), None, poison._replace(gamma=1.0))
        return plain.update(view, (), rng.fold(jax.random.key(4), "backdoor"))[0]

    fast, slow = (POISON._replace(rate=jnp.float32(r)) for r in (2.0, 1e-3))
    factors = []
    for poison in (fast, slow, slow._replace(gamma=jnp.float32(1.5))):
        out, _, info = sent(poison=poison)
        factors.append(float(info.scale))
        expected = factors[-1] * trained(poison).params["dense"]["bias"][0]
        np.testing.assert_allclose(out.params["dense"]["bias"][1], expected, rtol=1e-4, atol=1e-7)
    assert factors == [1, 5, 1.5]  # to the reference's length, never shorter, up to gamma


def test_decoys_take_the_last_places_and_leave_along_one_coordinate():
    flatline = lambda variables, batch, key: (
        0.0 * jnp.sum(variables.params["dense"]["bias"]),
        (variables.batch_stats, {"accuracy": jnp.float32(0)}),
    )
    run = functools.partial(compiled, flatline, reach=0.5, benign=optax.sgd(0.01, momentum=0.9))
    out, state, info = sent(count=3, decoys=2, run=run)
    assert int(info.decoys) == 2
    np.testing.assert_array_equal(state.backdoored, [True, False, False, False])
    np.testing.assert_array_equal(state.decoys, [False, True, True, False])
    kernel = np.asarray(out.params["head"]["kernel"]).reshape(ATTACKERS, -1)
    # With a loss that is flat, the coordinate alone moves: by rate * pull / 2 a step with momentum,
    # to `reach`, and on by what momentum is left.
    for i in (1, 2):
        speed = place = 0.0
        for _ in range(2 * -(-int(PEOPLE.size[3 + i]) // 16)):
            speed = 0.9 * speed + (5.0 if place <= 0.5 else 0.0)
            place += 0.01 * speed
        (moved,) = np.flatnonzero(kernel[i])
        assert kernel[i, moved] == pytest.approx(place, rel=1e-5)
    assert np.flatnonzero(kernel[1]) != np.flatnonzero(kernel[2])
    real = sent(count=3, decoys=2)[0]
    away = np.sort(np.abs(real.params["head"]["kernel"])[1:3].reshape(2, -1), axis=1)
    assert (away[:, -1] > 5 * away[:, -2]).all()


def test_one_backdoored_update_is_always_left_and_noise_ends_marks_and_decoys():
    _, state, info = sent(count=2, decoys=3)
    assert int(info.decoys) == 1
    np.testing.assert_array_equal(state.backdoored, [True, False, False, False])
    out, state, info = sent(decoys=3, noisy=True)
    assert int(info.decoys) == 0
    assert not bool(state.waiting)
    kernel = np.asarray(out.params["dense"]["kernel"])
    np.testing.assert_array_equal(kernel, np.broadcast_to(kernel[:1], kernel.shape))


def test_a_narrow_model_is_attacked_as_a_wide_one():
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), START)
    in_float32 = lambda variables, batch, key: LOSS(tree.wide(variables), batch, key)
    attack = make(in_float32, least=0.1)

    @jax.jit
    def run(start):
        view = view_of(jnp.int32(ATTACKERS), POISON)._replace(variables=start)
        state = attack.init(start)._replace(count=jnp.int32(1), begun=jnp.bool_(True))
        out, state, info = attack.update(view, state, jax.random.key(4))
        moved = jax.tree.map(lambda g, d: g + jnp.sum(d, axis=0) / 5, start, out)
        return out, state, info, attack.observe(moved, state)

    out, state, _, heard = run(narrow)
    wide = run(tree.wide(narrow))[0]
    assert jax.tree.leaves(out)[0].dtype == jnp.bfloat16
    bias = lambda sent: np.asarray(tree.wide(sent).params["dense"]["bias"])
    assert np.linalg.norm(bias(out) - bias(wide)) < 0.6 * np.linalg.norm(bias(wide))  # bfloat16
    flat = np.asarray(out.params["dense"]["kernel"], np.float32).reshape(ATTACKERS, -1)
    np.testing.assert_array_equal(flat[range(ATTACKERS), state.places], state.values)
    assert jax.tree.map(lambda a: a.dtype, heard) == jax.tree.map(lambda a: a.dtype, state)
    np.testing.assert_allclose(heard.feedback, 0.2, atol=0.1)


def plainly(alpha, count, told, backdoored, decoys, draws, lowest, group=2):
    """The authors' rules, a group and a decoy at a time; 'a', 'c' and 'r'."""
    word = ["r", "c", "a"]
    told = [word[t] for t in told]
    accepted = sum(told[i] == "a" for i in np.flatnonzero(decoys))
    count = max(count - accepted, 0)
    if not any(told[i] in "ac" for i in np.flatnonzero(backdoored)) and not accepted:
        count += 1
    groups = len(alpha)
    good, present = [], []
    for g in range(groups):
        own = [i for i in range(g * group, min((g + 1) * group, len(told))) if backdoored[i]]
        if own:
            present.append(g)
            if sum(told[i] == "a" for i in own) >= 0.8 * len(own):
                good.append(alpha[g])
    good.sort()
    if groups == 1:
        new = list(alpha) if good else [lowest + (1 - lowest) * draws[0]]
    elif not good:
        new = [lowest + (1 - lowest) * d for d in draws]
    elif len(good) == len(present) and len(good) > 1:
        new = [good[0] + (good[1] - good[0]) * d for d in draws]
    else:
        new = [good[0] + 0.1 * d for d in draws]
    return new, min(count, len(told) - 1)


@pytest.mark.parametrize("most", [2, 7])
def test_tuning_equals_plain_python(most):
    draw = np.random.default_rng(most)
    teams = np.arange(most) // 2
    groups = teams[-1] + 1
    template = make(attackers=most).init(START)
    tune = jax.jit(functools.partial(three_d_fed.tune, lowest=0.2))
    seen = set()
    for _ in range(60):
        alpha, draws = draw.uniform(0.2, 1, groups), draw.uniform(size=groups)
        k = int(draw.integers(0, most))
        here = int(draw.integers(1, most + 1))
        k_now = min(k, here - 1)
        slots = np.arange(most)
        decoys = (slots < here) & (slots >= here - k_now)
        backdoored = (slots < here) & ~decoys
        told = draw.choice(3, most, p=draw.dirichlet(np.full(3, 0.4)))
        state = template._replace(
            alpha=jnp.asarray(alpha, jnp.float32),
            count=jnp.int32(k),
            backdoored=jnp.asarray(backdoored),
            decoys=jnp.asarray(decoys),
        )
        got, count = tune(
            state, jnp.asarray(told), jnp.asarray(teams), jnp.asarray(draws, jnp.float32)
        )
        expected, k_new = plainly(alpha, k, told, backdoored, decoys, draws, 0.2)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        assert int(count) == k_new
        seen.add(np.sign(k_new - k))
    assert len(seen) > 1


MANY = 5
# What the server keeps of four attackers and one who stands still, and the noise it adds.
SERVERS = {
    "all": ([1, 1, 1, 1, 1], 0.0),
    "none": ([0, 0, 0, 0, 1], 0.0),
    "some": ([1, 0.5, 0, 1, 1], 0.0),
    "the last": ([0, 0, 0, 1, 1], 0.0),
    "noise": ([1, 1, 1, 1, 1], 1e4),
}


@functools.cache
def rounds():
    """server -> (last state, infos over the rounds): all of them side by side."""

    def run(key, keep, noise):
        def update(seen, state):
            out = jax.tree.map(lambda a: jnp.tensordot(keep / 5, a, axes=1), seen.updates)
            return tree.add(out, tree.normal(state, out, noise)), state

        server = base.Aggregator(
            lambda variables: jax.random.key(1),
            update,
            base.Stacked,
            begin=lambda variables, state, key: key,
        )
        algorithm = round.make(
            client=toy.STILL,
            sampler=sampling.single_shot(12, 5, attackers=range(4), rounds=range(MANY)),
            aggregator=server,
            attack=make(loudest=10.0, threshold=0.02),
        )
        data = round.RoundData(PEOPLE, POISON)
        return round.repeat(algorithm.step, MANY)(algorithm.init(START), data, key)

    keep, noise = (jnp.asarray(v, jnp.float32) for v in zip(*SERVERS.values(), strict=True))
    keys = jax.random.split(jax.random.key(9), len(SERVERS))
    found = jax.jit(jax.vmap(run))(keys, keep, noise)
    return {name: jax.tree.map(lambda a, s=s: a[s], found) for s, name in enumerate(SERVERS)}


def told(server):
    info = rounds()[server][1].attack
    return np.asarray(info.verdicts), np.asarray(info.decoys)


def test_a_mean_that_takes_everything_is_heard():
    state, info = rounds()["all"]
    verdicts, decoys = told("all")
    assert (verdicts[0] == -1).all()
    assert (verdicts[1:] == 2).all()
    assert not np.asarray(info.attack.noisy).any()
    assert (decoys == 0).all()
    np.testing.assert_allclose(state.attack.feedback, 0.2, atol=0.1)  # marks meet older marks
    # Both groups are good: their weights close in on one another.
    alpha = np.sort(info.attack.alpha, axis=1)
    assert (np.diff(alpha[:, 0]) >= 0).all()
    assert (np.diff(alpha[:, 1]) <= 0).all()


def test_rejection_brings_decoys_and_a_clip_is_told_from_it():
    verdicts, decoys = told("none")
    assert (verdicts[1:] == 0).all()
    np.testing.assert_array_equal(decoys, [0, 1, 2, 3, 3])
    verdicts, decoys = told("some")
    np.testing.assert_array_equal(verdicts[1], [2, 1, 0, 2])
    assert (decoys == 0).all()


def test_nobody_needs_decoys_once_one_gets_through():
    verdicts, decoys = told("the last")
    assert (verdicts[1:] == [0, 0, 0, 2]).all()
    assert (decoys == 0).all()


def test_noise_of_the_server_is_noticed_for_good():
    verdicts, decoys = told("noise")
    np.testing.assert_array_equal(rounds()["noise"][1].attack.noisy, [False] + [True] * 4)
    assert (verdicts == -1).all()
    assert (decoys == 0).all()


def test_the_backdoor_goes_in_and_everything_stays_finite():
    for name in SERVERS:
        assert bool(tree.all_finite(rounds()[name])), name
    wanted = jax.tree.map(jnp.asarray, WANTED)
    model = rounds()["all"][0].variables
    assert float(LOSS(model, wanted, jax.random.key(0))[1][1]["accuracy"]) > 0.8


def test_bad_settings_are_refused():
    for name in ("reach", "threshold"):
        with pytest.raises(errors.ConfigError, match=f"{name} of 3DFed must be above 0, got 0"):
            make(**{name: 0})
    for name in ("attackers", "group", "neurons", "benign_epochs"):
        said = f"{name} of 3DFed must be a whole number of 1 or more, got 0"
        with pytest.raises(errors.ConfigError, match=said):
            make(**{name: 0})
    with pytest.raises(errors.ConfigError, match=r"one of the classes 0..2, got 3"):
        make(target=3).init(START)
    with pytest.raises(errors.ConfigError, match="target of 3DFed must be a whole number"):
        make(target=-1).init(START)
    three = START._replace(params={**START.params, "head": {"a": jnp.ones(3), "b": jnp.ones(2)}})
    with pytest.raises(errors.ConfigError, match=r"'head/a': 3, 'head/b': 2}; name one layer"):
        make().init(three)
    with pytest.raises(errors.ConfigError, match=r"lowest of 3DFed must lie in \[0, 1\), got 1"):
        make(lowest=1)
    with pytest.raises(errors.ConfigError, match="unknown parameter for indicators 'dense/kernal'"):
        make(indicator="dense/kernal").init(START)
    with pytest.raises(errors.ConfigError, match="below 'had', but none of"):
        make(head="had").init(START)
    attack = make()
    view = view_of(jnp.int32(1), ())
    with pytest.raises(errors.ConfigError, match="settings are a `Poison`"):
        attack.update(view, attack.init(START), jax.random.key(0))
