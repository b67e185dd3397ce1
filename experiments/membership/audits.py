"""Audits of private training: what an attacker proves, below what the accountant certifies.

A canary is a record (DP-SGD) or a client (DP-FedAvg) that is IN by a fair coin. Input canaries are
wrongly labelled records, judged by the model's answer; gradient canaries push one parameter of
their own that the model does not use, judged by where that parameter ends: the strongest that the
threat model of DP allows [Nasr et al. 2023; Steinke et al. 2023, white box].
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.membership.lab import Lab, softmax
from fl_jax.core import rng, roc
from fl_jax.federated import client, population, sampling
from fl_jax.federated import round as rounds
from fl_jax.federated.aggregators import mean
from fl_jax.federated.defences import norm_clip
from fl_jax.nn.loss import cross_entropy
from fl_jax.train import private
from fl_jax.train.state import Variables
from privacy.accounting.bound import Adjacency
from privacy.accounting.events import Gaussian, SampledGaussian
from privacy.accounting.ledger import Ledger
from privacy.membership import audit, signals

CLIP = 1.0
SHARES = (
    0.02,
    0.05,
    0.15,
    0.5,
)  # of the canaries guessed IN, and as many OUT; all are corrected for


def _loss(variables, batch, key):
    """Softmax regression; a record with a canary number >= 0 pulls on that parameter instead."""
    del key
    params = variables.params
    logits = batch["x"] @ params["w"] + params["b"][None]
    plain = cross_entropy(logits, batch["y"])
    pull = 2 * CLIP * params["canary"][jnp.maximum(batch["canary"], 0)]
    each = jnp.where(batch["canary"] >= 0, pull, plain)
    mask = batch.get("mask", jnp.ones_like(each))
    return jnp.sum(each * mask) / jnp.maximum(jnp.sum(mask), 1), ({}, {})


def _params(features: int, classes: int, canaries: int):
    zeros = {"w": (features, classes), "b": (classes,), "canary": (canaries,)}
    return {name: jnp.zeros(shape) for name, shape in zeros.items()}


def _data(lab: Lab, seed: int, kind: str):
    """(examples, present, coins, rows of the canaries): real records, then the canaries."""
    from experiments.membership import task as tasks

    config, task = lab.config, lab.task
    split = tasks.split(task, config, seed)
    draws = np.random.default_rng(seed + 77)
    spare = draws.choice(split.pool, config.audit_canaries, replace=False)
    coins = draws.random(config.audit_canaries) < 0.5
    rows = np.concatenate([split.train, spare])
    prepared = np.asarray(task.prepare(jnp.asarray(task.x[rows]))).reshape(len(rows), -1)
    y = task.y[rows].copy()
    wrong = (y[-len(spare) :] + draws.integers(1, task.classes, len(spare))) % task.classes
    y[-len(spare) :] = wrong
    number = np.full(len(rows), -1, np.int32)
    if kind == "gradient":
        number[-len(spare) :] = np.arange(len(spare))
    examples = {"x": prepared, "y": y.astype(np.int32), "canary": number}
    present = np.concatenate([np.ones(len(split.train), bool), coins])
    return examples, present, coins, split


@functools.partial(jax.jit, static_argnames=("steps", "rate", "noise", "places"))
def _dp_sgd(examples, present, key, params, *, steps, rate, noise, places):
    expected = rate * present.shape[0]

    def one(carry, t):
        params, missed = carry
        own = rng.fold(key, t)
        taken = private.poisson(rng.fold(own, "sample"), present, rate, places)
        batch = jax.tree.map(lambda leaf: leaf[taken.rows], examples)
        grads = private.gradient(
            _loss, Variables(params, {}), batch, taken.mask, own,
            clip=CLIP, noise_multiplier=noise, expected=expected,
        )  # fmt: skip
        params = jax.tree.map(lambda p, g: p - 4.0 * g, params, grads)
        return (params, missed + taken.missed), ()

    return jax.lax.scan(one, (params, jnp.int32(0)), jnp.arange(steps))[0]


def _scores(params, examples, canaries: int, kind: str) -> np.ndarray:
    """Larger for canaries that were IN."""
    if kind == "gradient":
        return -np.asarray(params["canary"], np.float64)
    x, y = examples["x"][-canaries:], examples["y"][-canaries:]
    logits = np.asarray(x @ np.asarray(params["w"]) + np.asarray(params["b"]))
    return signals.logit_from_logits(logits, y)


def lower_bounds(scores: np.ndarray, coins: np.ndarray, delta: float) -> dict[str, float]:
    """The best refuted eps over how many are guessed, corrected for trying all of them."""
    best = {"one run": 0.0, "one run, f-DP": 0.0}
    for share in SHARES:
        count = max(1, int(share * len(coins)))
        right = audit.extremes(scores, coins, top=count, bottom=count)
        level = 0.05 / len(SHARES)
        for name, bound in (("one run", audit.one_run), ("one run, f-DP", audit.one_run_gaussian)):
            best[name] = max(best[name], bound(*right, delta=delta, significance=level))
    best["rates (estimate)"] = audit.rates(scores, coins, delta=delta)
    best["auc"] = roc.area(scores, coins)
    return best


def _accuracy(lab, params, split) -> float:
    x = np.asarray(lab.task.prepare(jnp.asarray(lab.task.x[split.test])))
    logits = x.reshape(len(x), -1) @ np.asarray(params["w"]) + np.asarray(params["b"])
    return float((softmax(logits).argmax(-1) == lab.task.y[split.test]).mean())


def dp_sgd(lab: Lab, noise: float, kind: str) -> dict[str, Any]:
    """DP-SGD on softmax regression, audited once per repetition."""
    config, found = lab.config, []
    for s in range(config.effect_seeds):
        examples, present, coins, split = _data(lab, config.seed + s, kind)
        start = _params(examples["x"].shape[1], lab.task.classes, config.audit_canaries)
        params, missed = _dp_sgd(
            jax.tree.map(jnp.asarray, examples), jnp.asarray(present),
            rng.fold(lab.key, "audit", s), start,
            steps=config.audit_steps, rate=config.audit_rate, noise=noise,
            places=private.capacity(len(present), config.audit_rate),
        )  # fmt: skip
        if int(missed):
            raise RuntimeError(f"{int(missed)} drawn records found no place in their batch.")
        bounds = lower_bounds(
            _scores(params, examples, config.audit_canaries, kind), coins, config.delta
        )
        found.append({**bounds, "test accuracy": _accuracy(lab, params, split)})
    certified = None
    if noise:
        event = SampledGaussian(noise, config.audit_rate)
        ledger = Ledger(Adjacency.ADD_REMOVE).record(event, config.audit_steps)
        certified = ledger.epsilon(config.delta).upper
    return _row("DP-SGD", kind, noise, certified, found)


def dp_fedavg(lab: Lab, noise: float) -> dict[str, Any]:
    """DP-FedAvg with canary clients, audited once per repetition; everyone in every round."""
    config, found = lab.config, []
    for s in range(config.effect_seeds):
        examples, _, coins, split = _data(lab, config.seed + s, "gradient")
        real = np.arange(len(split.train))
        clients = np.array_split(real, max(2, len(real) // 12))
        clients += [np.array([len(real) + i]) for i in np.flatnonzero(coins)]
        people = population.make(examples, clients)
        nominal = len(real) // 12 + config.audit_canaries // 2  # does not tell who is in
        local = client.make(_loss, optax.sgd(1.0), epochs=1, batch_size=12)
        algorithm = rounds.make(
            client=local,
            sampler=sampling.everyone(len(clients)),
            aggregator=mean.fedavg(eta=2.0, participants=nominal),
            defence=norm_clip.norm_clip(bound=CLIP, noise=2.0 * noise * CLIP / nominal),
        )
        start = _params(examples["x"].shape[1], lab.task.classes, config.audit_canaries)
        run = jax.jit(rounds.repeat(algorithm.step, config.audit_rounds))
        end, _ = run(
            algorithm.init(Variables(start, {})),
            rounds.RoundData(people),
            rng.fold(lab.key, "fedavg", s),
        )
        params = end.variables.params
        bounds = lower_bounds(
            _scores(params, examples, config.audit_canaries, "gradient"), coins, config.delta
        )
        found.append({**bounds, "test accuracy": _accuracy(lab, params, split)})
    certified = None
    if noise:
        ledger = Ledger(Adjacency.ADD_REMOVE).record(Gaussian(noise), config.audit_rounds)
        certified = ledger.epsilon(config.delta).upper
    return _row("DP-FedAvg", "gradient", noise, certified, found)


def _row(training, kind, noise, certified, found) -> dict[str, Any]:
    values = {name: [f[name] for f in found] for name in found[0]}
    row = {
        "training": training,
        "canaries": kind,
        "noise": noise,
        "certified": certified,
        "violated": bool(
            certified is not None
            and max(max(values[n]) for n in ("one run", "one run, f-DP")) > certified
        ),
        **{
            name: {"mean": float(np.mean(v)), "max": float(np.max(v))} for name, v in values.items()
        },
    }
    shown = "none" if certified is None else f"{certified:.2f}"
    print(
        f"{training}, {kind} canaries, noise {noise:g}: certified eps {shown}, refuted"
        f" {row['one run']['mean']:.2f} (f-DP {row['one run, f-DP']['mean']:.2f})",
        flush=True,
    )
    return row


def run(lab: Lab) -> list[dict[str, Any]]:
    """Both trainings at every noise level, and without noise."""
    rows = []
    for noise in (0.0, *lab.config.audit_noise):
        rows.append(dp_sgd(lab, noise, "input"))
        rows.append(dp_sgd(lab, noise, "gradient"))
    noises = [n * np.sqrt(lab.config.audit_rounds) for n in lab.config.audit_noise]
    for noise in (0.0, *(float(round(n, 3)) for n in noises)):
        rows.append(dp_fedavg(lab, noise))
    return rows
