"""`python -m experiments bench cohorts`: 100, 1,000 and 10,000 clients in one round.

The dense network of W2 (209,662 parameters), 20 images a client (one local step of 19 MFLOP), plain
mean. Clients run one after another, in blocks side by side, and (100 of them) all at once; what
is printed is clients a second, the share of the best matrix product, and by how much the process
grew: updates are added up as they come, so that a cohort costs its data and no more.

On an accelerator `vmap` is the point and its width what to sweep; the same command does it there.
"""

import resource

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bench import federated, measure
from experiments.bench.federated_dense import MFLOP_PER_EXAMPLE, Dense
from fl_jax.federated import client, population, sampling
from fl_jax.federated import round as federated_round
from fl_jax.federated.aggregators import mean
from fl_jax.nn import loss, network
from fl_jax.train import cohort
from fl_jax.train.state import Variables

COHORTS, WIDTHS, BATCH, REPEATS = (100, 1_000, 10_000), (4, 16, 100), 20, 3


def main() -> None:
    """Runs the benchmark and prints its figures."""
    print(measure.surroundings(), flush=True)
    peak = measure.matmul_peak() / 1e9
    print(f"best matrix product: {peak:.0f} GFLOP/s", flush=True)
    for clients in COHORTS:
        for plan in ("scan", *(f"chunk:{width}" for width in WIDTHS)):
            seconds, grown, size = one(clients, plan)
            rate = clients * BATCH * MFLOP_PER_EXAMPLE / seconds / 1e3
            print(
                f"{clients:6,d} clients, {plan:9s} {seconds:8.3f} s a round,"
                f" {clients / seconds:7,.0f} clients/s, {rate / peak:4.0%} of peak;"
                f" data {size:4.0f} MB, grown by {grown:4.0f} MB",
                flush=True,
            )


def one(clients: int, plan: str) -> tuple[float, float, float]:
    """(median seconds a round, MB that the process grew beyond the data, MB of data)."""
    x, y = federated.examples(clients * BATCH)
    people = population.make({"x": x, "y": y}, np.split(np.arange(len(y)), clients))
    net = network.from_nnx(lambda rngs: Dense(rngs=rngs))
    engine = federated_round.make(
        client=client.make(
            loss.classification(net),
            optax.sgd(federated.RATE),
            epochs=1,
            batch_size=BATCH,
        ),
        sampler=sampling.everyone(clients),
        aggregator=mean.mean(),
        plan=cohort.Plan.parse(plan),
    )
    step = jax.jit(engine.step, donate_argnums=0)
    data, key = federated_round.RoundData(people), jax.random.key(1)
    params, stats = net.init(jax.random.key(0))
    state = jax.tree.map(jnp.copy, engine.init(Variables(params, stats)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    state, _ = jax.block_until_ready(step(state, data, key))

    def again():
        nonlocal state
        state, _ = step(state, data, key)
        return state

    seconds = measure.median(measure.seconds(again, REPEATS))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return seconds, grown / 2**10, x.nbytes / 2**20
