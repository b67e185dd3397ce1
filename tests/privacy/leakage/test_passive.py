import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, roc, tree
from fl_jax.train import mesh as meshes
from privacy.leakage import classifiers, collaborative, draws, features, passive, split
from tests.privacy.leakage import toy


@pytest.fixture(scope="module")
def setting():
    data = toy.examples(600)
    parts = split.make(np.asarray(data["y"]), np.asarray(data["holds"]) == 1, 4, seed=0)
    start = toy.model().network.init(jax.random.key(0))[0]
    learning = collaborative.make(toy.sgd(), parts.sizes())
    view = collaborative.view("participant", toy.sgd(), 4)
    extractor = features.make(start)
    drawn = draws.Draws(
        parts, batch=8, schedule=draws.every(5), seed=0, record=(10, 2), others=2, pool=6
    )
    record = passive.recorder(learning, view, extractor, np.ones(4))
    many = jax.jit(collaborative.run(learning, record))
    return data, parts, start, learning, extractor, drawn, many


def test_an_imitated_update_is_one_batch_and_innocent_ones_summed(setting, key):
    data, _, start, learning, extractor, drawn, _ = setting
    one = jax.tree.map(lambda a: a[0], drawn.rounds(10, 1))
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    made = jax.jit(passive.imitate(learning, extractor, weights))
    found = made(start, data, one["auxiliary"], one["pool"], one["chosen"], key)
    fetch = lambda taken: jax.tree.map(lambda leaf: leaf[taken], data)
    send = jax.jit(lambda taken: learning.send(start, fetch(taken), key))
    add = jax.jit(lambda total, share, update: tree.add(total, tree.scale(share, update)))
    extract = jax.jit(extractor.extract)
    for a in (0, 5, 15):
        update = send(one["auxiliary"][a])
        total = add(tree.zeros_like(update), 0.4, update)
        for m in one["chosen"][a]:
            total = add(total, 0.15, send(one["pool"][m]))
        np.testing.assert_allclose(found[a], extract(total), rtol=1e-4, atol=1e-6)


def test_dealt_over_devices_the_auxiliary_updates_are_the_same(setting, key):
    data, parts, start, _, extractor, drawn, _ = setting
    noise = lambda update, key: tree.add(update, tree.scale(jax.random.normal(key), update))
    learning = collaborative.make(toy.sgd(), parts.sizes(), share=noise)  # random by its place
    view = collaborative.view("participant", toy.sgd(), 4)
    batches = drawn.rounds(8, 6)
    found = {}
    for dealt in (False, True):
        record = passive.recorder(learning, view, extractor, np.ones(4), dealt=dealt)
        many = collaborative.run(learning, record)
        if dealt:
            many = passive.over_devices(many, meshes.MeshConfig(clients=4).make(jax.devices()[:4]))
        found[dealt] = jax.jit(many)(learning.init(start, ()), data, batches, key)
    chex.assert_trees_all_close(found[True], found[False], rtol=1e-4, atol=1e-6)
    with pytest.raises(errors.ConfigError, match="16 auxiliary updates cannot be dealt over 3"):
        mesh = meshes.MeshConfig(clients=3).make(jax.devices()[:3])
        passive.over_devices(many, mesh)(learning.init(start, ()), data, batches, key)


def test_a_property_is_inferred_from_sums_of_three_and_a_shuffled_one_is_not(setting, key):
    data, _, start, learning, extractor, drawn, many = setting
    observed, auxiliary = [], []
    state = learning.init(start, ())
    for first in range(0, 200, 50):
        batches = drawn.rounds(first, 50)
        state, kept = many(state, data, batches, key)
        observed.append(kept["observed"])
        auxiliary.append(kept["auxiliary"][batches["record"]])
        assert float(jnp.max(jnp.abs(kept["auxiliary"][~batches["record"]]))) == 0
    auxiliary = np.concatenate(auxiliary).reshape(-1, extractor.length)
    labels = np.tile(drawn.labels, len(auxiliary) // 16)
    truth = drawn.shares(200)[10:] > 0
    fit = classifiers.mlp(steps=600).fit
    found = fit(auxiliary, labels)(np.concatenate(observed)[10:])
    assert roc.area(found, truth) > 0.8
    shuffled = np.random.default_rng(0).permutation(labels)
    chance = fit(auxiliary, shuffled)(np.concatenate(observed)[10:])
    assert 0.3 < roc.area(chance, truth) < 0.7
