"""Peers run in environments of their own: they conflict with us and with each other."""

import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping

import numpy as np

from fl_jax.core import errors
from fl_jax.train import allocator

HERE = pathlib.Path(__file__).parent / "peers"
# The allocator's settings, which a peer has from us otherwise, with a single heap: with more of
# them torch is slower.
MALLOC = allocator.settings({}) | {"MALLOC_ARENA_MAX": "1"}


def python(name: str) -> pathlib.Path:
    """The interpreter of the environment that `peers/<name>.txt` pins, made at the first call.

    It lies in the user's cache (`$XDG_CACHE_HOME` or `~/.cache`), under a name that holds the
    list's hash: another list is another environment. One that was interrupted is made anew.

    Raises:
        ConfigError: pip could not install the list; what it said stands on stderr.
    """
    pins = HERE / f"{name}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    mark = hashlib.sha256(pins.read_bytes() + version.encode()).hexdigest()[:12]
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    home = cache / "fl-jax" / "peers" / f"{name}-{mark}"
    interpreter = home / "bin" / "python"
    complete = home / "complete"
    if not complete.exists():
        print(f"making an environment for {name} in {home} (once; about a minute)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        install = [interpreter, "-m", "pip", "install", "--quiet", "-r", pins]
        if subprocess.run([*install, "--disable-pip-version-check"], check=False).returncode:
            raise errors.ConfigError(
                f"pip could not install the peers of {pins} with Python {version}; the first lines"
                " of that list say which Python and which index it is for."
            )
        complete.touch()
    return interpreter


def run(
    name: str,
    script: str,
    *arguments: str,
    devices: int = 1,
    environment: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """Runs `peers/<script>` in the environment of a peer, on so many virtual CPU devices.

    `environment` is added to the variables of this process.

    Raises:
        subprocess.CalledProcessError: the script failed; what it said stands on stderr.
    """
    flags = f"--xla_force_host_platform_device_count={devices}"
    variables = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", **environment}
    variables.pop("PYTHONPATH", None)
    command = [python(name), "-W", "ignore", HERE / script, *arguments]
    subprocess.run(command, check=True, env=variables)


def exchange(
    name: str,
    script: str,
    arrays: Mapping[str, object],
    *arguments: str,
    devices: int = 1,
    environment: Mapping[str, str] = types.MappingProxyType({}),
) -> dict[str, np.ndarray]:
    """What `peers/<script>` answers: it is given two files, arrays to read and arrays to write.

    Raises:
        subprocess.CalledProcessError: as `run`.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in.npz", f"{folder}/out.npz"
        np.savez(source, **arrays)
        run(name, script, source, target, *arguments, devices=devices, environment=environment)
        with np.load(target) as out:
            return dict(out)
