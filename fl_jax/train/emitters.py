"""`jax.jit` for programs that a CPU runs faster without XLA's fusion emitters.

XLA has two ways to write a fusion as machine code. The younger one, which it takes by default,
compiles longer, and on rows a few numbers wide what it writes is slower: a T5 of the geocoder's
size trains a seventh faster without it. BLOOM's training and convolutions win a little by it. So
the choice is made program by program, where a benchmark says so.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

OPTION = {"xla_cpu_use_fusion_emitters": False}


def jit_without(f: Callable, **options) -> Callable:
    """`jax.jit(f, **options)`, compiled without fusion emitters where that can be asked for.

    On other backends, with a compiler that has no choice (jax 0.12 has not), and inside another
    transformation, whose program it then belongs to, it is `jax.jit` as it is.

    Example:
        >>> double = jit_without(lambda x: 2 * x)
        >>> int(double(3)), int(jax.jit(double)(3))
        (6, 6)
    """
    plain = jax.jit(f, **options)

    @functools.cache
    def without() -> Callable:
        return jax.jit(f, compiler_options=OPTION, **options) if optional() else plain

    @functools.wraps(f)
    def call(*args, **kwargs):
        # Inside jit a constant is traced too, inside grad and vmap only what depends on arguments.
        given = jax.tree.leaves((args, kwargs, jnp.zeros(())))
        inside = any(isinstance(leaf, jax.core.Tracer) for leaf in given)
        return (plain if inside else without())(*args, **kwargs)

    return call


@functools.cache
def optional() -> bool:
    """Whether this process's compiler has both ways."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options=OPTION).lower().compile()
    except jax.errors.JaxRuntimeError:  # no such compile option
        return False
    return True
