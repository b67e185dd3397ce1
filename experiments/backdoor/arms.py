"""Many runs of one program, dealt over the devices there are.

On a CPU a small network gains nothing from a second thread, so that the runs (seeds x cells) are
worth more dealt over virtual devices, a thread each, than one after another on all cores.
"""

import contextlib
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core.types import PyTree
from fl_jax.train import cohort
from fl_jax.train import mesh as meshes


def a_device_for_each_core() -> None:
    """Makes the CPU as many virtual devices as it has cores, unless JAX has started already."""
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def deal(fn: Callable[..., PyTree], seeds: int, cells: int, shared: tuple) -> PyTree:
    """fn(seed, cell, *shared) of every pair, stacked on two leading axes (seeds, cells).

    Args:
        fn: takes two scalar indices; whatever else it reads comes in `shared`.
        seeds: how many.
        cells: how many.
        shared: arrays that every run sees.
    """
    pairs = jnp.indices((seeds, cells)).reshape(2, -1)
    devices = jax.devices()[: pairs.shape[1]]
    mesh = None
    if len(devices) > 1:
        mesh = meshes.MeshConfig(clients=-1).make(devices)
        shared = meshes.replicate(mesh, shared)

    @jax.jit
    def run(pairs, shared):
        return cohort.map(
            lambda pair, *shared: fn(*pair, *shared),
            (pairs[0], pairs[1]),
            shared=shared,
            plan=cohort.Plan("scan"),
            mesh=mesh,
        )

    found = run(pairs, shared)
    return jax.tree.map(lambda a: a.reshape(seeds, cells, *a.shape[1:]), found)
