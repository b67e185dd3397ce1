"""Plan the budget, compute the figures, train through the shuffler."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import result
from experiments.shuffle import figures
from experiments.shuffle import task as tasks
from experiments.shuffle.config import Config
from fl_jax.core import errors
from fl_jax.train import cohort
from privacy import shuffle
from privacy.accounting.bound import Adjacency, Bound
from privacy.accounting.calibrate import calibrate
from privacy.accounting.ledger import Ledger
from privacy.shuffle import audit as attack
from privacy.shuffle import federated, mechanisms, randomizers
from privacy.shuffle.events import ShuffledReports


def ledger(eps0: float, clients: int, rounds: int) -> Ledger:
    """T full rounds of eps0-LDP reports; the universal bound."""
    return Ledger(Adjacency.REPLACE).record(ShuffledReports(eps0, clients), rounds)


def plan(config: Config) -> dict:
    """The largest eps0 for the budget, at the safe end, and what it costs."""
    make = lambda eps0: ledger(eps0, config.clients, config.rounds)
    value, bound = calibrate(make, config.eps, config.delta, 1e-3, 12.0, grows=True)
    return {
        "eps0": value,
        "lower": bound.lower,
        "upper": bound.upper,
        "status": bound.status.value,
        "adjacency": bound.adjacency.value,
    }


def audit(config: Config) -> list[dict]:
    """A membership attack on shuffled reports: what it proves, beside what is certified."""
    eps0, dimension, n, delta = 2.0, 16, config.audit_clients, 1e-3
    one, other = np.zeros((2, dimension), np.float32)
    one[0], other[0] = 1.0, -1.0
    bit, zeros = mechanisms.RandomizedResponse(2), np.zeros(n - 1, np.int32)
    cases = {
        "binary randomized response": (
            randomizers.randomized_response(2, eps0),
            bit,
            (np.int32(1), np.int32(0)),
            zeros,
            lambda reports: jnp.mean(reports.astype(jnp.float32)),
        ),
        "PrivUnit": (
            randomizers.privunit(dimension, eps0),
            mechanisms.PrivUnit(dimension),
            (one, other),
            np.tile(np.eye(dimension, dtype=np.float32)[1], (n - 1, 1)),
            lambda reports: jnp.mean(reports[:, 0]),
        ),
    }
    rows = []
    for i, (name, (local, family, victims, others, score)) in enumerate(cases.items()):
        key = jax.random.fold_in(jax.random.key(config.seed), i)
        first, second = (
            attack.scores(
                local, v, others, score, jax.random.fold_in(key, j), trials=config.audit_trials
            )
            for j, v in enumerate(victims)
        )
        rows.append(
            {
                "randomizer": name,
                "eps0": eps0,
                "n": n,
                "delta": delta,
                "proved": attack.lower_bound(first, second, delta),
                "certified": shuffle.epsilon(eps0, n, delta, mechanism=family).upper,
                "universal": shuffle.epsilon(eps0, n, delta).upper,
            }
        )
    return rows


def train(config: Config, task: tasks.Task, eps0: float, log) -> tuple[np.ndarray, Bound]:
    """(accuracies (seeds, rounds), the certified privacy loss) at one local budget."""
    clients = int(task.population.size.shape[0])
    bound = ledger(eps0, clients, config.train_rounds).epsilon(config.delta)
    algorithm = federated.make(
        client=task.client,
        randomizer=lambda dimension: randomizers.privunit(dimension, eps0),
        clients=clients,
        server=optax.sgd(config.rate),
        evaluate=tasks.accuracy,
        plan=cohort.Plan.parse(config.plan),
    )
    step = jax.jit(algorithm.step)
    curves = []
    for seed in range(config.seed, config.seed + config.seeds):
        state, curve = algorithm.init(task.initial), []
        for r in range(config.train_rounds):
            state, info = step(state, (task.population, task.test), jax.random.key(seed))
            curve.append(float(info.metrics))
            row = {"eps0": eps0, "seed": seed, "round": r + 1, "accuracy": curve[-1]}
            log.write(json.dumps(row) + "\n")
            log.flush()
        print(f"eps0 {eps0:g}, seed {seed}: accuracy {curve[-1]:.4f}", flush=True)
        curves.append(curve)
    return np.array(curves), bound


def run(config: Config, directory: result.RunDirectory, *, resume: bool = False) -> result.Result:
    """Runs the parts that the config asks for; a run of minutes starts afresh on --resume."""
    del resume
    for part in config.parts:
        errors.one_of("part", part, ("plan", "figures", "audit", "training"))
    metrics, details = {}, {}
    headline = {"what": "certified eps of the plan", "ours": None, "published": None}
    if "plan" in config.parts:
        details["plan"] = found = plan(config)
        print(
            f"budget eps {config.eps:g}, delta {config.delta:g}: {config.rounds} rounds of"
            f" {config.clients} clients may use eps0 = {found['eps0']:.4f}"
            f" (certified eps in [{found['lower']:.4f}, {found['upper']:.4f}], {found['status']},"
            f" {found['adjacency']})",
            flush=True,
        )
        metrics["planned_eps0"] = result.Metric(found["eps0"], "nats")
        headline["ours"] = f"eps0 {found['eps0']:.3f} for eps {config.eps:g}"
    if "figures" in config.parts:
        details["figures"] = figures.compute(config)
        for row in details["figures"]["by_eps0"]:
            at = f"eps0={row['eps0']:g},n={row['n']}"
            metrics[f"standard upper {at}"] = result.Metric(row["standard"][1], "nats")
            metrics[f"stronger upper {at}"] = result.Metric(row["stronger"][1], "nats")
    if "audit" in config.parts:
        details["audit"] = audit(config)
        for row in details["audit"]:
            metrics[f"audited eps, {row['randomizer']}"] = result.Metric(row["proved"], "nats")
    if "training" in config.parts:
        task = tasks.make(config)
        clients = int(task.population.size.shape[0])
        print(f"data: {task.origin}, {clients} one-image clients", flush=True)
        rows = []
        with open(directory.path / "metrics.jsonl", "a") as log:
            for eps0 in config.eps0:
                curves, bound = train(config, task, eps0, log)
                last = curves[:, -1]
                rows.append(
                    {
                        "eps0": eps0,
                        "eps": [bound.lower, bound.upper],
                        "status": bound.status.value,
                        "accuracy": float(last.mean()),
                        "worst": float(last.min()),
                        "sd": float(last.std(ddof=1)) if len(last) > 1 else 0.0,
                        "curves": curves.tolist(),
                    }
                )
                at = f"eps0={eps0:g}"
                metrics[f"accuracy {at}"] = result.Metric(float(last.mean()), "share")
                metrics[f"certified eps {at}"] = result.Metric(bound.upper, "nats")
        details["training"] = {"origin": task.origin, "clients": clients, "rows": rows}
        best = rows[-1]
        headline["what"] = f"{config.dataset} test accuracy, shuffled FL"
        headline["ours"] = (
            f"{100 * best['accuracy']:.1f} % at eps {best['eps'][1]:.2f}, delta {config.delta:g}"
        )
    headline["command"] = f"python -m experiments shuffle --preset {directory.preset}"
    return result.Result(metrics, headline, details)
