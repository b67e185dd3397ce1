"""One compiled step that trains many algorithms at once.

Tasks of one group share one trace of the network under `vmap`: their encoders and decoders stand
on a leading axis, the processor is common. Each task has its own loss, its own gradient, clipped
by itself, and its own optimizer step; the processor takes the mean over tasks. A task whose loss
or gradient is not finite is left out of the update, and counted.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algorithmic.clrs import lanes, net, samplers, specs
from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.train import optimizer as optimizers

ADAM = optimizers.Optimizer("adam", rate=1e-3)


@dataclasses.dataclass(frozen=True)
class Training:
    """How the tasks are trained; the defaults are the paper's."""

    tasks: tuple[str, ...] = specs.ALGORITHMS
    batch: int = 32  # lanes per task
    steps: int = 16  # L, hints per lane and update
    lengths: tuple[int, ...] = (4, 7, 11, 13, 16)  # n, drawn per task and update
    optimizer: optimizers.Optimizer = ADAM
    clip: float = 1.0  # bound on the norm of each task's gradient
    plan: str = "scan"  # how the tasks of a group run: scan (CPU) or vmap


class State(NamedTuple):
    """Everything the next update needs."""

    step: Int[Array, ""]
    shared: PyTree  # the processor's parameters
    own: tuple[PyTree, ...]  # per group, encoders and decoders stacked over its tasks
    shared_optimizer: optax.OptState
    own_optimizer: tuple[optax.OptState, ...]
    skipped: tuple[Int[Array, " tasks"], ...]  # updates left out so far, per task
    in_a_row: Int[Array, ""]  # updates in a row in which no task was finite


class Info(NamedTuple):
    """What an update reports, per group and task."""

    loss: tuple[Float[Array, " tasks"], ...]
    output_loss: tuple[Float[Array, " tasks"], ...]
    finite: tuple[Array, ...]


def check(config: Training) -> None:
    """Refuses settings that cannot work.

    Raises:
        ConfigError: an unknown or repeated task, a size below a task's minimum, no lengths.
    """
    for name in config.tasks:
        specs.of(name)
    if len(set(config.tasks)) != len(config.tasks) or not config.tasks:
        raise errors.ConfigError(f"tasks must be different algorithms, got {list(config.tasks)}.")
    for name in config.tasks:
        for n in lengths(name, config):
            samplers.options(name, n, **dataclasses.asdict(samplers.training(name)))
    errors.one_of("plan", config.plan, ("scan", "vmap"))
    errors.positive("batch", config.batch)
    errors.positive("steps", config.steps)


