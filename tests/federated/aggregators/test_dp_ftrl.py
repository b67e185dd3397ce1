import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated import correlated_noise, round, sampling
from fl_jax.federated import secure_aggregation as secure
from fl_jax.federated.aggregators import base, choice, dp_fedavg, dp_ftrl, mean
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.train import checkpoint, cohort
from fl_jax.train import mesh as meshes
from privacy.factorization import buffered, toeplitz, tree, workload
from tests.federated import toy

ROUNDS, BLOCKS = 6, 3
COEFFICIENTS = toeplitz.optimise(np.ones(ROUNDS), BLOCKS, BLOCKS)
BANDED = correlated_noise.banded(COEFFICIENTS, ROUNDS)
BUFFERS = buffered.optimise(np.ones(ROUNDS), 1, BLOCKS)
BUFFERED = correlated_noise.buffered(*BUFFERS, ROUNDS)
TREE = correlated_noise.binary_tree(ROUNDS)
INDEPENDENT = correlated_noise.banded(np.ones(1), ROUNDS)
SETTINGS = {"bound": 0.3, "noise_multiplier": 0.4, "expected": 4.0}
APART = SETTINGS | {"separation": BLOCKS}
PEOPLE = round.RoundData(toy.people())


def algorithm(rule, **parts):
    usual = {
        "client": toy.trainer(),
        "sampler": sampling.cyclic(toy.PARTICIPANTS, 4, BLOCKS),
        "aggregator": rule,
    }
    return round.make(**(usual | parts))


def run(rule, rounds=ROUNDS, **parts):
    made = algorithm(rule, **parts)
    many = jax.jit(round.repeat(made.step, rounds))
    return many(made.init(toy.variables(jax.random.key(0))), PEOPLE, jax.random.key(1))[0]


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def close(a, b, atol):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=atol)


def test_independent_noise_is_dp_fedavg():
    """To the bit, operation by operation; a compiled round is fused in another way."""
    rules = dp_ftrl.dp_ftrl(**APART, correlation=INDEPENDENT), dp_fedavg.dp_fedavg(**SETTINGS)
    seen = Stacked({"w": jax.random.normal(jax.random.key(2), (4, 50))}, jnp.ones(4))
    steps = []
    for rule in map(base.as_stacked, rules):
        state = rule.begin((), rule.init({"w": jnp.zeros(50)}), jax.random.key(3))
        steps.append(rule.update(seen, state)[0])
    same(*steps)
    ours, theirs = map(run, rules)
    close(ours.variables, theirs.variables, 1e-6)
    other = run(dp_ftrl.dp_ftrl(**APART, correlation=BANDED)).variables
    apart = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), ours.variables, other)
    assert max(jax.tree.leaves(apart)) > 1e-3  # the test can tell


@pytest.mark.parametrize("name", ["banded", "buffered", "tree"])
def test_the_models_of_all_rounds_get_the_noise_of_the_matrices(name):
    """Over many seeds, and nothing else: the updates are the same in each."""
    correlation, factor = {
        "banded": (BANDED, workload.matrix(COEFFICIENTS, ROUNDS)),
        "buffered": (BUFFERED, workload.matrix(buffered.coefficients(BUFFERS, ROUNDS))),
        "tree": (TREE, tree.factor(ROUNDS)),
    }[name]
    rule = base.as_stacked(dp_ftrl.dp_ftrl(**APART, correlation=correlation))
    seen = Stacked({"w": jnp.ones((4, 10)), "b": jnp.zeros((4, 2))}, jnp.ones(4))
    clipped = 4 * 0.3 / np.sqrt(10) / 4

    def seed(key):
        def one(state, own):
            out, state = rule.update(seen, rule.begin((), state, own))
            return state, jnp.concatenate([out["w"] - clipped, out["b"]])

        start = rule.init({"w": jnp.zeros(10), "b": jnp.zeros(2)})
        return jax.lax.scan(one, start, jax.random.split(key, ROUNDS))[1]

    steps = jax.jit(jax.vmap(seed))(jax.random.split(jax.random.key(0), 5000))
    models = np.cumsum(np.asarray(steps, np.float64), axis=1)  # (seeds, rounds, numbers)
    models = models.transpose(1, 0, 2).reshape(ROUNDS, -1)
    b = np.linalg.solve(factor.T, np.tril(np.ones((ROUNDS, ROUNDS))).T).T
    want = b @ b.T * (0.4 * 0.3 / 4.0) ** 2
    error = np.sqrt((want**2 + np.outer(np.diag(want), np.diag(want))) / models.shape[1])
    assert np.all(np.abs(models @ models.T / models.shape[1] - want) < 5 * error)
    assert np.all(np.abs(models.mean(1)) < 5 * np.sqrt(np.diag(want) / models.shape[1]))


