"""Word prediction: a trigger sentence in the speech of one of the 298 who speak most in
Shakespeare (of 299).

The paper's second task. Single shot: one speaker replaces the model in one round, for each of ten
sentences. Repeated: one compromised speaker who replaces whenever drawn, against ten who poison;
once with the rate eta of the paper's scale gamma = n/eta = 100, once under the plain mean, where
ten models a round make gamma 10 and a poisoner's weight a tenth instead of a hundredth.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import arms, stages
from experiments.backdoor import words_task as tasks
from experiments.backdoor.words_config import SENTENCES, Words
from experiments.kept import Kept
from fl_jax.core import rng
from fl_jax.federated import client, round, sampling
from fl_jax.federated.aggregators import mean
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.nn import recurrent
from fl_jax.train import cohort, optimizer
from fl_jax.train import schedule as schedules
from fl_jax.train.state import Variables


def client_of(config: Words, task: tasks.Task) -> client.Client:
    """What a speaker does in a round."""
    return client.make(
        tasks.loss_of(config),
        optimizer.make(optimizer.Optimizer("sgd", rate=config.rate, clip_norm=config.clip)),
        epochs=config.epochs,
        batch_size=config.batch,
    )


def attack_of(config: Words, *, most: int = 1, shared: bool = True):
    """The attacker: its windows, one sentence, gamma."""
    return scaling.constrain_and_scale(
        tasks.loss_of(config),
        optimizer.make(optimizer.Optimizer("sgd", rate=1.0, clip_norm=config.clip)),
        batch_size=config.batch,
        test_loss=tasks.loss_of(config, train=False),
        drop_every=max(config.attacker_epochs // 2, 1),
        attackers=most,
        shared=shared,
    )


def initial(config: Words, task: tasks.Task, key):
    """Parameters before any training."""
    return recurrent.language_model(
        rng.fold(key, "init"), vocabulary=task.vocabulary, width=config.width
    )


def pretrain(config: Words, task: tasks.Task, keys):
    """(models stacked over seeds, main accuracy (seeds, rounds // 10))."""
    decay = schedules.Schedule("cosine", decay_steps=config.pretrain_rounds, final=0.1)
    algorithm = round.make(
        client=client_of(config, task),
        sampler=sampling.uniform(config.participants, config.cohort),
        aggregator=mean.fedavg(eta=config.pretrain_eta, participants=config.participants),
        server=optimizer.make(optimizer.Optimizer("sgd", rate=1.0, schedule=decay)),
        plan=cohort.Plan("scan"),
    )
    stride = next(s for s in (10, 5, 2, 1) if config.pretrain_rounds % s == 0)
    many = round.repeat(algorithm.step, stride)

    def run(seed, _, keys, people, test):
        key = keys[seed]
        params = initial(config, task, key)
        data = round.RoundData(people)

        def block(state, _):
            state, info = many(state, data, rng.fold(key, "pretrain"))
            return state, (tasks.accuracy(state.variables.params, test), jnp.mean(info.loss))

        blocks = config.pretrain_rounds // stride
        state, trace = jax.lax.scan(block, algorithm.init(Variables(params, {})), length=blocks)
        return state.variables, trace

    found = arms.deal(run, len(keys), 1, (keys, task.population, task.test))
    return jax.tree.map(lambda a: a[:, 0], found)


def poison(config: Words, task: tasks.Task, gamma: float) -> scaling.Poison:
    """The attacker's data, one entry per sentence."""
    made = [
        scaling.poison(
            task.clean,
            {k: v[s] for k, v in task.backdoors.items()},
            per_batch=config.backdoor_per_batch,
            epochs=config.attacker_epochs,
            rate=config.attacker_rate,
            gamma=gamma,
        )
        for s in range(len(task.backdoors["x"]))
    ]
    return jax.tree.map(lambda *a: jnp.stack(a), *made)


def evaluate(variables, data):
    """Accuracies on both tasks."""
    return {
        "main": tasks.accuracy(variables.params, data["main"]),
        "backdoor": tasks.last_accuracy(variables.params, data["backdoor"]),
    }


def follow(
    config: Words,
    task: tasks.Task,
    models,
    keys,
    *,
    sampler,
    attack,
    gamma: float,
    name: str,
    rounds: int,
    count: int,
):
    """{"main", "backdoor"} (seeds, sentences, rounds + 1), the first entry before the attack.

    `count` sentences are followed for `rounds` rounds, each with a draw of participants of its own.
    """
    algorithm = round.make(
        client=client_of(config, task),
        sampler=sampler,
        aggregator=mean.fedavg(eta=config.eta, participants=config.participants),
        attack=attack,
        evaluate=evaluate,
        plan=cohort.Plan("scan"),
    )
    many = round.repeat(algorithm.step, rounds)
    some = lambda data: jax.tree.map(lambda a: jnp.asarray(a[:count]), data)

    def run(seed, number, models, keys, people, poisons, trials, test):
        of = lambda data, i: jax.tree.map(lambda a: a[i], data)
        model = of(models, seed)
        evaluation = {"main": test, "backdoor": of(trials, number)}
        data = round.RoundData(people, of(poisons, number), evaluation)
        _, info = many(algorithm.init(model), data, rng.fold(keys[seed], name, number))
        return stages.curve(evaluate(model, evaluation), info.metrics)

    poisons = some(poison(config, task, gamma))
    shared = (models, keys, task.population, poisons, some(task.trials), task.test)
    return arms.deal(run, len(keys), count, shared)


def run(
    config: Words,
    said: dict[str, list[str]],
    triggers=SENTENCES,
    *,
    shown: Callable[[dict[str, Any]], None] = lambda found: None,
    kept: Kept | None = None,
) -> dict[str, Any]:
    """The task, the pre-training trace, and what `follow` found in each arm.

    Args:
        config: the settings.
        said: speaker -> speeches.
        triggers: sentences whose last word is wanted.
        shown: called with what has been found so far, whenever there is more.
        kept: where parts of a run that was stopped are found and new ones left.

    Returns:
        `task`, `pretrain`, `single shot`: one arm; `repeated` and `repeated, plain mean`: arms by
        name, in which the same speakers are drawn.
    """
    task = tasks.make(config, said, triggers)
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    kept = kept or Kept()
    model = Variables(initial(config, task, keys[0]), {})

    def pieces(part: str, like, fn: Callable[[int], Any]):
        """fn(seed) of every seed, each a piece of its own, joined on the leading axis."""
        found = [
            kept.item(f"{part} {config.seed + s}", lambda s=s: fn(s), like)
            for s in range(config.seeds)
        ]
        return jax.tree.map(lambda *a: np.concatenate(a), *found)

    models, trace = pieces(
        "pretrain", (model, (0, 0)), lambda s: pretrain(config, task, keys[s : s + 1])
    )
    n, m = config.participants, config.cohort
    out: dict[str, Any] = {"task": task, "pretrain": trace}
    print(f"pre-trained: main accuracy {100 * float(trace[0][:, -1].mean()):.1f} %", flush=True)

    def arm(part: str, own: Words, **settings):
        of = lambda s: jax.tree.map(lambda a: a[s : s + 1], (models, keys))
        found = lambda s: follow(own, task, *of(s), **settings)
        return pieces(part, {"main": 0, "backdoor": 0}, found)

    out["single shot"] = arm(
        "single shot",
        config,
        sampler=sampling.single_shot(n, m, attackers=[0], rounds=[0]),
        attack=attack_of(config),
        gamma=n / config.eta,
        name="single",
        rounds=config.follow_rounds,
        count=len(triggers),
    )
    shown(out)
    often = {
        "name": "repeated",
        "rounds": config.repeated_rounds,
        "count": min(config.repeated_sentences, len(triggers)),
    }
    plain = dataclasses.replace(config, eta=n / m)
    for name, own in {"repeated": config, "repeated, plain mean": plain}.items():
        poisoning = f"poisoning, {config.poisoners} speakers"
        out[name] = {
            "replacement, 1 speaker": arm(
                f"{name}, replacement",
                own,
                **often,
                sampler=sampling.uniform(n, m, attackers=[0]),
                attack=attack_of(own),
                gamma=n / own.eta,
            ),
            poisoning: arm(
                f"{name}, poisoning",
                own,
                **often,
                sampler=sampling.uniform(n, m, attackers=range(config.poisoners)),
                attack=attack_of(own, most=min(config.poisoners, m), shared=False),
                gamma=1.0,
            ),
        }
        shown(out)
    return out
