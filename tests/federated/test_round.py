import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors, rng, tree
from fl_jax.federated import checks, client, population, round, sampling
from fl_jax.federated.aggregators import (
    base,
    fldetector,
    geometric_median,
    mean,
    median,
    restart,
    rflbat,
)
from fl_jax.federated.attacks import constrain_and_scale, neurotoxin
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.federated.defences import norm_clip
from fl_jax.federated.defences.base import Defence
from fl_jax.train import cohort
from fl_jax.train import mesh as meshes
from fl_jax.train.state import Variables
from tests.federated import toy


def accuracy(variables, data):
    _, (_, found) = toy.LOSS(variables, data, jax.random.key(0))
    return found


def poison(gamma=12.0, **changes):
    wanted = {"x": toy.examples(1)["x"][:4], "y": np.full(4, 2, np.int32)}
    settings = {"per_batch": 2, "epochs": 3, "rate": 0.1, "gamma": gamma} | changes
    return constrain_and_scale.poison(toy.examples(2, 20), wanted, **settings)


def algorithm(**parts):
    usual = {
        "client": toy.trainer(),
        "sampler": sampling.uniform(toy.PARTICIPANTS, toy.COHORT, attackers=[3, 7]),
        "aggregator": mean.mean(),
        "attack": constrain_and_scale.constrain_and_scale(
            toy.LOSS, optax.sgd(1.0), batch_size=4, attackers=2
        ),
        "evaluate": accuracy,
    }
    return round.make(**(usual | parts))


DATA = round.RoundData(toy.people(), poison(), jax.tree.map(jnp.asarray, toy.examples(9)))


def run(rounds=4, data=DATA, **parts):
    made = algorithm(**parts)
    many = jax.jit(round.repeat(made.step, rounds))
    return many(made.init(toy.variables(jax.random.key(0))), data, jax.random.key(1))


@functools.cache
def by_hand(rounds, aggregator):
    """The same rounds in plain Python: the slow, obvious twin."""
    people, train = DATA.population, jax.jit(toy.trainer().train, static_argnames="longest")
    sampler = sampling.uniform(toy.PARTICIPANTS, toy.COHORT, attackers=[3, 7])
    attack = constrain_and_scale.constrain_and_scale(
        toy.LOSS, optax.sgd(1.0), batch_size=4, attackers=2
    )
    g = toy.variables(jax.random.key(0))
    for r in range(rounds):
        key = rng.fold(jax.random.key(1), "round", r)
        chosen = sampler.draw(rng.fold(key, "sample"), r)
        ids, bad = chosen.ids.tolist(), chosen.malicious.tolist()
        updates = []
        for i in (i for i, b in zip(ids, bad, strict=True) if not b):
            local, _ = train(
                g,
                people.examples,
                people.start[i],
                people.size[i],
                rng.fold(key, "client", i),
                longest=people.longest,
            )
            updates.append((jax.tree.map(np.subtract, local, g), float(people.size[i])))
        if any(bad):
            view = View(g, jnp.int32(sum(bad)), jnp.int32(r), None, DATA.attack)
            sent, _, _ = jax.jit(attack.update)(view, (), rng.fold(key, "attack"))
            for k, i in enumerate(i for i, b in zip(ids, bad, strict=True) if b):
                mine = jax.tree.map(lambda a, k=k: np.asarray(a[k]), sent)
                updates.append((mine, float(people.size[i])))
        stacked = jax.tree.map(lambda *a: np.stack(a), *[u for u, _ in updates])
        sizes = [size for _, size in updates]
        if aggregator == "median":
            step = jax.tree.map(lambda a: np.median(a, axis=0), stacked)
        else:
            step = jax.tree.map(lambda a, w=sizes: np.average(a, axis=0, weights=w), stacked)
        g = jax.tree.map(lambda a, b: jnp.asarray(np.asarray(a + b), jnp.float32), g, step)
    return g


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_equals_a_plain_loop_over_clients_in_python(rule):
    state, _ = run(aggregator={"mean": mean.mean, "median": median.median}[rule]())
    expected = by_hand(4, rule)
    for got, want in zip(jax.tree.leaves(state.variables), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)


