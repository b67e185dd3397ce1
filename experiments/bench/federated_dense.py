"""`python -m experiments bench federated_dense`: rounds of a small dense network (W2).

Beside FedJAX, on its dense EMNIST network: 784-200-200-62, 209,662 parameters; the clients, batches
and settings of W1 (`bench federated`), 100 clients a round. A step is 19 MFLOP, so that what is
measured is what a round costs besides its products. Both sides start from the same weights and
visit the same batches in the same order; the whole first round must agree to 1e-4 of the norm of
every leaf.

Ours runs on one device and over two virtual ones; FedJAX with its three backends, and `pmap` over
two virtual devices besides. The best of each side counts.
"""

import jax
import numpy as np
from flax import nnx

from experiments.bench import federated, measure, peers
from fl_jax.core import tree
from fl_jax.nn import dense, network
from fl_jax.train import mesh as meshes

CLIENTS = 100
MFLOP_PER_EXAMPLE = 0.94  # in training (spec 1, C4)


class Dense(nnx.Module):
    """Images, flattened, through two hidden layers with relu."""

    def __init__(self, *, rngs: nnx.Rngs, widths: tuple[int, ...] = (784, 200, 200, 62)):
        layers = zip(("first", "second", "output"), widths[:-1], widths[1:], strict=True)
        for name, rows, columns in layers:
            setattr(self, name, nnx.Linear(rows, columns, rngs=rngs))

    def __call__(self, x):
        """Logits (batch, 62) of images (batch, 28, 28, 1)."""
        x = x.reshape(x.shape[0], -1)
        for name in ("first", "second"):
            x = jax.nn.relu(_apply(getattr(self, name), x))
        return _apply(self.output, x)


def _apply(layer: nnx.Linear, x):
    return dense.dense(x, layer.kernel[...]) + layer.bias[...][None]


def main() -> None:
    """Runs the benchmark and prints its figures.

    Raises:
        AssertionError: the two sides do not compute the same round.
    """
    jax.config.update("jax_num_cpu_devices", 2)
    net = network.from_nnx(lambda rngs: Dense(rngs=rngs))
    params, _ = net.init(jax.random.key(0))
    assert tree.size(params) == 209_662
    sizes = np.random.default_rng(CLIENTS).integers(20, 200, CLIENTS)
    x, y = federated.examples(int(sizes.sum()))
    shares = np.split(np.arange(len(y)), np.cumsum(sizes)[:-1])
    key = jax.random.key(1)
    visited = [
        share[federated.order(key, i, len(share), sizes.max())] for i, share in enumerate(shares)
    ]
    two = meshes.MeshConfig(clients=2).make(jax.devices()[:2])
    ours = {
        "one device": federated.rounds(net, params, x, y, shares, key),
        "two virtual devices": federated.rounds(net, params, x, y, shares, key, two),
    }
    loop = federated.python_loop(net, params, x, y, visited)
    theirs = fedjax(params, x, y, visited)
    moved = tree.sub(ours["one device"]["params"], params)
    start = federated.flat(params)
    error = max(
        federated.errors(
            moved, {k: theirs[f"jit/round/{k}"] - v for k, v in start.items()}
        ).values()
    )
    print(table(ours, loop, theirs, error, sizes))
    assert error <= 1e-4, f"the first round differs by {error:.1e} of its norm"


def fedjax(params, x, y, visited) -> dict[str, np.ndarray]:
    """What `peers/fedjax_w2.py` returns: seconds, weights and versions."""
    taken = np.concatenate(visited)
    given = {
        **federated.flat(params),
        "x": x[taken],
        "y": y[taken],
        "size": np.array([len(v) for v in visited]),
        "batch_size": federated.BATCH,
        "rate": federated.RATE,
        "rounds": federated.ROUNDS,
    }
    result = peers.exchange("fedjax", "fedjax_w2.py", given, "jit,debug,pmap")
    both = peers.exchange("fedjax", "fedjax_w2.py", given, "pmap", devices=2)
    return result | {"pmap x2/seconds": both["pmap/seconds"]}


def table(ours, loop: float, theirs, error: float, sizes) -> str:
    """The figures as text."""
    steps = int(sum(-(-n // federated.BATCH) for n in sizes))
    best = min(f["seconds"] for f in ours.values())
    peer = {
        k.removesuffix("/seconds"): measure.median(list(v[1:]))
        for k, v in theirs.items()
        if k.endswith("/seconds")
    }
    first = min(peer, key=peer.get)
    lines = [
        f"W2: dense network of 209,662 parameters, {CLIENTS} clients, {sizes.sum()} examples,"
        f" {steps} local steps; {measure.surroundings()}",
        f"FedJAX: {', '.join(theirs['versions'])}",
        *(f"ours, {k}: {f['seconds']:.4f} s a round" for k, f in ours.items()),
        f"hand-written loop of jitted steps: {loop:.4f} s a round",
        *(f"FedJAX {k}: {v:.4f} s a round" for k, v in peer.items()),
        f"ours {1e3 * best / steps:.3f} ms a step,"
        f" {MFLOP_PER_EXAMPLE * sizes.sum() / best / 1e3:.0f} GFLOP/s",
        f"ratio to {first}: {peer[first] / best:.2f}; to the loop {loop / best:.2f}",
        f"first round equal to {error:.1e} of it",
    ]
    return "\n".join(lines)
