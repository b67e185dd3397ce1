"""The geocoder where texts stay with their writers: users with places of their own.

Public is the gazetteer alone: texts made of its names give everything that texts are looked up
in (partition, phrases, tokenizer) and a first model. The items' texts belong to users, each with
a stretch of the Earth of their own and a few texts from elsewhere; a coin says which of them take
part. Rounds on the
cohort executor move the public model: FedAvg, weighted by examples or not, of all parameters or
of the few that weigh the evidence, and DP-FedAvg of these few with its epsilon for a whole user.
What leaks is measured on the users whom the coin left out: their texts are as new to a model as
those of participants are not.
"""

import dataclasses
import functools
import math
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.geocoding import evaluation, task
from experiments.geocoding.config import SMALL, SMOKE, Config
from experiments.kept import Kept
from fl_jax.core import rng, roc, tree
from fl_jax.federated import client, population, round, sampling
from fl_jax.federated.aggregators import dp_fedavg, mean
from fl_jax.geocoding import examples, metrics, network, s2, sphere, store, texts, train
from fl_jax.geocoding.geocoder import Geocoder
from fl_jax.train import cohort, optimizer
from fl_jax.train.state import Variables
from privacy.accounting.bound import Adjacency, Bound
from privacy.accounting.events import SampledGaussian
from privacy.accounting.ledger import Ledger
from privacy.membership import metrics as attacks
from privacy.membership import table as tables
from privacy.membership import thresholds

FEW = ("heads", "trust")  # parameters that weigh the evidence
BLOCK = 64  # texts of a forward pass


@dataclasses.dataclass(frozen=True)
class Federated:
    """What is compared."""

    config: Config  # data, network, training of the public model
    public: int = 12_000  # texts made of the gazetteer, that the public model knows
    items: int = 16_000  # that users own
    texts: float = 10.0  # of a user, on average
    spread: float = 0.6  # deviation of the logarithm of that number
    away: float = 0.1  # of a user's texts are about anywhere
    cohort: int = 60  # users a round
    rounds: int = 20
    batch: int = 16  # texts of a local step
    epochs: int = 1  # of a user
    rate: float = 0.3  # of the local steps
    server_rate: float = 2e-3  # of the server's Adam, where all parameters move
    few_rate: float = 1.0  # of the server's step where few do
    momentum: float = 0.8  # of it
    multipliers: tuple[float, ...] = (1.0, 2.0)  # z: noise of the sum over the bound
    bound: float = 0.3  # C, where it starts; it follows the median norm
    delta: float = 4e-4  # below one over the participants
    steps: int = 640  # of the model that is given everything


SMALL_FEDERATED = Federated(
    dataclasses.replace(
        SMALL, width=64, hidden=128, vocab=3000, generated=10_000, steps=320, test=1000
    )
)
SMOKE_FEDERATED = Federated(
    dataclasses.replace(SMOKE, steps=10),
    public=200, cohort=6, rounds=2, multipliers=(1.0,), steps=10, delta=0.1,
)  # fmt: skip


class Users(NamedTuple):
    """Items by whom they belong to."""

    items: task.Split
    owner: np.ndarray  # (items,) int64, users from 0
    joins: np.ndarray  # (users,) bool: takes part in training


class Outcome(NamedTuple):
    """What the experiment found."""

    rows: list[dict[str, Any]]  # one of each way to train
    facts: dict[str, Any]


def take(split: task.Split, rows: np.ndarray) -> task.Split:
    """Some items."""
    return task.Split(*([c[n] for n in rows] if isinstance(c, list) else c[rows] for c in split))


def made(federated: Federated, whole: task.Task) -> task.Split:
    """Public texts, as items without labels."""
    draws = np.random.default_rng((federated.config.seed, 4))
    found = texts.generate(whole.gazetteer, whole.train_places, federated.public, draws)
    lat, lon = np.array([t.lat for t in found]), np.array([t.lon for t in found])
    return task.Split([""] * len(found), [t.text for t in found], lat, lon)


