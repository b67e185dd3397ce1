"""A small training program to be killed: `python -m tests.integration.child DIR STEPS PAUSE`.

It does in little what a run of the project does: a mesh over all devices, of one process or
more; a state of which one part is split over it and one is copied; donated buffers; noise that
belongs to the step; checkpoints, metrics, resume. It tells each step as it begins, so that it
can be hit in it, and pauses there. At the end `final.json` holds the SHA-256 of every leaf.
"""

import functools
import hashlib
import json
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import rng, tree
from fl_jax.train import checkpoint, launch, loop, mesh, metrics

CLIENTS, WIDTH = 8, 20_000


def main(directory: pathlib.Path, steps: int, pause: float) -> None:
    launch.initialize()
    devices = mesh.MeshConfig(clients=-1).make()
    launch.announce(devices)
    split, copied = mesh.sharding(devices, "clients"), mesh.sharding(devices)
    layout = {"key": copied, "server": copied, "clients": split}

    @functools.partial(jax.jit, out_shardings=layout)
    def init(key):
        clients = jax.random.normal(key, (CLIENTS, WIDTH))
        return {"key": key, "server": jnp.zeros(WIDTH), "clients": clients}

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=(layout, copied))
    def train(state, step):
        noise = jax.random.normal(rng.fold(state["key"], "noise", step), (CLIENTS, WIDTH))
        clients = 0.9 * state["clients"] + noise
        server = state["server"] + jnp.mean(clients, 0)
        info = {"norm": tree.norm(server), "mean": jnp.mean(server)}
        return {**state, "server": server, "clients": clients}, info

    def advance(state, step):
        print(f"step {step}", flush=True)
        time.sleep(pause)
        return train(state, step)

    with (
        checkpoint.Checkpoints(directory / "checkpoints") as checkpoints,
        metrics.Metrics(directory / "metrics.jsonl") as log,
    ):
        state = loop.run(
            advance,
            init(jax.random.key(0)),
            steps=steps,
            checkpoints=checkpoints,
            save_every=3,
            metrics=log,
            rows=lambda info, step: [{"step": step, **info}],
        )
    data = {**state, "key": jax.random.key_data(state["key"])}
    leaves = tree.named_leaves(jax.jit(lambda x: x, out_shardings=copied)(data))
    digests = {n: hashlib.sha256(np.asarray(x).tobytes()).hexdigest() for n, x in leaves.items()}
    if jax.process_index() == 0:
        (directory / "final.json").write_text(json.dumps(digests))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
