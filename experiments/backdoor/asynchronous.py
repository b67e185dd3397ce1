"""Rounds that wait for nobody: what late updates cost, and what they change for a backdoor.

The pre-training of the main experiment at equal client updates: in synchronous rounds, and in
server steps of K arrivals while M participants train. Then one update replaces the model that came
of it, sent by an attacker who is fresh or as stale as it likes, against a few defences. Last, an
attacker who replaces whenever it arrives, as fast as the others or a thousand times faster; and
what noise is worth in epsilon when nobody is sampled.
"""

import dataclasses
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import grid, grid_config, stages, summary
from experiments.backdoor import task as tasks
from experiments.backdoor.config import SMALL, SMOKE, Config
from fl_jax.core import rng
from fl_jax.federated import round, sampling
from fl_jax.federated.aggregators import krum, mean, median
from fl_jax.federated.asynchronous import arrivals, buffered, delays, staleness
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.defences import base, norm_clip
from fl_jax.train import optimizer
from fl_jax.train import schedule as schedules
from fl_jax.train.state import Variables
from privacy.accounting.bound import Adjacency
from privacy.accounting.events import Gaussian, SampledGaussian
from privacy.accounting.ledger import Ledger

BACKDOOR = "pixel pattern"


class Arm(NamedTuple):
    """How the server hears of its participants."""

    buffer: int  # K, or the cohort of synchronous rounds
    concurrency: int = 0  # M; 0: rounds are synchronous
    exponent: float = 0.0  # a of (1 + age)^-a
    mixing: bool = False  # FedAsync's step towards the client's model

    def __str__(self):
        if not self.concurrency:
            return f"synchronous, {self.buffer} a round"
        name = "FedAsync" if self.mixing else f"K = {self.buffer}"
        return f"{name}, M = {self.concurrency}, a = {self.exponent:g}"


@dataclasses.dataclass(frozen=True)
class Asynchronous:
    """What is compared."""

    config: Config = SMALL  # data, network, pre-training, the attack
    arms: tuple[Arm, ...] = (
        Arm(10),
        Arm(30),
        Arm(10, 30),
        Arm(10, 30, 0.5),
        Arm(10, 90),
        Arm(10, 90, 0.5),
        Arm(1, 30),
        Arm(1, 30, 0.5),
        Arm(1, 30, 0.5, mixing=True),
    )
    attacked: tuple[tuple[Arm, tuple[str, ...]], ...] = (
        (Arm(10), ("mean", "norm clip", "median", "multi-Krum")),
        (Arm(10, 30), ("mean",)),
        (Arm(10, 30, 0.5), ("mean", "norm clip", "median", "multi-Krum")),
        (Arm(1, 30, 0.5), ("mean", "norm clip")),
    )
    stale: int = 100  # client updates that the server has taken since the stale attacker began
    clip: float = 3.0  # the clipping bound, over the median norm of benign updates
    fast: float = 1e-3  # the fast attacker's delay, over the others'
    speeds: tuple[tuple[int, int], ...] = ((30, 1), (90, 1), (90, 5))  # (M, separation), K = 10
    steps: int = 60  # of those arms
    epochs: int = 3  # of an attacker who attacks again and again
    multipliers: tuple[float, ...] = (
        1.0,
        2.0,
        4.0,
        8.0,
    )  # z of DP-FedAvg
    delta: float = 1e-3  # of the epsilons


SMALL_ASYNCHRONOUS = Asynchronous()
SMOKE_ASYNCHRONOUS = Asynchronous(
    SMOKE,
    arms=(Arm(4), Arm(2, 6, 0.5)),
    attacked=((Arm(2, 6, 0.5), ("mean",)),),
    stale=2,
    speeds=((6, 1),),
    steps=2,
    epochs=1,
)


class Trained(NamedTuple):
    """An arm after its pre-training, leaves (seeds, ...)."""

    state: round.RoundState
    half: Variables  # the models halfway
    age: Any  # (seeds, steps, K), or empty
    seconds: float  # CPU time of an update