def deal(items: task.Split, federated: Federated) -> Users:
    """Owners of the items: stretches along the cells' Hilbert curve, some items exchanged.

    Args:
        items: all that users own.
        federated: how many texts a user has, and how many of them from elsewhere.
    """
    draws = np.random.default_rng((federated.config.seed, 3))
    count = len(items.lat)
    centre = math.log(federated.texts) - federated.spread**2 / 2
    sizes = np.maximum(np.exp(draws.normal(centre, federated.spread, count)).astype(int), 1)
    ends = np.cumsum(sizes)
    ends = ends[: np.searchsorted(ends, count)]
    owner = np.zeros(count, np.int64)
    order = np.argsort(s2.key(items.lat, items.lon, 20), kind="stable")
    owner[order] = np.searchsorted(ends, np.arange(count), side="right")
    moved = np.flatnonzero(draws.random(count) < federated.away)
    owner[moved] = owner[draws.permutation(moved)]
    users = int(owner.max()) + 1
    return Users(items, owner, draws.random(users) < 0.5)


def spent(federated: Federated, users: int, multiplier: float) -> Bound:
    """Epsilon of the rounds for a user who is exchanged for another one.

    Example:
        >>> bound = spent(SMALL_FEDERATED, 1150, 2.0)
        >>> bool(1.3 < bound.lower <= bound.upper < 1.4)
        True
    """
    event = SampledGaussian(multiplier, federated.cohort / users, "fixed")
    ledger = Ledger(Adjacency.REPLACE).record(event, federated.rounds)
    return ledger.epsilon(federated.delta)


def compare(federated: Federated, out: pathlib.Path, say=print, *, resume=False) -> Outcome:
    """Trains in every way; distances on the test items, and what the attack finds.

    Args:
        federated: the setting.
        out: a folder for checkpoints of the models that are not federated, for the geocoder of
            the last one, and for each way's row once it is known; empty, unless it is resumed.
        say: told what is done.
        resume: takes the rows that are there, and goes on from the newest checkpoints.

    Raises:
        ConfigError: what is resumed has other settings or data.
    """
    config = federated.config
    whole = task.load(config)
    about = [federated, whole.origin]
    kept = Kept(out / "kept.jsonl", about, resume=resume)
    shared = whole._replace(train=made(federated, whole))
    users = deal(take(whole.train, np.arange(len(whole.train.lat))[: federated.items]), federated)
    member = users.joins[users.owner]
    seen = train.prepare(config, shared.corpus)
    say(f"{len(member)} items of {len(users.joins)} users, of whom {users.joins.sum()} take part")
    start = train.fit(config, shared.corpus, seen, out / "0", resume)
    geocoder = seen.geocoder(start)
    before = density(geocoder, users.items)
    judge = lambda name, found, signal, **more: {
        "name": name, **more, **distances(found, whole.test, config),
        **(attack(signal, before, users) if signal is not None else {}),
    }  # fmt: skip
    rows = []

    def tell(name, make):
        rows.append(kept.item(name, make))
        say(f"{name}: median {rows[-1]['median']:.1f} km, Acc@161 {rows[-1]['acc@161']:.3f}")

    tell("public model", lambda: judge("public model", geocoder, None))
    local = Local.make(federated, seen, start, users)

    def of_rounds(name, way):
        params, told = local.follow(**way.arguments)
        found = seen.geocoder(params)
        return judge(name, found, density(found, users.items), **told, **way.about)

    for name, way in ways(federated, len(local.people.size)).items():
        tell(name, functools.partial(of_rounds, name, way))
    name = "all texts in one place"

    def central():
        mine = take(users.items, np.flatnonzero(member))
        together = task.Split(*(_join(a, b) for a, b in zip(shared.train, mine, strict=True)))
        every = dataclasses.replace(config, steps=federated.steps)
        corpus = whole._replace(train=together).corpus
        seen = train.prepare(every, corpus)
        found = seen.geocoder(train.fit(every, corpus, seen, out / "1", resume))
        store.save(found, out / "geocoder")
        return judge(name, found, density(found, users.items))

    tell(name, central)
    sizes = np.bincount(users.owner, minlength=len(users.joins))
    facts = {
        "origin": whole.origin, "public texts": federated.public, "users": len(users.joins),
        "participants": int(users.joins.sum()), "texts of a user": float(sizes.mean()),
        "largest user": int(sizes.max()), "parameters": tree.size(start),
        "few": tree.size({k: start[k] for k in FEW}), "test items": len(found_rows(whole, config)),
    }  # fmt: skip
    return Outcome(rows, facts)


