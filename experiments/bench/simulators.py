"""`python -m experiments bench simulators`: rounds beside Flower and pfl, each on its own example.

- Flower, quickstart-pytorch: a LeNet of 62,006 parameters on CIFAR-10, 10 clients of 4,000 images,
  batch 32, SGD with momentum 0.9: 1,250 local steps a round;
- pfl, benchmarks/image_classification (baseline.yaml): `simple_cnn` of 1,626,442 parameters on
  CIFAR-10, 50 clients of 50 images, batch 10, SGD 0.1: 250 local steps a round.

Images of CIFAR-10's shape are made up: what they show does not change how long a step takes. Both
sides start from the same weights, visit the same batches in the same order and leave dropout and
evaluation out; the whole first round must agree to 1e-2 of the norm of every leaf, as in W1, where
ReLU and pooling decide on rounding (Flower alone, with one CPU a client and with two, differs by
half of that). On these images Flower's own rate, 0.1, makes a round chaotic; it is 0.01 here.

In favour of the peers: their clients keep their share in memory as normalised tensors, where the
examples decode and normalise image by image. Flower runs its simulation engine (Ray) with the
resources of its example's default, two CPUs a client, and with one; the better counts.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.bench import federated, measure, peers
from fl_jax.core import tree
from fl_jax.federated import client, population, sampling
from fl_jax.federated import round as federated_round
from fl_jax.federated.aggregators import mean
from fl_jax.nn import conv, emnist, lenet, loss, network
from fl_jax.train import mesh as meshes
from fl_jax.train.state import Variables

TOLERANCE, ROUNDS = 1e-2, 6


class Example(NamedTuple):
    """A peer's example workload."""

    clients: int
    images: int  # of each client
    batch: int
    rate: float
    momentum: float
    features: tuple[int, int]  # channels of the two convolutions
    network: Callable[..., nnx.Module]
    parameters: int


class SimpleCNN(nnx.Module):
    """pfl's `simple_cnn`: conv 3x3x32, relu, conv 3x3x64, relu, max pool 2, dense 128, 10."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.conv0 = conv.Conv(3, 32, 3, padding="VALID", rngs=rngs)
        self.conv1 = conv.Conv(32, 64, 3, padding="VALID", rngs=rngs)
        self.dense0 = nnx.Linear(14 * 14 * 64, 128, rngs=rngs)
        self.dense1 = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        """Logits of images (batch, 32, 32, 3)."""
        x = emnist.features(x, self.conv0, self.conv1).reshape(x.shape[0], -1)
        return self.dense1(jax.nn.relu(self.dense0(x)))


FLOWER = Example(10, 4000, 32, 0.01, 0.9, (6, 16), lenet.LeNet, 62_006)
PFL = Example(50, 50, 10, 0.1, 0.0, (32, 64), SimpleCNN, 1_626_442)


def net_of(example: Example) -> network.Network:
    """The example's network, on images of whole numbers from 0 to 255."""
    net = network.from_nnx(lambda rngs: example.network(rngs=rngs))

    def apply(params, batch_stats, x, **settings):
        return net.apply(params, batch_stats, x.astype(jnp.float32) / 127.5 - 1, **settings)

    return network.Network(net.init, apply)


def main() -> None:
    """Runs the benchmark and prints its figures."""
    jax.config.update("jax_num_cpu_devices", 2)
    print(measure.surroundings(), flush=True)
    compare("pfl", PFL, {"SimulatedBackend": "simulate"})
    compare("flower", FLOWER, {"1 CPU a client": "1", "2 CPUs a client": "2"})