def run(chosen: Asynchronous) -> dict[str, list[dict[str, Any]]]:
    """Rows of the four tables; accuracies in percent, [mean over seeds, margin]."""
    config = chosen.config
    task = tasks.make(config)
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    test = {"main": task.test, "backdoor": task.backdoors[BACKDOOR].test}
    measure = _measure(task, jax.tree.map(jnp.asarray, test))
    trained = {arm: pretrain(chosen, task, keys, arm) for arm in chosen.arms}
    training = []
    for arm, found in trained.items():
        ages = np.asarray(found.age) if arm.concurrency else np.zeros(1)
        training.append(
            {
                "arm": str(arm),
                "age": float(ages.mean()),
                "oldest": int(ages.max()),
                "time": duration(chosen, keys, arm),
                "halfway": measure(found.half)["main"],
                "end": measure(found.state.variables)["main"],
                "milliseconds": 1000 * found.seconds,
            }
        )
    reference = trained[chosen.arms[0]].state.variables
    unit = grid.benign_norm(grid_config.Grid(config), task, reference, keys)
    single = []
    for arm, defences in chosen.attacked:
        for defence in defences:
            rows = replace(chosen, task, keys, arm, trained[arm].state, defence, unit)
            single += [{**row, "found": measure(models)} for row, models in rows]
    repeated = [
        speed(chosen, task, keys, reference, unit, measure, m, separation, fast)
        for m, separation in chosen.speeds
        for fast in (False, True)
    ]
    epsilon = [budget(chosen, z) for z in chosen.multipliers]
    return {"training": training, "single": single, "repeated": repeated, "epsilon": epsilon}


def steps_of(config: Config, arm: Arm) -> int:
    """Server steps that take as many updates as the main experiment's pre-training.

    Example:
        >>> steps_of(SMALL, Arm(1)), steps_of(SMALL, Arm(30))
        (1200, 40)
    """
    return config.pretrain_rounds * config.cohort // arm.buffer