@functools.cache
def scanned():
    return run()[0].variables


@pytest.mark.parametrize(
    ("plan", "devices"), [("vmap", 1), ("chunk:3", 1), ("scan", 8), ("chunk:2", 4)]
)
def test_every_plan_gives_the_same_model(plan, devices):
    mesh = meshes.MeshConfig(clients=devices).make(jax.devices()[:devices]) if devices > 1 else None
    state, _ = run(plan=cohort.Plan.parse(plan), mesh=mesh)
    for got, want in zip(jax.tree.leaves(state.variables), jax.tree.leaves(scanned()), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_the_debug_plan_gives_the_same_model():
    made = algorithm(plan=cohort.Plan("debug"))
    state = made.init(toy.variables(jax.random.key(0)))
    for _ in range(4):
        state, _ = made.step(state, DATA, jax.random.key(1))
    for got, want in zip(jax.tree.leaves(state.variables), jax.tree.leaves(scanned()), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_rounds_in_one_dispatch_equal_rounds_one_by_one():
    made = algorithm()
    state = made.init(toy.variables(jax.random.key(0)))
    one = jax.jit(made.step)
    for _ in range(4):
        state, _ = one(state, DATA, jax.random.key(1))
    for got, want in zip(jax.tree.leaves(state.variables), jax.tree.leaves(scanned()), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("stacked", "server"), [(False, None), (True, optax.sgd(0.5))])
def test_a_round_stands_on_the_model_that_the_rule_sends_out(stacked, server):
    """Everyone, the attackers and the server's step: as if that model had been the global one."""
    start = toy.variables(jax.random.key(0))
    there = jax.tree.map(lambda a: a + 0.5, start)
    parts = {
        "sampler": sampling.single_shot(toy.PARTICIPANTS, toy.COHORT, attackers=[0, 1], rounds=[0]),
        "server": server,
        "inspect": (lambda seen: seen.updates) if stacked else None,
    }
    found = []
    for model, rule in ((start, toy.elsewhere(0.5)), (there, mean.mean(weight="uniform"))):
        made = algorithm(aggregator=rule, **parts)
        state, info = jax.jit(made.step)(made.init(model), DATA, jax.random.key(1))
        found.append((state.variables, info))
    assert bool(found[0][1].malicious.any())
    for got, want in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def faulty(which, participants):
    """A population in which one participant's examples are NaN."""
    people = toy.people(participants=participants, count=4 * participants)
    start, size = int(people.start[which]), int(people.size[which])
    x = people.examples["x"].at[start : start + size].set(jnp.nan)
    return dataclasses.replace(people, examples={**people.examples, "x": x})


def missing(which, participants, arrives=False):
    """Everyone is selected and one participant's update does not arrive, or does."""

    def sample(key, r):
        chosen = sampling.everyone(participants).draw(key, r)
        return chosen._replace(active=chosen.active.at[which].set(arrives))

    return sampling.Sampler(sample, participants)


@pytest.mark.parametrize("aggregator", [mean.mean(), mean.fedavg(eta=2.0, participants=1000)])
@pytest.mark.parametrize("plan", ["scan", "chunk:16"])
def test_nan_from_one_of_1000_clients_is_as_if_it_were_masked_out(aggregator, plan):
    participants, which = 1000, 417
    parts = {
        "aggregator": aggregator,
        "attack": None,
        "plan": cohort.Plan.parse(plan),
        "client": toy.trainer(epochs=1),
        "evaluate": lambda variables, data: {},
    }
    poisoned = round.RoundData(faulty(which, participants))

    @jax.jit  # one program for both: two that compute the same may round in another way
    def step(state, key, arrives):
        made = algorithm(sampler=missing(which, participants, arrives), **parts)
        return made.step(state, poisoned, key)

    state = algorithm(sampler=sampling.everyone(participants), **parts).init(
        toy.variables(jax.random.key(0))
    )
    with_nan, info = step(state, jax.random.key(1), True)
    masked, _ = step(state, jax.random.key(1), False)
    assert int(with_nan.dropped) == 1
    assert not bool(info.finite[which])
    assert bool(tree.all_finite(with_nan.variables))
    for got, want in zip(
        jax.tree.leaves(with_nan.variables), jax.tree.leaves(masked.variables), strict=True
    ):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("aggregator", "far"),
    [(mean.mean(), 1e30), (geometric_median.geometric_median(), 1e30), (rflbat.rflbat(), 4e18)],
)
def test_an_update_too_long_for_float32_is_left_out(aggregator, far):
    """Each of its numbers is finite, its squared length is not, or sums of such are not: the
    geometric median was NaN, and RFLBAT moved nothing."""

    def train(variables, examples, start, size, key, *, longest):
        step = jnp.where(start == people.start[3], far, 1.0).astype(jnp.float32)
        moved = jax.tree.map(lambda a: a + step, variables)
        return moved, client.ClientInfo(jnp.float32(0))

    people = toy.people()
    sampler = sampling.everyone(toy.PARTICIPANTS)
    parts = {"aggregator": aggregator, "attack": None, "sampler": sampler}
    made = algorithm(client=client.Client(train, lambda size: size), **parts)
    first = made.init(toy.variables(jax.random.key(0)))
    data = round.RoundData(people, (), DATA.evaluation)
    state, info = jax.jit(made.step)(first, data, jax.random.key(1))
    assert int(state.dropped) == 1 and not bool(info.finite[3])
    moved = tree.sub(state.variables, first.variables)
    assert all(bool(jnp.allclose(leaf, 1, atol=1e-5)) for leaf in jax.tree.leaves(moved))


def test_a_round_without_any_good_update_keeps_the_model():
    people = toy.people()
    broken = dataclasses.replace(
        people, examples={**people.examples, "x": jnp.full_like(people.examples["x"], jnp.nan)}
    )
    for aggregator in (mean.mean(), mean.fedavg(eta=1.0, participants=12), median.median()):
        made = algorithm(aggregator=aggregator, attack=None)
        first = made.init(toy.variables(jax.random.key(0)))
        state, _ = jax.jit(made.step)(first, DATA._replace(population=broken), jax.random.key(1))
        assert int(state.dropped) == toy.COHORT
        for got, want in zip(
            jax.tree.leaves(state.variables), jax.tree.leaves(first.variables), strict=True
        ):
            np.testing.assert_array_equal(got, want)


def test_a_round_over_devices_takes_up_its_own_result():
    """The state that comes back lies on the mesh; the next round must take it from there."""
    mesh = meshes.MeshConfig(clients=8).make()
    made = algorithm(mesh=mesh, evaluate=lambda variables, data: {})
    one = jax.jit(made.step, donate_argnums=0)
    state = made.init(toy.variables(jax.random.key(0)))
    for _ in range(2):
        state, _ = one(state, DATA, jax.random.key(1))
    for got, want in zip(
        jax.tree.leaves(state.variables), jax.tree.leaves(run(2)[0].variables), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "parts",
    [
        {"aggregator": fldetector.fldetector(participants=toy.PARTICIPANTS, window=1)},
        {"aggregator": restart.restart(mean.mean(), participants=12, found=lambda state: [])},
        {"attack": neurotoxin.neurotoxin(toy.LOSS, optax.sgd(1.0), batch_size=4, attackers=2)},
        {"server": optax.GradientTransformation(lambda params: params, lambda g, s, p: (g, s))},
    ],
    ids=["one zero twice", "rule that begins at the model", "attack", "server"],
)
def test_a_fresh_state_can_be_donated_whatever_its_parts_begin_with(parts):
    fresh = algorithm(**parts).init(toy.variables(jax.random.key(0)))
    moved = jax.jit(lambda s: s._replace(round=s.round + 1), donate_argnums=0)(fresh)
    assert int(moved.round) == 1


def test_the_model_that_a_donated_state_began_with_can_begin_another():
    made, model = algorithm(), toy.variables(jax.random.key(0))
    step = jax.jit(lambda s: s._replace(round=s.round + 1), donate_argnums=0)
    for _ in range(2):
        assert int(step(made.init(model)).round) == 1


def test_a_client_does_not_feel_padding_nor_its_neighbours(key):
    people, g = toy.people(), toy.variables(key)

    def update(longest, size):
        start = people.start[2]
        local, _ = toy.trainer().train(g, people.examples, start, size, key, longest=longest)
        return local

    alone = jax.jit(update, static_argnums=0)(150, people.size[2])
    for got, want in zip(
        jax.tree.leaves(jax.jit(update, static_argnums=0)(1000, people.size[2])),
        jax.tree.leaves(alone),
        strict=True,
    ):
        np.testing.assert_array_equal(got, want)
    for neighbours in ([2], [2, 0, 5], [9, 2, 1, 3, 4, 5, 6]):
        ids = jnp.array(neighbours)
        one = lambda i: toy.trainer().train(
            g, people.examples, people.start[i], people.size[i], key, longest=people.longest
        )
        stacked, _ = jax.vmap(one)(ids)
        mine = jax.tree.map(lambda a, n=neighbours: a[n.index(2)], stacked)
        for got, want in zip(jax.tree.leaves(mine), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_fifty_rounds_with_changing_cohorts_compile_once_and_keep_memory_flat():
    made = algorithm()
    traced = []

    def counted(state, data, key):
        traced.append(1)
        return made.step(state, data, key)

    one = jax.jit(counted, donate_argnums=0)
    state = made.init(toy.variables(jax.random.key(0)))
    held = []
    for _ in range(50):
        state, info = one(state, DATA, jax.random.key(1))
        del info
        held.append(len(jax.live_arrays()))
    assert len(traced) == 1
    assert one._cache_size() == 1
    assert held[5] == held[-1]


def test_memory_does_not_grow_with_the_cohort():
    """Temporary memory of a compiled round, whose updates are summed as they come."""
    big = 200_000  # parameters: what a stack of updates would cost dwarfs everything else

    def grow(variables, examples, start, size, key, *, longest):
        moved = jax.tree.map(lambda p: p + jax.random.normal(key, p.shape), variables)
        return moved, client.ClientInfo(jnp.float32(0))

    def temporary(count, aggregator):
        people = toy.people(participants=count, count=2 * count)
        made = round.make(
            client=client.Client(grow, lambda size: size),
            sampler=sampling.everyone(count),
            aggregator=aggregator,
        )
        state = made.init(Variables(jnp.zeros(big), {}))
        compiled = jax.jit(made.step).lower(state, round.RoundData(people), jax.random.key(0))
        return compiled.compile().memory_analysis().temp_size_in_bytes

    few, many = temporary(10, mean.mean()), temporary(100, mean.mean())
    assert many < few + 4 * big
    assert temporary(100, median.median()) > 90 * 4 * big  # this test can tell


def test_a_population_of_10000_stays_where_it_is():
    """A round gathers what its cohort needs; the resident examples are not copied."""
    x = np.zeros((40_000, toy.FEATURES), np.float32)
    examples = {"x": x, "y": np.zeros(40_000, np.int32)}
    people = population.make(examples, np.split(np.arange(40_000), 10_000))
    made = round.make(
        client=toy.trainer(),
        sampler=sampling.uniform(10_000, 5),
        aggregator=mean.mean(),
    )
    state = made.init(toy.variables(jax.random.key(0)))
    compiled = jax.jit(made.step).lower(state, round.RoundData(people), jax.random.key(0)).compile()
    drawing = 3 * 4 * 10_000  # the permutation of the participants
    assert compiled.memory_analysis().temp_size_in_bytes < drawing + tree.nbytes(people) / 4
    _, info = compiled(state, round.RoundData(people), jax.random.key(0))
    assert len(set(info.ids.tolist())) == 5


def test_server_optimizer_follows_the_aggregate():
    plain, _ = run(1, attack=None)
    server, _ = run(1, attack=None, server=optax.sgd(1.0))
    half, _ = run(1, attack=None, server=optax.sgd(0.5))
    start = toy.variables(jax.random.key(0))
    for a, b, c, g in zip(
        *(jax.tree.leaves(v) for v in (plain.variables, server.variables, half.variables, start)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)
        np.testing.assert_allclose(c - g, (a - g) / 2, rtol=1e-4, atol=1e-6)


def test_clipping_bounds_what_a_round_can_do():
    bound, eta, n = 0.05, 3.0, toy.PARTICIPANTS
    state, info = run(
        1, aggregator=mean.fedavg(eta=eta, participants=n), defence=norm_clip.norm_clip(bound=bound)
    )
    moved = tree.norm(tree.sub(state.variables, toy.variables(jax.random.key(0))))
    assert float(info.norm.max()) > bound
    assert float(moved) <= eta * toy.COHORT * bound / n * (1 + 1e-5)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"participants": 5, "cohort": 9}, "m = 9 of n = 5"),
        ({"participants": 5, "cohort": 0}, "cohort must be a whole number of 1 or more"),
        ({"participants": 5, "cohort": 3, "attackers": [7]}, "attacker 7"),
    ],
)
def test_impossible_rounds_are_refused(kwargs, said):
    with pytest.raises(errors.ConfigError, match=said):
        sampling.uniform(**kwargs)


