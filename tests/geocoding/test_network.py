"""The network: a text that phrases were learned from does not see its own place."""

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.geocoding import evidence, examples, network, phrases, s2


def test_the_mixture_is_a_distribution_and_leaves_the_own_text_out(pieces):
    task, known, words, _ = pieces
    tables, mix = network.tables(known), jax.jit(network.mix)
    train = task.train
    data = examples.encode(known, words, train.text[:8], lat=train.lat[:8], lon=train.lon[:8],
                           held_out=True, length=24)  # fmt: skip
    batch = examples.batch(data, np.arange(8))
    there = jnp.asarray(batch["there"], jnp.float32)
    weights = there / jnp.maximum(there.sum(1, keepdims=True), 1)
    mixture = mix(tables, batch, weights)
    np.testing.assert_allclose(mixture.sum(1), 1, atol=1e-5)
    mass = network.node_mass(tables, mixture)
    np.testing.assert_allclose(mass[:, 0], 1, atol=1e-5)
    # the phrase rows alone, against phrases learned again without the text
    partition = known.partition
    from fl_jax.geocoding import cells

    leaf = cells.leaf(partition, train.lat, train.lon)
    points = s2.xyz(train.lat, train.lon)
    for n in range(8):
        rest = np.arange(len(leaf)) != n
        again = phrases.learn([t for k, t in enumerate(train.text) if k != n], leaf[rest],
                              points[rest], known.prior)  # fmt: skip
        for slot in range(evidence.PHRASES):
            if not data.evidence.there[n, evidence.DENSE + slot]:
                continue
            row = int(data.evidence.phrase[n, slot])
            own = again.find(known.phrases.hashes[row : row + 1])[0]
            counts = np.zeros(len(partition.leaves))
            span = slice(again.start[own], again.start[own + 1])
            counts[again.leaf[span]] = again.count[span]
            alone = jnp.zeros((1, evidence.ROWS)).at[0, evidence.DENSE + slot].set(1.0)
            one = {k: v[n : n + 1] for k, v in batch.items()}
            found = mix(tables, one, alone)[0]
            np.testing.assert_allclose(found, counts / counts.sum(), atol=1e-5)
            np.testing.assert_allclose(
                data.evidence.points[n, evidence.DENSE + slot], again.mean[own], atol=1e-4
            )


def test_gradients_reach_every_parameter(pieces):
    task, known, words, net = pieces
    data = examples.encode(known, words, task.train.text[:16], lat=task.train.lat[:16],
                           lon=task.train.lon[:16], length=24)  # fmt: skip
    from fl_jax.train import state

    params = network.init(jax.random.key(0), net)
    params["heads"]["weight"] += 0.1  # at 0 its own input would have no gradient
    loss = network.losses(net, network.tables(known))
    batch = examples.batch(data, np.arange(16))
    value = lambda p: loss(state.Variables(p, {}), batch, None)[0]
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(value))(params)):
        assert float(jnp.abs(leaf).max()) > 0, path
        assert bool(jnp.isfinite(leaf).all()), path
