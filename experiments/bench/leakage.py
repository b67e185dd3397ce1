"""Property inference: rounds a second with sixteen auxiliary gradients, beside a per-batch loop.

python -m experiments bench leakage        two cores; about three minutes

A round of two-party learning in which the adversary records everything: the victim's and its own
gradient, the step, differencing, sixteen auxiliary gradients, and the features of all. The loop is
what one writes first, and not carelessly: a jitted gradient, a jitted gradient with its features,
called once a batch; its convolutions are the library's, or ours. No maintained tool has this attack
to compare with. Both sides draw the same batches, and their features must agree.
"""

import itertools
import json
import time

import jax
import numpy as np

from experiments.bench import measure
from experiments.leakage import arm as arms
from experiments.leakage import task as tasks
from fl_jax.core import rng
from fl_jax.nn import loss as losses
from fl_jax.train import mesh as meshes
from fl_jax.train import step
from fl_jax.train.state import Variables
from privacy.leakage import draws, features, split

RATE, BATCH = 0.01, 32


def main() -> None:
    """Prints the table and a JSON line with every figure."""
    jax.config.update("jax_num_cpu_devices", 2)
    print(json.dumps(measure.surroundings()))
    rows = [
        *case("Adult MLP", adult(), rounds=200, plans=("vmap", "scan"), methods=("auto",)),
        *case(
            "LFW network",
            faces(),
            rounds=2,
            plans=("scan", "vmap"),
            methods=("auto", "patches"),
            loops=("library", "patches", "auto"),
        ),
    ]
    print(
        "| network | what | convolution | rounds/s | CPU s a round | compile s |\n"
        + "|---" * 6
        + "|"
    )
    for row in rows:
        print(
            f"| {row['network']} | {row['what']} | {row['convolution']} | {row['rounds/s']:.2f}"
            f" | {row['cpu']:.4f} | {row['compile']:.1f} |"
        )
    for network, goal in (("Adult MLP", 4), ("LFW network", 2)):
        of = [row for row in rows if row["network"] == network]
        ours = max((r for r in of if r["what"] != "loop"), key=lambda r: r["rounds/s"])
        for loop in (r for r in of if r["what"] == "loop"):
            print(
                f"{network}: {ours['what']}, {ours['convolution']} is"
                f" {ours['rounds/s'] / loop['rounds/s']:.2f} x the loop with"
                f" {loop['convolution']} (CPU time {loop['cpu'] / ours['cpu']:.2f} x);"
                f" the goal was {goal}"
            )
    print(json.dumps({"rows": rows, "surroundings": measure.surroundings()}))


def adult() -> tasks.Task:
    """Records of Adult's shape, drawn: speed does not depend on their values."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(4000, 108)).astype(np.float32)
    return _task(x, draw)


def faces() -> tasks.Task:
    """Images of LFW's shape, drawn."""
    draw = np.random.default_rng(0)
    return _task(draw.uniform(size=(800, 62, 47, 3)).astype(np.float32), draw)


def _task(x: np.ndarray, draw: np.random.Generator) -> tasks.Task:
    y = draw.integers(0, 2, len(x)).astype(np.int32)
    return tasks.Task(x, y, draw.random(len(x)) < 0.3, 2, "", "", 0.0, "drawn")


def case(name, task, *, rounds, plans, methods, loops=("auto",)) -> list[dict]:
    """Rows of one network: every plan and convolution of ours, every one of the loop."""
    parts = split.make(task.y, task.holds, 2, seed=0)
    drawn = draws.Draws(parts, batch=BATCH, schedule=draws.every(5), seed=0, record=(0, 1))
    batches = drawn.rounds(0, rounds)
    held = arms.examples(task)
    key = jax.random.key(0)
    rows, expected = [], None
    for method in loops:
        run = loop(task, method, held, batches, key)
        row, expected = timed(run, rounds)
        print(f"{name}, loop, {method}: {row}", flush=True)
        rows.append({"network": name, "what": "loop", "convolution": method, **row})
    for method in methods:
        for plan, mesh in itertools.product(plans, (None, meshes.MeshConfig(clients=-1).make())):
            arm = arms.Arm(rounds=rounds, rate=RATE, method=method, plan=plan, hidden=_hidden(task))
            compiled = arms.program(arm, task, parts.sizes(), mesh)

            def run(compiled=compiled):
                state = compiled.start(key)
                _, kept = compiled.advance(state, held, batches, key)
                return kept["observed"], kept["auxiliary"]

            row, found = timed(run, rounds)
            for a, b in zip(found, expected, strict=True):
                a, b = np.asarray(a), np.asarray(b)
                error = np.linalg.norm(a - b) / np.linalg.norm(b)
                assert error < 1e-2, f"features differ by {error:.1e} of their norm"
            what = f"one program, {plan}, " + ("one device" if mesh is None else "two devices")
            print(f"{name}, {what}, {method}: {row}", flush=True)
            rows.append({"network": name, "what": what, "convolution": method, **row})
    return rows


def _hidden(task: tasks.Task) -> int:
    return 256 if task.x.ndim == 4 else 64


def timed(run, rounds: int, repeats: int = 3) -> tuple[dict, tuple]:
    """Medians over repeats, and what was computed."""
    start = time.perf_counter()
    found = jax.block_until_ready(run())
    first = time.perf_counter() - start
    wall, cpu = [], []
    for _ in range(repeats):
        begun = time.perf_counter(), time.process_time()
        jax.block_until_ready(run())
        wall.append(time.perf_counter() - begun[0])
        cpu.append(time.process_time() - begun[1])
    seconds = measure.median(wall)
    row = {"rounds/s": rounds / seconds, "cpu": measure.median(cpu) / rounds}
    return {**row, "compile": max(first - seconds, 0.0)}, found


def loop(task: tasks.Task, method: str, held, batches, key):
    """The plain program: one jitted call a batch for the gradient, one for its features."""
    model = tasks.model(
        task, channels=(32, 64, 128), hidden=_hidden(task), dropout=0.0, method=method
    )
    loss = losses.classification(model.network)
    params = jax.jit(model.network.init)(rng.fold(key, "weights"))[0]
    extract = features.make(params).extract

    @jax.jit
    def gradient(params, x, y, taken):
        batch = {"x": x[taken], "y": y[taken]}
        return step.gradient(loss, Variables(params, {}), batch, key)[1]

    @jax.jit
    def imitate(params, x, y, taken):
        return extract(gradient(params, x, y, taken))

    @jax.jit
    def descend(params, victim, own):
        after = jax.tree.map(lambda p, v, o: p - RATE * (v + o), params, victim, own)
        seen = jax.tree.map(lambda b, a, o: (b - a) / RATE - o, params, after, own)
        return after, extract(seen)

    x, y = held["x"], held["y"]

    def run():
        now, observed, auxiliary = params, [], []
        for t in range(len(batches["record"])):
            victim, own = (gradient(now, x, y, taken) for taken in batches["participants"][t])
            auxiliary.append([imitate(now, x, y, taken) for taken in batches["auxiliary"][t]])
            now, seen = descend(now, victim, own)
            observed.append(seen)
        return jax.device_get((observed, auxiliary))

    return run
