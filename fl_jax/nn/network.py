"""A network as this package uses it: plain arrays and a pure `apply`."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import nnx

from fl_jax.core import errors
from fl_jax.core.types import Array, Key, PyTree


class Network(NamedTuple):
    """A pair of pure functions over (params, batch_stats), plain dictionaries of arrays."""

    init: Callable[[Key[Array, ""]], tuple[PyTree, PyTree]]
    """key -> (params, batch_stats)"""
    apply: Callable[..., tuple[Array, PyTree]]
    """(params, batch_stats, x, *, train=False, mask=None, key=None) -> (output, batch_stats)"""


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module], *, method: str = "__call__") -> Network:
    """The network that a `flax.nnx` module is.

    The module is split once into plain dictionaries, so that it can be trained under `vmap`,
    `scan` and `grad` together. Its `train()` and `eval()` flags are set by `apply(train=...)`.
    Where its `__call__` takes them, `mask` ((batch,) 0 or 1, which examples are real) and `rngs`
    (keys for dropout) are handed over; keys are passed at the call, never kept in the module.

    Args:
        make: rngs -> module, as in `lambda rngs: MLP(8, rngs=rngs)`.
        method: which of the module's methods `apply` runs: `features`, where there is one, gives
            what its last layer sees, from the same arrays.

    Raises:
        ConfigError: the module has no such method.
        ValueError: the module holds variables other than parameters and batch statistics.
        ConfigError: `apply` is given other batch statistics than `init` made.
        ConfigError: `apply` is given a mask by a training loss, but the module has batch
            statistics and takes none: the rows that fill up a short batch would count in them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from flax import nnx
        >>> network = from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
        >>> params, batch_stats = network.init(jax.random.key(0))
        >>> y, _ = network.apply(params, batch_stats, jnp.ones((5, 3)))
        >>> y.shape
        (5, 2)
    """
    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    if not hasattr(abstract, method):
        raise errors.ConfigError(
            f"{type(abstract).__name__} has no method {method!r} to run; write one that takes the"
            " inputs, or name another."
        )
    accepts = inspect.signature(getattr(type(abstract), method)).parameters
    graphs = {}
    for train in (True, False):
        (abstract.train if train else abstract.eval)()
        graphs[train], _, stats, rest = nnx.split(abstract, nnx.Param, nnx.BatchStat, ...)
    form = jax.tree.structure(nnx.to_pure_dict(stats))
    if nnx.to_pure_dict(rest):
        raise ValueError(
            "a network holds parameters and batch statistics only, but this module also has"
            f" {list(nnx.to_pure_dict(rest))}; build nnx.Dropout without rngs and take"
            " `rngs` in __call__."
        )

    def init(key):
        module = make(nnx.Rngs(key))
        params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
        return params, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    def apply(params, batch_stats, x, *, train=False, mask=None, key=None):
        if jax.tree.structure(batch_stats) != form:
            raise errors.ConfigError(
                f"{type(abstract).__name__} has {form.num_leaves} arrays of batch statistics, but"
                f" {len(jax.tree.leaves(batch_stats))} came with its parameters; hand over both"
                " that `init` gave, or take a module without (nnx.GroupNorm)."
            )
        module = nnx.merge(graphs[train], params, batch_stats)
        extra = {}
        if "mask" in accepts:
            extra["mask"] = mask
        elif train and batch_stats and mask is not None:
            raise errors.ConfigError(
                f"{type(abstract).__name__} has batch statistics, in which the rows that fill up a"
                " short batch would count; give its __call__ an argument `mask` and hand it to"
                " `fl_jax.nn.norms.BatchNorm`, or normalise without statistics (nnx.GroupNorm)."
            )
        if "rngs" in accepts and key is not None:
            extra["rngs"] = nnx.Rngs(dropout=key)
        output = getattr(module, method)(x, **extra)
        return output, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    return Network(init, apply)
