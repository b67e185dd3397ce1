"""One process or many: `jax.distributed`, only when it is asked for.

Nothing is guessed: a program started once runs alone, whatever cluster it finds itself on.

    FL_JAX_DISTRIBUTED=auto         Cloud TPU, SLURM and Open MPI tell the rest
    FL_JAX_DISTRIBUTED=coordinator=10.0.0.1:8476,processes=2,process=0

The coordinator's port is neither encrypted nor authenticated: keep it in a private network.
"""

import os
import sys

import jax
from jax.experimental import multihost_utils

from fl_jax.core import errors

VARIABLE = "FL_JAX_DISTRIBUTED"


def initialize(how: str | None = None, *, processes: int | None = None) -> None:
    """Joins the other processes of the run, before anything is computed.

    Args:
        how: as the environment variable FL_JAX_DISTRIBUTED, which it overrides; without either
            the process stays alone.
        processes: how many there must be; another number is refused.

    Raises:
        ConfigError: settings that cannot be read, or another number of processes.
    """
    how = os.environ.get(VARIABLE, "") if how is None else how
    if how == "auto":
        jax.distributed.initialize()
    elif how:
        jax.distributed.initialize(**_settings(how))
    if processes is not None and jax.process_count() != processes:
        raise errors.ConfigError(
            f"the run wants {processes} processes and {jax.process_count()} came together; "
            f"start {processes}, each with {VARIABLE} set, or change the config."
        )


def describe(mesh: jax.sharding.Mesh | None = None) -> str:
    """This process in one line: which of how many, its devices, the mesh."""
    local, everywhere = jax.local_devices(), jax.devices()
    line = (
        f"process {jax.process_index()} of {jax.process_count()}: "
        f"{len(local)} of {len(everywhere)} devices, {everywhere[0].device_kind}"
    )
    if mesh is None:
        return line
    return f"{line}; mesh {' x '.join(f'{axis} {n}' for axis, n in mesh.shape.items())}"


def announce(mesh: jax.sharding.Mesh | None = None) -> None:
    """Prints `describe` on standard error, on every process: who is missing is seen at once."""
    print(describe(mesh), file=sys.stderr, flush=True)


def preempted(dispatch: int) -> bool:
    """Whether all processes are to stop after this dispatch, because one got a SIGTERM.

    JAX's preemption service listens for the signal on every process and settles on a dispatch
    that none of them is past. All processes ask after each, counting by ones.
    """
    if not jax.config.jax_enable_preemption_service:
        return False
    return multihost_utils.reached_preemption_sync_point(dispatch)


def _settings(how: str) -> dict:
    """The arguments of `jax.distributed.initialize`."""
    try:
        given = dict(part.split("=", 1) for part in how.split(","))
        settings = {
            "coordinator_address": given.pop("coordinator"),
            "num_processes": int(given.pop("processes")),
            "process_id": int(given.pop("process")),
        }
        if given or not 0 <= settings["process_id"] < settings["num_processes"]:
            raise ValueError
        return settings
    except (KeyError, ValueError):
        raise errors.ConfigError(
            f"{VARIABLE} is {how!r}; give auto, or coordinator=HOST:PORT,processes=N,process=I "
            "with I from 0 to N - 1."
        ) from None
