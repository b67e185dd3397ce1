"""`python -m experiments bench compression`: codes of updates beside FedJAX's.

Ten updates of 1,000,000 numbers are encoded, decoded and averaged, on one core. Both sides compute
the same where the error of their mean is the same, in expectation: to a tenth. FedJAX's DRIVE turns
a vector once, ours twice. Its TernGrad cuts numbers at 2.5 deviations first and is another code.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import measure, peers
from fl_jax.federated.compression import quantise, rotation

CLIENTS, NUMBERS, REPEATS, LEVELS = 10, 1_000_000, 5, 16
CODES = {
    "uniform": quantise.uniform(LEVELS),
    "rotated": rotation.rotated(quantise.uniform(LEVELS)),
    "DRIVE": rotation.eden(1),
}


def main() -> None:
    """Runs the benchmark and prints its figures."""
    x = np.random.default_rng(0).normal(size=(CLIENTS, NUMBERS)).astype(np.float32)
    print(f"{CLIENTS} updates of {NUMBERS:,} numbers, {LEVELS} levels; CPU-ms an update, one core")
    print(measure.surroundings(), flush=True)
    with measure.one_core():
        given = {"x": x, "levels": LEVELS, "repeats": REPEATS}
        theirs = peers.exchange("fedjax", "fedjax_compression.py", given)
        for name, code in CODES.items():
            seconds, mean = ours(code, jnp.asarray(x))
            mine, other = (error(m, x) for m in (mean, theirs[f"{name}/mean"]))
            assert abs(mine / other - 1) < 0.1, (
                f"the mean of {name} is off by {mine:.3g} of its square, FedJAX's by {other:.3g}:"
                " the two sides do not compute the same, so their times mean nothing."
            )
            peer = statistics.median(theirs[f"{name}/seconds"].tolist())
            print(
                f"{name:8s} ours {1e3 * seconds / CLIENTS:6.1f}, FedJAX {1e3 * peer / CLIENTS:6.1f}"
                f" ({peer / seconds:.1f} times); error of the mean {mine:.4f} and {other:.4f}",
                flush=True,
            )
    print(f"FedJAX: {', '.join(theirs['versions'])}")


def ours(code, x) -> tuple[float, np.ndarray]:
    """(median CPU-seconds, mean of what is read), of updates (clients, numbers)."""

    @jax.jit
    def run(x, key):
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(x)))
        add = lambda total, item: (total + code.read(*item), None)
        return jax.lax.scan(add, jnp.zeros(x.shape[1]), (x, keys))[0] / len(x)

    mean = jax.block_until_ready(run(x, jax.random.key(0)))
    times = []
    for i in range(REPEATS):
        start = time.process_time()
        jax.block_until_ready(run(x, jax.random.key(i)))
        times.append(time.process_time() - start)
    return statistics.median(times), np.asarray(mean)


def error(mean: np.ndarray, x: np.ndarray) -> float:
    """||mean - true mean||^2 over the mean of ||x_i||^2."""
    away = mean.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    return float(np.sum(away**2) / np.mean(np.sum(x.astype(np.float64) ** 2, axis=1)))