def test_a_plan_that_is_the_name_of_one_is_refused():
    parts = {"client": toy.trainer(), "aggregator": mean.mean(), "plan": "vmap"}
    with pytest.raises(errors.ConfigError, match=r"plan is a cohort\.Plan, .* got 'vmap'"):
        round.make.__wrapped__(sampler=sampling.everyone(toy.PARTICIPANTS), **parts)


def test_a_population_of_another_size_than_the_samplers_is_refused():
    made = algorithm(sampler=sampling.uniform(100, 5), attack=None)
    with pytest.raises(errors.ConfigError, match=r"draws from 100 participants, .* has 12;"):
        made.step(made.init(toy.variables(jax.random.key(0))), DATA, jax.random.key(1))


def test_more_attackers_in_a_round_than_the_attack_serves_are_refused():
    with pytest.raises(errors.ConfigError, match=r"3 compromised .* made for 2; .* attackers=3"):
        algorithm(sampler=sampling.uniform(toy.PARTICIPANTS, toy.COHORT, attackers=[3, 7, 8]))


@pytest.mark.parametrize(
    ("sends", "said"),
    [
        (lambda g: jax.tree.map(lambda a: jnp.stack([a] * 3), g), r"should be \(2, .* is \(3,"),
        (lambda g: jax.tree.map(lambda a: jnp.stack([a] * 2), g.params), "absent"),
    ],
)
def test_an_attack_whose_updates_are_not_like_the_model_is_refused(sends, said):
    own = Attack(lambda variables: (), lambda view, s, key: (sends(view.variables), s, ()), 2)
    made = algorithm(attack=own)
    with pytest.raises(errors.ConfigError, match=said):
        made.step(made.init(toy.variables(jax.random.key(0))), DATA, jax.random.key(1))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (
            lambda state: state.astype(jnp.float32),
            r"it was int32 of .* and is float32 of",
        ),
        (lambda state: (state, state), r"after `update`"),
    ],
)
def test_an_attack_whose_state_changes_its_form_is_refused(after, said):
    def send(view, state, key):
        return jax.tree.map(lambda a: jnp.stack([a] * 2), view.variables), after(state), ()

    made = algorithm(attack=Attack(lambda variables: jnp.int32(0), send, 2))
    with pytest.raises(errors.ConfigError, match=said):
        made.step(made.init(toy.variables(jax.random.key(0))), DATA, jax.random.key(1))


