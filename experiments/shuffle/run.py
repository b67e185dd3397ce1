"""Plan the budget, compute the figures, train through the shuffler."""

import json
import math
from collections.abc import Callable
from typing import NamedTuple

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
from privacy.shuffle.events import GaussianReports, ShuffledReports


def ledger(eps0: float, clients: int, rounds: int) -> Ledger:
    """T full rounds of eps0-LDP reports; the universal bound."""
    return Ledger(Adjacency.REPLACE).record(ShuffledReports(eps0, clients), rounds)


def plan(config: Config) -> dict:
    """The largest eps0 for the budget (eps 1 if none is asked for), at the safe end; its cost."""
    budget = config.eps or 1.0
    make = lambda eps0: ledger(eps0, config.clients, config.rounds)
    # so far out there is hardly a clone among the reports: the local guarantee, above the budget
    most = max(12.0, budget + math.log(config.clients))
    value, bound = calibrate(make, budget, config.delta, 1e-3, most, grows=True)
    return {
        "budget": budget,
        "eps0": value,
        "lower": bound.lower,
        "upper": bound.upper,
        "status": bound.status.value,
        "adjacency": bound.adjacency.value,
        "notes": list(bound.notes),
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
        "CLDP-SGD": (
            randomizers.cldp(dimension, eps0),
            mechanisms.OneBit(dimension),
            (np.ones(dimension, np.float32), -np.ones(dimension, np.float32)),
            np.zeros((n - 1, dimension), np.float32),
            lambda reports: jnp.mean(reports[1].astype(jnp.float32)),
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


class Slot(NamedTuple):
    """What a client runs on its update, and what T rounds of it cost."""

    make: Callable[[int], randomizers.Randomizer]  # dimension -> randomizer
    bound: Bound
    label: dict  # parameters, for the tables


def pure(name: str, eps0: float, clients: int, config: Config) -> Slot:
    """An eps0-LDP randomizer: T rounds are accounted by the universal bound."""
    bound = ledger(eps0, clients, config.train_rounds).epsilon(config.delta)
    if name == "privunit":
        return Slot(lambda d: randomizers.privunit(d, eps0), bound, {"eps0": eps0})

    def cldp(d):
        basis = randomizers.rotation(d, config.seed)
        return randomizers.cldp(d, eps0, radius=config.spread / math.sqrt(d), basis=basis)

    return Slot(cldp, bound, {"eps0": eps0})


def noisy(eps: float, config: Config) -> Slot:
    """The Gaussian randomizer with the noise that keeps T rounds within a central eps.

    It is not pure, and in so many dimensions shuffling does not help it: what is certified is the
    local guarantee.
    """
    rounds = lambda s: Ledger(Adjacency.REPLACE).record(GaussianReports(s), config.train_rounds)
    sigma, bound = calibrate(rounds, eps, config.delta, 0.1, 1e4, grows=False)
    return Slot(lambda d: randomizers.gaussian(1.0, sigma), bound, {"sigma": sigma})


def slots(config: Config, clients: int) -> list[tuple[str, Slot]]:
    """Every randomizer of the config at every privacy loss: what is trained."""
    made = []
    for name in config.randomizers:
        errors.one_of("randomizer", name, ("privunit", "gaussian", "cldp"))
        if name == "gaussian":  # at the same certified eps as the others
            budgets = [pure("cldp", e, clients, config).bound.upper for e in config.eps0]
            made += [(name, noisy(eps, config)) for eps in (*budgets, *config.unamplified)]
        else:
            made += [(name, pure(name, e, clients, config)) for e in config.eps0]
    return made


def train(config: Config, task: tasks.Task, name: str, made: Slot, log) -> dict:
    """One row of the table: accuracies of all seeds beside the certified privacy loss."""
    clients = int(task.population.size.shape[0])
    algorithm = federated.make(
        client=task.client,
        randomizer=made.make,
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
            row = {"randomizer": name, **made.label, "seed": seed, "round": r + 1}
            log.write(json.dumps({**row, "accuracy": curve[-1]}) + "\n")
            log.flush()
        print(f"{name} at {made.label}, seed {seed}: accuracy {curve[-1]:.4f}", flush=True)
        curves.append(curve)
    last = np.array(curves)[:, -1]
    return {
        "randomizer": name,
        **made.label,
        "eps": [made.bound.lower, made.bound.upper],
        "status": made.bound.status.value,
        "notes": list(made.bound.notes),
        "accuracy": float(last.mean()),
        "worst": float(last.min()),
        "sd": float(last.std(ddof=1)) if len(last) > 1 else None,
        "curves": curves,
    }


def _ready(config: Config) -> tuple[tasks.Task, int, list[tuple[str, Slot]]]:
    """Task, clients and slots: what they refuse is refused before minutes of other parts."""
    cohort.Plan.parse(config.plan)
    task = tasks.make(config)
    clients = int(task.population.size.shape[0])
    making = slots(config, clients)
    for _, made in making:
        made.make(task.initial.params["kernel"].size)
    return task, clients, making


def run(config: Config, directory: result.RunDirectory, *, resume: bool = False) -> result.Result:
    """Runs the parts that the config asks for; a run of minutes starts afresh on --resume."""
    del resume
    doing = ("plan",) if config.eps else config.parts
    for part in doing:
        errors.one_of("part", part, ("plan", "figures", "audit", "training"))
    ready = _ready(config) if "training" in doing else None
    metrics, details = {}, {}
    headline = {"what": "certified eps of the plan", "ours": None, "published": None}
    if "plan" in doing:
        details["plan"] = found = plan(config)
        print(
            f"budget eps {found['budget']:g}, delta {config.delta:g}: {config.rounds} rounds of"
            f" {config.clients} clients may use eps0 = {found['eps0']:.4f}"
            f" (certified eps in [{found['lower']:.4f}, {found['upper']:.4f}], {found['status']},"
            f" {found['adjacency']}){''.join(f'; {note}' for note in found['notes'])}",
            flush=True,
        )
        metrics["planned_eps0"] = result.Metric(found["eps0"], "nats")
        headline["ours"] = f"eps0 {found['eps0']:.3f} for eps {found['budget']:g}"
    if "figures" in doing:
        details["figures"] = figures.compute(config)
        for row in details["figures"]["by_eps0"]:
            at = f"eps0={row['eps0']:g},n={row['n']}"
            metrics[f"standard upper {at}"] = result.Metric(row["standard"][1], "nats")
            metrics[f"stronger upper {at}"] = result.Metric(row["stronger"][1], "nats")
    if "audit" in doing:
        details["audit"] = audit(config)
        for row in details["audit"]:
            metrics[f"audited eps, {row['randomizer']}"] = result.Metric(row["proved"], "nats")
    if ready:
        task, clients, making = ready
        print(f"data: {task.origin}, {clients} one-image clients", flush=True)
        rows = []
        with open(directory.path / "metrics.jsonl", "w") as log:  # a resumed run starts afresh
            for name, made in making:
                rows.append(train(config, task, name, made, log))
                at = f"{name}, eps={made.bound.upper:.3f}"
                metrics[f"accuracy {at}"] = result.Metric(rows[-1]["accuracy"], "share")
        details["training"] = {"origin": task.origin, "clients": clients, "rows": rows}
        best = rows[len(config.eps0) - 1]
        headline["what"] = f"{config.dataset} test accuracy, shuffled FL"
        headline["ours"] = (
            f"{100 * best['accuracy']:.1f} % at eps {best['eps'][1]:.2f}, delta {config.delta:g}"
        )
    headline["command"] = f"python -m experiments shuffle --preset {directory.preset}"
    return result.Result(metrics, headline, details)
