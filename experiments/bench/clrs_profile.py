"""Where a training step of `bench clrs_step` spends its time on a CPU.

    python -m experiments bench clrs_profile            bfs, insertion_sort, dijkstra
    python -m experiments bench clrs_profile bridges    another

Ours alone, float32, on random inputs: one step is traced and its operations added up by the part of
the network that they belong to, forward and backward together.
"""

import sys

import jax
import jax.numpy as jnp
from jax import flatten_util

from algorithmic.clrs import lanes, net, samplers, trajectory
from experiments.bench import clrs_step, measure, traced

SCOPES = (
    "encode", "messages", "triplets", "hints", "outputs", "losses", "optimizer"
)  # fmt: skip
BATCH, NODES = 32, 16


def main(argv: list[str] | None = None) -> None:
    """Prints a table per algorithm: milliseconds by part, matrix products apart."""
    print(measure.surroundings(), flush=True)
    for name in argv or clrs_step.NAMES:
        lane, compiled, given = program(name)
        run = lambda compiled=compiled, given=given: jax.block_until_ready(compiled(*given))
        what = f"a step of {name}, {lane.first.shape[0]} hints"
        traced.table(what, run, compiled.as_text(), SCOPES)


def program(name: str):
    """(lanes of random inputs, the compiled step, what it is given)."""
    model, key = net.Config(hidden=clrs_step.HIDDEN), jax.random.key(0)
    group, _, start, _, transform, step = clrs_step.network(name, model)
    size = samplers.nodes(name, NODES)
    room = trajectory.rooms(name, size)[-1]
    runs = lanes.draw(name, group, key, BATCH, NODES, size, room, samplers.Options())
    lane = lanes.whole(runs, max(int(jnp.max(runs.length)) - 1, 1))
    params = jax.jit(start)()
    given = params, transform.init(flatten_util.ravel_pytree(params)[0]), lane, key
    return lane, jax.jit(step).lower(*given).compile(), given


if __name__ == "__main__":
    main(sys.argv[1:])
