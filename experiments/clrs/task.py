"""The model, its update and its tests, from the settings."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import ALGORITHMS, evaluate, net, samplers, training
from experiments.clrs import selection
from experiments.clrs.config import Config
from fl_jax.core import errors, rng
from fl_jax.train import cohort, optimizer, schedule
from fl_jax.train import mesh as meshes

ALONE = "alone"  # the plan of seeds that train one after another, each a run of its own


def tasks(config: Config) -> tuple[str, ...]:
    """The algorithms by name."""
    return config.tasks or ALGORITHMS


def model(config: Config) -> net.Config:
    """The network."""
    return net.Config(
        processor=config.processor,
        hidden=config.hidden,
        triplets=config.triplets,
        bfloat16=config.bfloat16,
        aggregator=config.aggregator,
        history=config.history,
        forget=config.forget,
        rebuild=config.rebuild,
        stop=config.stop,
    )


def settings(config: Config) -> training.Training:
    """How it is trained."""
    falling = schedule.Schedule(
        "cosine", warmup=config.warmup, decay_steps=config.rounds, final=config.final
    )
    constant = config.final == 1 and not config.warmup
    adam = optimizer.Optimizer("adam", config.rate)
    if not constant:
        adam = optimizer.Optimizer("adam", config.rate, schedule=falling)
    return training.Training(
        tasks=tasks(config),
        batch=config.batch,
        even=config.even,
        steps=config.chunk,
        lengths=config.lengths,
        close=config.close,
        optimizer=adam,
        clip=config.clip,
        update=config.update,
        grouping=config.grouping,
        plan="scan" if jax.default_backend() == "cpu" else "vmap",
    )


def length(config: Config, step: int) -> int:
    """n of the round after `step` rounds: the lengths in turn."""
    return config.lengths[step % len(config.lengths)]


def check(config: Config) -> None:
    """Refuses settings of the seeds and the devices that cannot work.

    Raises:
        ConfigError: an unknown plan, too few devices, models together that share batches too, or a
            size that a task cannot be tested at.
    """
    for name in tasks(config):
        for n in config.test_lengths:
            samplers.options(name, n)
    errors.positive("seeds", config.seeds)
    errors.positive("data", config.data)
    if config.validate_every < 0:
        raise errors.ConfigError(
            f"validate_every must be at least 0, got {config.validate_every}; 0 is never."
        )
    if config.plan != ALONE:
        cohort.Plan.parse(config.plan)
        if config.data > 1:
            raise errors.ConfigError(
                f"seeds that train together are dealt over the devices whole, got data ="
                f" {config.data}; set data to 1, or plan to {ALONE}."
            )
    if config.data > jax.device_count():
        raise errors.ConfigError(
            f"{config.data} devices shall share a batch and there are {jax.device_count()}; set"
            " data to no more."
        )


def batches(config: Config) -> list[tuple[int, ...]]:
    """The seeds that train in one program: each alone, or all."""
    seeds = range(config.seed, config.seed + config.seeds)
    return [(seed,) for seed in seeds] if config.plan == ALONE else [tuple(seeds)]


def mesh(config: Config) -> meshes.Mesh | None:
    """The devices: for the batch of a model alone, or for the models; None where one will do."""
    if config.plan == ALONE:
        some = jax.devices()[: config.data]
        return meshes.MeshConfig(data=config.data).make(some) if config.data > 1 else None
    return meshes.MeshConfig(clients=-1).make() if jax.device_count() > 1 else None


def advance(config: Config, seeds: tuple[int, ...]):
    """(state, step) -> (state, info): one round; its data belong to the seed and the step.

    Seeds that train together have a leading axis in everything.
    """
    check(config)
    devices, key = mesh(config), _keys(config, seeds)
    if config.plan == ALONE:
        run = training.draw_and_step(model(config), settings(config), devices)
        fold = lambda key, step: rng.fold(key, "round", step)
    else:
        run = training.draw_and_step(model(config), settings(config))
        run = training.together(run, cohort.Plan.parse(config.plan), devices)
        fold = jax.vmap(lambda key, step: rng.fold(key, "round", step), (0, None))
    copies = None if devices is None else meshes.sharding(devices)
    one = jax.jit(run, static_argnums=3, donate_argnums=0, out_shardings=copies)

    def round_after(state, step):
        n = length(config, step)
        most = config.small if n <= config.small else max(config.lengths)
        given = meshes.replicate(devices, (fold(key, step), jnp.int32(n)))
        return one(state, *given, most)

    def and_validation(kept, step):
        state, info = round_after(kept.state, step)
        kept, after = kept._replace(state=state), step + 1
        if after % config.validate_every == 0 or after == config.rounds:
            each = [validate(config, s.state) for s in split(config, seeds, kept).values()]
            scores = np.array(each, np.float32).reshape(kept.score.shape)
            kept = selection.update(kept, scores, after)
        return kept, info

    return and_validation if config.validate_every else round_after


def start(config: Config, seeds: tuple[int, ...]) -> training.State | selection.Kept:
    """What there is before the first round; of seeds that train together, stacked."""
    check(config)
    init = lambda key: training.init(rng.fold(key, "init"), model(config), settings(config))
    made = (init if config.plan == ALONE else jax.vmap(init))(_keys(config, seeds))
    if config.validate_every:
        made = selection.start(made)
    return meshes.replicate(mesh(config), made)


def validate(config: Config, state: training.State) -> float:
    """The mean over the tasks of the scores at the largest size trained on, in [0, 1].

    The inputs are the benchmark's distribution, the same at every validation and of every seed.
    """
    key = rng.fold(jax.random.key(config.seed), "validation")
    alone = dataclasses.replace(config, stop=False)  # told when to stop, as the benchmark does
    found = test(alone, state, key, max(config.lengths), tasks(config))
    return float(np.mean([scores.official for _, scores, _ in found]))


def split(config: Config, seeds: tuple[int, ...], values) -> dict:
    """seed -> its part of a state or an info."""
    if config.plan == ALONE:
        return {seeds[0]: values}
    return {seed: jax.tree.map(lambda v, i=i: v[i], values) for i, seed in enumerate(seeds)}


def _keys(config, seeds):
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    return keys[0] if config.plan == ALONE else keys


def test(config: Config, state: training.State | selection.Kept, key, n: int, names):
    """Yields (task, `evaluate.Scores`, those when it decides itself when to stop or None) of each
    of these tasks at one size.

    The inputs are the benchmark's distribution and the same for every seed of the model.
    """
    state = selection.chosen(state)
    found = _owned(config, state)
    for name in names:
        group, own = found[name]
        one = functools.partial(
            evaluate.task, name, group, state.shared, own, model(config), key, length=n,
            samples=samples(config, name), batch=config.test_batch, options=samplers.Options(),
        )  # fmt: skip
        yield name, one(), one(decides=True) if config.stop else None


def samples(config: Config, name: str) -> int:
    """How many runs of a task a test has: the benchmark's number, or as many as are set at most."""
    return min(evaluate.test_size(name), config.test_samples or evaluate.test_size(name))


def hints(config: Config, state: training.State | selection.Kept, key, n: int, names):
    """Yields (task, {hint: how right after each step}) of those of these tasks that have hints."""
    state = selection.chosen(state)
    found = _owned(config, state)
    for name in names:
        group, own = found[name]
        right = evaluate.hints(
            name, group, state.shared, own, model(config), key, length=n, samples=config.test_batch
        )
        if right:
            yield name, right


def _owned(config, state):
    """The group of every task, and its parameters."""
    return {
        name: (group, state.own[i])
        for i, group in enumerate(training.groups(settings(config)))
        for name in group.names
    }


@functools.cache
def parameters(config: Config) -> int:
    """Numbers in the model, of the processor and of all tasks' encoders and decoders."""
    shapes = jax.eval_shape(
        lambda: training.init(jax.random.key(0), model(config), settings(config))
    )
    return sum(leaf.size for leaf in jax.tree.leaves((shapes.shared, shapes.own)))
