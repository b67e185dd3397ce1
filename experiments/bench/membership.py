"""`python -m experiments bench membership`: beside ART, the N x Z matrix, TF Privacy's formulas.

1. The attack of Shokri et al. on Location-30 with 64 shadows, end to end, beside ART's
   `ShadowModels` with one attack network per class: same records, network, epochs, optimizer.
   Our attack networks see `attack_model.angles`; what they make of the answers as they are, as
   ART's see them, is reported beside it.
2. The hill climb, beside ART's, at the same parameters.
3. RMIA's scores, beside the ratio matrix in chunks; equal to 1/Z.
4. LiRA's scores, beside the formulas of TF Privacy's released code; equal.

Wall time on an idle machine and CPU seconds (process time, all threads) stand side by side. The
shadows are dealt over one device per core: two models side by side waste less than two threads in
one small product.
"""

import json
import os
import subprocess
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy import stats

from experiments.bench import measure, peers
from experiments.membership import task as tasks
from experiments.membership.config import Config
from experiments.membership.lab import softmax
from fl_jax.core import roc
from fl_jax.nn import network
from fl_jax.train import cohort, optimizer
from fl_jax.train import mesh as meshes
from privacy.membership import (
    attack_model,
    design,
    lira,
    rmia,
    shadow,
    synthesis,
    table,
    target,
)

SHADOWS, CLIMBS, SEEDS = 64, 60, 5


def main() -> None:
    """Prints the figures and a line of JSON with all of them."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    figures = {
        "rmia": rmia_scores(), "lira": lira_scores(), "shokri": beside_art(),
        "surroundings": measure.surroundings(),
    }  # fmt: skip
    print(json.dumps(figures))


def _timed(call, repeats: int = 3):
    """(result, median CPU seconds, median wall seconds)."""
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        result = call()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return result, float(np.median(cpu)), float(np.median(wall))


def matrix(records: np.ndarray, population: np.ndarray, chunk: int = 500) -> np.ndarray:
    """Every record against every z, so many records at a time."""
    out = np.empty(len(records))
    for start in range(0, len(records), chunk):
        some = records[start : start + chunk, None] / population[None]
        out[start : start + chunk] = (some > 1.0).mean(1)
    return out


def rmia_scores(n: int = 50_000, models: int = 256) -> dict:
    """Offline RMIA at N = Z = 50,000 and 256 models."""
    draws = np.random.default_rng(0)
    parts = []
    for _ in range(2):
        p = draws.random((n, models + 1))
        parts.append(table.make(p[:, 0], p[:, 1:]))
    scores, population = parts
    found, cpu, wall = _timed(lambda: rmia.attack(scores, population))

    def ratios(part):
        prior = 0.5 * (1.3 * part.shadow.mean(1) + 0.7)
        return part.target / prior

    expected, their_cpu, their_wall = _timed(
        lambda: matrix(ratios(scores), ratios(population)), repeats=1
    )
    gap = float(np.abs(found - expected).max())
    assert gap <= 1.5 / n, f"scores differ by {gap}"
    out = {
        "n": n, "models": models, "cpu": cpu, "wall": wall, "matrix_cpu": their_cpu,
        "matrix_wall": their_wall, "ratio_cpu": their_cpu / cpu, "gap_in_Z": gap * n,
    }  # fmt: skip
    print(f"RMIA {n} x {n}, {models} models: {json.dumps(out)}", flush=True)
    return out


def released_lira(scores: np.ndarray, keep: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The steps of TF Privacy's mi_lira_2021 with a variance per example, for a balanced design."""
    inside, outside = [], []
    for row, mask in zip(scores, keep, strict=True):
        inside.append(row[mask])
        outside.append(row[~mask])
    inside, outside = np.array(inside), np.array(outside)
    mean_in, mean_out = np.median(inside, 1), np.median(outside, 1)
    std_in, std_out = np.std(inside, 1), np.std(outside, 1)
    log_in = stats.norm.logpdf(values, mean_in, std_in + 1e-30)
    return log_in - stats.norm.logpdf(values, mean_out, std_out + 1e-30)