def lengths(name: str, config: Training) -> tuple[int, ...]:
    """Sizes that a task trains on: matchers only on 5/4 of the largest [spec A5.2]."""
    if name == "segments_intersect":
        return (4,)
    if name in specs.MATCHERS:
        return (max(config.lengths) * 5 // 4,)
    return config.lengths


def groups(config: Training) -> tuple[net.Group, ...]:
    """Tasks by what makes them need another trace: size, edge pointers, permutations."""

    def kind(name):
        pairs = any(p.kind == specs.POINTER and p.location == specs.EDGE
                    for p in specs.training_spec(name).values())  # fmt: skip
        return size(name, config), pairs, name in specs.SORTS

    kinds = {}
    for name in config.tasks:
        kinds.setdefault(kind(name), []).append(name)
    return tuple(net.Group.of(tuple(names)) for names in kinds.values())


def size(name: str, config: Training) -> int:
    """Nodes after padding."""
    return max(samplers.nodes(name, n) for n in lengths(name, config))


def shape(name: str, config: Training) -> lanes.Shape:
    """A task's lanes: room for its trajectories, and as many per lane as commonly fit."""
    n = size(name, config)
    common = {"bfs": 4, "bellman_ford": 4, "binary_search": 5, "segments_intersect": 5}
    places = max(1, config.steps // (common[name] - 1)) if name in common else 1
    return lanes.Shape(config.batch, n, config.steps, places, room(name, n))


def room(name: str, n: int) -> int:
    """Hints kept of a training trajectory of n nodes: longer ones are cut.

    Above the longest of 10,000 runs on the training inputs at n = 16 wherever the guaranteed bound
    is far from it.
    """
    from algorithmic.clrs import trajectory

    bound = trajectory.longest(name, n)
    usual = {"articulation_points": 16, "bridges": 16, "mst_kruskal": 32, "jarvis_march": 16}
    return min(bound, usual.get(name, bound) * n)


def init(key: Key[Array, ""], model: net.Config, config: Training) -> State:
    """The state before the first update."""
    check(config)
    transform = optimizers.make(config.optimizer)
    shared = net.processor(model).init(rng.fold(key, "processor"))
    own = tuple(net.init_tasks(rng.fold(key, "tasks"), g, model) for g in groups(config))
    return State(
        step=jnp.zeros((), jnp.int32),
        shared=shared,
        own=own,
        shared_optimizer=transform.init(shared),
        own_optimizer=tuple(jax.vmap(transform.init)(o) for o in own),
        skipped=tuple(jnp.zeros(len(g.names), jnp.int32) for g in groups(config)),
        in_a_row=jnp.zeros((), jnp.int32),
    )


def batch(key: Key[Array, ""], config: Training) -> tuple[net.Lanes, ...]:
    """Fresh lanes for every task, stacked per group; a pure function of the key."""

    def one(group, name):
        task_key = rng.fold(key, name)
        sizes = jnp.asarray(lengths(name, config), jnp.int32)
        pick = jax.random.randint(rng.fold(task_key, "length"), (), 0, len(sizes), jnp.int32)
        options = samplers.training(name)
        return lanes.of_task(name, group, task_key, sizes[pick], shape(name, config), options)

    out = []
    for group in groups(config):
        places = max(shape(name, config).places for name in group.names)
        each = [one(group, name) for name in group.names]
        out.append(lanes.stack([_fill(lane, places) for lane in each]))
    return tuple(out)


def _fill(lane: net.Lanes, places: int) -> net.Lanes:
    """The lanes with places added that no step uses."""
    missing = places - lane.nodes.shape[0]
    pad = lambda v: jnp.concatenate([v, jnp.zeros((missing, *v.shape[1:]), v.dtype)])
    held = jax.tree.map(pad, (lane.nodes, lane.inputs, lane.outputs))
    return lane._replace(nodes=held[0], inputs=held[1], outputs=held[2])


def task_loss(shared, own, table, lane, key, *, model: net.Config, permutation: bool):
    """(loss, output loss) of one task: the sum over probes of each probe's mean [spec A7]."""
    from algorithmic.clrs import losses

    _, outputs, hints = net.run(shared, own, table, lane, model, permutation=permutation, key=key)
    output = losses.mean(outputs)
    return output + losses.mean(hints), output


def make(model: net.Config, config: Training):
    """The update.

    Returns:
        step(state, batch, key) -> (state, info), pure; `batch` from `batch(key, config)`.
    """
    check(config)
    transform = optimizers.make(config.optimizer)
    all_groups = groups(config)
    tables = [net.tables(g) for g in all_groups]

    def gradients(group, table, shared, own, lane, key):
        def loss(shared, own, table, lane, key):
            return task_loss(
                shared, own, table, lane, key, model=model, permutation=group.permutation
            )

        keys = jnp.stack([rng.fold(key, "noise", name) for name in group.names])
        both = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        one = lambda item: both(shared, *item)
        items = (own, table, lane, keys)
        # Not `train.cohort`, which cannot hold the empty channel tables that some groups have.
        (value, output), grads = (jax.vmap(one) if config.plan == "vmap" else _in_turn(one))(items)
        norms = jax.vmap(tree.norm)(grads)
        finite = jnp.isfinite(value) & jnp.isfinite(norms)
        factor = jnp.minimum(1.0, config.clip / jnp.maximum(norms, 1e-12))

        def clipped(g):
            across = (-1,) + (1,) * (g.ndim - 1)
            return jnp.where(finite.reshape(across), g * factor.reshape(across), 0)

        return value, output, finite, jax.tree.map(clipped, grads)

    def descend(grads, opt, params):
        # optax raises a Python float to an integer power, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt = transform.update(grads, opt, params)
        return optax.apply_updates(params, updates), opt

    def step(state: State, batch: tuple[net.Lanes, ...], key: Key[Array, ""]):
        total, counted = None, jnp.float32(0)
        own, own_optimizer, skipped, infos = [], [], [], []
        for i, group in enumerate(all_groups):
            value, output, finite, (of_shared, of_own) = gradients(
                group, tables[i], state.shared, state.own[i], batch[i], key
            )
            summed = jax.tree.map(lambda g: jnp.sum(g, axis=0), of_shared)
            total = summed if total is None else tree.add(total, summed)
            counted = counted + jnp.sum(finite, dtype=jnp.float32)
            moved, opt = jax.vmap(descend)(of_own, state.own_optimizer[i], state.own[i])
            own.append(_where(finite, moved, state.own[i]))
            own_optimizer.append(_where(finite, opt, state.own_optimizer[i]))
            skipped.append(state.skipped[i] + (~finite).astype(jnp.int32))
            infos.append((value, output, finite))
        mean = tree.scale(1 / jnp.maximum(counted, 1), total)
        moved, opt = descend(mean, state.shared_optimizer, state.shared)
        some = counted > 0
        new = State(
            step=state.step + some.astype(jnp.int32),
            shared=tree.where(some, moved, state.shared),
            own=tuple(own),
            shared_optimizer=tree.where(some, opt, state.shared_optimizer),
            own_optimizer=tuple(own_optimizer),
            skipped=tuple(skipped),
            in_a_row=jnp.where(some, 0, state.in_a_row + 1).astype(jnp.int32),
        )
        return new, Info(*(tuple(column) for column in zip(*infos, strict=True)))

    return step


def _in_turn(one):
    """One task after another, in one trace: on CPU, products batched over tasks are slow."""
    return lambda items: jax.lax.map(one, items)


def _where(finite, new, old):
    pick = lambda a, b: jnp.where(finite.reshape(-1, *[1] * (a.ndim - 1)), a, b)
    return jax.tree.map(pick, new, old)


def draw_and_step(model: net.Config, config: Training):
    """step(state, key) -> (state, info): the update on data that it makes itself."""
    step = make(model, config)

    def run(state: State, key: Key[Array, ""]):
        data = batch(rng.fold(key, "data"), config)
        return step(state, data, rng.fold(key, "step"))

    return run