def found_rows(whole: task.Task, config: Config) -> np.ndarray:
    """The test items that are evaluated."""
    return np.arange(min(config.test or len(whole.test.lat), len(whole.test.lat)))


class Way(NamedTuple):
    """One way to train over users."""

    arguments: dict[str, Any]
    about: dict[str, Any]


def ways(federated: Federated, users: int) -> dict[str, Way]:
    """FedAvg with both weights, of few parameters, and DP-FedAvg with each noise multiplier."""
    adam = optax.adam(federated.server_rate)
    few = optax.sgd(federated.few_rate, momentum=federated.momentum)
    weighted, uniform = mean.mean(weight="examples"), mean.mean(weight="uniform")
    found = {
        "federated, weighted by examples": Way(
            {"rule": weighted, "server": adam, "few": False}, {}
        ),
        "federated, each user the same": Way({"rule": uniform, "server": adam, "few": False}, {}),
        "federated, few parameters": Way({"rule": uniform, "server": few, "few": True}, {}),
    }
    for z in federated.multipliers:
        rule = dp_fedavg.dp_fedavg(
            bound=federated.bound, noise_multiplier=z, expected=federated.cohort, quantile=0.5,
            count_noise=max(federated.cohort / 20, z),
        )  # fmt: skip
        bound = spent(federated, users, z)
        about = {"epsilon": [bound.lower, bound.upper], "delta": federated.delta}
        found[f"DP-FedAvg, few parameters, z = {z:g}"] = Way(
            {"rule": rule, "server": few, "few": True}, about
        )
    return found


class Local(NamedTuple):
    """The participants' texts on the device, and rounds over them."""

    federated: Federated
    net: network.Config
    tables: network.Tables
    start: Any  # parameters
    people: population.Population

    @classmethod
    def make(cls, federated: Federated, seen: train.Start, start, users: Users) -> "Local":
        """Encodes the participants' texts with the public tables."""
        items = users.items
        found = examples.encode(
            seen.known, seen.words, items.text, lat=items.lat, lon=items.lon,
            length=federated.config.length,
        )  # fmt: skip
        every = examples.batch(found, np.arange(len(items.lat)))
        every["read"] = every.pop("mask")  # the name is the round's own
        every.pop("weight")
        shares = [np.flatnonzero(users.owner == u) for u in np.flatnonzero(users.joins)]
        people = population.make(every, [s for s in shares if len(s)])
        return cls(federated, seen.net, network.tables(seen.known), start, people)

    def follow(self, *, rule, server, few: bool):
        """(parameters after the rounds, what they reported) of one aggregator."""
        federated = self.federated
        fixed = {k: v for k, v in self.start.items() if few and k not in FEW}
        of_texts = network.losses(self.net, self.tables)

        def loss(variables, batch, key):
            own = {**batch, "weight": batch["mask"], "mask": batch["read"]}
            return of_texts(variables._replace(params={**fixed, **variables.params}), own, key)

        local = client.make(
            loss,
            optimizer.make(optimizer.Optimizer("sgd", rate=federated.rate, clip_norm=1.0)),
            epochs=federated.epochs,
            batch_size=federated.batch,
        )
        algorithm = round.make(
            client=local,
            sampler=sampling.uniform(len(self.people.size), federated.cohort),
            aggregator=rule,
            server=server,
            plan=cohort.Plan("scan"),
        )
        moving = {k: v for k, v in self.start.items() if k not in fixed}
        state = algorithm.init(Variables(jax.tree.map(jnp.copy, moving), {}))
        step = jax.jit(algorithm.step)
        data = round.RoundData(self.people)
        key = rng.fold(jax.random.key(federated.config.seed), "federated")
        losses, norms = [], []
        for _ in range(federated.rounds):
            state, info = step(state, data, key)
            losses.append(float(jnp.mean(info.loss)))
            norms.append(float(jnp.median(info.norm)))
        told = {"loss": losses, "norm": norms, "dropped": int(state.dropped)}
        return {**fixed, **state.variables.params}, told


