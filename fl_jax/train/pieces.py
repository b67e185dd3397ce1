"""A program's temporary arrays in pieces that every heap of the host can keep."""

import importlib.metadata

import jax

from fl_jax.core.types import PyTree
from fl_jax.train import allocator

PIECE = allocator.HEAP - 2**22  # bytes; a heap holds something else as well
TRIED = ("0.10.", "0.12.")  # versions of jaxlib


def compiler_options(params: PyTree) -> dict[str, int]:
    """What `jax.jit` of a training step is to be given as `compiler_options`.

    XLA asks for all temporary arrays of a program as one piece. Above 64 MB only the first heap
    can keep it (`train.allocator`); for a thread of another one it comes from the kernel at every
    call, and which heap XLA's threads have is luck. That is a tenth of a step of T5 or BLOOM on
    a CPU. With this option no piece is larger than 60 MB.

    Empty on accelerators; where a parameter is larger than a piece, because arrays that cannot be
    cut take more memory so; where JAX stores compiled programs, which it cannot do with these;
    and for versions of jaxlib that the option was not tried with.

    Args:
        params: the model's, or their shapes.
    """
    largest = max((a.size * a.dtype.itemsize for a in jax.tree.leaves(params)), default=0)
    stored = jax.config.jax_enable_compilation_cache and jax.config.jax_compilation_cache_dir
    tried = importlib.metadata.version("jaxlib").startswith(TRIED)
    if jax.default_backend() != "cpu" or largest > PIECE or stored or not tried:
        return {}
    return {"xla_multiheap_size_constraint_per_heap": PIECE}
