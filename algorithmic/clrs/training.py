"""One compiled step that trains many algorithms at once.

Each task has its own loss, its own gradient, clipped by itself, and its own optimizer step for its
encoders and decoders; the processor is common. It is updated after every task in turn (`cyclic`,
the paper's choice) or once with the mean over tasks. A task whose loss or gradient is not finite
is left out of the update, and counted.

Tasks of one group share one trace of the network: their encoders and decoders stand on a leading
axis and their probes are padded to common counts. On an accelerator as many share as can
(`shared`); on CPU, where work counts and not latency, only those that need the same work do
(`alike`), and small sizes get a program of their own (`make` and `batch` with `size`).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import flatten_util

from algorithmic.clrs import lanes, layout, net, samplers, specs
from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.train import cohort
from fl_jax.train import mesh as meshes
from fl_jax.train import optimizer as optimizers
from fl_jax.train import schedule as schedules

ADAM = optimizers.Optimizer("adam", rate=1e-3)


@dataclasses.dataclass(frozen=True)
class Training:
    """How the tasks are trained; the defaults are the paper's."""

    tasks: tuple[str, ...] = specs.ALGORITHMS
    batch: int = 32  # lanes per task
    even: bool = False  # more lanes where graphs are smaller: as many pairs of nodes; not paper's
    steps: int = 16  # L, hints per lane and update
    lengths: tuple[int, ...] = (4, 7, 11, 13, 16)  # n, drawn per task and update
    close: float = 0.0  # share of sequences and searches whose keys lie close together; not paper's
    optimizer: optimizers.Optimizer = ADAM
    clip: float = 1.0  # bound on the norm of each task's gradient
    update: str = "cyclic"  # of the processor: after every task, or once with the mean of all
    grouping: str = "shared"  # tasks that share a trace: as many as can, or those that are alike
    plan: str = "scan"  # how the tasks of a group run under update="mean": scan (CPU) or vmap

    def __post_init__(self):
        check(self)


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
    in_a_row: Int[Array, ""]  # updates in a row, up to this one, in which no task was finite


def check(config: Training) -> None:
    """Refuses settings that cannot work.

    Raises:
        ConfigError: an unknown or repeated task, one of sparse graphs alone, a size below a task's
            minimum, no lengths.
    """
    for name in config.tasks:
        specs.of(name)
        if name in specs.MORE:
            raise errors.ConfigError(
                f"{name} is an algorithm of sparse graphs alone, which `algorithmic.clrs.sparse`"
                " trains; take it out of tasks, or run the command `clrs salsa`."
            )
    if len(set(config.tasks)) != len(config.tasks) or not config.tasks:
        raise errors.ConfigError(f"tasks must be different algorithms, got {list(config.tasks)}.")
    for name in config.tasks:
        for n in lengths(name, config):
            samplers.options(name, n, **dataclasses.asdict(samplers.training(name, config.close)))
    errors.one_of("update", config.update, ("cyclic", "mean"))
    errors.one_of("grouping", config.grouping, ("shared", "alike"))
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
    """Tasks by what makes them need another trace: size, edge pointers, permutations; those that
    are alike also point in their hints or do not, and take as many steps."""

    def kind(name):
        pairs = any(p.kind == specs.POINTER and p.location == specs.EDGE
                    for p in specs.training_spec(name).values())  # fmt: skip
        needs = size(name, config), pairs, specs.permutation(name) is not None
        if config.grouping == "shared":
            return needs
        return *needs, bool(layout.slots(name, specs.HINT).pointer), shape(name, config).steps

    kinds = {}
    for name in config.tasks:
        kinds.setdefault(kind(name), []).append(name)
    return tuple(net.Group.of(tuple(names)) for names in kinds.values())


def size(name: str, config: Training, most: int | None = None) -> int:
    """Nodes after padding: of the longest, `most` for tasks that may be as long as that."""
    own = lengths(name, config)
    return samplers.nodes(name, max(own) if most is None or len(own) == 1 else most)