@pytest.mark.parametrize("correlation", [BANDED, BUFFERED, TREE])
def test_plans_resumption_and_seeds_side_by_side_give_the_same(correlation, tmp_path):
    rule = dp_ftrl.dp_ftrl(**APART, correlation=correlation)
    whole = run(rule)
    close(whole.variables, run(rule, plan=cohort.Plan("vmap")).variables, 1e-6)
    mesh = meshes.MeshConfig(clients=4).make(jax.devices()[:4])
    close(whole.variables, run(rule, mesh=mesh).variables, 1e-6)
    made = algorithm(rule)
    step = jax.jit(made.step)
    state = made.init(toy.variables(jax.random.key(0)))
    for t in range(ROUNDS):
        state, _ = step(state, PEOPLE, jax.random.key(1))
        with checkpoint.Checkpoints(tmp_path) as saved:  # every round is one of a new run
            saved.save(t, state)
        with checkpoint.Checkpoints(tmp_path) as saved:
            _, state, _ = saved.restore(made.init(toy.variables(jax.random.key(9))))
    close(whole.variables, state.variables, 1e-6)
    close(whole.aggregator.noise, state.aggregator.noise, 1e-6)
    start = made.init(toy.variables(jax.random.key(0)))
    two = jax.tree.map(lambda a: jnp.stack([a, a]), start)
    many = jax.jit(jax.vmap(round.repeat(made.step, ROUNDS), (0, None, 0)))
    keys = jnp.stack([jax.random.key(5), jax.random.key(1)])
    side = many(two, PEOPLE, keys)[0]
    close(whole.variables, jax.tree.map(lambda a: a[1], side.variables), 1e-6)


def test_beyond_its_rounds_it_moves_nothing():
    rule = dp_ftrl.dp_ftrl(**APART, correlation=BANDED)
    last, after = run(rule), run(rule, ROUNDS + 2)
    same(last.variables, after.variables)
    assert int(after.aggregator.round) == ROUNDS + 2


def test_through_secure_aggregation_the_server_needs_the_sum_alone():
    rule = dp_ftrl.dp_ftrl(**APART, correlation=BANDED)
    assert not rule.inspects
    plain, masked = run(rule), run(rule, secure=secure.make(clip=1.0))
    close(plain.variables, masked.variables, 1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_a_clipped_update_is_no_longer_than_the_bound(dtype):
    rule = dp_ftrl.dp_ftrl(**APART, correlation=BANDED)
    state = rule.init({"w": jnp.zeros(100, dtype)})
    assert state.noise["w"].dtype == jnp.float32
    sent, _ = rule.arrive({"w": jnp.full(100, 3.0, dtype)}, state)
    assert 0.29 < np.linalg.norm(np.asarray(sent["w"], np.float64)) <= 0.3 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("sampler", "after"),
    [
        (sampling.uniform(toy.PARTICIPANTS, 4), 1),
        (sampling.poisson(toy.PARTICIPANTS, 0.3), 1),
        (sampling.everyone(toy.PARTICIPANTS), 1),
        (sampling.dropout(sampling.cyclic(toy.PARTICIPANTS, 4, 2), 0.1), 2),
        (sampling.cyclic_poisson(toy.PARTICIPANTS, 0.5, 2), 2),
    ],
)
def test_participants_who_come_back_too_soon_are_refused(sampler, after):
    """Their epsilon is another one than was accounted for."""
    rule = dp_ftrl.dp_ftrl(**APART, correlation=BANDED)
    said = f"at least 3 rounds apart, but this sampler may draw one again after {after}; .* 3 bl"
    for other in (rule, base.as_stacked(rule), choice.choice([mean.mean(), rule])):
        with pytest.raises(errors.ConfigError, match=said):
            algorithm(other, sampler=sampler)
    algorithm(rule, sampler=sampling.dropout(sampling.cyclic(toy.PARTICIPANTS, 3, 4), 0.1))
    anyone = dp_ftrl.dp_ftrl(**(APART | {"separation": 1}), correlation=INDEPENDENT)
    algorithm(anyone, sampler=sampler)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bound": 0.0}, "bound must be above 0"),
        ({"noise_multiplier": np.nan}, "noise_multiplier must be above 0"),
        ({"expected": np.inf}, "expected must be finite"),
        ({"separation": 0}, "separation must be a whole number of 1 or more"),
    ],
)
def test_bad_settings_are_refused(changes, said):
    with pytest.raises(errors.ConfigError, match=said):
        dp_ftrl.dp_ftrl(**(APART | changes), correlation=BANDED)
