"""FedJAX's side of `bench words`; run by FedJAX's own interpreter.

    python fedjax_w3.py IN.npz OUT.npz BACKEND,BACKEND

Files as for `fedjax_w1.py`, with the leaves of the Shakespeare model.
"""

import importlib.metadata
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

jnp.NINF = -jnp.inf  # the model still asks for it

import fedjax  # noqa: E402
from fedjax.algorithms import fed_avg  # noqa: E402
from fedjax_w1 import Visited  # noqa: E402

LEAVES = {
    "embedding": ("embed", "embeddings"),
    "lstm1/kernel": ("lstm/linear", "w"),
    "lstm1/bias": ("lstm/linear", "b"),
    "lstm2/kernel": ("lstm_1/linear", "w"),
    "lstm2/bias": ("lstm_1/linear", "b"),
    "output/kernel": ("linear", "w"),
    "output/bias": ("linear", "b"),
}


def main(source, target, backends):
    given = dict(np.load(source))
    model = fedjax.models.shakespeare.create_lstm_model()
    shapes = model.init(jax.random.PRNGKey(0))
    params = {layer: dict(leaves) for layer, leaves in shapes.items()}
    for ours, (layer, leaf) in LEAVES.items():
        assert params[layer][leaf].shape == given[ours].shape, ours
        params[layer][leaf] = jnp.asarray(given[ours])

    def flat(tree):
        return {ours: np.asarray(tree[layer][leaf]) for ours, (layer, leaf) in LEAVES.items()}

    def loss(params, batch, rng):
        return jnp.mean(model.train_loss(batch, model.apply_for_train(params, batch, rng)))

    gradient = jax.grad(loss)
    size, batch_size = given["size"], int(given["batch_size"])
    ends = np.cumsum(size)
    clients = [
        (
            b"%06d" % i,
            Visited({"x": given["x"][end - n : end], "y": given["y"][end - n : end]}),
            jax.random.PRNGKey(i),
        )
        for i, (n, end) in enumerate(zip(size, ends, strict=True))
    ]
    out = {}
    batches = fedjax.ShuffleRepeatBatchHParams(
        batch_size=batch_size, num_epochs=1, drop_remainder=False, skip_shuffle=True
    )
    for backend in backends.split(","):
        with fedjax.for_each_client_backend(backend):
            algorithm = fed_avg.federated_averaging(
                gradient,
                fedjax.optimizers.sgd(float(given["rate"])),
                fedjax.optimizers.sgd(1.0),
                batches,
            )
            state, seconds = algorithm.init(params), []
            used = []
            for i in range(int(given["rounds"])):
                start, cpu = time.perf_counter(), time.process_time()
                state, _ = algorithm.apply(state, clients)
                jax.block_until_ready(state.params)
                seconds.append(time.perf_counter() - start)
                used.append(time.process_time() - cpu)
                if i == 0:
                    out |= {f"{backend}/round/{k}": v for k, v in flat(state.params).items()}
            out[f"{backend}/seconds"] = np.asarray(seconds)
            out[f"{backend}/cpu"] = np.median(used[1:])
    packages = ("fedjax", "jax", "jaxlib", "dm-haiku", "numpy")
    out["versions"] = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
