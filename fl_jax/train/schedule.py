"""Learning-rate schedules: step number in, rate out."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors

KINDS = ("constant", "linear", "cosine", "rsqrt", "step")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How the learning rate moves from its peak."""

    kind: str = "constant"  # constant, linear, cosine, rsqrt or step
    warmup: int = 0  # steps of linear rise from 0 to the peak
    decay_steps: int = 0  # steps from the peak to `final` (linear, cosine)
    final: float = 0.0  # last rate as a share of the peak (linear, cosine)
    every: int = 0  # steps between drops (step)
    factor: float = 0.1  # what each drop multiplies the rate by (step)


def make(config: Schedule, peak: float) -> optax.Schedule:
    """The schedule as a function of the step number (int32 scalar), starting at step 0.

    `rsqrt` is peak * sqrt(w / max(step, w)) with w = max(warmup, 1) [Vaswani et al. 2017, 5.3,
    without the model size]; `step` multiplies by `factor` after every `every` steps.

    Raises:
        ConfigError: an unknown kind, a warmup or final below 0, or decay_steps, every or factor not
            above 0 where the kind needs them.
    """
    errors.one_of("schedule", config.kind, KINDS)
    errors.not_negative("warmup", config.warmup)
    errors.not_negative("final", config.final)
    if config.kind in ("linear", "cosine"):
        errors.positive(f"decay_steps of a {config.kind} schedule", config.decay_steps)
    if config.kind == "linear":
        after = optax.linear_schedule(peak, peak * config.final, config.decay_steps)
    elif config.kind == "cosine":
        after = optax.cosine_decay_schedule(peak, config.decay_steps, config.final)
    elif config.kind == "step":
        errors.positive("every of a step schedule", config.every)
        errors.positive("factor of a step schedule", config.factor)
        after = optax.exponential_decay(peak, config.every, config.factor, staircase=True)
    elif config.kind == "rsqrt":
        start = max(config.warmup, 1)
        # Steps are counted from the end of the warmup here.
        whole = lambda step: jnp.asarray(step, jnp.float32) + config.warmup
        after = lambda step: peak * jnp.sqrt(start / jnp.maximum(whole(step), start))
    else:
        after = optax.constant_schedule(peak)
    if config.warmup:
        rise = optax.linear_schedule(0.0, peak, config.warmup)
        after = optax.join_schedules([rise, after], [config.warmup])

    def rate(step):
        with jax.numpy_dtype_promotion("standard"):  # as optax's own schedules need it
            return after(step)

    return rate