def density(geocoder: Geocoder, items: task.Split) -> np.ndarray:
    """(items,) log density, nats to a km2, that a geocoder gives the truth: the attack's signal.

    The texts are asked as anybody would: nothing says that phrases may have been learned of them.
    """
    known, partition = geocoder.known, geocoder.partition
    data = examples.encode(known, geocoder.words, items.text, lat=items.lat, lon=items.lon)
    out = []
    for start in range(0, len(items.lat), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(items.lat)))
        batch = examples.batch(data, rows, fill=BLOCK)
        logs = _log_leaf(geocoder.params, geocoder.config, geocoder.tables, batch)
        out.append(np.asarray(logs)[: len(rows)])
    area = partition.area[partition.leaves[data.leaf]]
    return np.concatenate(out).astype(np.float64) - np.log(area)


@jax.jit(static_argnums=1)
def _log_leaf(params, config, known, batch):
    encoded = network.encode(params, config, known, batch)
    steps, real = network.path_log(params, config, known, encoded, batch["leaf"])
    return jnp.sum(jnp.where(real, steps, 0.0), axis=1)


def attack(signal: np.ndarray, before: np.ndarray, users: Users) -> dict[str, Any]:
    """How well members are told by how much better their texts are known than before.

    The public model is the one that saw none of them: difficulty calibration [Watson et al.,
    ICLR 2022], of each text, and of each user by the mean over their texts.

    Returns:
        AUC of texts and of users, and the share of users found at 5 % false alarms.
    """
    apart = thresholds.calibrated(tables.make(signal, before[:, None]))
    size = np.bincount(users.owner, minlength=len(users.joins))
    there = size > 0
    mean_of = np.bincount(users.owner, apart, len(users.joins))[there] / size[there]
    joins = users.joins[there]
    rate = attacks.tpr_at(mean_of, joins, 0.05) if (~joins).sum() >= 100 else None
    return {
        "AUC of texts": roc.area(apart, users.joins[users.owner]),
        "AUC of users": roc.area(mean_of, joins),
        "TPR at 5 %": None if rate is None else list(rate),
    }


def distances(geocoder: Geocoder, test: task.Split, config: Config) -> dict[str, float]:
    """Median, mean and Acc@161 on the test items, with snap."""
    some = take(test, np.arange(min(config.test or len(test.lat), len(test.lat))))
    found = geocoder.infer(some.text, config.residual)
    points = evaluation.answered(geocoder, some.text, found)[1]
    scores = metrics.distances(sphere.chord_km(points, s2.xyz(some.lat, some.lon)))
    return {name: float(scores[name]) for name in ("median", "mean", "acc@161")}


def report(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| training | epsilon of a user | median km | Acc@161 | attack: AUC of texts | of users |"
        " users found at 5 % false alarms |",
        "|---|---|---|---|---|---|---|",
    ]
    show = lambda v, form: "-" if v is None else format(v, form)
    for row in rows:
        epsilon = row.get("epsilon")
        bound = "-" if epsilon is None else f"{math.ceil(100 * epsilon[1]) / 100:.2f}"
        rate = row.get("TPR at 5 %")
        lines.append(
            f"| {row['name']} | {bound} | {row['median']:.1f} | {row['acc@161']:.3f} |"
            f" {show(row.get('AUC of texts'), '.3f')} | {show(row.get('AUC of users'), '.3f')} |"
            f" {show(rate and rate[0], '.3f')} |"
        )
    return "\n".join(lines)


def _join(a, b):
    return [*a, *b] if isinstance(a, list) else np.concatenate([a, b])