def shape(name: str, config: Training, most: int | None = None) -> lanes.Shape:
    """A task's lanes: room for its trajectories, and as many per lane as commonly fit."""
    n = size(name, config, most)
    common = {"bfs": 4, "bellman_ford": 4}
    steps = config.steps
    if config.grouping == "shared":  # one number of steps for all
        common |= {"binary_search": 5, "segments_intersect": 5}
    else:
        longest = 8 if name in common else max(room(name, n) - 1, 1)
        steps = min(steps, -(-longest // 4) * 4)
    places = max(1, steps // (common[name] - 1)) if name in common else 1
    more = (max(config.lengths) // max(lengths(name, config))) ** 2 if config.even else 1
    return lanes.Shape(max(1, more) * config.batch, n, steps, places, room(name, n))


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
    for_shared, for_own = _optimizers(config)
    shared = net.init_shared(rng.fold(key, "processor"), model)
    own = tuple(net.init_tasks(rng.fold(key, "tasks"), g, model) for g in groups(config))
    return State(
        step=jnp.zeros((), jnp.int32),
        shared=shared,
        own=own,
        shared_optimizer=for_shared.init(_vector(shared)),
        own_optimizer=tuple(jax.vmap(lambda o: for_own.init(_vector(o)))(o) for o in own),
        skipped=tuple(jnp.zeros(len(g.names), jnp.int32) for g in groups(config)),
        in_a_row=jnp.zeros((), jnp.int32),
    )


def _vector(params):
    return flatten_util.ravel_pytree(params)[0]


def _optimizers(config: Training):
    """(of the processor, of the tasks); schedules count rounds over all tasks in both."""
    own = optimizers.make(config.optimizer)
    if config.update == "mean" or config.optimizer.schedule == optimizers.CONSTANT:
        return own, own
    rate = schedules.make(config.optimizer.schedule, config.optimizer.rate)
    tasks = len(config.tasks)
    return optimizers.make(config.optimizer, rate=lambda count: rate(count // tasks)), own


def batch(
    key: Key[Array, ""],
    config: Training,
    length: Int[Array, ""] | None = None,
    most: int | None = None,
) -> tuple[net.Lanes, ...]:
    """Fresh lanes for every task, stacked per group; a pure function of the key.

    Args:
        key: decides the data.
        config: the tasks.
        length: n of all tasks that have more than one; may be traced. None = drawn per task.
        most: what they are padded to; None = the largest of `config.lengths`.
    """

    def one(group, name, steps):
        task_key = rng.fold(key, name)
        sizes = jnp.asarray(lengths(name, config), jnp.int32)
        n = sizes[jax.random.randint(rng.fold(task_key, "length"), (), 0, len(sizes), jnp.int32)]
        if length is not None and len(sizes) > 1:
            n = jnp.asarray(length, jnp.int32)
        options = samplers.training(name, config.close)
        own_shape = shape(name, config, most)._replace(steps=steps)
        return lanes.of_task(name, group, task_key, n, own_shape, options)

    out = []
    for group in groups(config):
        shapes = [shape(name, config, most) for name in group.names]
        places, steps = max(s.places for s in shapes), max(s.steps for s in shapes)
        each = [one(group, name, steps) for name in group.names]
        out.append(lanes.stack([_fill(lane, places) for lane in each]))
    return tuple(out)


def _fill(lane: net.Lanes, places: int) -> net.Lanes:
    """The lanes with places added that no step uses."""
    missing = places - lane.nodes.shape[0]
    pad = lambda v: jnp.concatenate([v, jnp.zeros((missing, *v.shape[1:]), v.dtype)])
    held = jax.tree.map(pad, (lane.nodes, lane.inputs, lane.outputs))
    return lane._replace(nodes=held[0], inputs=held[1], outputs=held[2])


def task_loss(shared, own, table, lane, key, *, model: net.Config, permutation: bool):
    """(loss, output loss) of one task: the sum over probes of each probe's mean [spec A7], and
    the weighted losses of what goes beyond the paper."""
    from algorithmic.clrs import losses

    ran = net.apply(shared, own, table, lane, model, permutation=permutation, key=key)
    output = losses.mean(ran.outputs)
    loss = output + losses.mean(ran.hints)
    return loss if ran.extra is None else loss + ran.extra, output


def make(model: net.Config, config: Training):
    """The update.

    Returns:
        step(state, batch, key) -> (state, info), pure; `batch` from `batch(key, config)`.
    """
    for_shared, for_own = _optimizers(config)
    all_groups = groups(config)
    tables = [net.tables(g) for g in all_groups]

    def descend(transform, grads, opt, params):
        """One optimizer step on the parameters as one vector: a few operations, not hundreds."""
        flat, unravel = flatten_util.ravel_pytree(params)
        updates, opt = transform.update(grads, opt, flat)
        return unravel(flat + updates), opt

    def gradient(group, shared, item):
        """(loss, output loss, whether all is finite, clipped gradients as vectors) of a task."""
        own, table, lane, key = item
        loss = lambda shared, own: task_loss(
            shared, own, table, lane, key, model=model, permutation=group.permutation
        )
        (value, output), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(shared, own)
        grads = tuple(_vector(g) for g in grads)
        norm = tree.norm(grads)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        factor = jnp.minimum(1.0, config.clip / jnp.maximum(norm, 1e-12))
        clipped = jax.tree.map(lambda g: jnp.where(finite, g * factor, 0), grads)
        return value, output, finite, clipped

    def items(i, state, batch, key):
        names = all_groups[i].names
        keys = jnp.stack([rng.fold(key, "noise", name) for name in names])
        return state.own[i], tables[i], batch[i], keys

    def in_turn(i, state, batch, key, shared, opt):
        """The processor moves with every task of the group."""

        def one(carry, x):
            (shared, opt), (item, own_opt) = carry, x
            value, output, finite, (of_shared, of_own) = gradient(all_groups[i], shared, item)
            moved = descend(for_shared, of_shared, opt, shared)
            own = descend(for_own, of_own, own_opt, item[0])
            own = tree.where(finite, own, (item[0], own_opt))
            return tree.where(finite, moved, carry), (own, value, output, finite)

        xs = (items(i, state, batch, key), state.own_optimizer[i])
        if len(all_groups[i].names) > 1:
            return jax.lax.scan(one, (shared, opt), xs)
        carry, found = one((shared, opt), jax.tree.map(lambda v: v[0], xs))
        return carry, jax.tree.map(lambda v: v[None], found)

    def together(i, state, batch, key):
        """The group's gradients side by side: (sum for the processor, what `in_turn` reports)."""
        one = lambda item: gradient(all_groups[i], state.shared, item)
        run = jax.vmap(one) if config.plan == "vmap" else lambda xs: jax.lax.map(one, xs)
        value, output, finite, (of_shared, of_own) = run(items(i, state, batch, key))
        moved = jax.vmap(lambda *a: descend(for_own, *a))(
            of_own, state.own_optimizer[i], state.own[i]
        )
        own = _where(finite, moved, (state.own[i], state.own_optimizer[i]))
        return jax.tree.map(lambda g: jnp.sum(g, axis=0), of_shared), (own, value, output, finite)

    def step(state: State, batch: tuple[net.Lanes, ...], key: Key[Array, ""]):
        shared, opt, total, found = state.shared, state.shared_optimizer, None, []
        for i in range(len(all_groups)):
            if config.update == "cyclic":
                (shared, opt), of_group = in_turn(i, state, batch, key, shared, opt)
            else:
                summed, of_group = together(i, state, batch, key)
                total = summed if total is None else tree.add(total, summed)
            found.append(of_group)
        own, value, output, finite = zip(*found, strict=True)
        counted = sum(jnp.sum(f, dtype=jnp.float32) for f in finite)
        some = counted > 0
        if config.update == "mean":
            mean = tree.scale(1 / jnp.maximum(counted, 1), total)
            moved = descend(for_shared, mean, opt, shared)
            shared, opt = tree.where(some, moved, (shared, opt))
        new = State(
            step=state.step + some.astype(jnp.int32),
            shared=shared,
            own=tuple(o for o, _ in own),
            shared_optimizer=opt,
            own_optimizer=tuple(o for _, o in own),
            skipped=tuple(
                s + (~f).astype(jnp.int32) for s, f in zip(state.skipped, finite, strict=True)
            ),
            in_a_row=jnp.where(some, 0, state.in_a_row + 1).astype(jnp.int32),
        )
        return new, Info(value, output, finite, new.in_a_row)

    return step


def _where(finite, new, old):
    pick = lambda a, b: jnp.where(finite.reshape(-1, *[1] * (a.ndim - 1)), a, b)
    return jax.tree.map(pick, new, old)


def draw_and_step(model: net.Config, config: Training, mesh: meshes.Mesh | None = None):
    """The update on data that it makes itself.

    Args:
        model: the network.
        config: the tasks.
        mesh: its `data` axis, whose size divides `config.batch`, shares out the lanes of every
            task; parameters are copied. None = where the caller is.

    Returns:
        step(state, key, length=None, most=None) -> (state, info); `length` and `most` as in
        `batch`, `most` static.

    Raises:
        ConfigError: as `check`, or a batch that the devices cannot share evenly.
    """
    step = make(model, config)
    if mesh is not None and config.batch % mesh.shape["data"]:
        raise errors.ConfigError(
            f"a batch of {config.batch} lanes per task cannot be shared evenly by"
            f" {mesh.shape['data']} devices; change the batch to a multiple, or the devices."
        )

    def run(state: State, key: Key[Array, ""], length=None, most: int | None = None):
        data = batch(rng.fold(key, "data"), config, length, most)
        if mesh is not None:  # (tasks, places or steps, lanes, ...)
            over_lanes = meshes.sharding(mesh, None, None, "batch")
            data = jax.lax.with_sharding_constraint(data, over_lanes)
        return step(state, data, rng.fold(key, "step"))

    return run


def together(step, plan: cohort.Plan, mesh: meshes.Mesh | None = None):
    """The update of many models, such as seeds, none of which knows of the others.

    Args:
        step: of one, from `draw_and_step` without a mesh.
        plan: how they run: side by side, in blocks, one after another.
        mesh: its `clients` axis deals the models over devices; None = where the caller is.

    Returns:
        step(states, keys, length=None, most=None) -> (states, infos), the leaves of all but
        `length` and `most` with a leading axis, one entry per model.
    """

    def run(states: State, keys: Key[Array, " models"], length=None, most: int | None = None):
        one = lambda item, length: step(*item, length, most)
        return cohort.map(one, (states, keys), shared=(length,), plan=plan, mesh=mesh)

    return run
