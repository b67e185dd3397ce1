"""Low-rank adapters [Hu et al. 2022, arXiv 2106.09685], trained alone or stacked over clients."""

import jax
import jax.numpy as jnp

from fl_jax.bloom import loss as losses
from fl_jax.bloom import model
from fl_jax.bloom.config import Config
from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Key, PyTree

TARGETS = ("qkv", "out", "up", "down")


def init(
    key: Key[Array, ""], config: Config, *, rank: int, targets: tuple[str, ...] = ("qkv",)
) -> PyTree:
    """Adapters of W: a (in..., rank) normal with variance 1 / inputs, b (rank, out...) zero.

    With b = 0 the adapted model starts as the model.

    Returns:
        {target: {"a": (L, in..., rank), "b": (L, rank, out...)}}, float32.

    Raises:
        ConfigError: an unknown target, or a rank that is no whole number above 0.
    """
    errors.whole("rank", rank, 1)
    shapes = model.shapes(config)["layers"]
    adapters = {}
    for target in targets:
        errors.one_of("LoRA target", target, TARGETS)
        layers, *kernel = shapes[target]["kernel"]
        outputs = len(shapes[target]["bias"]) - 1
        ins, outs = kernel[: len(kernel) - outputs], kernel[len(kernel) - outputs :]
        width = 1
        for size in ins:
            width *= size
        a = jax.random.normal(rng.fold(key, target), (layers, *ins, rank)) / width**0.5
        adapters[target] = {"a": a, "b": jnp.zeros((layers, rank, *outs))}
    return adapters


def scaled(adapters: PyTree, alpha: float) -> PyTree:
    """Adapters with alpha / rank multiplied in, as `model.hidden(adapters=...)` takes them.

    Raises:
        ConfigError: adapters of what has none, which would not be used.
    """
    for name in adapters:
        errors.one_of("LoRA target", name, TARGETS)
    return {
        name: {"a": pair["a"], "b": pair["b"] * (alpha / pair["a"].shape[-1])}
        for name, pair in adapters.items()
    }


def merge(params: PyTree, adapters: PyTree, *, alpha: float) -> PyTree:
    """The parameters with W + (alpha / rank) a b in place of W: nothing to pay when serving."""
    layers = dict(params["layers"])
    for name, pair in scaled(adapters, alpha).items():
        kernel = layers[name]["kernel"]
        update = jax.vmap(lambda a, b: jnp.tensordot(a, b, axes=1))(pair["a"], pair["b"])
        layers[name] = {**layers[name], "kernel": kernel + update.astype(kernel.dtype)}
    return {**params, "layers": layers}


def make(params: PyTree, config: Config, *, alpha: float, **options):
    """The loss of the adapters alone, for `fl_jax.train.step` and for federated clients.

    The base parameters are closed over and shared by all clients; `variables.params` are the
    adapters. `jax.vmap` over stacked adapters trains many clients in one step.

    Args:
        params: of the base model.
        config: its config.
        alpha: the adapters count alpha / rank times.
        **options: of `fl_jax.bloom.loss.make`.
    """

    def forward(held, config, tokens, **inputs):
        return model.hidden(
            held["base"], config, tokens, adapters=scaled(held["adapters"], alpha), **inputs
        )

    inner = losses.make(config, forward=forward, **options)

    def loss(variables, batch, key):
        held = {"base": params, "adapters": variables.params, "embedding": params["embedding"]}
        return inner(variables._replace(params=held), batch, key)

    return loss
