"""Many runs of one program: dealt over the devices there are, and kept on the disk.

On a CPU a small network gains nothing from a second thread, so that the runs (seeds x cells) are
worth more dealt over virtual devices, a thread each, than one after another on all cores.
"""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors
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


class Kept:
    """What a run has found so far, in a folder, so that a run that was stopped need not begin anew.

    Without a folder nothing is kept.
    """

    def __init__(self, folder: pathlib.Path | None = None, config: Any = None, *, resume=False):
        """Begins, or goes on with, a run.

        Args:
            folder: where.
            config: all that the results depend on; its `repr` is what is compared.
            resume: go on with what is there; otherwise it is deleted.

        Raises:
            ConfigError: the folder holds pieces of another run or is no run's at all, or there is
                nothing to resume.
        """
        self.folder = folder
        if folder is None:
            return
        mark = folder / "config.json"
        if not resume:
            if folder.exists() and not mark.is_file():
                raise errors.ConfigError(
                    f"{folder} is there, but not of a run; choose another --out, or remove it."
                )
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            mark.write_text(json.dumps(repr(config)) + "\n")
            return
        if not mark.is_file():
            raise errors.ConfigError(
                f"there is no run to resume in {folder.parent}; leave --resume out."
            )
        if json.loads(mark.read_text()) != repr(config):
            raise errors.ConfigError(
                f"{folder.parent} holds a run with other settings; give those, or another --out."
            )

    def piece(self, name: str, fn: Callable[[], PyTree], like: PyTree) -> PyTree:
        """fn(), computed, or read if it was computed before; its leaves are NumPy arrays.

        Args:
            name: of the piece; it becomes the name of a file.
            fn: computes it.
            like: a pytree of the structure of what fn returns, whatever its leaves.
        """
        if self.folder is None:
            return jax.device_get(fn())
        path = self.folder / f"{name.replace(',', '').replace(' ', '-')}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as leaves:
                return jax.tree.unflatten(jax.tree.structure(like), [*leaves.values()])
        found = jax.device_get(fn())
        half = path.with_suffix(".half")
        with half.open("wb") as file:
            np.savez(file, *jax.tree.leaves(found))
        os.replace(half, path)  # whole or not at all
        return found
