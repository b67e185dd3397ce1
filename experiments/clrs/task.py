"""The model, its update and its tests, from the settings."""

import functools

import jax
import jax.numpy as jnp

from algorithmic.clrs import ALGORITHMS, evaluate, net, samplers, training
from experiments.clrs.config import Config
from fl_jax.core import rng
from fl_jax.train import optimizer, schedule


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


def advance(config: Config, key):
    """(state, step) -> (state, info): one round; its data belong to the key and the step."""
    run = training.draw_and_step(model(config), settings(config))
    one = jax.jit(run, static_argnums=3, donate_argnums=0)

    def round_after(state, step):
        n = length(config, step)
        most = config.small if n <= config.small else max(config.lengths)
        return one(state, rng.fold(key, "round", step), jnp.int32(n), most)

    return round_after


def start(config: Config, key) -> training.State:
    """The state before the first round."""
    return training.init(rng.fold(key, "init"), model(config), settings(config))


def test(config: Config, state: training.State, key, n: int):
    """Yields (task, `evaluate.Scores`, those when it decides itself when to stop or None) of every
    task at one size.

    The inputs are the benchmark's distribution and the same for every seed of the model.
    """
    found = _owned(config, state)
    for name in tasks(config):
        group, own = found[name]
        one = functools.partial(
            evaluate.task, name, group, state.shared, own, model(config), key, length=n,
            samples=samples(config, name), batch=config.test_batch, options=samplers.Options(),
        )  # fmt: skip
        yield name, one(), one(decides=True) if config.stop else None


def samples(config: Config, name: str) -> int:
    """How many runs of a task a test has: the benchmark's number, or as many as are set at most."""
    return min(evaluate.test_size(name), config.test_samples or evaluate.test_size(name))


def hints(config: Config, state: training.State, key, n: int):
    """Yields (task, {hint: how right after each step}) of every task that has hints."""
    found = _owned(config, state)
    for name in tasks(config):
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
    shapes = jax.eval_shape(lambda: start(config, jax.random.key(0)))
    return sum(leaf.size for leaf in jax.tree.leaves((shapes.shared, shapes.own)))
