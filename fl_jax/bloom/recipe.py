"""How BLOOM and BLOOMZ were trained: rate and batch in samples, AdamW with its masks, or Muon.

Published settings are read from bigscience-workshop/bigscience, train/tr11-176B-ml and
train/tr13-mtf. Rate and batch size follow *samples*, not steps, because the batch grows.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import optax

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int, PyTree
from fl_jax.train import optimizer as optimizers


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training run in samples; the defaults are BLOOM-560m's pretraining."""

    rate: float = 3.0e-4  # peak learning rate
    final_rate: float = 1e-5  # from `decay` samples on
    warmup: int = 183_105  # samples of linear rise from 0 (375M tokens)
    decay: int = 200_000_000  # samples at which the cosine ends (410B tokens); 0 = constant rate
    batch: int = 256  # sequences
    ramp_start: int = 192  # sequences of the first batches; 0 = no ramp
    ramp_step: int = 32  # sequences that the batch grows by
    ramp: int = 9_765_625  # samples over which it grows
    optimizer: str = "adamw"  # adamw or muon (embedding, biases and norms then take AdamW)
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1  # of matrices and embedding; none of biases and norms
    clip: float = 1.0  # global norm
    micro_batches: int = 1  # that one batch is accumulated over
    seed: int = 42

    def __post_init__(self):
        """Refuses a ramp that does not meet the batch, and a rate that would fall upwards.

        Raises:
            ConfigError: then, for numbers out of range, or for an optimizer that is not built for
                BLOOM.
        """
        errors.one_of("BLOOM optimizer", self.optimizer, ("adamw", "muon"))
        for name in ("rate", "batch", "ramp_step", "micro_batches"):
            errors.positive(name, getattr(self, name))
        for name in ("final_rate", "warmup", "decay", "ramp_start", "ramp"):
            errors.not_negative(name, getattr(self, name))
        if self.decay and self.final_rate > self.rate:
            raise errors.ConfigError(
                f"a rate that decays from {self.rate} cannot end at {self.final_rate}; choose a"
                " final_rate that is not above rate."
            )
        if self.ramp_start > self.batch:
            raise errors.ConfigError(
                f"a batch cannot grow from {self.ramp_start} to {self.batch} sequences; set"
                " ramp_start to 0 for no ramp, or below batch."
            )
        if self.ramp_start and (self.batch - self.ramp_start) % self.ramp_step:
            raise errors.ConfigError(
                f"a batch that grows from {self.ramp_start} by {self.ramp_step} never is"
                f" {self.batch}; change ramp_start or ramp_step."
            )


PRETRAINING = {
    "560m": Recipe(),
    "1b1": Recipe(rate=2.5e-4, ramp_step=16),
    "1b7": Recipe(rate=2.0e-4, batch=512, ramp_step=16),
    "3b": Recipe(rate=1.6e-4, batch=512),
    "7b1": Recipe(rate=1.2e-4, batch=512),
    "176b": Recipe(rate=6.0e-5, final_rate=6e-6, batch=2048, ramp_step=16),
}
_FINETUNING = Recipe(rate=2e-5, warmup=0, decay=0, ramp_start=0, weight_decay=1e-4)
FINETUNING = {
    name: dataclasses.replace(_FINETUNING, batch=1024 if name in ("560m", "1b1") else 2048)
    for name in PRETRAINING
}


