import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from fl_jax.core import errors, tree
from fl_jax.federated import client, detection, round, sampling
from fl_jax.federated import secure_aggregation as secure
from fl_jax.federated.aggregators import centred_clip, dp_fedavg, krum, mean, robust_rate
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.defences import norm_clip
from fl_jax.train.state import Variables
from tests.federated import toy

M = 9
UPDATES = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(M, 40, 5)), jnp.float32)}
KEY = jax.random.key(7)
PLAN = secure.session(secure.make(clip=8.0, degree=6, threshold=3), M)


@functools.cache
def sent():
    """(encoded, masked) of all clients."""
    encoded = jax.vmap(lambda u: secure.encode(PLAN, u)[0])(UPDATES)
    masked = jax.jit(jax.vmap(lambda i, q: secure.mask(PLAN, KEY, i, q)))(jnp.arange(M), encoded)
    return encoded["w"], masked["w"]


@functools.cache
def unmasking():
    return jax.jit(functools.partial(secure.unmask, PLAN, KEY))


def total(values, there):
    kept = jnp.where(jnp.asarray(there)[:, None, None], values, jnp.uint32(0))
    return {"w": jnp.sum(kept, axis=0, dtype=jnp.uint32)}


def test_coordinates_outside_the_range_are_cut_and_counted():
    plan = secure.session(secure.make(clip=0.5), M)
    encoded, clipped = secure.encode(plan, {"w": jnp.array([0.2, -3.0, 0.5, 9.0])})
    assert int(clipped) == 2
    real = secure.decode(plan, encoded, {"w": jnp.zeros(4)})["w"]
    np.testing.assert_allclose(real, [0.2, -0.5, 0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("gone", [[], [4], [0, 5]])
def test_the_sum_is_that_of_the_integers_bit_for_bit_whoever_drops_out(gone):
    encoded, masked = sent()
    there = np.ones(M, bool)
    there[gone] = False
    found, recovered = unmasking()(total(masked, there), jnp.asarray(there))
    assert bool(recovered)
    np.testing.assert_array_equal(found["w"], total(encoded, there)["w"])
    real = secure.decode(PLAN, found, jax.tree.map(lambda a: a[0], UPDATES))["w"]
    expected = np.asarray(UPDATES["w"])[there].sum(0)
    np.testing.assert_allclose(real, expected, atol=M * 2.0 ** -(PLAN.bits + 1) + 1e-6)


def test_fewer_shares_than_the_threshold_recover_nothing():
    _, masked = sent()
    there = np.zeros(M, bool)
    there[:3] = True
    found, recovered = unmasking()(total(masked, there), jnp.asarray(there))
    assert not bool(recovered)
    assert not np.any(found["w"])


def test_what_a_client_sends_looks_uniform():
    encoded, masked = sent()
    for values, uniform in ((masked, True), (encoded, False)):
        for one in np.asarray(values):
            counts = np.bincount(one.ravel() >> 28, minlength=16)
            assert (stats.chisquare(counts).pvalue > 1e-4) == uniform


def test_any_threshold_of_the_shares_gives_the_seed_back(key):
    shares = secure.deal(key, PLAN, KEY)
    recover = jax.jit(secure.recover, static_argnums=2)

    def held(*which):
        return jnp.zeros(6, bool).at[jnp.array(which)].set(True)

    for which in ([0, 1, 2], [0, 2, 5], [1, 4, 5], [0, 1, 2, 3, 4, 5]):
        seed, enough = recover(shares, held(*which), 3)
        assert bool(enough)
        assert bool(seed == key)
    assert not bool(recover(shares, held(0, 2), 3)[1])
    forged = shares.at[3].set(0)
    assert not bool(recover(forged, held(0, 1, 3), 3)[0] == key)


N, COHORT, ETA = toy.PARTICIPANTS, 5, 2.0
POISON = scaling.poison(
    toy.examples(2, 20),
    {"x": toy.examples(1)["x"][:4], "y": np.full(4, 2, np.int32)},
    per_batch=2,
    epochs=3,
    rate=0.1,
    gamma=N / ETA,
)


@functools.cache
def one_round(settings, rate=0.0):
    sampler = sampling.single_shot(N, COHORT, attackers=[0], rounds=[0])
    made = round.make(
        client=toy.trainer(),
        sampler=sampling.dropout(sampler, rate),
        aggregator=mean.fedavg(eta=ETA, participants=N),
        attack=scaling.constrain_and_scale(toy.LOSS, optax.sgd(1.0), batch_size=4),
        secure=settings,
    )
    state = made.init(toy.variables(jax.random.key(0)))
    return jax.jit(made.step)(state, round.RoundData(toy.people(), POISON), jax.random.key(4))


def test_replacement_through_secure_aggregation_is_the_same_if_the_range_holds_it():
    plain, info = one_round(None)
    masked, told = one_round(secure.make(clip=64.0))
    assert float(info.norm.max()) < 64
    assert int(told.secure.clipped) == 0
    assert bool(told.secure.recovered)
    bits = secure.session(secure.make(clip=64.0), COHORT).bits
    allowed = ETA / N * COHORT * 2.0 ** -(bits + 1) + 1e-6
    for a, b in zip(
        jax.tree.leaves(plain.variables), jax.tree.leaves(masked.variables), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=allowed)


def test_a_model_that_the_rule_sends_out_goes_through_secure_aggregation():
    found = []
    for settings in (None, secure.make(clip=64.0)):
        made = round.make(
            client=toy.trainer(),
            sampler=sampling.uniform(N, COHORT),
            aggregator=toy.elsewhere(0.5),
            secure=settings,
        )
        state = made.init(toy.variables(jax.random.key(0)))
        after, _ = jax.jit(made.step)(state, round.RoundData(toy.people()), jax.random.key(4))
        found.append(after.variables)
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.slow
def test_a_range_that_does_not_hold_it_is_a_defence_and_says_so():
    plain, _ = one_round(None)
    cut, told = one_round(secure.make(clip=0.2))
    assert int(told.secure.clipped) > 0
    start = toy.variables(jax.random.key(0))
    moved = lambda state: float(tree.norm(tree.sub(state.variables, start)))
    assert moved(cut) < moved(plain) / 2


@pytest.mark.slow
def test_drop_outs_in_a_round_leave_the_sum_of_the_others():
    plain, _ = one_round(None, rate=0.4)
    masked, told = one_round(secure.make(clip=64.0, threshold=1), rate=0.4)
    assert bool(told.secure.recovered)
    for a, b in zip(
        jax.tree.leaves(plain.variables), jax.tree.leaves(masked.variables), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("quantile", [None, 0.5])
def test_dp_fedavg_through_secure_aggregation_is_the_same(quantile):
    rule = dp_fedavg.dp_fedavg(
        bound=0.3, noise_multiplier=0.4, expected=COHORT, quantile=quantile, count_noise=1.0
    )
    found = []
    for settings in (None, secure.make(clip=1.0)):
        made = round.make(
            client=toy.trainer(),
            sampler=sampling.uniform(N, COHORT),
            aggregator=rule,
            secure=settings,
        )
        state = made.init(toy.variables(jax.random.key(0)))
        found.append(jax.jit(made.step)(state, round.RoundData(toy.people()), jax.random.key(4)))
    (plain, _), (masked, told) = found
    assert bool(told.secure.recovered)
    assert int(told.secure.clipped) == 0
    both = zip(
        jax.tree.leaves((plain.variables, plain.aggregator.bound)),
        jax.tree.leaves((masked.variables, masked.aggregator.bound)),
        strict=True,
    )
    for a, b in both:
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert (quantile is None) == (float(masked.aggregator.bound) == np.float32(0.3))


def test_clients_that_clip_themselves_and_one_that_does_not_is_refused():
    with pytest.raises(errors.ConfigError, match="nobody can make a compromised one do so"):
        round.make(
            client=toy.trainer(),
            sampler=sampling.everyone(N),
            aggregator=dp_fedavg.dp_fedavg(bound=1.0, noise_multiplier=1.0, expected=N),
            attack=scaling.constrain_and_scale(toy.LOSS, optax.sgd(1.0), batch_size=4),
            secure=secure.make(clip=1.0),
        )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"aggregator": centred_clip.centred_clip(radius=1.0)}, "the aggregator looks at each"),
        ({"aggregator": krum.krum(attackers=1)}, "the aggregator looks at each of them"),
        ({"defence": norm_clip.norm_clip(bound=1.0)}, "the defence looks at each"),
        ({"inspect": detection.norms}, "`inspect` looks at each"),
        ({"aggregator": mean.mean()}, "weighs by examples"),
        ({"aggregator": robust_rate.robust_rate(threshold=3)}, r"a clip range of 1 at least"),
        (
            {
                "aggregator": dp_fedavg.dp_fedavg(
                    bound=0.1, noise_multiplier=0.1, expected=N, quantile=0.5
                )
            },
            r"to \[-0.3, 0.3\], but the aggregator counts by numbers of 0.5",
        ),
        (
            {
                "aggregator": dp_fedavg.dp_fedavg(
                    bound=0.1, noise_multiplier=0.1, expected=N, quantile=0.5
                ),
                "secure": secure.make(clip=0.5, bits=0),
            },
            r"bits=0 rounds the 0.5 that the aggregator counts by to a multiple of 1",
        ),
    ],
)
def test_looking_at_single_updates_under_secure_aggregation_is_refused(parts, said):
    usual = {
        "client": toy.trainer(),
        "sampler": sampling.everyone(N),
        "aggregator": mean.fedavg(eta=1.0, participants=N),
        "secure": secure.make(clip=0.3),
    }
    with pytest.raises(errors.ConfigError, match=said):
        round.make(**(usual | parts))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: secure.make(clip=1.0, degree=4, threshold=5), "t = 5 is above the number of sh"),
        (lambda: secure.session(secure.make(clip=1.0, threshold=9), 5), "the 4 neighbours"),
        (lambda: secure.make(clip=1.0, degree=3), "even degree of 2 or more, got 3"),
        (lambda: secure.make(clip=0.0), "clip range of secure aggregation must be above 0"),
        (lambda: secure.session(secure.make(clip=1.0, bits=30), 100), "at most 24 digits"),
        (lambda: secure.session(secure.make(clip=1e9), 10), "range of at most 214748364"),
        (lambda: secure.session(secure.make(clip=float("inf")), 10), "clip range of inf do not"),
        (lambda: secure.make(clip=1.0, bits=-1), "whole number of 0 or more, got -1"),
        (lambda: secure.session(secure.make(clip=1.0), 1), "needs 2 or more clients"),
    ],
)
def test_impossible_settings_are_refused(call, said):
    with pytest.raises(errors.ConfigError, match=said):
        call()


