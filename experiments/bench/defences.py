"""`python -m experiments bench defences`: what each rule costs at 100 clients x 1 M parameters.

The updates lie in memory (400 MB); timed is the compiled rule, the first call apart. `jnp.sort`
stands beside the sorting network for the rules on coordinates.
"""

import time

import jax
import jax.numpy as jnp

from experiments.bench import measure
from fl_jax.core import tree
from fl_jax.federated import client
from fl_jax.federated.aggregators import (
    alignins,
    base,
    centred_clip,
    choice,
    clipped_clustering,
    crfl,
    deepsight,
    dnc,
    dp_fedavg,
    flame,
    flare,
    fldetector,
    fltrust,
    foolsgold,
    geometric_median,
    krum,
    mean,
    median,
    multi_metrics,
    rflbat,
    robust_rate,
    signguard,
    snowball,
)
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.defences import norm_clip

CLIENTS, ATTACKERS, REPEATS = 100, 20, 3
SHAPES = {"hidden": (1000, 999), "bias": (1000,)}  # 1,000,000 parameters


def rules():
    """The rules by name, for 20 attackers among 100."""
    uniform = mean.mean(weight="uniform")
    zero = client.Client(
        lambda v, *_, longest: (tree.add(v, tree.scale(0.1, v)), client.ClientInfo(jnp.float32(0))),
        lambda size: size,
    )
    return {
        "mean": uniform,
        "norm clip": choice.guarded(uniform, norm_clip.norm_clip(bound=1.0)),
        "weak DP": choice.guarded(uniform, norm_clip.norm_clip(bound=1.0, noise=1e-3)),
        "DP-FedAvg, adaptive": dp_fedavg.dp_fedavg(
            bound=1.0, noise_multiplier=1.0, expected=100, quantile=0.5
        ),
        "centred clip": centred_clip.centred_clip(radius=1.0),
        "robust rate": robust_rate.robust_rate(threshold=10),
        "FLTrust": fltrust.fltrust(client=zero, root={"x": jnp.zeros((1, 1))}),
        "median": median.median(),
        "trimmed mean": median.trimmed_mean(trim=ATTACKERS),
        "Krum": krum.krum(attackers=ATTACKERS),
        "multi-Krum": krum.multi_krum(attackers=ATTACKERS),
        "Bulyan": krum.bulyan(attackers=ATTACKERS),
        "RFA, 3 iterations": geometric_median.geometric_median(),
        "geometric median, 100 from the median": geometric_median.geometric_median(
            iterations=100, start="median"
        ),
        "FoolsGold": foolsgold.foolsgold(),
        "FLAME": flame.flame(),
        "CRFL": crfl.crfl(uniform, bound=1.0, noise=1e-3),
        "DnC": dnc.dnc(attackers=ATTACKERS),
        "SignGuard": signguard.signguard(),
        "SignGuard-Sim": signguard.signguard(similarity="cosine"),
        "SignGuard-Dist": signguard.signguard(similarity="distance"),
        "RFLBAT": rflbat.rflbat(),
        "DeepSight": deepsight.deepsight(
            apply=lambda v, x: x @ v["hidden"] + v["bias"][None, :999],
            inputs=lambda key: jax.random.uniform(key, (64, 1000)),
            select=lambda v: deepsight.Layer(v["hidden"], v["bias"][:999]),
        ),
        "ClippedClustering": clipped_clustering.clipped_clustering(),
        "MultiMetrics": multi_metrics.multi_metrics(),
        "AlignIns": alignins.alignins(),
        "FLARE": flare.flare(
            features=lambda v, x: jax.nn.relu(x @ v["hidden"]),
            root=jax.random.uniform(jax.random.key(2), (28, 1000)),
        ),
        "Snowball, first election": snowball.snowball(final=0.0),
        "FLDetector": fldetector.fldetector(participants=CLIENTS),
    }


def main() -> None:
    """Runs the benchmark and prints its figures."""
    zeros = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
    draw = lambda key: tree.normal(key, zeros, 1.0)
    updates = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), CLIENTS))
    seen = Stacked(updates, jnp.ones(CLIENTS))
    print(f"{CLIENTS} clients x {tree.size(zeros):,} parameters, f = {ATTACKERS}, float32")
    print(measure.surroundings(), flush=True)

    def timed(name, memory, call):
        begun = time.perf_counter()
        jax.block_until_ready(call())
        first = time.perf_counter() - begun
        cpu = time.process_time()
        times = measure.seconds(call, REPEATS)
        used = (time.process_time() - cpu) / REPEATS
        print(
            f"{name:38s} {memory:12s} {min(times):7.3f} s fastest, {measure.median(times):7.3f} s"
            f" median, {used:7.3f} CPU-s; first call {first:.1f} s",
            flush=True,
        )

    for name, rule in rules().items():
        stacked = base.as_stacked(rule)
        state = jax.jit(lambda key, s=stacked: s.begin(zeros, s.init(zeros), key))(
            jax.random.key(1)
        )
        update = jax.jit(lambda seen, state, s=stacked: s.update(seen, state)[0])
        timed(name, rule.memory, lambda u=update, s=state: u(seen, s))
    library = jax.jit(lambda x: jnp.median(x[:, :100], axis=0))
    timed("jnp.median of a tenth of it", "", lambda: library(updates["hidden"]))