def sampler_of(chosen: Asynchronous, arm: Arm, keys, age: int = 0):
    """Who takes part, the attacker only in the step after the pre-training, its update this old."""
    config, steps = chosen.config, steps_of(chosen.config, arm)
    once = {"attackers": [stages.ATTACKER]}
    if not arm.concurrency:
        return sampling.single_shot(config.participants, arm.buffer, rounds=[steps], **once)
    who = arrivals.arrivals(
        config.participants,
        concurrency=arm.concurrency,
        buffer=arm.buffer,
        delay=delays.half_normal(),
    )
    who = arrivals.single_shot(who, steps=[steps], age=age, **once)
    seeds = jax.vmap(lambda key: rng.fold(key, "pretrain"))(keys)
    # The stale attacker's version has to be there in every program that goes on with the state.
    versions = max(buffered.needed(who, seeds, steps + 1), chosen.stale // arm.buffer + 1)
    discount = staleness.polynomial(arm.exponent)
    return buffered.buffered(who, versions=versions, discount=discount, mixing=arm.mixing)


def plain(config: Config, arm: Arm):
    """The mean of what arrived; a single update weighs as much as in the main experiment."""
    if arm.buffer > 1:
        return mean.mean(weight="uniform")
    return mean.fedavg(eta=1 / config.cohort, participants=1)


def pretrain(chosen: Asynchronous, task: tasks.Task, keys, arm: Arm) -> Trained:
    """Benign training, the server's rate falling along the main experiment's cosine."""
    config, steps = chosen.config, steps_of(chosen.config, arm)
    decay = schedules.Schedule("cosine", decay_steps=steps, final=0.1)
    algorithm = round.make(
        client=stages.client_of(config, task),
        sampler=sampler_of(chosen, arm, keys),
        aggregator=plain(config, arm),
        server=optimizer.make(optimizer.Optimizer("sgd", rate=1.0, schedule=decay)),
    )
    first = round.repeat(algorithm.step, steps // 2)
    second = round.repeat(algorithm.step, steps - steps // 2)

    def all_seeds(keys, people):
        data = round.RoundData(people)

        def one(key):
            own = rng.fold(key, "pretrain")
            start = Variables(*task.network.init(rng.fold(key, "init")))
            state, early = first(algorithm.init(start), data, own)
            half = state.variables
            state, late = second(state, data, own)
            ages = jax.tree.map(lambda *a: jnp.concatenate(a), early.age, late.age)
            return state, half, ages

        return jax.lax.map(one, keys)

    program = jax.jit(all_seeds).lower(keys, task.population).compile()
    begin = time.process_time()
    state, half, ages = jax.block_until_ready(program(keys, task.population))
    used = time.process_time() - begin
    return Trained(state, half, ages, used / (len(keys) * steps * arm.buffer))


def duration(chosen: Asynchronous, keys, arm: Arm) -> float:
    """Time of the pre-training in units of the delays' scale, mean over seeds.

    A synchronous round takes as long as the slowest of its cohort; the server takes none.
    """
    steps = steps_of(chosen.config, arm)
    if not arm.concurrency:
        draw = delays.half_normal().draw

        def one(key):
            each = jax.random.split(rng.fold(key, "delays"), (steps, arm.buffer))
            took = jax.vmap(jax.vmap(lambda k: draw(k, jnp.int32(0))))(each)
            return jnp.sum(jnp.max(took, axis=1))

    else:
        who = sampler_of(chosen, arm, keys).arrivals
        own = lambda key: rng.fold(key, "pretrain")
        one = lambda key: jnp.sum(arrivals.observe(who, own(key), steps).elapsed)
    return float(jnp.mean(jax.jit(jax.vmap(one))(keys)))


def replace(chosen: Asynchronous, task, keys, arm: Arm, state, defence: str, unit: float):
    """(row, models (seeds, ...) right after the update) of each attacker."""
    config = chosen.config
    stale = chosen.stale // arm.buffer
    weight = 1 / max(arm.buffer, config.cohort if arm.buffer == 1 else 1)
    attackers = [("fresh", 0, 1.0)]
    if arm.concurrency:
        attackers.append((f"{stale} steps stale", stale, 1.0))
        if arm.exponent:
            undone = (1 + stale) ** arm.exponent
            attackers.append((f"{stale} steps stale, scaled by 1/s", stale, undone))
    programs = {}
    rows = []
    for name, age, factor in attackers:
        if age not in programs:
            programs[age] = _one_step(chosen, task, keys, arm, defence, unit, age)
        gamma = jnp.float32(factor / weight)
        models, norms = programs[age](state, gamma)
        row = {"arm": str(arm), "defence": defence, "attacker": name}
        rows.append(({**row, "norm": float(jnp.median(norms)) / unit}, models))
    return rows


def _one_step(chosen: Asynchronous, task, keys, arm: Arm, defence: str, unit: float, age: int):
    """(state after the pre-training, gamma) -> (models, norms sent) after the attacked step."""
    config = chosen.config
    rules = {"median": median.median(), "multi-Krum": krum.multi_krum(attackers=1)}
    algorithm = round.make(
        client=stages.client_of(config, task),
        sampler=sampler_of(chosen, arm, keys, age),
        aggregator=rules.get(defence, plain(config, arm)),
        defence=clipped(chosen, unit) if defence == "norm clip" else base.none(),
        attack=stages.attack_of(config, task),
    )
    made = poison(chosen, task, config.attacker_epochs)

    @jax.jit
    def step(states, gamma):
        data = round.RoundData(task.population, made._replace(gamma=gamma))

        def one(item):
            state, key = item
            again = algorithm.init(state.variables)._replace(round=state.round, late=state.late)
            state, info = algorithm.step(again, data, rng.fold(key, "pretrain"))
            return state.variables, info.attack.sent_norm

        return jax.lax.map(one, (states, keys))

    return step


def clipped(chosen: Asynchronous, unit: float) -> base.Defence:
    """Norm clipping some way above what benign updates need."""
    return norm_clip.norm_clip(bound=chosen.clip * unit)


def poison(chosen: Asynchronous, task: tasks.Task, epochs: int, gamma: float = 1.0):
    """What the main experiment's attacker trains on."""
    config = chosen.config
    return scaling.poison(
        stages.attackers_share(config, task),
        task.backdoors[BACKDOOR].train,
        per_batch=config.per_batch(BACKDOOR),
        epochs=epochs,
        rate=config.attacker_rate,
        gamma=gamma,
    )


def speed(
    chosen: Asynchronous, task, keys, models, unit, measure, m: int, separation: int, fast: bool
) -> dict[str, Any]:
    """A participant who replaces whenever it arrives, under norm clipping."""
    config = chosen.config
    scale = np.ones(config.participants)
    scale[stages.ATTACKER] = chosen.fast if fast else 1.0
    buffer = min(config.cohort, m)
    who = arrivals.arrivals(
        config.participants,
        concurrency=m,
        buffer=buffer,
        delay=delays.half_normal(scale),
        separation=separation,
        attackers=[stages.ATTACKER],
    )
    own = jax.vmap(lambda key: rng.fold(key, "speed"))(keys)
    late = buffered.buffered(who, versions=buffered.needed(who, own, chosen.steps))
    algorithm = round.make(
        client=stages.client_of(config, task),
        sampler=late,
        aggregator=mean.mean(weight="uniform"),
        defence=clipped(chosen, unit),
        attack=stages.attack_of(config, task),
    )
    many = round.repeat(algorithm.step, chosen.steps)
    data = round.RoundData(task.population, poison(chosen, task, chosen.epochs, float(buffer)))

    @jax.jit
    def follow(models, keys):
        def seed(item):
            state, info = many(algorithm.init(item[0]), data, item[1])
            return state.variables, info.malicious, info.age

        return jax.lax.map(seed, (models, keys))

    after, malicious, age = follow(models, own)
    ages = np.asarray(age)[np.asarray(malicious)]
    return {
        "arm": f"K = {buffer}, M = {m}, a = 0.5",
        "separation": separation,
        "attacker": "fast" if fast else "as the others",
        "share": 100 * float(np.mean(np.asarray(malicious))),
        "age": float(ages.mean()) if ages.size else None,
        "found": measure(after),
    }


def budget(chosen: Asynchronous, multiplier: float) -> dict[str, float]:
    """Epsilon of the pre-training's rounds, add-or-remove-one neighbours (of a schedule, zeros).

    Late updates at the least separation and at the largest that fills buffers of a cohort's size,
    and synchronous rounds of as many that are drawn by Poisson sampling.

    Example:
        >>> found = budget(SMALL_ASYNCHRONOUS, 4.0)
        >>> found["sampled"] < found["separated"] < found["late"]
        True
    """
    config = chosen.config
    steps, most = config.pretrain_rounds, config.participants // config.cohort
    spent = lambda event, times: (
        Ledger(Adjacency.ADD_REMOVE).record(event, times).epsilon(chosen.delta).upper
    )
    return {
        "noise multiplier": multiplier,
        "late": spent(Gaussian(multiplier), steps),
        "separation": most,
        "separated": spent(Gaussian(multiplier), -(-steps // most)),
        "sampled": spent(SampledGaussian(multiplier, config.cohort / config.participants), steps),
    }


def _measure(task: tasks.Task, test):
    """Models (seeds, ...) -> their accuracies in percent, [mean, margin]."""
    evaluate = tasks.evaluate(task)
    all_of = jax.jit(lambda models: jax.lax.map(lambda model: evaluate(model, test), models))

    def measure(models):
        spread = lambda v: [float(100 * v.mean()), summary.margin(100 * v)]
        return {k: spread(v) for k, v in jax.device_get(all_of(models)).items()}

    return measure


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """The four tables in Markdown."""
    show = lambda v: f"{v[0]:.1f}{summary.plus(v[1])}"
    both = lambda row: [show(row["found"]["main"]), show(row["found"]["backdoor"])]
    training = [
        [
            row["arm"],
            f"{row['age']:.1f}",
            str(row["oldest"]),
            f"{row['time']:,.0f}",
            show(row["halfway"]),
            show(row["end"]),
            f"{row['milliseconds']:.2f}",
        ]
        for row in found["training"]
    ]
    single = [
        [row["arm"], row["defence"], row["attacker"], f"{row['norm']:,.0f}x", *both(row)]
        for row in found["single"]
    ]
    repeated = [
        [
            row["arm"],
            str(row["separation"]),
            row["attacker"],
            f"{row['share']:.1f}",
            "-" if row["age"] is None else f"{row['age']:.1f}",
            *both(row),
        ]
        for row in found["repeated"]
    ]
    up = lambda v: f"{np.ceil(10 * v) / 10:,.1f}"
    epsilon = [
        [
            f"{row['noise multiplier']:g}",
            up(row["late"]),
            str(row["separation"]),
            up(row["separated"]),
            up(row["sampled"]),
        ]
        for row in found["epsilon"]
    ]
    return "\n\n".join(
        _markdown(head, rows)
        for head, rows in (
            ("training|mean age|oldest|time|main, halfway|main, end|CPU-ms an update", training),
            ("server|defence|attacker|norm|main|backdoor", single),
            ("server|separation|attacker|share of updates|its age|main|backdoor", repeated),
            ("z|late|late, separation|epsilon then|Poisson sampled", epsilon),
        )
    )


def _markdown(head: str, rows: list[list[str]]) -> str:
    names = head.split("|")
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
