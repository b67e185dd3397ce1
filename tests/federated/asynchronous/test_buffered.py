import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors, rng, tree
from fl_jax.federated import (
    client,
    correlated_noise,
    round,
    sampling,
    scaffold,
    secure_aggregation,
)
from fl_jax.federated.aggregators import dp_fedavg, dp_ftrl, krum, mean, median
from fl_jax.federated.asynchronous import arrivals, buffered, delays, staleness
from fl_jax.federated.attacks.base import Attack
from fl_jax.federated.compression import base as codes
from fl_jax.federated.compression import sparsify
from fl_jax.federated.defences import norm_clip
from fl_jax.train import checkpoint, cohort
from fl_jax.train import mesh as meshes
from tests.federated import toy
from tests.federated.asynchronous import events

KEY = jax.random.key(1)
DELAY = delays.half_normal(np.linspace(0.2, 2.0, toy.PARTICIPANTS))
LOCAL = toy.trainer(epochs=1)
PEOPLE = toy.people()


def coming(buffer=3, concurrency=6, delay=DELAY, **settings):
    return arrivals.arrivals(
        toy.PARTICIPANTS, concurrency=concurrency, buffer=buffer, delay=delay, **settings
    )


def late(who=None, versions=12, **settings):
    return buffered.buffered(coming() if who is None else who, versions=versions, **settings)


def start():
    return toy.variables(jax.random.key(0))


def run(steps=8, sampler=None, data=round.RoundData(PEOPLE), **parts):
    usual = {"client": LOCAL, "aggregator": mean.mean(weight="uniform")}
    made = round.make(sampler=late() if sampler is None else sampler, **(usual | parts))
    return jax.jit(round.repeat(made.step, steps))(made.init(start()), data, KEY)


def close(got, want, **tolerance):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, **({"rtol": 2e-5, "atol": 2e-6} | tolerance))


@functools.cache
def by_hand(buffer, exponent, rule="mean", mixing=False, versions=10**9, steps=8):
    """The models after each step, in plain Python: events from a heap, every version kept."""
    train = jax.jit(LOCAL.train, static_argnames="longest")
    sent = [start()]
    for step, (taken, _) in enumerate(events.buffers(coming(buffer), DELAY, KEY, steps)):
        updates = []
        for i, began in taken:
            if step - began >= versions:
                continue
            local, _ = train(
                sent[began],
                PEOPLE.examples,
                PEOPLE.start[i],
                PEOPLE.size[i],
                rng.fold(KEY, "round", began, "client", i),
                longest=PEOPLE.longest,
            )
            moved = jax.tree.map(np.subtract, local, sent[step if mixing else began])
            worth = (1 + step - began) ** -exponent
            updates.append(jax.tree.map(lambda a, w=worth: w * np.asarray(a), moved))
        middle = {"mean": np.mean, "median": np.median}[rule]
        aggregate = jax.tree.map(lambda *a, f=middle: f(np.stack(a), axis=0), *updates)
        new = jax.tree.map(lambda a, b: jnp.asarray(a + b, jnp.float32), sent[-1], aggregate)
        sent.append(new)
    return sent[1:]


@pytest.mark.parametrize(
    ("buffer", "exponent", "settings"),
    [
        (1, 0.0, {}),
        (3, 0.5, {"rule": "median"}),
        (1, 0.5, {"mixing": True}),
        (3, 0.5, {"versions": 2}),
    ],
    ids=str,
)
def test_it_equals_an_event_loop_in_plain_python_step_by_step(buffer, exponent, settings):
    least = buffered.needed(coming(buffer), KEY, 8)
    own = {"versions": least} | {k: v for k, v in settings.items() if k != "rule"}
    rule = median.median() if "rule" in settings else mean.mean(weight="uniform")
    sampler = late(coming(buffer), discount=staleness.polynomial(exponent), **own)
    whole = lambda variables, data: variables
    _, info = run(sampler=sampler, aggregator=rule, evaluate=whole)
    assert int(info.age.max()) > (2 if "versions" in settings else 1)
    for step, want in enumerate(by_hand(buffer, exponent, **settings)):
        close(jax.tree.map(lambda a, s=step: a[s], info.metrics), want)


