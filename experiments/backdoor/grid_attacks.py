"""The grid's attacks: the programs that compromised participants run."""

import jax

from experiments.backdoor import grid_poison, stages
from experiments.backdoor import task as tasks
from experiments.backdoor.grid_config import Grid, attacks_of
from fl_jax.core import tree
from fl_jax.federated.aggregators.base import Aggregator
from fl_jax.federated.attacks import (
    anticipate,
    chameleon,
    directed,
    distributed,
    iba,
    neurotoxin,
    three_d_fed,
    untargeted,
)
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks.base import Attack
from fl_jax.train import optimizer

# What each attack is made of: a program, of which several attacks are settings.
PROGRAMS = {
    "data poisoning": "train",
    "model replacement": "train",
    "train-and-scale": "train",
    "constrain-and-scale": "train",
    "A3FL": "train",
}


def chosen(grid: Grid, task: tasks.Task, against: Aggregator) -> dict[str, Attack]:
    """Those of `programs` that the grid's attacks run."""
    wanted = {program_of(attack) for attack in attacks_of(grid)}
    return {k: v for k, v in programs(grid, task, against).items() if k in wanted}


def programs(grid: Grid, task: tasks.Task, against: Aggregator) -> dict[str, Attack]:
    """The attacks' programs by name; the adaptive one is held back by the score of `against`."""
    config, k = grid.config, grid.attackers
    sgd = optimizer.Optimizer("sgd", rate=1.0, momentum=config.momentum)
    usual = {"batch_size": config.batch, "test_loss": task.test_loss, "drop_every": 100}
    loss, unit_rate = task.train_loss, optimizer.make(sgd)
    single = scaling.constrain_and_scale(loss, unit_rate, **usual)
    client = stages.client_of(config, task)
    return {
        "train": scaling.constrain_and_scale(loss, unit_rate, attackers=k, **usual),
        "adaptive": scaling.constrain_and_scale(
            loss, unit_rate, attackers=k, against=against, halvings=6, **usual
        ),
        "semantic PGD": scaling.constrain_and_scale(
            loss, unit_rate, attackers=k, radius=grid.radius, **usual
        ),
        "DBA": distributed.distributed(single, k),
        "Neurotoxin": neurotoxin.neurotoxin(loss, unit_rate, attackers=k, share=0.05, **usual),
        "Chameleon": chameleon.chameleon(
            loss,
            unit_rate,
            task.features,
            attackers=k,
            contrastive_epochs=grid.epochs,
            contrastive_rate=grid.rate,
            **usual,
        ),
        "Anticipate": anticipate.anticipate(
            loss,
            unit_rate,
            benign=stages.optimizer_of(config),
            cohort=grid.cohort,
            rounds=grid.ahead,
            local_steps=config.epochs,  # a share is about one batch
            attackers=k,
            **usual,
        ),
        "3DFed": three_d_fed.three_d_fed(
            loss,
            unit_rate,
            attackers=k,
            target=tasks.TARGET,
            indicator=last_convolution(task),
            benign=stages.optimizer_of(config),
            benign_epochs=config.epochs,
            neurons=8,  # the authors' for MNIST, as are a threshold and a group of two
            threshold=grid.audible,
            **usual,
        ),
        "IBA": iba.iba(
            loss,
            unit_rate,
            grid_poison.trigger_of(grid, task),
            attackers=k,
            epsilon=grid.trigger_bounds[0],
            test_epsilon=grid.trigger_bounds[1],
            decay=grid.trigger_bounds[2],
            ready=0.0,  # the generator stands still here: waiting would not make it better
            radius=grid.radius,
            **usual,
        ),
        "none": untargeted.honest(client, attackers=k),
        "label flip": untargeted.label_flip(client, attackers=k, classes=10),
        "sign flip": untargeted.sign_flip(client, attackers=k, scale=3.0),
        "ALIE": untargeted.little_is_enough(attackers=k),
        "IPM": untargeted.inner_product(attackers=k, epsilon=2.0),
        "Min-Max": untargeted.min_max(attackers=k),
        "Min-Sum": untargeted.min_sum(attackers=k),
        "Fang Krum": directed.against_krum(attackers=k, spread=0.01),
        "Fang trim": directed.against_trimmed_mean(attackers=k),
        "noise": untargeted.noise(attackers=k, deviation=grid.deviation),
    }


def program_of(attack: str) -> str:
    """The program that an attack is a setting of."""
    return PROGRAMS.get(attack, attack)


def data_of(kinds) -> list:
    """What each program is given of the cell's poison, in the order of the programs."""
    whole = lambda poison: poison.whole
    parts = {
        "train": whole,
        "adaptive": whole,
        "semantic PGD": whole,
        "Neurotoxin": whole,
        "Chameleon": whole,
        "Anticipate": whole,
        "3DFed": whole,
        "DBA": lambda poison: poison.parts,
        "IBA": lambda poison: iba.Irreversible(poison.whole, poison.generator),
    }
    return [parts.get(name, lambda poison: ()) for name in kinds]


def last_convolution(task: tasks.Task) -> str:
    """The path of its kernel."""
    params, _ = jax.eval_shape(task.network.init, jax.random.key(0))
    return [name for name, a in tree.named_leaves(params).items() if len(a.shape) == 4][-1]
