"""FedJAX's side of `bench federated`; run by FedJAX's own interpreter.

    python fedjax_w1.py IN.npz OUT.npz BACKEND,BACKEND

IN holds the clients' examples in the order in which they are to be visited (`x`, `y`, one client
after another, `size` each), the weights, the batch size, the learning rate and the number of
rounds. OUT gets, per backend, the seconds of every round and the weights after the first, and
the gradient on the first batch.
"""

import importlib.metadata
import sys
import time

import fedjax
import jax
import jax.numpy as jnp
import numpy as np
from fedjax.algorithms import fed_avg

LAYERS = {
    "conv1": "conv_dropout_module/conv2_d",
    "conv2": "conv_dropout_module/conv2_d_1",
    "hidden": "conv_dropout_module/linear",
    "output": "conv_dropout_module/linear_1",
}
NAMES = {"kernel": "w", "bias": "b"}


class Visited(fedjax.ClientDataset):
    """Examples in the order given, the last batch short.

    FedJAX's own `shuffle_repeat_batch` fills the last batch up with examples from the beginning,
    which would train on them twice.
    """

    def shuffle_repeat_batch(self, hparams):
        return self.batch(batch_size=hparams.batch_size)


def main(source, target, backends, layers=LAYERS, model=None):
    model = model or fedjax.models.emnist.create_conv_model()
    given = dict(np.load(source))
    params = {
        theirs: {NAMES[leaf]: jnp.asarray(given[f"{ours}/{leaf}"]) for leaf in NAMES}
        for ours, theirs in layers.items()
    }

    def flat(tree):
        return {
            f"{ours}/{leaf}": np.asarray(tree[theirs][NAMES[leaf]])
            for ours, theirs in layers.items()
            for leaf in NAMES
        }

    def loss(params, batch, rng):
        del rng  # the evaluation pass: dropout off
        return jnp.mean(model.train_loss(batch, model.apply_for_eval(params, batch)))

    gradient = jax.grad(loss)
    size = given["size"]
    ends = np.cumsum(size)
    # Batches of several devices are stacked, so that there they must be equally long.
    dataset = Visited if jax.device_count() == 1 else fedjax.ClientDataset
    clients = [
        (
            b"%06d" % i,
            dataset({"x": given["x"][end - n : end], "y": given["y"][end - n : end]}),
            jax.random.PRNGKey(i),
        )
        for i, (n, end) in enumerate(zip(size, ends, strict=True))
    ]
    batch_size, rate = int(given["batch_size"]), float(given["rate"])
    first = {k: given[k][: min(batch_size, size[0])] for k in ("x", "y")}
    out = {f"gradient/{k}": v for k, v in flat(jax.jit(gradient)(params, first, None)).items()}
    batches = fedjax.ShuffleRepeatBatchHParams(
        batch_size=batch_size, num_epochs=1, drop_remainder=False, skip_shuffle=True
    )
    for backend in backends.split(","):
        with fedjax.for_each_client_backend(backend):
            algorithm = fed_avg.federated_averaging(
                gradient, fedjax.optimizers.sgd(rate), fedjax.optimizers.sgd(1.0), batches
            )
            state = algorithm.init(params)
            seconds = []
            for i in range(int(given["rounds"])):
                start = time.perf_counter()
                state, _ = algorithm.apply(state, clients)
                jax.block_until_ready(state.params)
                seconds.append(time.perf_counter() - start)
                if i == 0:
                    out |= {f"{backend}/round/{k}": v for k, v in flat(state.params).items()}
            out[f"{backend}/seconds"] = np.asarray(seconds)
    packages = ("fedjax", "jax", "jaxlib", "dm-haiku", "numpy")
    out["versions"] = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