def test_fresh_buffers_are_synchronous_rounds_bit_for_bit():
    who = coming(buffer=4, concurrency=4, delay=delays.constant())
    found = jax.jit(lambda key: arrivals.observe(who, key, 6))(KEY)
    table = lambda key, r: sampling.Cohort(*(a[r] for a in found.cohort))
    together = sampling.Sampler(table, toy.PARTICIPANTS)
    parts = {"aggregator": mean.mean(), "server": optax.sgd(0.7, momentum=0.5)}
    want, told = run(6, together, **parts)
    state, info = run(6, late(who, versions=1), **parts)
    assert (info.age == 0).all() and (info.elapsed == 1).all()
    close((state.variables, state.server), (want.variables, want.server), rtol=0, atol=0)
    close((info.loss, info.norm), (told.loss, told.norm), rtol=0, atol=0)


def test_the_order_of_a_buffer_does_not_matter():
    rule, who = krum.multi_krum(attackers=1), coming(buffer=5)

    def backwards(flights, key, step):
        found, flights = who.draw(flights, key, step)
        turned = sampling.Cohort(*(a[::-1] for a in found.cohort))
        return found._replace(cohort=turned, age=found.age[::-1]), flights

    state, info = run(sampler=late(who), aggregator=rule)
    other, told = run(sampler=late(who._replace(draw=backwards)), aggregator=rule)
    close(other.variables, state.variables, rtol=1e-4, atol=1e-5)
    close(told.norm[:, ::-1], info.norm, rtol=1e-4, atol=1e-5)


def test_everyone_begins_from_the_model_that_was_sent_out():
    """Clients that forget all they were sent say by their updates what it was."""

    def forget(variables, *share, **settings):
        return tree.scale(-0.1, variables), client.ClientInfo(jnp.float32(0))

    _, info = run(
        client=client.Client(forget, lambda size: size),
        sampler=late(discount=staleness.constant()),
        aggregator=toy.elsewhere(0.5),
        evaluate=lambda variables, data: variables,
        inspect=lambda seen: seen.updates,
    )
    models = jax.tree.map(lambda a, b: np.stack([a, *b]) + 0.5, start(), info.metrics)
    began = np.arange(8)[:, None] - np.asarray(info.age)
    close(info.inspection, jax.tree.map(lambda a: -1.1 * a[began], models))


def test_plans_and_devices_give_the_same():
    mesh = meshes.MeshConfig(clients=3).make(jax.devices()[:3])
    for parts in ({"plan": cohort.Plan("vmap")}, {"mesh": mesh}):
        state, _ = run(**parts)
        close(state.variables, by_hand(3, 0.5)[-1], rtol=1e-4, atol=1e-5)


def test_a_saved_run_goes_on_bit_for_bit_and_compiles_once(tmp_path):
    made = round.make(client=LOCAL, sampler=late(), aggregator=mean.mean(weight="uniform"))
    step = jax.jit(made.step, donate_argnums=0)
    state = made.init(start())
    for i in range(8):
        if i == 3:
            with checkpoint.Checkpoints(tmp_path) as kept:
                kept.save(i, state, {})
        state, _ = step(state, round.RoundData(PEOPLE), KEY)
    assert step._cache_size() == 1
    with checkpoint.Checkpoints(tmp_path) as kept:
        at, again, _ = kept.restore(made.init(start()))
    for _ in range(at, 8):
        again, _ = step(again, round.RoundData(PEOPLE), KEY)
    close(again, state, rtol=0, atol=0)
    close(state.variables, by_hand(3, 0.5)[-1])


def test_what_is_remembered_is_the_sender_s_own():
    local = codes.compressed(LOCAL, sparsify.top_k(0.1), feedback=True)
    state, info = run(4, client=local)
    there = np.isin(np.arange(toy.PARTICIPANTS), np.asarray(info.ids))
    kept = jax.vmap(tree.norm)(state.clients)
    assert ((np.asarray(kept) > 0) == there).all()


def collapse(factor, sees=None):
    """An attacker who wants X = 0 and sends factor (X - G), of the G that it was sent."""
    send = lambda view: jax.tree.map(lambda a: -factor * a[None], view.variables)
    return Attack(lambda variables: (), lambda view, state, key: (send(view), state, ()), 1, sees)