ODD = client.ClientInfo(jnp.float32(0))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"client": client.Client(lambda v, *a, **k: (v.params, ODD), lambda size: size)},
            "a client returns its local variables, like the .* params/bias should be",
        ),
        ({"defence": Defence(client=lambda u, s: u.params)}, "a defence's `client` returns an"),
        (
            {"defence": Defence(server=lambda a, s, key: (a.params, s))},
            "a defence's `server` returns the aggregate",
        ),
        (
            {
                "aggregator": base.Aggregator(
                    base.stateless, lambda seen, s: (base.average(seen).params, s)
                )
            },
            "an aggregator returns one update",
        ),
    ],
)
def test_a_part_that_forgets_the_batch_statistics_is_refused(parts, said):
    made = algorithm(**parts)
    with pytest.raises(errors.ConfigError, match=said):
        made.step(made.init(toy.variables(jax.random.key(0))), DATA, jax.random.key(1))


def test_wide_updates_of_an_attack_on_a_narrow_model_are_sent_narrow():
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), toy.variables(jax.random.key(0)))
    send = lambda view, s, key: (
        jax.tree.map(lambda a: jnp.full((2, *a.shape), 3.0), view.variables),
        s,
        (),
    )
    made = algorithm(
        client=toy.STILL,
        sampler=sampling.single_shot(toy.PARTICIPANTS, 3, attackers=[3, 7], rounds=[0]),
        aggregator=median.median(),
        attack=Attack(lambda variables: (), send, 2),
        evaluate=lambda variables, data: {},
    )
    after, _ = made.step(made.init(narrow), DATA, jax.random.key(1))
    moved = tree.sub(tree.wide(after.variables), tree.wide(narrow))
    assert all(a.dtype == jnp.bfloat16 for a in jax.tree.leaves(after.variables))
    np.testing.assert_allclose(moved.params["bias"], 3.0, atol=0.02)


