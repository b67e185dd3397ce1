"""FedJAX's side of `bench compression`; run by FedJAX's own interpreter.

    python fedjax_compression.py IN.npz OUT.npz

In: x (clients, numbers), levels, repeats. Out: for every code its CPU-seconds (repeats,) and the
mean of what is read (numbers,).
"""

import importlib.metadata
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

jnp.NINF = -jnp.inf  # FedJAX still asks for it

from fedjax.aggregators import compression  # noqa: E402


def main(source, target):
    given = dict(np.load(source))
    levels, key = int(given["levels"]), jax.random.PRNGKey(0)
    updates = [(b"%06d" % i, {"w": jnp.asarray(x)}, 1.0) for i, x in enumerate(given["x"])]
    codes = {
        "uniform": compression.uniform_stochastic_quantizer(levels, key),
        "rotated": compression.rotated_uniform_stochastic_quantizer(levels, key),
        "DRIVE": compression.structured_drive_quantizer(key),
    }
    out = {}
    for name, code in codes.items():
        state = code.init()
        mean, state = code.apply(updates, state)
        jax.block_until_ready(mean)
        times = []
        for _ in range(int(given["repeats"])):
            start = time.process_time()
            again, state = code.apply(updates, state)
            jax.block_until_ready(again)
            times.append(time.process_time() - start)
        out[f"{name}/mean"], out[f"{name}/seconds"] = np.asarray(mean["w"]), np.array(times)
    names = ("fedjax", "jax", "jaxlib")
    out["versions"] = np.array([f"{name} {importlib.metadata.version(name)}" for name in names])
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:])
