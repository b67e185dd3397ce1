"""Parameters laid out for generation, once for many calls, and rows dealt over devices."""

import functools
from collections.abc import Callable, Hashable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.bloom import decode, model, sampling, sharding
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.train import mesh as meshes


class Ready(NamedTuple):
    """Parameters laid out for generation, from `ready`."""

    params: PyTree  # in the model's dtype, layers one by one where the model is unrolled
    layers: list[PyTree] | None  # the same layers as `decode` reads them
    mesh: meshes.Mesh | None  # over whose data and fsdp axes rows are dealt


def ready(params: PyTree, config: Config, mesh: meshes.Mesh | None = None) -> Ready:
    """The parameters as `generate` uses them, once for many calls.

    `generate` lays plain parameters out anew at every call. A server, or whoever generates more
    than once, does it here; what comes back holds two copies of an unrolled model's layers.

    Args:
        params: as for `model.apply`.
        config: the model's.
        mesh: rows are dealt over its data and fsdp axes and every device goes on by itself, with
            parameters of its own. On a CPU, one device for each core is the fastest: two threads
            that share the products of a few rows wait for each other as long as they work.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fl_jax import bloom
        >>> from fl_jax.bloom import generate
        >>> config = bloom.Config(vocab=32, hidden=24, layers=2, heads=6, scan=False)
        >>> weights = ready(bloom.init(jax.random.key(0), config), config)
        >>> generate.generate(weights, config, jnp.array([[5, 9, 2]]), count=4).shape
        (1, 4)
    """
    place = None if mesh is None else meshes.sharding(mesh)
    lay = jax.jit(lambda params: _lay(params, config), out_shardings=place)
    return Ready(*lay(params), mesh)


def _lay(params, config):
    model.check_shape(params, config)
    params = jax.tree.map(lambda a: a.astype(config.dtype), params)
    if not _lean(config):
        return params, None
    layers = decode.unstack(params, config)
    return {**params, "layers": model.unstack(params["layers"], config.layers)}, layers


def _lean(config):
    """Whether `decode` can do it: unrolled models; scanned ones, and the rounded ALiBi, run
    through the model as it is."""
    return not config.scan and config.alibi == "relative"


class Given(NamedTuple):
    """The arrays that a generation starts from."""

    tokens: Int[Array, "batch time"]
    mask: Bool[Array, "batch time"] | None
    key: Key[Array, ""] | None = None
    stop: Int[Array, "states vocab"] | None = None  # from `fl_jax.bloom.stops`


def run(
    function: Callable, params: PyTree | Ready, config: Config, asked: Hashable, given: Given
) -> PyTree:
    """`function(weights, config, asked, given, first_row)`, compiled, rows dealt over a mesh.

    Args:
        function: of `(params, layers)` as in `Ready`, and of the rows of one device, the first of
            which is `first_row` of all; what it gives has these rows in front.
        params: plain, or from `ready`.
        config: the model's.
        asked: what the program depends on.
        given: of all rows.

    Raises:
        ConfigError: parameters made ready for another kind of model, or rows that the mesh does
            not divide.
    """
    if not isinstance(params, Ready):
        return _alone(function, params, config, asked, given)
    if (params.layers is not None) != _lean(config):
        raise errors.ConfigError(
            "the parameters were made ready for a config with another `scan` or `alibi`; give"
            " `ready` and `generate` the same one."
        )
    if params.mesh is None:
        return _go_on(function, params[:2], config, asked, given)
    sharding.check_rows(len(given.tokens), params.mesh)
    return dealt(function, params.mesh, params[:2], config, asked, given)


STATIC = ("function", "config", "asked")


@functools.partial(jax.jit, static_argnames=STATIC)
def _alone(function, params, config, asked, given):
    with jax.named_scope("layers"):
        weights = _lay(params, config)
    return function(weights, config, asked, given, 0)


@functools.partial(jax.jit, static_argnames=STATIC)
def _go_on(function, weights, config, asked, given):
    return function(weights, config, asked, given, 0)


@functools.partial(jax.jit, static_argnames=("mesh", *STATIC))
def dealt(function, mesh, weights, config, asked, given):
    """Every device with its own rows, without a word to the others; as `run`, with the mesh."""
    rows, copied = meshes.sharding(mesh, "batch").spec, meshes.PartitionSpec()

    def own(weights, given):
        first = jax.lax.axis_index(rows[0]) * len(given.tokens)
        return function(weights, config, asked, given, first)

    specs = copied, Given(rows, rows, copied, copied)
    return meshes.shard_map(own, mesh, specs, rows, check=False)(weights, given)


class Steps(NamedTuple):
    """How one more token is computed, from `steps`."""

    cache: PyTree  # the prompt's, each row as often as was asked for
    advance: Callable  # (tokens (rows,), cache) -> (logits (rows, vocab), cache)
    order: Callable  # (cache, rows) -> the cache of these rows
    likeliest: Callable[[Float[Array, "rows vocab"]], Int[Array, " rows"]]


def steps(weights, config: Config, cache: model.Cache, copies: int = 1) -> Steps:
    """A prompt's cache, each of its rows `copies` times, and what goes on from it."""
    params, layers = weights
    if copies > 1:
        each = lambda a, axis: jnp.repeat(a, copies, axis=axis)
        cache = cache._replace(k=each(cache.k, 1), v=each(cache.v, 1), mask=each(cache.mask, 0))
    if layers is not None:

        def lean(token, cache):
            logits, cache = decode.step(params, layers, config, token, cache)
            return logits.T, cache

        def order(cache, rows):
            move = lambda some: tuple(a[rows] for a in some)
            return cache._replace(k=move(cache.k), v=move(cache.v))

        likeliest = lambda logits: decode.likeliest(logits.T)
        return Steps(decode.adopt(cache, config), lean, order, likeliest)

    def whole(token, cache):
        x, cache = model.hidden(params, config, token[:, None], cache=cache)
        return model.logits(params, config, x)[:, 0], cache

    def order(cache, rows):
        return cache._replace(k=cache.k[:, rows], v=cache.v[:, rows])

    likeliest = lambda logits: sampling.sample(None, logits, sampling.GREEDY)
    return Steps(cache, whole, order, likeliest)