def stages(recipe: Recipe) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ramp as (first step, first sample, batch size) of each stage, int64.

    A stage lasts ramp / increments samples and ends with the step that completes them.
    """
    steps, samples, sizes = [0], [0], [recipe.ramp_start or recipe.batch]
    increments = 0
    if recipe.ramp_start:
        increments = (recipe.batch - recipe.ramp_start) // recipe.ramp_step
    for i in range(increments):
        end = (i + 1) * recipe.ramp / increments
        taken = max(0, math.ceil((end - samples[-1]) / sizes[-1]))
        steps.append(steps[-1] + taken)
        samples.append(samples[-1] + taken * sizes[-1])
        sizes.append(recipe.ramp_start + (i + 1) * recipe.ramp_step)
    return np.array(steps), np.array(samples), np.array(sizes)


def batch_at(recipe: Recipe, step: int) -> tuple[int, int]:
    """(batch size, samples seen before) of a step.

    Example:
        >>> batch_at(PRETRAINING["176b"], 0), batch_at(PRETRAINING["176b"], 10**6)[0]
        ((192, 0), 2048)
    """
    steps, samples, sizes = stages(recipe)
    stage = int(np.searchsorted(steps, step, "right")) - 1
    return int(sizes[stage]), int(samples[stage] + (step - steps[stage]) * sizes[stage])


def samples_at(recipe: Recipe, step: Int[Array, ""]) -> Float[Array, ""]:
    """Samples seen before a (traced) step, float32: exact up to 2^24, then to 1e-7."""
    steps, samples, sizes = (jnp.asarray(a, jnp.float32) for a in stages(recipe))
    stage = jnp.sum(steps <= step.astype(jnp.float32)) - 1
    return samples[stage] + (step.astype(jnp.float32) - steps[stage]) * sizes[stage]


def rate_at(recipe: Recipe, samples: Float[Array, ""]) -> Float[Array, ""]:
    """The learning rate after so many samples.

    Linear over the warm-up, then min + (peak - min) (1 + cos(pi (s - w) / (D - w))) / 2 until
    D = decay, then min [Megatron-LM, learning_rates.py, with the settings of tr11]. Where D comes
    within the warm-up, min follows the peak.
    """
    warm = recipe.rate * jnp.minimum(samples / max(recipe.warmup, 1), 1.0)
    if not recipe.decay:
        return warm if recipe.warmup else jnp.full_like(samples, recipe.rate)
    length = max(recipe.decay - recipe.warmup, 1)
    done = jnp.clip((samples - recipe.warmup) / length, 0.0, 1.0)
    span = recipe.rate - recipe.final_rate
    cosine = recipe.final_rate + span * 0.5 * (1 + jnp.cos(jnp.pi * done))
    return jnp.where(samples < recipe.warmup, warm, cosine)


def decayed(params: PyTree) -> PyTree:
    """Which parameters weight decay holds for: matrices and the embedding.

    By name, since a stacked bias has as many axes as a matrix. Adapters count as matrices.
    """
    return tree.map_named(lambda path, _: not path.endswith(("bias", "scale")), params)


def muon_dimensions(params: PyTree) -> PyTree:
    """Which axes of each stacked matrix are in and out for Muon; None: AdamW.

    Muon orthogonalises the update of hidden matrices [Jordan et al. 2024]; embedding, biases
    and norms are AdamW's. Each head's query, key and value is a matrix of its own.
    """
    numbers = optax.contrib.MuonDimensionNumbers
    known = {
        "qkv": numbers(reduction_axis=(1,), output_axis=(4,)),  # (L, h, H, 3, d)
        "out": numbers(reduction_axis=(1, 2), output_axis=(3,)),  # (L, H, d, h)
        "up": numbers(reduction_axis=(1,), output_axis=(2,)),
        "down": numbers(reduction_axis=(1,), output_axis=(2,)),
    }

    def leaf(path, _):
        *_, parent, name = path.split("/")
        return known.get(parent) if name == "kernel" else None

    return tree.map_named(leaf, params)


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """The optimizer of this recipe, from the factory that all systems share."""
    config = optimizers.Optimizer(
        recipe.optimizer,
        rate=recipe.rate,
        b1=recipe.b1,
        b2=recipe.b2,
        eps=recipe.eps,
        weight_decay=recipe.weight_decay,
        clip_norm=recipe.clip,
    )
    rate = lambda step: rate_at(recipe, samples_at(recipe, jnp.asarray(step)))
    dimensions = muon_dimensions if recipe.optimizer == "muon" else None
    return optimizers.make(config, decay_mask=decayed, rate=rate, muon_dimensions=dimensions)