def test_an_unknown_weight_of_an_aggregator_is_refused():
    with pytest.raises(errors.ConfigError, match="did you mean 'examples'"):
        algorithm(aggregator=mean.mean()._replace(weight="example"))


def test_whose_update_does_not_arrive_takes_no_step():
    lost = 5
    parts = {"attack": None, "client": toy.trainer(epochs=1)}
    _, info = run(1, sampler=missing(lost, toy.PARTICIPANTS), **parts)
    assert (np.asarray(info.loss[0]) == 0).tolist() == [i == lost for i in range(12)]


@pytest.mark.parametrize("eta", [0.0, -1.0])
def test_eta_must_be_positive(eta):
    with pytest.raises(errors.ConfigError, match="eta must be above 0"):
        mean.fedavg(eta=eta, participants=10)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("stacks", [False, True])
def test_a_narrow_model_takes_the_mean_that_float32_finds(dtype, stacks):
    """Weights of 150 examples and sums beyond float16, streamed and stacked."""

    def train(variables, examples, start, size, key, *, longest):
        far = jnp.asarray(size, jnp.float32) * 1024  # a client's update: 1024 times its share
        moved = jax.tree.map(lambda a: a + far.astype(a.dtype), variables)
        return moved, client.ClientInfo(jnp.float32(0))

    made = round.make(
        client=client.Client(train, lambda size: size),
        sampler=sampling.everyone(toy.PARTICIPANTS),
        aggregator=mean.mean(),
        inspect=(lambda seen: seen.weights) if stacks else None,
    )
    start = Variables({"w": jnp.zeros(3, dtype)}, {})
    state, _ = jax.jit(made.step)(made.init(start), DATA, jax.random.key(0))
    found = state.variables.params["w"]
    sizes = np.asarray(DATA.population.size, np.float64)
    sent = np.asarray(jnp.asarray(1024 * sizes).astype(dtype), np.float64)
    expected = np.average(sent, weights=sizes)
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=2.0**-8)