def test_a_sum_beyond_float16_is_decoded():
    plan = secure.session(secure.make(clip=3e4), 4)
    encoded, _ = secure.encode(plan, {"w": jnp.full(1, 3e4, jnp.float16)})
    four = jax.tree.map(lambda a: 4 * a, encoded)
    found = secure.decode(plan, four, {"w": jnp.zeros(1, jnp.float16)})["w"]
    np.testing.assert_allclose(found, 1.2e5, rtol=1e-3)


@pytest.mark.parametrize(
    ("size", "clip", "bits"),
    [(1000, 2147483.6, 0), (2, 1 - 1e-9, 30), (2, 1 - 1e-9, None), (1000, 2.1474836, None)],
)
def test_a_sum_of_numbers_at_the_end_of_the_range_fits(size, clip, bits):
    """Both float32 and rounding can take the end of the range outward."""
    settings = secure.make(clip=clip, bits=bits)
    try:
        plan = secure.session(settings, size)
    except errors.ConfigError as error:
        assert "do not fit 32-bit sums" in str(error) or "at most 29 digits" in str(error)
        return
    encoded, _ = secure.encode(plan, {"w": jnp.full(1, 2 * clip)})
    total = jax.tree.map(lambda a: a * jnp.uint32(size), encoded)
    found = secure.decode(plan, total, {"w": jnp.zeros(1)})["w"]
    np.testing.assert_allclose(found, size * clip, rtol=1e-5)