def lira_scores() -> list[dict]:
    """Online LiRA over table sizes."""
    rows = []
    for n, models in ((5_000, 64), (50_000, 4), (50_000, 64), (50_000, 256)):
        draws = np.random.default_rng(1)
        keep = design.balanced(n, models)
        phi = draws.normal(size=(n, models)) + keep
        values = draws.normal(size=n)
        scores = table.make(values, phi, keep)
        found, cpu, wall = _timed(lambda s=scores: lira.online(s))
        expected, their_cpu, their_wall = _timed(
            lambda p=phi, k=keep, v=values: released_lira(p, k, v)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
        rows.append(
            {
                "n": n, "models": models, "cpu": cpu, "wall": wall, "released_cpu": their_cpu,
                "released_wall": their_wall, "ratio_cpu": their_cpu / cpu,
            }
        )  # fmt: skip
        print(f"LiRA {json.dumps(rows[-1])}", flush=True)
    return rows


def beside_art() -> dict:
    """The paper's attack and its hill climb, ours and ART's, from the same arrays, on each seed."""
    config = Config(shadows=SHADOWS)
    task = same_network(tasks.make(config), config)
    mesh = meshes.MeshConfig(clients=-1).make()
    ours, art = [], []
    for seed in range(SEEDS):
        split = tasks.split(task, config, seed)
        pool = split.pool[: 2 * config.shadow_train + 1]  # ART leaves the last record out
        member = np.arange(len(split.train) + len(split.test)) < len(split.train)
        art.append(_their_attack(config, task, split, pool))
        art[-1]["auc"] = roc.area(np.array(art[-1].pop("scores")), member)
        (found, box), cpu, wall = _timed(
            lambda s=split, p=pool[:-1], m=member: _shokri(config, task, mesh, s, p, m), repeats=1
        )
        first = {"cpu": cpu, "wall": wall}
        _, cpu, wall = _timed(
            lambda s=split, p=pool[:-1], m=member: _shokri(config, task, mesh, s, p, m)
        )
        plain, _ = _shokri(config, task, mesh, split, pool[:-1], member, "answers")
        times = {"cpu": cpu, "wall": wall, "first_call": first}
        ours.append({**found, **times, "plain_auc": plain["auc"]})
        print(f"seed {seed}: {json.dumps({'ours': ours[-1], 'art': art[-1]})}", flush=True)

    want = np.arange(1200, dtype=np.int32) % task.classes
    draw = synthesis.binary(task.x.shape[1])
    made, cpu, _ = _timed(lambda: synthesis.climb(box, want, draw, jax.random.key(0)))
    climb = {"cpu": cpu, "found": int(made.found.sum()), "queries": int(made.queries.sum())}
    rate = lambda c: c["queries"] / c["cpu"]
    median = lambda rows, name: float(np.median([row[name] for row in rows]))
    mean = lambda rows, name: float(np.mean([row[name] for row in rows]))
    out = {
        "ratio_wall": median(art, "wall") / median(ours, "wall"),
        "ratio_cpu": median(art, "cpu") / median(ours, "cpu"),
        "auc": {
            "ours": mean(ours, "auc"),
            "ours, answers as they are": mean(ours, "plain_auc"),
            "art": mean(art, "auc"),
        },
        "test_accuracy": {"ours": mean(ours, "test_accuracy"), "art": mean(art, "test_accuracy")},
        "climb": climb,
        "climb_ratio_queries_per_cpu_second": rate(climb) / rate(art[-1]["climb"]),
        "ours": ours,
        "art": art,
    }
    print(f"Shokri, {SHADOWS} shadows on {task.origin}: {json.dumps(out)}", flush=True)
    return out


class Network(tasks.MLP):
    """The target's network with scikit-learn's initial weights, which decide how well it does."""

    def __init__(self, inputs: int, hidden: int, classes: int, rngs: nnx.Rngs):
        glorot = jax.nn.initializers.glorot_uniform()
        self.hidden = nnx.Linear(inputs, hidden, kernel_init=glorot, rngs=rngs)
        self.out = nnx.Linear(hidden, classes, kernel_init=glorot, rngs=rngs)


def same_network(task: tasks.Task, config: Config) -> tasks.Task:
    """The task with both sides' network."""
    inputs = task.x.shape[1]
    net = network.from_nnx(lambda rngs: Network(inputs, config.hidden, task.classes, rngs))
    adam = optimizer.make(optimizer.Optimizer("adam", rate=config.rate))
    fit = shadow.make(net, adam, batch=config.batch, prepare=task.prepare)
    return task._replace(network=net, fit=fit)


def _their_attack(config, task, split, pool) -> dict:
    """What `peers/art_shadow.py` says of one split."""
    arrays = {
        "x": task.x, "y": task.y, "train": split.train, "test": split.test, "pool": pool,
        "shadows": SHADOWS, "epochs": config.epochs, "hidden": config.hidden,
        "attack_steps": config.attack_steps, "climbs": CLIMBS,
    }  # fmt: skip
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, **arrays)
        file.flush()
        script = peers.HERE / "art_shadow.py"
        command = [peers.python("art"), "-W", "ignore", script, file.name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _shokri(config, task, mesh, split, pool, member, inputs="angles"):
    """(AUC and accuracy, the target as a black box): target, shadows, attack, from nothing.

    Args:
        inputs: what the attack networks see. `angles` is ours; `answers` is the paper's, and what
            ART's side trains on.
    """
    train, out = design.shadow_splits(pool, config.shadows, config.shadow_train)
    recipes = shadow.recipes(range(config.shadows + 1), [split.train, *train], epochs=config.epochs)
    examples = task.examples
    models = shadow.train(
        task.fit, recipes, examples, jax.random.key(0),
        plan=cohort.Plan("scan"), mesh=mesh, stride=len(recipes.id),
    )  # fmt: skip
    answers = softmax(shadow.answers(task.network, models, examples["x"], prepare=task.prepare))
    shown = np.concatenate(
        [answers[i + 1][r] for i in range(config.shadows) for r in (train[i], out[i])]
    )
    labels = np.concatenate([task.y[r] for i in range(config.shadows) for r in (train[i], out[i])])
    truth = np.tile(np.repeat([True, False], config.shadow_train), config.shadows)
    attack = attack_model.fit(
        attack_model.Rows(shown, labels, truth),
        jax.random.key(1),
        attack_model.Config(rate=config.attack_rate, steps=config.attack_steps, inputs=inputs),
    )
    rows = np.concatenate([split.train, split.test])
    scores = attack_model.score(attack, answers[0, rows], task.y[rows])
    right = answers[0].argmax(1)[split.test] == task.y[split.test]
    box = target.from_network(
        task.network, jax.tree.map(lambda a: jnp.asarray(a[0]), models),
        classes=task.classes, prepare=task.prepare,
    )  # fmt: skip
    return {"auc": roc.area(scores, member), "test_accuracy": float(right.mean())}, box
