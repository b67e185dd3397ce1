"""What the grid's attackers hold: poisoned examples, triggers, and the settings of each attack."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import task as tasks
from experiments.backdoor.grid_config import Grid, attacks_of
from fl_jax.core import rng
from fl_jax.federated.attacks import a3fl, distributed, iba, triggers
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.nn import network, perturbation
from fl_jax.train import optimizer
from fl_jax.train.state import Variables


class Material(NamedTuple):
    """Arrays that depend on the seed, stacked over seeds."""

    models: Variables
    keys: jax.Array
    trigger: jax.Array  # A3FL's
    generator: Any  # IBA's


class Poison(NamedTuple):
    """What an attack may draw on; each program takes its own part (`grid_attacks.data_of`)."""

    whole: scaling.Poison
    parts: scaling.Poison  # DBA's: each attacker's part of the pattern, leaves (attackers, ...)
    generator: Any  # IBA's


def prepare(grid: Grid, task: tasks.Task, models: Variables, keys: jax.Array) -> Material:
    """What the attackers make from the models that the attack begins from, for each seed."""
    trigger = jax.jit(lambda models, keys: optimise_trigger(grid, task, models, keys))
    generator = jax.jit(lambda models, keys: generators(grid, task, models, keys))
    return Material(models, keys, trigger(models, keys), generator(models, keys))


def poisons(grid: Grid, task: tasks.Task, unit: float, material: Material):
    """(`Poison`, test draws) of every attack, leaves (attacks, seeds, ...)."""
    clean = {k: v[: grid.examples] for k, v in task.pool.items()}
    pixel = task.backdoors["pixel pattern"]
    semantic = next(b for name, b in task.backdoors.items() if name != "pixel pattern")
    high = int(tasks.SCALES[grid.config.dataset][0])
    row, column = tasks.place_of(task.pool["x"].shape[1])
    trigger = trigger_of(grid, task)
    repeat = lambda data: tasks.repeated(data, (pixel, semantic))
    stamp = lambda part: triggers.stamp(
        pixel.plain, pattern=part, row=row, column=column, high=high
    )
    stamped = [
        {**pixel.train, "x": stamp(part)}
        for part in distributed.split(triggers.CROSS, grid.attackers)
    ]

    def of(attack, s):
        trial = semantic if attack == "semantic PGD" else pixel
        train, test = trial.train, trial.test
        if attack == "A3FL":
            own = np.round(np.asarray(material.trigger[s]) * high).astype(np.uint8)
            put = lambda x: _put(x, own, row, column)
            train = {**train, "x": put(train["x"])}
            test = {**test, "x": put(test["x"])}
        generator = jax.tree.map(lambda a: a[s], material.generator)
        test = {**test, "x": jnp.asarray(test["x"], jnp.float32)}
        if attack == "IBA":
            seen = jnp.asarray(pixel.plain_test)
            test["x"] = trigger.stamp(generator, seen, grid.trigger_bounds[1])
        make = functools.partial(scaling.poison, clean, **settings(grid, attack, unit))
        parts = _stack([make(repeat(part)) for part in stamped])
        return Poison(make(repeat(train)), parts, generator), jax.tree.map(jnp.asarray, test)

    seeds = range(len(material.keys))
    return _stack([_stack([of(attack, s) for s in seeds]) for attack in attacks_of(grid)])


def settings(grid: Grid, attack: str, unit: float) -> dict[str, Any]:
    """What an attack is told besides its examples."""
    full = float(grid.cohort)  # n/eta of the plain mean: gamma puts X in place
    own = {
        "data poisoning": {"gamma": float(grid.attackers)},
        "train-and-scale": {"bound": grid.clip * unit},
        "constrain-and-scale": {"alpha": grid.alpha},
        "adaptive": {"alpha": grid.alpha_adaptive},
        "Neurotoxin": {"gamma": float(grid.attackers)},
        "Chameleon": {"gamma": float(grid.attackers)},
        "Anticipate": {"gamma": float(grid.attackers)},
        # Everyone's update as long as a benign one, or five times as long at most [authors].
        "3DFed": {"gamma": 5.0, "alpha": 0.6, "per_batch": grid.config.batch // 2},
        "DBA": {"gamma": full / grid.attackers},
        "IBA": {"per_batch": grid.config.batch // 2},  # alpha = 1/2 [authors]
    }
    usual = {
        "per_batch": grid.config.backdoor_per_batch,
        "epochs": grid.epochs,
        "rate": grid.rate,
        "gamma": full,
    }
    return usual | own.get(attack, {})


def _stack(items):
    return jax.tree.map(lambda *a: jnp.stack(a), *items)


def _put(images, trigger, row, column):
    """The images with the trigger's own pixels in its place."""
    out = images.copy()
    out[:, row : row + 5, column : column + 3] = trigger[row : row + 5, column : column + 3]
    return out


def optimise_trigger(grid: Grid, task: tasks.Task, models: Variables, keys):
    """A3FL's trigger for each seed, in pixel values: the place of the fixed one, other values."""
    high = float(tasks.SCALES[grid.config.dataset][0])
    side = task.pool["x"].shape[1]
    row, column = tasks.place_of(side)
    mask = jnp.zeros((side, side, 1)).at[row : row + 5, column : column + 3].set(1.0)
    x = {k: jnp.asarray(v[: grid.examples]) for k, v in task.pool.items()}
    x = {**x, "x": x["x"].astype(jnp.float32)}

    def one(model, key):
        return a3fl.optimise_trigger(
            task.test_loss,
            model,
            x,
            rng.fold(key, "a3fl"),
            trigger=0.5 * mask,
            mask=mask,
            target=tasks.TARGET,
            apply=lambda x, trigger, mask: x * (1 - mask) + high * trigger * mask,
        )

    return jax.vmap(one)(models, keys)


def trigger_of(grid: Grid, task: tasks.Task) -> iba.Trigger:
    """IBA's trigger, whose generator is an autoencoder."""
    side, _, channels = task.pool["x"].shape[1:]
    build = lambda rngs: perturbation.Autoencoder(side=side, channels=channels, rngs=rngs)
    high = float(tasks.SCALES[grid.config.dataset][0])
    return iba.Trigger(network.from_nnx(build), tasks.TARGET, high)


def generators(grid: Grid, task: tasks.Task, models: Variables, keys):
    """IBA's generator for each seed: it learns to fool the model that the attack begins from."""
    trigger = trigger_of(grid, task)
    adam = optimizer.make(optimizer.Optimizer("adam", rate=0.001))
    clean = {k: jnp.asarray(v[: grid.examples]) for k, v in task.pool.items()}

    def one(model, key):
        own = rng.fold(key, "iba")
        return iba.train_generator(
            task.test_loss,
            trigger,
            model,
            clean,
            trigger.generator.init(own)[0],
            own,
            epsilon=grid.trigger_bounds[0],
            optimizer=adam,
            steps=grid.generator_steps,
        )

    return jax.vmap(one)(models, keys)
