import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, rng, tree
from fl_jax.federated.defences import norm_clip
from fl_jax.nn import loss as losses
from fl_jax.train import cohort, optimizer
from privacy.leakage import collaborative, networks, sharing
from tests.privacy.leakage import toy

SIZES = np.array([40, 30, 20, 10])
INDICES = jnp.asarray(np.random.default_rng(0).integers(0, 200, (4, 16)))


@pytest.fixture(scope="module")
def start():
    return jax.jit(toy.model().network.init)(jax.random.key(0))[0]


def gap(x, y):
    """||x - y|| / ||y||."""
    flat = lambda t: np.concatenate([np.ravel(np.asarray(a)) for a in jax.tree.leaves(t)])
    return np.linalg.norm(flat(x) - flat(y)) / np.linalg.norm(flat(y))


def one_round(learning, start, data, key, indices=INDICES):
    """(state, info) after one compiled round."""
    return jax.jit(learning.step)(learning.init(start, ()), data, indices, key)


def test_synchronised_sgd_is_a_step_along_the_sum_of_all_gradients(start, key):
    learning = collaborative.make(toy.sgd(), SIZES)
    data = toy.examples()
    new, info = one_round(learning, start, data, key)
    network = toy.model().network

    def objective(params, taken):
        logits = network.apply(params, {}, data["x"][taken])[0]
        return jnp.mean(losses.cross_entropy(logits, data["y"][taken]))

    each = [jax.grad(objective)(start, taken) for taken in INDICES]
    others = jax.tree.map(lambda a, c, d: a + c + d, each[0], each[2], each[3])
    assert gap(info.others, others) < 1e-6
    assert gap(info.own, each[1]) < 1e-6
    assert gap(info.victim, each[0]) < 1e-6
    total = tree.add(others, each[1])
    assert gap(new.params, jax.tree.map(lambda p, g: p - 0.1 * g, start, total)) < 1e-6
    # What the adversary finds by differencing two models is the true sum of the others.
    seen = collaborative.view("participant", toy.sgd(), 4)
    found = seen.observe(start, new.params, info)
    assert gap(found, info.others) < 1e-5
    bound = float(collaborative.roundoff(start, new.params, 0.1))
    worst = max(float(jnp.max(jnp.abs(a))) for a in jax.tree.leaves(tree.sub(found, info.others)))
    assert 0 < worst <= bound


def test_federated_averaging_weighs_by_data_and_is_undone(start, key):
    local = optimizer.make(optimizer.Optimizer("sgd", rate=0.1))
    protocol = collaborative.federated_averaging(losses.classification(toy.model().network), local)
    learning = collaborative.make(protocol, SIZES)
    data = toy.examples()
    indices = INDICES.reshape(4, 2, 8)  # two local steps
    new, info = one_round(learning, start, data, key, indices)
    network = toy.model().network

    def objective(params, taken):
        logits = network.apply(params, {}, data["x"][taken])[0]
        return jnp.mean(losses.cross_entropy(logits, data["y"][taken]))

    moved = []
    for taken in indices:
        params = start
        for batch in taken:
            params = jax.tree.map(
                lambda p, g: p - 0.1 * g, params, jax.grad(objective)(params, batch)
            )
        moved.append(params)
    mean = jax.tree.map(lambda *leaves: np.tensordot(SIZES / 100, np.stack(leaves), 1), *moved)
    assert gap(new.params, mean) < 1e-6
    found = collaborative.view("participant", protocol, 4).observe(start, new.params, info)
    assert gap(found, info.others) < 1e-5


def test_threat_models(start, key):
    learning = collaborative.make(toy.sgd(), SIZES)
    new, info = one_round(learning, start, toy.examples(), key)
    view = lambda kind: collaborative.view(kind, toy.sgd(), 4)
    total = tree.add(info.others, info.own)
    assert gap(view("secure aggregation").observe(start, new.params, info), total) < 1e-5
    assert gap(view("server").observe(start, new.params, info), info.victim) == 0
    assert [view(kind).others for kind in collaborative.VIEWS] == [2, 0, 3]
    two = collaborative.view("participant", toy.sgd(), 2)
    assert two.others == 0  # two parties: the victim's own gradient
    with pytest.raises(errors.ConfigError, match="unknown threat model 'god'"):
        view("god")