def test_counters_among_the_variables_are_refused():
    """A mean of whole numbers is none, and a mean with weights would be JAX's own error."""
    start = Variables({"w": jnp.zeros(3)}, {"seen": jnp.zeros((), jnp.int32)})
    with pytest.raises(errors.ConfigError, match=r"floating-point.* batch_stats/seen is int32"):
        algorithm(attack=None).init(start)


def test_an_attack_whose_training_diverged_goes_on_from_what_it_knew():
    """Its NaN stayed in its state, of every later round: the rule looked as if it held."""

    def update(view, state, key):
        learnt = jnp.where(view.round == 1, jnp.nan, state + 1)
        return jax.tree.map(lambda a: jnp.stack([a * 0 + learnt] * 2), view.variables), learnt, ()

    own = Attack(lambda variables: jnp.float32(0), update, 2)
    chosen = sampling.uniform(toy.PARTICIPANTS, toy.PARTICIPANTS, attackers=[3, 7])
    state, info = run(3, attack=own, sampler=chosen)
    assert float(state.attack) == 2.0
    assert (~np.asarray(info.finite)).sum(axis=1).tolist() == [0, 2, 0]
    assert bool(tree.all_finite(state.variables))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"aggregator": mean.mean},
            r"`aggregator` takes the Aggregator .* but function came; call",
        ),
        ({"client": toy.LOSS}, r"`client` takes the Client that .*client\.make"),
        ({"sampler": 12}, "`sampler` takes the Sampler .* but int came"),
        ({"attack": lambda view: view}, "`attack` takes the Attack .* but function came"),
    ],
)
def test_a_part_that_no_factory_made_is_refused(parts, said):
    made = {
        "client": toy.trainer(),
        "aggregator": mean.mean(),
        "sampler": sampling.everyone(toy.PARTICIPANTS),
    }
    with pytest.raises(errors.ConfigError, match=said):
        round.make.__wrapped__(**{**made, **parts})


