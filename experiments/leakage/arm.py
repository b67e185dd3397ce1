"""One run of collaborative learning under attack: train, record, classify, score."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.leakage import task as tasks
from fl_jax.core import errors, rng
from fl_jax.federated.defences import base, norm_clip
from fl_jax.nn import loss as losses
from fl_jax.train import cohort, optimizer
from fl_jax.train import mesh as meshes
from privacy.leakage import active, collaborative, draws, features, passive, sharing, split


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What of a run reaches its program as data only."""

    rounds: int = 3000
    batch: int = 32
    schedule: tuple = ("every", 5, 1.0)  # or ("cycling", 5, shares) or ("between", first, last)
    warm: int = 100  # rounds before auxiliary updates are recorded
    period: int = 1  # rounds between recorded ones
    pool: int = 32  # innocent updates a recorded round; 0 = fresh ones
    mixed: float = 0.0  # property share of the adversary's own batches
    record: bool = False  # the property is to hold one given record
    dispatch: int = 50  # rounds in one call


@dataclasses.dataclass(frozen=True)
class Arm(Drawn):
    """One run: everything that decides it but its seed."""

    participants: int = 2  # K
    rate: float = 0.01
    steps: int = 0  # local steps of federated averaging; 0 = synchronised SGD
    view: str = "participant"
    alpha: float | None = None  # of the active attack; None = passive
    share: str = "everything"
    portion: float = 1.0
    dropout: float = 0.0
    clip: float = 0.0  # participant-level DP: bound on an update's norm; 0 = none
    noise: float = 0.0  # and noise on the sum, in units of the bound
    channels: tuple[int, ...] = (32, 64, 128)
    hidden: int = 256
    method: str = "auto"
    plan: str = "vmap"

    def compiled(self) -> "Arm":
        """What decides the program: the same for all arms that differ in what is drawn."""
        return dataclasses.replace(self, **dataclasses.asdict(Drawn()))


class Record(NamedTuple):
    """What the adversary has after a run."""

    observed: np.ndarray  # (rounds, features)
    auxiliary: np.ndarray  # (recorded rounds * auxiliary updates, features)
    labels: np.ndarray  # of the auxiliary updates
    shares: np.ndarray  # (rounds,) the truth: property share of the victim's batch
    accuracy: float  # of the main task, after the run
    params: Any


def schedule(arm: Arm):
    """The victim's schedule."""
    kind, *rest = arm.schedule
    if kind == "every":
        return draws.every(*rest)
    if kind == "cycling":
        return draws.cycling(rest[1], rest[0])
    return draws.between(*rest)


class Program(NamedTuple):
    """The compiled parts of an arm on a task: one for all seeds."""

    start: Any
    advance: Any
    accuracy: Any
    view: collaborative.View


def program(
    arm: Arm, task: tasks.Task, sizes: np.ndarray, mesh: jax.sharding.Mesh | None = None
) -> Program:
    """Compiles nothing yet; the same program serves every seed with these sizes.

    mesh: whose `clients` axis the auxiliary updates are dealt over; None = one device.
    """
    model = tasks.model(
        task, channels=arm.channels, hidden=arm.hidden, dropout=arm.dropout, method=arm.method
    )
    loss = losses.classification(model.network)
    if arm.steps:
        local = optimizer.make(optimizer.Optimizer("sgd", rate=arm.rate))
        protocol = collaborative.federated_averaging(loss, local)
    else:
        protocol = collaborative.synchronised_sgd(loss, rate=arm.rate)
    defence = base.Defence()
    if arm.clip:
        defence = norm_clip.norm_clip(bound=arm.clip, noise=arm.noise * arm.clip)
    adversary = None
    if arm.alpha is not None:
        adversary = active.adversary(model, alpha=arm.alpha, rate=arm.rate)
    plan = cohort.Plan.parse(arm.plan)
    learning = collaborative.make(
        protocol,
        sizes,
        share=sharing.make(arm.share, arm.portion),
        defence=defence,
        adversary=adversary,
        plan=plan,
    )
    params, _ = jax.eval_shape(model.network.init, jax.random.key(0))
    extractor = features.make(params)
    view = collaborative.view(arm.view, protocol, arm.participants)
    weights = protocol.weights(sizes)
    record = passive.recorder(learning, view, extractor, weights, plan=plan, dealt=mesh is not None)
    many = collaborative.run(learning, record)
    if mesh is not None:
        many = passive.over_devices(many, mesh)

    def start(key):
        own = () if adversary is None else active.head(model, rng.fold(key, "head"))
        return learning.init(model.network.init(rng.fold(key, "weights"))[0], own)

    def accuracy(params, x, y):
        logits, _ = model.network.apply(params, {}, x)
        return jnp.mean((jnp.argmax(logits, axis=-1) == y).astype(jnp.float32))

    # The first state lies where the rounds leave the next: one program takes both.
    return Program(
        jax.jit(start, out_shardings=None if mesh is None else meshes.sharding(mesh)),
        jax.jit(many, donate_argnums=0),
        jax.jit(accuracy),
        view,
    )


