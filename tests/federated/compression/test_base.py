"""Clients that send in a code: plans, error feedback, what is not finite, bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, rng, tree
from fl_jax.federated import client, round, sampling, scaffold
from fl_jax.federated import secure_aggregation as secure
from fl_jax.federated.aggregators import dp_fedavg, mean
from fl_jax.federated.attacks.base import Attack
from fl_jax.federated.compression import base, quantise, rotation, sparsify
from fl_jax.train import cohort
from fl_jax.train import mesh as meshes
from fl_jax.train.state import Variables
from tests.federated import toy

CODES = {
    "quantised": quantise.uniform(4),
    "rotated": rotation.eden(1),
    "sparse": sparsify.top_k(0.3),
}


def rounds(local, key, count=4, plan="scan", sampler=None, given=None, **parts):
    parts = {"aggregator": mean.mean(weight="uniform")} | parts
    made = round.make(
        client=local,
        sampler=sampler or sampling.uniform(toy.PARTICIPANTS, toy.COHORT),
        plan=cohort.Plan.parse(plan),
        **parts,
    )
    data = round.RoundData(toy.people(), given)
    return jax.jit(round.repeat(made.step, count))(made.init(toy.variables(key)), data, key)


def close(a, b, **kind):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **kind), a, b)


@pytest.mark.parametrize("feedback", [False, True])
def test_sending_everything_changes_nothing(feedback, key):
    plain, _ = rounds(toy.trainer(), key)
    sent, _ = rounds(base.compressed(toy.trainer(), base.whole(), feedback=feedback), key)
    close(plain.variables, sent.variables, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "feedback"),
    [("quantised", False), ("rotated", False), ("sparse", False), ("sparse", True)],
)
def test_plans_and_devices_agree(name, feedback, key):
    # A drawn rounding in EDEN's place: its own, of numbers that cancel, follows the last bit.
    code = rotation.rotated(quantise.uniform(4)) if name == "rotated" else CODES[name]
    local = base.compressed(toy.trainer(), code, feedback=feedback)
    one, _ = rounds(local, key)
    for plan, devices in (("vmap", 1), ("chunk:2", 1), ("scan", 8)):
        mesh = meshes.MeshConfig(clients=devices).make() if devices > 1 else None
        other, _ = rounds(local, key, plan=plan, mesh=mesh)
        close(one.variables, other.variables, atol=1e-5)
        close(one.clients, other.clients, atol=1e-5)


def test_a_code_reads_every_array_by_itself(key):
    update = {"a": jax.random.normal(key, (3, 4)), "b": jnp.zeros((0,)), "c": jnp.float32(2)}
    found = base.send(quantise.uniform(4), update, key)
    own = quantise.uniform(4).read(update["a"].reshape(-1), rng.fold(key, 0)).reshape(3, 4)
    np.testing.assert_array_equal(found["a"], own)
    assert found["b"].shape == (0,) and float(found["c"]) == 2


def test_error_feedback_by_hand(key):
    """Algorithm 2 in a Python loop: everyone takes part, the model stays where it is."""
    step = {"kernel": jnp.linspace(-1, 1, 12).reshape(4, 3), "bias": jnp.asarray([0.3, 0.0, -2.0])}

    def moves(variables, examples, start, size, key, *, longest):
        del examples, start, size, key, longest
        moved = Variables(tree.add(variables.params, step), variables.batch_stats)
        return moved, client.ClientInfo(jnp.float32(0))

    code = sparsify.top_k(0.3)
    local = base.compressed(client.Client(moves, lambda size: size), code, feedback=True)
    variables = Variables(tree.zeros_like(step), {})
    own, lost = local.remember(variables), tree.zeros_like(step)
    total = tree.zeros_like(step)
    for r in range(20):
        sent, _, own = local.train(variables, {}, 0, 1, rng.fold(key, r), longest=1, own=own)
        wanted = tree.add(step, lost)
        by_hand = base.send(code, wanted, key)
        lost = tree.sub(wanted, by_hand)
        close(sent.params, by_hand, atol=1e-6)
        close(own, lost, atol=1e-5)
        total = tree.add(total, sent.params)
    # What is missing from twenty steps is what is still remembered: nothing is lost for good.
    close(tree.add(total, own), tree.scale(20, step), atol=1e-4)
    assert float(tree.norm(own)) < 5 * float(tree.norm(step))


def test_who_is_not_heard_keeps_its_memory(key):
    local = base.compressed(toy.trainer(), sparsify.top_k(0.3), feedback=True)
    end, info = rounds(local, key, count=2)
    heard = set(np.asarray(info.ids).ravel().tolist())
    norms = [
        float(tree.norm(jax.tree.map(lambda a, i=i: a[i], end.clients)))
        for i in range(toy.PARTICIPANTS)
    ]
    assert {i for i, norm in enumerate(norms) if norm > 0} == heard
    assert 0 < len(heard) < toy.PARTICIPANTS


@pytest.mark.parametrize("name", CODES)
def test_an_update_that_is_not_finite_is_left_out(name, key):
    def broken(variables, examples, start, size, key, *, longest):
        local, info = toy.trainer().train(variables, examples, start, size, key, longest=longest)
        kernel = local.params["kernel"]
        kernel = kernel.at[0, 0].set(jnp.where(start == 0, jnp.nan, kernel[0, 0]))
        return local._replace(params={**local.params, "kernel": kernel}), info

    local = client.Client(broken, toy.trainer().steps)
    everyone = sampling.everyone(toy.PARTICIPANTS)
    local = base.compressed(local, CODES[name], feedback=CODES[name].contracts)
    end, info = rounds(local, key, count=1, sampler=everyone)
    assert int(end.dropped) == 1 and int(np.sum(~np.asarray(info.finite))) == 1
    assert bool(tree.all_finite(end.variables)) and bool(tree.all_finite(end.clients))


def test_what_was_read_is_clipped_and_masked_after_it(key):
    """Quantised numbers may be longer than the update that they stand for."""
    local = base.compressed(toy.trainer(), quantise.uniform(2))
    rule = dp_fedavg.dp_fedavg(bound=0.05, noise_multiplier=1e-6, expected=toy.PARTICIPANTS)
    everyone = sampling.everyone(toy.PARTICIPANTS)
    plain, _ = rounds(local, key, count=1, sampler=everyone, aggregator=rule)
    moved = tree.norm(tree.sub(plain.variables, toy.variables(key)))
    assert 0 < float(moved) <= 0.05 * 1.001
    sums = secure.make(clip=0.05)
    masked, _ = rounds(local, key, count=1, sampler=everyone, aggregator=rule, secure=sums)
    close(plain.variables, masked.variables, atol=1e-5)


def test_training_through_a_code_reaches_the_same_loss(key):
    _, plain = rounds(toy.trainer(), key, count=40)
    for name, code in CODES.items():
        local = base.compressed(toy.trainer(), code, feedback=name == "sparse")
        _, info = rounds(local, key, count=40)
        assert float(info.loss[-1].mean()) < float(plain.loss[-1].mean()) + 0.05


def test_bits_of_an_update(key):
    model = Variables({"a": jnp.zeros((3, 5)), "b": jnp.zeros(2)}, {"mean": jnp.zeros(4)})
    assert base.bits(base.whole(), model) == 32 * 21
    assert base.bits(rotation.eden(1), model) == (32 + 32) + 2 * 32 + 32 * 4
    assert base.bits(sparsify.top_k(0.2), model) == 3 * (32 + 4) + 1 * (32 + 1) + 32 * 4


def test_bfloat16_models_stay_bfloat16(key):
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), toy.variables(key))

    def moves(variables, examples, start, size, key, *, longest):
        del examples, start, size, key, longest
        moved = jax.tree.map(lambda a: (a * 1.5).astype(a.dtype), variables)
        return moved, client.ClientInfo(jnp.float32(0))

    still = client.Client(moves, lambda size: size)
    sent, _ = base.compressed(still, rotation.eden(4)).train(narrow, {}, 0, 1, key, longest=1)
    assert {leaf.dtype for leaf in jax.tree.leaves(sent)} == {jnp.dtype(jnp.bfloat16)}


def test_what_a_narrow_model_rounds_off_is_fed_back_too(key):
    """Steps of a bfloat16 model at 1 are of 1/128: nothing smaller arrives, and all was lost."""
    start = Variables({"w": jnp.ones(64, jnp.bfloat16)}, {})
    step = 2.0**-7 * jnp.ceil(4 * jax.random.uniform(key, (64,)))

    def moves(variables, examples, start, size, key, *, longest):
        del examples, start, size, key, longest
        params = {"w": (variables.params["w"].astype(jnp.float32) + step).astype(jnp.bfloat16)}
        return Variables(params, {}), client.ClientInfo(jnp.float32(0))

    still = client.Client(moves, lambda size: size)
    local = base.compressed(still, rotation.eden(4), feedback=True)
    own, total = local.remember(start), jnp.zeros(64)
    for r in range(10):
        sent, _, own = local.train(start, {}, 0, 1, rng.fold(key, r), longest=1, own=own)
        total += sent.params["w"].astype(jnp.float32) - 1
    assert own["w"].dtype == jnp.float32
    np.testing.assert_allclose(total + own["w"], 10 * step, atol=1e-6)


def test_what_attackers_send_is_read_in_the_code_if_it_is_sent_in_it(key):
    """With keys of their own, and a sparse update as it is."""
    flood = jnp.arange(12.0).reshape(4, 3) + 100

    def update(view, state, key):
        del key
        kernel = jnp.stack([flood, flood.at[1:].set(0)])
        bias = jnp.zeros((2, 3))
        return Variables({"kernel": kernel, "bias": bias}, {}), state, ()

    attack = Attack(lambda variables: (), update, most=2)
    both = sampling.uniform(toy.PARTICIPANTS, toy.PARTICIPANTS, attackers=[3, 7])
    for name, code in CODES.items():
        parts = {"attack": base.of_code(attack, code), "inspect": lambda seen: seen}
        _, info = rounds(toy.trainer(), key, count=1, sampler=both, **parts)
        seen = jax.tree.map(lambda a: np.asarray(a[0]), info.inspection)
        first, second = (int(np.flatnonzero(info.ids[0] == i)[0]) for i in (3, 7))
        if first > second:  # in the cohort's order
            first, second = second, first
        drawn = rng.fold(rng.fold(key, "round", 0), "attack")
        ident = rng.fold(drawn, "code", info.ids[0, first])
        by_hand = base.send(code, {"bias": jnp.zeros(3), "kernel": flood}, ident)["kernel"]
        np.testing.assert_allclose(seen.updates.params["kernel"][first], by_hand, rtol=1e-5)
        assert np.abs(by_hand - flood).max() > 1
        if name == "sparse":
            whole = seen.updates.params["kernel"][second]
            np.testing.assert_array_equal(whole, flood.at[1:].set(0))


def test_feedback_on_a_code_that_may_lose_more_than_there_is_is_refused(key):
    """Because what is kept then grows without end, as it does where the flag says otherwise."""
    for code in (sparsify.random_k(0.25), quantise.qsgd(1), rotation.rotated(quantise.uniform(2))):
        with pytest.raises(errors.ConfigError, match="a code that loses less than there is"):
            base.compressed(toy.trainer(), code, feedback=True)
    own = {}
    for code in (sparsify.random_k(0.25, scaled=False), sparsify.random_k(0.25)):
        lost = jnp.zeros(40)
        for r in range(60):
            wanted = lost + 1
            lost = wanted - code.read(wanted, rng.fold(key, r))
        own[code.contracts] = float(jnp.max(jnp.abs(lost)))
    assert own[True] < 60 and own[False] > 1e6


def test_scaffold_is_refused(key):
    local = base.compressed(toy.trainer(), quantise.uniform(2))
    made = scaffold.make(client=local, rate=0.1, sampler=sampling.everyone(toy.PARTICIPANTS))
    with pytest.raises(errors.ConfigError, match="not from what was read of them"):
        made.step(made.init(toy.variables(key)), round.RoundData(toy.people()), key)


def test_a_client_with_a_memory_of_its_own_is_refused():
    with pytest.raises(errors.ConfigError, match="keep nothing of their own"):
        base.compressed(toy.trainer()._replace(remember=lambda variables: ()), quantise.uniform(2))
