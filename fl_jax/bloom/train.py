"""BLOOM's training step: the shared step, with its loss, recipe and mesh; one CPU or a pod."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from fl_jax.bloom import loss as losses
from fl_jax.bloom import model, recipe, sharding
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.core.types import PyTree
from fl_jax.nn.tokens import check_tokens
from fl_jax.train import accumulate, pieces
from fl_jax.train import mesh as meshes
from fl_jax.train import state as states
from fl_jax.train import step as steps


class Trainer(NamedTuple):
    """How to begin and how to go on; parameters and moments are float32 whatever the dtype."""

    init: Callable[..., states.TrainState]
    """key -> state, or (key, params) -> state that starts from these parameters"""
    step: Callable[..., tuple[states.TrainState, states.StepInfo]]
    """(state, batch, key) -> (state, info), compiled; the state given is used up. What is no
    batch (`loss`) is refused, tokens and spans of a NumPy one that are none, arrays of other
    shapes, and rows that the mesh does not divide"""
    raw: Callable[..., tuple[states.TrainState, states.StepInfo]]
    """the same function, neither compiled nor placed, to be lifted by `vmap`"""
    lower: Callable[..., jax.stages.Lowered]
    """batch of shapes -> the step lowered for its mesh; nothing is allocated"""


def make(
    config: Config,
    recipe_: recipe.Recipe,
    *,
    norm: str = "token",
    microbatch_norm: bool = False,
    mesh: Mesh | None = None,
    chunk: int | None = None,
) -> Trainer:
    """The trainer of a model by a recipe.

    Args:
        config: `dtype` bfloat16 computes in it, on float32 parameters.
        recipe_: optimizer, rate and micro-batches.
        norm: `token` for pretraining, `span` for BLOOMZ.
        microbatch_norm: normalise in each micro-batch, as published, and not over the batch.
        mesh: parameters are split over fsdp and tensor, batches over data and fsdp; the step
            gives what one device gives, up to rounding.
        chunk: tokens of a sequence whose logits exist at once.

    Raises:
        ConfigError: a mesh that does not divide the model.
    """
    optimizer = recipe.optimizer(recipe_)
    parts = recipe_.micro_batches
    inner = accumulate.over(losses.make(config, norm=norm, chunk=chunk), parts)

    def loss(variables, batch, key):
        if "weights" not in batch:
            weights = losses.weights(batch, norm, parts if microbatch_norm else 1)
            batch = {**batch, "weights": weights}
        return inner(variables, batch, key)

    raw = steps.make(loss, optimizer)

    def begin(key, params=None):
        if params is None:
            params = model.init(key, config)
        params = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params)
        return states.init(states.Variables(params, {}), optimizer)

    abstract = jax.eval_shape(begin, jax.random.key(0))
    key_shape = jax.eval_shape(lambda: jax.random.key(0))

    def check(batch):
        """What the compiled step would clamp or fail on without a sentence; host arrays only."""
        if not isinstance(batch, dict) or "tokens" not in batch:
            came = f"one with {list(batch)}" if isinstance(batch, dict) else type(batch).__name__
            raise errors.DataError(
                f"a batch is a dictionary with `tokens`, got {came}; give {{'tokens': array}}."
            )
        tokens = batch["tokens"]
        if not isinstance(tokens, jax.Array):
            check_tokens(tokens, config.vocab)
        if tokens.ndim != 2 or tokens.shape[1] < 2:
            raise errors.DataError(
                "a row of a batch is inputs and, one later, labels: two tokens at least, got"
                f" {tokens.shape[1] if tokens.ndim == 2 else f'tokens of shape {tokens.shape}'}."
            )
        for name, array in batch.items():
            if not hasattr(array, "shape"):
                raise errors.DataError(
                    f"{name} of a batch is an array, got a {type(array).__name__}; give"
                    f" np.asarray({name})."
                )
        rows, time = tokens.shape
        shapes = {"segments": (rows, time), "spans": (rows, time), "weights": (rows, time - 1)}
        for name, shape in {**shapes, "mask": (rows,)}.items():
            if name in batch and batch[name].shape != shape:
                raise errors.DataError(
                    f"{name} of a batch of tokens {tokens.shape} should be {shape}, but"
                    f" {batch[name].shape} came."
                )
        spans = batch.get("spans")
        if (
            isinstance(spans, np.ndarray)
            and spans.size
            and not 0 <= spans.min() <= spans.max() < time
        ):
            raise errors.DataError(
                f"spans of rows of {time} tokens are numbered from 1 to {time - 1} in every row, 0"
                f" for none, but there is a {spans.min() if spans.min() < 0 else spans.max()}."
            )
        if mesh is not None and len(tokens) % parts == 0:  # else the loss says so
            sharding.check_rows(len(tokens) // parts, mesh, parts)

    options = pieces.compiler_options(abstract.variables.params)
    if mesh is None:
        compiled = jax.jit(raw, donate_argnums=0, compiler_options=options)

        @functools.wraps(compiled)
        def alone(state, batch, key):
            check(batch)
            return compiled(state, batch, key)

        # A copy, because the step uses its state up and these parameters are the caller's.
        own = lambda key, params=None: jax.tree.map(jnp.copy, begin(key, params))
        lower = lambda batch: compiled.lower(abstract, batch, key_shape)
        return Trainer(own, alone, raw, lower)
    placed = sharding.state(abstract, config, mesh)
    # `mask` has rows alone, tokens and what goes with them (rows, time).
    of_rank = lambda a: meshes.sharding(mesh, *("batch", "sequence")[: a.ndim])
    compiled = jax.jit(
        raw, out_shardings=(placed, None), donate_argnums=0, compiler_options=options
    )
    lay = lambda shape, where: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=where)

    def init(key, params=None) -> states.TrainState:
        with meshes.use(mesh):
            return jax.jit(begin, out_shardings=placed)(key, params)

    @functools.wraps(compiled)
    def step(state: PyTree, batch, key):
        check(batch)
        batch = {name: jax.device_put(a, of_rank(a)) for name, a in batch.items()}
        with meshes.use(mesh):
            return compiled(state, batch, key)

    def lower(batch):
        state = jax.tree.map(lay, abstract, placed)
        batch = jax.tree.map(lambda shape: lay(shape, of_rank(shape)), batch)
        with meshes.use(mesh):
            return compiled.lower(state, batch, lay(key_shape, meshes.sharding(mesh)))

    return Trainer(init, step, raw, lower)