@pytest.mark.parametrize("clip", [1e-6, 0.3, 1e5])
def test_the_digits_are_as_many_as_there_is_room_for(clip):
    plan = secure.session(secure.make(clip=clip), 10)
    assert 2**30 < 10 * clip * 2.0**plan.bits < 2**31


def test_a_clipped_update_is_no_longer_after_it_is_encoded():
    """Else the noise of DP-FedAvg is too small: here by a tenth."""
    plan = secure.session(secure.make(clip=1.0, bits=16), 10)
    update = {"w": jnp.full(10**6, 1e-4)}  # of length 0.1, and 6.55 steps in every coordinate
    length = lambda **how: float(
        tree.norm(secure.decode(plan, secure.encode(plan, update, **how)[0], update))
    )
    assert length(inward=True) <= 0.1 < length()
    rule = dp_fedavg.dp_fedavg(bound=10.0, noise_multiplier=1e-6, expected=COHORT)
    made = round.make(
        client=client.Client(
            lambda variables, *a, **k: (
                jax.tree.map(lambda v: v + 0.9, variables),
                client.ClientInfo(jnp.float32(0)),
            ),
            lambda size: size,
        ),
        sampler=sampling.uniform(N, COHORT),
        aggregator=rule,
        secure=secure.make(clip=1.0, bits=2),
    )
    state = made.init(Variables({"w": jnp.zeros(3)}, {}))
    after, _ = jax.jit(made.step)(state, round.RoundData(toy.people()), jax.random.key(4))
    np.testing.assert_allclose(after.variables.params["w"], 0.75, atol=1e-3)