@pytest.mark.parametrize("plan", ["scan", "chunk:2"])
def test_the_plan_changes_nothing(start, key, plan):
    data = toy.examples()
    found = []
    for p in ("vmap", plan):
        learning = collaborative.make(toy.sgd(), SIZES, plan=cohort.Plan.parse(p))
        found.append(one_round(learning, start, data, key)[0].params)
    assert gap(found[0], found[1]) < 1e-6


def test_sharing_and_defences_apply_to_everyone(start, key):
    data = toy.examples()
    share = sharing.largest(0.1)
    learning = collaborative.make(
        toy.sgd(), SIZES, share=share, defence=norm_clip.norm_clip(bound=0.01)
    )
    _, info = one_round(learning, start, data, key)
    assert float(tree.norm(info.victim)) == pytest.approx(0.01, rel=1e-5)
    assert float(tree.norm(info.own)) == pytest.approx(0.01, rel=1e-5)
    entries = sum(int(jnp.sum(leaf != 0)) for leaf in jax.tree.leaves(info.own))
    assert entries == round(0.1 * tree.size(start))
    plain = collaborative.make(toy.sgd(), SIZES)
    noisy = collaborative.make(toy.sgd(), SIZES, defence=norm_clip.norm_clip(bound=1e9, noise=0.5))
    a, _ = one_round(plain, start, data, key)
    b, _ = one_round(noisy, start, data, key)
    noise = np.concatenate(
        [np.ravel(leaf) for leaf in jax.tree.leaves(tree.sub(a.params, b.params))]
    )
    np.testing.assert_allclose(noise.std() / 0.1, 0.5, rtol=0.3)


def test_rounds_run_as_one_program(start, key):
    learning = collaborative.make(toy.sgd(), SIZES)
    data = toy.examples()
    rounds = {"participants": jnp.stack([INDICES, INDICES[:, ::-1], INDICES + 1])}
    kept = lambda before, after, info, examples, batch, key: info.own["output"]["bias"]
    end, found = jax.jit(collaborative.run(learning, kept))(
        learning.init(start, ()), data, rounds, key
    )
    state, step = learning.init(start, ()), jax.jit(learning.step)
    for t in range(3):
        state, info = step(state, data, rounds["participants"][t], key)
        np.testing.assert_allclose(found[t], info.own["output"]["bias"], rtol=1e-5)
    assert gap(end.params, state.params) < 1e-6
    assert int(end.round) == 3


def test_a_dropout_network_draws_a_new_mask_each_round(start, key):
    network = networks.make(networks.MLP, features=6, hidden=8, dropout=0.5).network
    protocol = collaborative.synchronised_sgd(losses.classification(network), rate=0.1)
    learning = collaborative.make(protocol, SIZES)
    state, data = learning.init(start, ()), toy.examples()
    step = jax.jit(learning.step)
    first = step(state, data, INDICES, key)[1].own
    again = step(state, data, INDICES, key)[1].own
    later = step(state._replace(round=jnp.int32(1)), data, INDICES, key)[1].own
    assert gap(first, again) == 0
    assert gap(first, later) > 0.01


def test_fewer_than_two_participants_are_refused():
    with pytest.raises(errors.ConfigError, match="so K >= 2, got 1"):
        collaborative.make(toy.sgd(), np.array([3]))
    with pytest.raises(errors.ConfigError, match="learning rate must be above 0"):
        toy.sgd(0.0)


def test_randomness_belongs_to_the_participant(start, key):
    """What a participant sends does not depend on who else takes part."""
    share = sharing.random(0.5)
    data = toy.examples()
    few = collaborative.make(toy.sgd(), SIZES[:2], share=share)
    many = collaborative.make(toy.sgd(), SIZES, share=share)
    a = one_round(few, start, data, key, INDICES[:2])[1].victim
    b = one_round(many, start, data, key)[1].victim
    assert gap(a, b) < 1e-6
    sent = many.send(start, jax.tree.map(lambda leaf: leaf[INDICES[0]], data), rng.fold(key, "x"))
    kept = sum(int(jnp.sum(leaf != 0)) for leaf in jax.tree.leaves(sent))
    assert 0.3 < kept / tree.size(sent) < 0.7


def test_batches_of_other_participants_than_the_learning_are_refused(start, key):
    learning = collaborative.make(toy.sgd(), SIZES)
    with pytest.raises(errors.ConfigError, match=rf"made for {len(SIZES)} participants.*of 2;"):
        learning.step(learning.init(start), toy.examples(), INDICES[:2], key)
