"""What a federated model loses when updates are sent in few bits, and what the codes cost.

The pre-training of the main experiment, from the same start and with the same cohorts, once for
each code. Bits are those from participants to the server. Then one participant replaces the model,
its update sent in the code as everyone's.
"""

import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import adapted, stages, summary
from experiments.backdoor import task as tasks
from experiments.backdoor.config import SMALL, SMOKE, Config
from fl_jax.core import rng, tree
from fl_jax.federated import round
from fl_jax.federated.compression import base, quantise, rotation, sparsify
from fl_jax.train import cohort
from fl_jax.train.state import Variables

CODES = {
    "as they are": (base.whole(), False),
    "uniform, 16 levels": (quantise.uniform(16), False),
    "uniform, 2 levels": (quantise.uniform(2), False),
    "rotated, 2 levels": (rotation.rotated(quantise.uniform(2)), False),
    "QSGD, 4 levels": (quantise.qsgd(4), False),
    "TernGrad": (quantise.qsgd(1, norm="max"), False),
    "EDEN, 2 bits": (rotation.eden(2), False),
    "DRIVE (EDEN, 1 bit)": (rotation.eden(1), False),
    "largest 10 %": (sparsify.top_k(0.1), False),
    "largest 1 %": (sparsify.top_k(0.01), False),
    "largest 1 %, error feedback": (sparsify.top_k(0.01), True),
    "random 10 %": (sparsify.random_k(0.1), False),
    "random 10 %, error feedback": (sparsify.random_k(0.1, scaled=False), True),
}


@dataclasses.dataclass(frozen=True)
class Compressed:
    """What is compared."""

    config: Config = SMALL  # data, network, pre-training
    codes: tuple[str, ...] = tuple(CODES)
    numbers: int = 1_000_000  # in the vector on which a code is timed


SMALL_COMPRESSED = Compressed()
SMOKE_COMPRESSED = Compressed(SMOKE, ("as they are", "DRIVE (EDEN, 1 bit)"), numbers=1000)


def run(chosen: Compressed) -> list[dict[str, Any]]:
    """One row a code; accuracies in percent, [mean over seeds, margin]."""
    config = chosen.config
    task = tasks.make(config)
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    rows = []
    for name in chosen.codes:
        code, feedback = CODES[name]
        accuracy, models = pretrain(config, task, keys, code, feedback)
        model = jax.eval_shape(lambda many: jax.tree.map(lambda a: a[0], many), models)
        halfway = accuracy[:, accuracy.shape[1] // 2 - 1]
        spread = lambda v: [float(100 * v.mean()), summary.margin(100 * v)]
        rows.append(
            {
                "code": name,
                "bits": base.bits(code, model) / tree.size(model),
                "halfway": spread(halfway),
                "end": spread(accuracy[:, -1]),
                **{k: spread(v) for k, v in attacked(config, task, models, keys, code).items()},
                "milliseconds": 1000 * seconds(code, chosen.numbers),
            }
        )
    return rows


def pretrain(config: Config, task: tasks.Task, keys, code: base.Code, feedback: bool):
    """(main accuracy (seeds, rounds) in [0, 1], the models in the end, stacked over seeds)."""
    setting = stages.Setting(config, task, keys, cohort.Plan("scan"), None)
    local = base.compressed(stages.client_of(config, task), code, feedback=feedback)
    algorithm = stages.pretraining(setting, local)
    many = round.repeat(algorithm.step, config.pretrain_rounds)
    data = round.RoundData(task.population, (), jax.tree.map(jnp.asarray, task.test))

    def start(key):
        return Variables(*task.network.init(rng.fold(key, "init")))

    @jax.jit
    def all_seeds(keys):
        def one(key):
            state, info = many(algorithm.init(start(key)), data, rng.fold(key, "pretrain"))
            return info.metrics["main"], state.variables

        return jax.lax.map(one, keys)

    accuracy, models = all_seeds(keys)
    return np.asarray(accuracy), models


def attacked(config: Config, task: tasks.Task, models, keys, code: base.Code):
    """{"replaced, main", "replaced, backdoor"}: accuracies (seeds,) in [0, 1] after the round in
    which one of the cohort sends what would replace the model, in the code."""
    backdoor = "pixel pattern"
    replaced = adapted.after(
        config,
        task,
        backdoor,
        models,
        keys,
        local=base.compressed(stages.client_of(config, task), code),
        attack=base.of_code(stages.attack_of(config, task), code),
    )
    held = {"main": task.test, "backdoor": task.backdoors[backdoor].test}
    evaluate, held = tasks.evaluate(task), jax.tree.map(jnp.asarray, held)
    found = jax.jit(lambda models: jax.lax.map(lambda model: evaluate(model, held), models))
    return {f"replaced, {k}": np.asarray(v) for k, v in found(replaced).items()}


def seconds(code: base.Code, numbers: int) -> float:
    """CPU-seconds to encode and decode a vector: median of 5, compiled before."""
    x = jax.random.normal(jax.random.key(0), (numbers,))
    read = jax.jit(code.read)

    def once(i):
        begin = time.process_time()
        jax.block_until_ready(read(x, jax.random.key(i)))
        return time.process_time() - begin

    once(0)
    return statistics.median(once(i) for i in range(1, 6))


def table(rows: list[dict[str, Any]], numbers: int) -> str:
    """The rows in Markdown."""
    show = lambda v: f"{v[0]:.1f}{summary.plus(v[1])}"
    lines = [
        "| updates | bits a number | main, halfway | main, end | replaced: main | backdoor |"
        f" CPU-ms of {numbers:,} numbers |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        measured = ("halfway", "end", "replaced, main", "replaced, backdoor")
        cells = [row["code"], f"{row['bits']:.2f}", *(show(row[k]) for k in measured)]
        lines.append("| " + " | ".join([*cells, f"{row['milliseconds']:.0f}"]) + " |")
    return "\n".join(lines)
