"""A federated client that is itself a model over several devices."""

import jax
import numpy as np

from fl_jax.bloom import loss, model, sharding
from fl_jax.bloom.config import Config
from fl_jax.federated import client, population, round, sampling
from fl_jax.federated.aggregators import mean
from fl_jax.train import cohort, optimizer
from fl_jax.train import mesh as meshes
from fl_jax.train.state import Variables

CONFIG = Config(vocab=32, hidden=16, layers=2, heads=4, length=8)
TOKENS = np.random.default_rng(0).integers(4, 32, (16, 9)).astype(np.int32)


def one_round(params, plan="scan", mesh=None):
    """Full fine-tuning by four clients of four rows each."""
    rows = {"tokens": TOKENS, "weights": np.full((16, 8), 1 / 32, np.float32)}
    learn = round.make(
        client=client.make(
            loss.make(CONFIG),
            optimizer.make(optimizer.Optimizer("sgd", rate=0.1)),
            epochs=1,
            batch_size=4,
        ),
        sampler=sampling.everyone(4),
        aggregator=mean.mean(),
        plan=cohort.Plan.parse(plan),
        mesh=mesh,
    )
    data = round.RoundData(population.make(rows, np.split(np.arange(16), 4)))
    return jax.jit(learn.step)(learn.init(Variables(params, {})), data, jax.random.key(1))


def test_clients_whose_models_are_split():
    """Two clients at a time, each over 2 fsdp x 2 tensor devices: what one device gives."""
    params = model.init(jax.random.key(0), CONFIG, std=0.3)
    wanted, wanted_info = one_round(params)
    mesh = meshes.MeshConfig(clients=2, fsdp=2, tensor=2).make()
    with meshes.use(mesh):
        placed = jax.device_put(params, sharding.parameters(CONFIG, mesh))
        found, info = one_round(placed, "vmap", mesh)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(info.loss, wanted_info.loss, rtol=1e-6)
    kernel = found.variables.params["layers"]["qkv"]["kernel"]  # (layers, hidden, heads, 3, width)
    assert {s.data.shape for s in kernel.addressable_shards} == {(2, 8, 2, 3, 4)}
    moved = np.asarray(kernel) - np.asarray(params["layers"]["qkv"]["kernel"])
    assert np.abs(moved).max() > 1e-4
