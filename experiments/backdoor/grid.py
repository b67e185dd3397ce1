"""Every attack against every defence, in one compiled program.

The program holds all attacks and all rules as branches; a cell of the grid is a pair of numbers.
Seeds run side by side (`vmap`), cells one after another. Each cell starts from the converged model
of the main experiment, or (preset scratch) from an untrained one: in the first rounds the same
participants attack together, then only honest ones train.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import grid_attacks, grid_defences, grid_poison, stages
from experiments.backdoor import task as tasks
from experiments.backdoor.grid_config import Grid, attacks_of
from fl_jax.core import errors, rng
from fl_jax.federated import detection, round, sampling
from fl_jax.federated.aggregators import choice, mean
from fl_jax.federated.attacks import choice as attack_choice
from fl_jax.train import cohort
from fl_jax.train.state import Variables


class Found(NamedTuple):
    """What the grid gives: leaves (defences, attacks, seeds, rounds, ...)."""

    attacks: tuple[str, ...]  # their names
    main: np.ndarray  # accuracy on the main task after each round
    backdoor: np.ndarray  # accuracy on the backdoor of the attack
    malicious: np.ndarray  # (..., cohort)
    scores: dict[str, np.ndarray]  # of each detector, (..., cohort)
    before: dict[str, np.ndarray]  # main (seeds,), backdoor (attacks, seeds)
    finite: np.ndarray  # (..., cohort); False: the update was left out


def run(grid: Grid, models: Variables, keys: jax.Array, *, shown=lambda name: None):
    """(`Found`, names of the defences), from pre-trained models that are stacked over seeds.

    Args:
        models: `Variables` of the converged models.
        keys: (seeds,).
        shown: called with the name of each defence once its row is done.
    """
    if grid.config.dataset == "cifar10":
        raise errors.ConfigError("the grid runs on digits or mnist; give dataset 'digits'.")
    task, attacks = tasks.make(grid.config), attacks_of(grid)
    unit = benign_norm(grid, task, models, keys)
    defences = grid_defences.chosen(grid, task, unit, models)
    material = grid_poison.prepare(grid, task, models, keys)
    poisons, tests = grid_poison.poisons(grid, task, unit, material)
    row = _row(grid, task, attacks, list(defences.values()))
    rows = []
    for d, name in enumerate(defences):
        rows.append(jax.device_get(row(jnp.int32(d), material, poisons, tests)))
        shown(name)
    metrics, malicious, scores, finite = jax.tree.map(lambda *a: np.stack(a), *rows)
    before = jax.device_get(_before(task, models, tests))
    accuracies = metrics["main"], metrics["backdoor"]
    found = Found(attacks, *accuracies, malicious, scores, before, finite)
    return found, list(defences)


def _row(grid: Grid, task: tasks.Task, attacks: tuple[str, ...], defences: list):
    """(number of a defence, material, poisons, tests) -> every attack on it, as one program."""
    chooser = choice.choice(defences)
    kinds = grid_attacks.chosen(grid, task, chooser)
    program = jnp.asarray([list(kinds).index(grid_attacks.program_of(a)) for a in attacks])
    algorithm = round.make(
        client=stages.client_of(grid.config, task),
        sampler=sampling.single_shot(
            grid.config.participants,
            grid.cohort,
            attackers=range(grid.attackers),
            rounds=range(grid.attacked),
        ),
        aggregator=chooser,
        attack=attack_choice.choice(list(kinds.values())),
        evaluate=tasks.evaluate(task),
        inspect=detection.inspect(grid_defences.last_layer),
        plan=cohort.Plan("scan"),
    )
    many = round.repeat(algorithm.step, grid.attacked + grid.after)
    population, test = task.population, jax.tree.map(jnp.asarray, task.test)

    def cell(defence, attack, material, poisons, tests):
        """One attack on one defence, all seeds: the numbers stay outside the mapped axis."""
        poison, trials = jax.tree.map(lambda a: a[attack], (poisons, tests))

        def seed(model, key, poison, trial):
            state = algorithm.init(model)
            state = state._replace(aggregator=state.aggregator._replace(index=defence))
            each = tuple(own(poison) for own in grid_attacks.data_of(kinds))
            data = round.RoundData(
                population,
                attack_choice.ChoiceData(program[attack], each),
                {"main": test, "backdoor": trial},
            )
            _, info = many(state, data, rng.fold(key, "grid"))
            return info.metrics, info.malicious, info.inspection, info.finite

        return jax.vmap(seed)(material.models, material.keys, poison, trials)

    @jax.jit
    def row(defence, material, poisons, tests):
        one = lambda attack: cell(defence, attack, material, poisons, tests)
        return jax.lax.map(one, jnp.arange(len(attacks)))

    return row


def _before(task: tasks.Task, models: Variables, tests):
    """The models' accuracies before any attack, the backdoor by the test of each attack."""
    evaluate, main = tasks.evaluate(task), jax.tree.map(jnp.asarray, task.test)

    @jax.jit
    def before(models, tests):
        one = lambda model, trial: evaluate(model, {"main": main, "backdoor": trial})
        return jax.lax.map(lambda trials: jax.vmap(one)(models, trials), tests)

    return before(models, tests)


def benign_norm(grid: Grid, task: tasks.Task, models: Variables, keys) -> float:
    """The median norm of benign updates of the converged models: the unit of all lengths."""
    algorithm = round.make(
        client=stages.client_of(grid.config, task),
        sampler=sampling.uniform(grid.config.participants, grid.config.participants // 2),
        aggregator=mean.mean(weight="uniform"),
    )

    def norms(model, key):
        data = round.RoundData(task.population)
        return algorithm.step(algorithm.init(model), data, rng.fold(key, "unit"))[1].norm

    found = jax.jit(jax.vmap(norms))(models, keys)
    return float(jnp.median(found))
