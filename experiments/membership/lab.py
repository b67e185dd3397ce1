"""Training, once for all parts: a target and its shadows per repetition, kept and resumed."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import result
from experiments.membership import task as tasks
from experiments.membership.config import Config
from fl_jax.train import checkpoint, cohort, metrics
from fl_jax.train import mesh as meshes
from fl_jax.train.state import Variables
from privacy.membership import attack_model, shadow


class Cell(NamedTuple):
    """One attacked target: its split, its shadows' rows and all their outputs."""

    seed: int
    split: tasks.Split
    shadow_train: np.ndarray  # (shadows, size) rows
    shadow_out: np.ndarray  # (shadows, size) rows
    logits: np.ndarray  # (1 + shadows, records, classes): the target's first
    target: Variables  # the target itself, for attacks that ask it more
    labels: np.ndarray  # (records,)

    @property
    def evaluated(self) -> np.ndarray:
        """Rows of members, then of non-members."""
        return np.concatenate([self.split.train, self.split.test])

    @property
    def member(self) -> np.ndarray:
        """Which of `evaluated` are members."""
        return np.arange(len(self.split.train) + len(self.split.test)) < len(self.split.train)

    @property
    def balanced(self) -> np.ndarray:
        """Places in `evaluated` of as many members as non-members: accuracy 0.5 is chance."""
        few = min(len(self.split.train), len(self.split.test))
        members = len(self.split.train)
        return np.concatenate([np.arange(few), members + np.arange(few)])


class Lab:
    """What the parts of a run share."""

    def __init__(self, config: Config, directory: result.RunDirectory):
        self.config, self.directory = config, directory
        self.task = tasks.make(config)
        self.mesh = meshes.MeshConfig(clients=-1).make() if jax.device_count() > 1 else None
        self.key = jax.random.key(config.seed)
        self.attack = attack_model.Config(
            hidden=config.attack_hidden,
            rate=config.attack_rate,
            steps=config.attack_steps,
            inputs=config.attack_inputs,
        )

    @functools.cached_property
    def plan(self) -> cohort.Plan:
        """How models train here: as the config says, as decided before, or measured."""
        if self.config.plan != "auto":
            return cohort.Plan.parse(self.config.plan)
        if "plan" not in self.directory.resolved:
            own = tasks.split(self.task, self.config, self.config.seed)
            rows = [own.train] * self.config.stride
            few = shadow.recipes(range(len(rows)), rows, epochs=2)
            plan, seconds = shadow.measure(
                self.task.fit, few, self.task.examples, self.key,
                models=self.config.stride, mesh=self.mesh,
            )  # fmt: skip
            self.directory.resolve(plan=str(plan), plan_seconds=seconds)
        print(f"models run by {self.directory.resolved['plan']}, measured once for this run")
        return cohort.Plan.parse(self.directory.resolved["plan"])

    def train(self, what: str, recipes: shadow.Recipe, task: tasks.Task) -> Variables:
        """The models of the recipes; goes on from what is saved under this name."""
        count = len(recipes.id)
        stride = min(self.config.stride, count)
        steps = -(-count // stride) * stride  # the last dispatch is filled up
        folder = self.directory.path / "checkpoints" / what.replace(" ", "_")
        with (
            checkpoint.Checkpoints(folder, keep=1) as kept,
            metrics.Progress(steps, what=f"{what}: model") as shown,
        ):
            return shadow.train(
                task.fit, recipes, task.examples, self.key,
                plan=self.plan, mesh=self.mesh, stride=stride,
                checkpoints=kept, save_every=4 * stride, progress=shown,
            )  # fmt: skip

    def cells(
        self,
        what: str,
        *,
        task: tasks.Task | None = None,
        seeds: int | None = None,
        shadows: int | None = None,
        epochs: int | None = None,
        l2: float | None = None,
    ) -> list[Cell]:
        """Targets and shadows of every repetition, trained together in one cohort.

        Ids start at 0 in every repetition's own stream of a thousand: the same id is the same
        initial weights, whatever arm it belongs to.
        """
        config, task = self.config, task or self.task
        count = config.shadows if shadows is None else shadows
        places, ids, rows = [], [], []
        for s in range(config.seeds if seeds is None else seeds):
            seed = config.seed + s
            split = tasks.split(task, config, seed)
            train, out = tasks.shadows(task, config, seed, count, split.pool)
            places.append((seed, split, train, out))
            ids += range(1000 * seed, 1000 * seed + count + 1)
            rows += [split.train, *train]
        recipes = shadow.recipes(
            ids,
            rows,
            epochs=config.epochs if epochs is None else epochs,
            l2=config.l2 if l2 is None else l2,
        )
        models = self.train(what, recipes, task)
        cells, x = [], jnp.asarray(task.x)
        for i, place in enumerate(places):
            own = jax.tree.map(lambda a, i=i: a[i * (count + 1) : (i + 1) * (count + 1)], models)
            logits = shadow.answers(task.network, own, x, prepare=task.prepare)
            first = jax.tree.map(lambda a: a[0], own)
            cells.append(Cell(*place, logits, first, task.y))
        return cells

    @functools.cached_property
    def plain(self) -> list[Cell]:
        """The unmitigated targets and their shadows on real data."""
        return self.cells("plain")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Float64 probabilities over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    e = np.exp(shifted)
    return e / e.sum(-1, keepdims=True)


def attack_rows(cell: Cell, answers: np.ndarray, shadows: int | None = None):
    """The attack's training rows from the shadows' own training and test records.

    Args:
        answers: (1 + shadows, records, classes), behind the mitigation that the target has.
        shadows: how many of them to use.
    """
    count = len(cell.shadow_train) if shadows is None else shadows
    parts, labels = [], []
    for i in range(count):
        for rows in (cell.shadow_train[i], cell.shadow_out[i]):
            parts.append(answers[i + 1][rows])
            labels.append(cell.labels[rows])
    size = cell.shadow_train.shape[1]
    member = np.tile(np.repeat([True, False], size), count)
    return attack_model.Rows(np.concatenate(parts), np.concatenate(labels), member)


def shadow_mask(cell: Cell, records: int) -> np.ndarray:
    """(records, shadows) bool: which shadow trained on which record."""
    mask = np.zeros((len(cell.shadow_train), records), bool)
    for own, rows in zip(mask, cell.shadow_train, strict=True):
        own[rows] = True
    return mask.T