def test_no_defence_is_none():
    def moved(defence):
        made = algorithm(defence=defence)
        return made.step(made.init(toy.variables(jax.random.key(0))), DATA, jax.random.key(1))

    jax.tree.map(
        np.testing.assert_array_equal, moved(None)[0].variables, moved(Defence())[0].variables
    )


@pytest.mark.parametrize("start", [lambda v: v.params, lambda v: (v.params, v.batch_stats)])
def test_a_round_begins_with_variables(start):
    with pytest.raises(errors.ConfigError, match=r"Variables\(\*network\.init\(key\)\) makes them"):
        checks.averaged.__wrapped__(start(toy.variables(jax.random.key(0))))


SENT = Attack(
    lambda variables: (),
    lambda view, s, key: (jax.tree.map(lambda a: jnp.stack([a] * 2), view.variables), s),
    2,
)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"attack": SENT}, r"returns \(updates, state, info\), but a tuple of 2 came"),
        (
            {"defence": Defence(server=lambda a, s, key: a)},
            r"`server` returns \(aggregate, state\), but one Variables came",
        ),
        (
            {"aggregator": base.Aggregator(base.stateless, lambda seen, s: base.average(seen))},
            r"`update` returns \(update, state\), but one Variables came",
        ),
        (
            {"aggregator": base.Aggregator(base.stateless, lambda seen, s: (seen.updates, s))},
            "added up as they come, .* made with sees=Stacked",
        ),
    ],
)
def test_a_part_that_returns_or_sees_too_little_is_told_so(parts, said):
    made = algorithm(**parts)
    with pytest.raises(errors.ConfigError, match=said):
        made.step(made.init(toy.variables(jax.random.key(0))), DATA, jax.random.key(1))


def test_examples_that_are_no_dict_are_refused():
    whole = toy.examples()
    pair = population.make((whole["x"], whole["y"]), toy.shares())
    made = algorithm(attack=None, sampler=sampling.everyone(toy.PARTICIPANTS))
    with pytest.raises(errors.DataError, match=r"are a dict of arrays, .* but tuple came"):
        made.step(
            made.init(toy.variables(jax.random.key(0))), round.RoundData(pair), jax.random.key(1)
        )