def batches_of(arm: Arm, parts: split.Split, seed: int, others: int) -> draws.Draws:
    """Who trains on what in every round, and what the adversary imitates.

    Args:
        arm: the run.
        parts: who holds which records.
        seed: of all orders.
        others: innocent updates beside the victim's in what the adversary sees.
    """
    positive = draws.POSITIVE_SHARES
    if arm.record:  # one of the victim's own records, which the adversary has too
        found = parts.victim_rest[:1]
        parts = parts._replace(
            victim_property=found, auxiliary_property=found, victim_rest=parts.victim_rest[1:]
        )
        positive = (1 / arm.batch,) * len(positive)
    return draws.Draws(
        parts,
        batch=arm.batch,
        schedule=schedule(arm),
        seed=seed,
        steps=arm.steps,
        record=(arm.warm, arm.period),
        others=others,
        pool=arm.pool,
        positive=positive,
        adversary=arm.mixed,
    )


def check(arm: Arm, task: tasks.Task, seed: int) -> None:
    """Refuses before anything is trained what a run of this arm would end with.

    Raises:
        ConfigError: too few records or too small a pool for the participants, or rounds behind
            the warm up that all have the property, or none of them.
    """
    parts = split.make(task.y, task.holds, arm.participants, seed=seed)
    nothing = collaborative.synchronised_sgd(lambda *_: None, rate=1.0)
    drawn = batches_of(
        arm, parts, seed, collaborative.view(arm.view, nothing, arm.participants).others
    )
    have = drawn.shares(arm.rounds)[arm.warm :] > 0
    if have.all() or not have.any():
        raise errors.ConfigError(
            f"of the {len(have)} rounds behind the first {arm.warm}"
            f" {'all' if have.all() else 'none'} have a record with the property in the victim's"
            " batch, so there is nothing to tell apart; change every, shares, warm or the rounds."
        )


def run(
    arm: Arm,
    task: tasks.Task,
    seed: int,
    made: dict | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Record:
    """Trains one seed and returns what the adversary has.

    Args:
        arm: the run.
        task: data.
        seed: of split, draws and weights.
        made: programs of earlier seeds and arms, kept here between calls.
        mesh: as in `program`.
    """
    parts = split.make(task.y, task.holds, arm.participants, seed=seed)
    sizes = parts.sizes()
    made = {} if made is None else made
    weighted = tuple(sizes) if arm.steps else len(sizes)
    decides = (arm.compiled(), weighted)
    if decides not in made:
        made[decides] = program(arm, task, sizes, mesh)
    compiled = made[decides]
    drawn = batches_of(arm, parts, seed, compiled.view.others)
    key = jax.random.key(seed)
    held = meshes.replicate(mesh, examples(task))
    state = compiled.start(key)
    observed, auxiliary = [], []
    for first in range(0, arm.rounds, arm.dispatch):
        count = min(arm.dispatch, arm.rounds - first)
        batches = drawn.rounds(first, count)
        state, kept = compiled.advance(state, held, batches, key)
        observed.append(np.asarray(kept["observed"]))
        auxiliary.append(np.asarray(kept["auxiliary"])[batches["record"]])
    auxiliary = np.concatenate(auxiliary)
    labels = np.tile(drawn.labels, len(auxiliary))
    test = parts.evaluation[:2000]
    accuracy = compiled.accuracy(state.params, held["x"][test], held["y"][test])
    return Record(
        np.concatenate(observed),
        auxiliary.reshape(len(labels), -1),
        labels,
        drawn.shares(arm.rounds),
        float(accuracy),
        state.params,
    )


def trial(arm: Arm, task: tasks.Task):
    """A function that runs two recorded rounds of an arm: what the choice of a plan is by."""
    parts = split.make(task.y, task.holds, arm.participants, seed=0)
    compiled = program(arm, task, parts.sizes())
    others = compiled.view.others
    drawn = draws.Draws(
        parts, batch=arm.batch, schedule=schedule(arm), seed=0, record=(0, 1), others=others
    )
    batches = drawn.rounds(0, 2)
    held = examples(task)
    return lambda: compiled.advance(
        compiled.start(jax.random.key(0)), held, batches, jax.random.key(0)
    )


def examples(task: tasks.Task) -> dict[str, jax.Array]:
    """The records on the device."""
    return {
        "x": jnp.asarray(task.x),
        "y": jnp.asarray(task.y),
        "holds": jnp.asarray(task.holds.astype(np.int32)),
    }