def compare(peer: str, example: Example, ways: dict[str, str]) -> None:
    """Both sides on a peer's example.

    Args:
        peer: its environment `peers/<peer>.txt` and script `peers/<peer>_example.py`.
        ways: in which it can run, by name, with the script's argument.

    Raises:
        AssertionError: the two sides do not compute the same round.
    """
    net = net_of(example)
    params, _ = net.init(jax.random.key(0))
    assert tree.size(params) == example.parameters, tree.size(params)
    total = example.clients * example.images
    x, y = images(total)
    shares = np.split(np.arange(total), example.clients)
    key = jax.random.key(1)
    two = meshes.MeshConfig(clients=2).make(jax.devices()[:2])
    ours = {
        "one device": rounds(example, net, params, x, y, shares, key),
        "two virtual devices": rounds(example, net, params, x, y, shares, key, two),
    }
    best = min(f["seconds"] for f in ours.values())
    visited = np.concatenate(
        [s[federated.order(key, i, example.images, example.images)] for i, s in enumerate(shares)]
    )
    given = {
        **federated.flat(params),
        "x": x[visited],
        "y": y[visited],
        "features": example.features,
        "clients": example.clients,
        "batch_size": example.batch,
        "rate": example.rate,
        "momentum": example.momentum,
        "rounds": ROUNDS,
    }
    steps = example.clients * -(-example.images // example.batch)
    print(f"{peer}: {example.parameters:,} parameters, {example.clients} clients, {steps} steps")
    for name, figures in ours.items():
        print(f"  ours, {name}: {figures['seconds']:.3f} s a round", flush=True)
    start, found = federated.flat(params), {}
    moved = tree.sub(ours["one device"]["params"], params)
    for name, argument in ways.items():
        theirs = peers.exchange(
            peer, f"{peer}_example.py", given, argument, environment=peers.MALLOC
        )
        found[name] = measure.median(list(theirs["seconds"][1:]))
        error = max(
            federated.errors(
                moved, {k: theirs[f"round/{k}"] - v for k, v in start.items()}
            ).values()
        )
        print(
            f"  {peer}, {name}: {found[name]:.3f} s a round, first {theirs['seconds'][0]:.3f};"
            f" first round equal to {error:.1e}; {', '.join(theirs['versions'])}",
            flush=True,
        )
        assert error <= TOLERANCE, f"the first round differs by {error:.1e} of its norm"
    print(
        f"  ours {1e3 * best / steps:.2f} ms a step; ratio {min(found.values()) / best:.2f}",
        flush=True,
    )


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(images (count, 32, 32, 3) uint8, labels): smooth colours of a class, in changing light.

    Images of noise would make rounds chaotic: weights moved by 1e-6 then end a quarter of the
    way apart, on one side alone.
    """
    draw = np.random.default_rng(0)
    y = draw.integers(0, 10, count).astype(np.int32)
    coarse = draw.uniform(size=(10, 4, 4, 3)).astype(np.float32)
    smooth = np.kron(coarse, np.ones((1, 8, 8, 1), np.float32))
    light = draw.uniform(100, 255, size=(count, 1, 1, 1)).astype(np.float32)
    return (smooth[y] * light).astype(np.uint8), y


def rounds(example: Example, net, params, x, y, shares, key, mesh=None) -> dict[str, Any]:
    """The round engine: one compiled program a round."""
    people = population.make({"x": x, "y": y}, shares)
    engine = federated_round.make(
        client=client.make(
            loss.classification(net),
            optax.sgd(example.rate, momentum=example.momentum or None),
            epochs=1,
            batch_size=example.batch,
        ),
        sampler=sampling.everyone(example.clients),
        aggregator=mean.mean(weight="uniform"),
        mesh=mesh,
    )
    data = meshes.replicate(mesh, federated_round.RoundData(people))
    everywhere = None if mesh is None else meshes.sharding(mesh)
    step = jax.jit(engine.step, donate_argnums=0, out_shardings=everywhere)
    state = jax.tree.map(jnp.copy, meshes.replicate(mesh, engine.init(Variables(params, {}))))
    times, after = [], None
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, data, key))
        times.append(time.perf_counter() - begun)
        if after is None:
            after = jax.tree.map(np.array, state.variables.params)
    return {"seconds": measure.median(times[1:]), "first": times[0], "params": after}