@pytest.mark.parametrize(("age", "mixing"), [(0, False), (2, False), (2, True)])
def test_an_attacker_replaces_what_it_was_sent(age, mixing):
    """What counts of it is s gamma (X - G^5-age), or of FedAsync, gamma = 1, s (X - G^5)."""
    k, gamma = (1, 1.0) if mixing else (3, 3.0)
    who = arrivals.single_shot(coming(buffer=k, concurrency=4), attackers=[0], steps=[5], age=age)
    _, info = run(
        6,
        late(who, mixing=mixing),
        attack=collapse(gamma),
        evaluate=lambda variables, data: variables,
        inspect=lambda seen: seen.updates,
    )
    assert info.malicious.tolist() == [[False] * k] * 5 + [[True] + [False] * (k - 1)]
    models = [start(), *(jax.tree.map(lambda a, r=r: a[r], info.metrics) for r in range(6))]
    seen = models[5] if mixing else models[5 - age]
    close(
        jax.tree.map(lambda a: a[5, 0], info.inspection),
        tree.scale(-gamma * (1 + age) ** -0.5, seen),
    )
    step = jax.tree.map(lambda a: a[5].mean(axis=0), info.inspection)
    close(tree.sub(models[6], models[5]), step, atol=1e-6)


def test_bounds_hold_whatever_the_age():
    """The server clips before it discounts: a stale update of any length moves by s S / K. The rule
    clips after."""
    who = arrivals.single_shot(coming(), attackers=[0], steps=[5], age=3)
    parts = {"client": toy.STILL, "attack": collapse(1e4)}
    whole = lambda variables, data: variables
    private = dp_fedavg.dp_fedavg(bound=0.3, noise_multiplier=1e-6, expected=3)
    for settings, want in (
        ({"defence": norm_clip.norm_clip(bound=0.3)}, 0.3 * 4**-0.5 / 3),
        ({"aggregator": private}, 0.3 / 3),
    ):
        _, info = run(6, late(who), evaluate=whole, **parts, **settings)
        before, after = (jax.tree.map(lambda a, r=r: a[r], info.metrics) for r in (4, 5))
        assert float(tree.norm(tree.sub(after, before))) == pytest.approx(want, rel=1e-4)


def test_what_loses_updates_is_refused_beforehand():
    who = coming(buffer=1)
    least = buffered.needed(who, KEY, 40)
    ages = jax.jit(lambda key: arrivals.observe(who, key, 40).age)(KEY)
    assert least == int(ages.max()) + 1
    assert buffered.needed(who, jnp.stack([KEY, jax.random.key(2)]), 40) >= least
    buffered.check(late(who, versions=least), KEY, 40)
    with pytest.raises(errors.ConfigError, match=f"an update arrives that is {least - 1} versions"):
        buffered.check(late(who, versions=least - 1), KEY, 40)


def test_what_cannot_work_is_one_sentence():
    with pytest.raises(errors.ConfigError, match="secure aggregation masks the updates of a coh"):
        round.make(
            client=LOCAL,
            sampler=late(),
            aggregator=mean.mean(weight="uniform"),
            secure=secure_aggregation.make(clip=1.0),
        )
    with pytest.raises(errors.ConfigError, match="late and discounted updates would not be"):
        scaffold.make(client=LOCAL, rate=0.1, sampler=late())
    with pytest.raises(errors.ConfigError, match="versions must be a whole number of 1 or more"):
        late(versions=0)
    made = round.make(client=LOCAL, sampler=late(memory=700), aggregator=mean.mean())
    with pytest.raises(errors.ConfigError, match="take 720 bytes, but `memory` allows 700"):
        made.init(start())
    with pytest.raises(errors.ConfigError, match="2 compromised participants can fall into one"):
        who = late(coming(attackers=[1, 2]))
        round.make(client=LOCAL, sampler=who, aggregator=mean.mean(), attack=collapse(1.0))


def test_correlated_noise_needs_participants_who_rest_as_long():
    noise = correlated_noise.banded(np.array([1.0, 0.5, 0.2]), 6)
    settings = {"bound": 0.1, "noise_multiplier": 1.0, "expected": 3, "separation": 3}
    rule = dp_ftrl.dp_ftrl(correlation=noise, **settings)
    spaced = coming(separation=3)
    state, info = run(6, late(spaced), aggregator=rule)
    ids = np.asarray(info.ids)
    assert all(
        np.diff(np.flatnonzero((ids == i).any(axis=1))).min(initial=9) >= 3 for i in ids.flat
    )
    assert bool(tree.all_finite(state.variables))
    often = {"attackers": [0], "steps": [5, 1, 3], "age": 0}
    for who in (coming(separation=2), arrivals.single_shot(coming(separation=3), **often)):
        with pytest.raises(errors.ConfigError, match=r"at least 3 rounds apart, but .* after 2;"):
            run(6, late(who), aggregator=rule, attack=collapse(1.0))
