"""Does a backdoor outlive local adaptation? Participants fine-tune the model that was replaced.

Each participant trains the global model on its own share alone and keeps what it gets [Yu,
Bagdasaryan, Shmatikov 2020]. Its model is asked three things: the test images, weighed by how often
their label is among its own (what it wants of the model), all of them alike (what it forgets), and
the backdoor.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import stages, summary, sweeps
from experiments.backdoor import task as tasks
from experiments.backdoor.config import SMALL, SMOKE, Config
from fl_jax.core import rng
from fl_jax.federated import client, evaluation, population, round, sampling
from fl_jax.federated.aggregators import mean
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks.base import Attack


@dataclasses.dataclass(frozen=True)
class Adapted:
    """What is compared."""

    config: Config = SMALL  # data, network, pre-training, the attack
    epochs: tuple[int, ...] = (0, 1, 5, 20)  # of fine-tuning, at the rate of local training


SMALL_ADAPTED = Adapted()
SMOKE_ADAPTED = Adapted(SMOKE, epochs=(0, 1))
WHAT = ("own", "all", "backdoor")


def run(chosen: Adapted) -> list[dict[str, Any]]:
    """One row a model and a number of epochs.

    Its accuracies are in percent and means over participants, [mean over seeds, margin]; `worst`
    is the participant's with the highest backdoor accuracy, averaged over seeds.
    """
    config = chosen.config
    task = tasks.make(config)
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    _, clean = sweeps.checkpoints(config, task, keys, 0)
    rows = []
    for name, backdoor in task.backdoors.items():
        replaced = after(config, task, name, clean, keys)
        for model, variables in (("converged", clean), ("replaced", replaced)):
            for epochs in chosen.epochs:
                found = 100 * measure(config, task, backdoor, variables, keys, epochs)
                spread = {
                    what: [float(v.mean()), summary.margin(v.mean(axis=1))]
                    for what, v in zip(WHAT, found, strict=True)
                }
                worst = float(found[-1].max(axis=1).mean())
                rows.append(
                    {"backdoor of": name, "model": model, "epochs": epochs, **spread}
                    | {"worst": worst}
                )
    return rows


def after(
    config: Config,
    task: tasks.Task,
    backdoor: str,
    models,
    keys,
    *,
    local: client.Client | None = None,
    attack: Attack | None = None,
):
    """The models (seeds, ...) right after one of the cohort has replaced them.

    Participants and attacker are those of the main experiment unless given.
    """
    poison = scaling.poison(
        stages.attackers_share(config, task),
        task.backdoors[backdoor].train,
        per_batch=config.per_batch(backdoor),
        epochs=config.attacker_epochs,
        rate=config.attacker_rate,
        gamma=config.gamma or config.participants / config.eta,
    )
    algorithm = round.make(
        client=local or stages.client_of(config, task),
        sampler=sampling.single_shot(
            config.participants, config.cohort, attackers=[stages.ATTACKER], rounds=[0]
        ),
        aggregator=mean.fedavg(eta=config.eta, participants=config.participants),
        attack=attack or stages.attack_of(config, task),
    )

    data = round.RoundData(task.population, poison)
    keys = jax.vmap(lambda key: rng.fold(key, "adapted"))(keys)
    return stages.one_round(algorithm, models, data, keys)


def measure(
    config: Config, task: tasks.Task, backdoor: tasks.Backdoor, models, keys, epochs: int
) -> np.ndarray:
    """(own, all, backdoor; seeds; participants): accuracies of everyone's model, in [0, 1]."""
    people = task.population
    classes = int(max(task.test["y"].max(), backdoor.test["y"].max())) + 1
    adapt = client.make(
        task.train_loss, stages.optimizer_of(config), epochs=epochs, batch_size=config.batch
    )

    def by_class(variables, batch, key):
        """Of each label, the share of the batch that has it, and that is answered rightly."""
        value, (stats, _) = task.test_loss(variables, batch, key)
        answers = jnp.argmax(task.logits(variables, batch["x"]), axis=-1)
        has = jax.nn.one_hot(batch["y"], classes) * batch["mask"][:, None]
        right = has * (answers == batch["y"])[:, None].astype(jnp.float32)
        average = lambda a: jnp.sum(a, axis=0) / jnp.sum(batch["mask"])
        return value, (stats, {"has": average(has), "right": average(right)})

    evaluate = evaluation.adapted(adapt, by_class, batch_size=1000)
    test, stamped = (shared_by_all(examples, people) for examples in (task.test, backdoor.test))

    @jax.jit
    def many(models, keys):
        def seed(item):
            model, key = item
            return [evaluate(model, people, held, key) for held in (test, stamped)]

        return jax.lax.map(seed, (models, keys))

    on_test, on_stamped = jax.device_get(many(models, keys))
    own = labels(people, classes)
    of_class = on_test["right"] / np.maximum(on_test["has"], 1e-9)
    return np.stack(
        [
            np.sum(of_class * own, axis=-1),
            np.sum(on_test["right"], axis=-1),
            np.sum(on_stamped["right"], axis=-1),
        ]
    )


def labels(people: population.Population, classes: int) -> np.ndarray:
    """(participants, classes): the shares of the labels in what each one has."""
    y, start, size = (np.asarray(a) for a in (people.examples["y"], people.start, people.size))
    counts = [
        np.bincount(y[b : b + n], minlength=classes) / n for b, n in zip(start, size, strict=True)
    ]
    return np.stack(counts)


def shared_by_all(examples, people: population.Population) -> population.Population:
    """The population in which everyone of `people` has all of these examples."""
    count, everyone = len(examples["y"]), len(people.size)
    return population.Population(
        jax.tree.map(jnp.asarray, examples),
        jnp.zeros(everyone, jnp.int32),
        jnp.full(everyone, count, jnp.int32),
        count,
    )


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    show = lambda v: f"{v[0]:.1f}{summary.plus(v[1])}"
    lines = [
        "| backdoor | model | epochs | test images by own labels | all test images | backdoor |"
        " most backdoored participant |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["backdoor of"], row["model"], str(row["epochs"])]
        cells += [show(row[what]) for what in WHAT]
        lines.append("| " + " | ".join([*cells, f"{row['worst']:.1f}"]) + " |")
    return "\n".join(lines)
