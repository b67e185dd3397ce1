"""The environment that holds dm-clrs, which conflicts with ours and takes 2 GB.

It is made once, from the pinned list beside this file, and found again.
"""

import os
import pathlib
import subprocess
import sys

from fl_jax.core import errors

PINNED = pathlib.Path(__file__).parent / "peers" / "clrs.txt"


def folder() -> pathlib.Path:
    """`$FL_JAX_PEERS/clrs`, or `~/.cache/fl-jax/peers/clrs`."""
    home = pathlib.Path.home() / ".cache" / "fl-jax" / "peers"
    return pathlib.Path(os.environ.get("FL_JAX_PEERS", home)) / "clrs"


def python(*, make: bool = False) -> str:
    """The interpreter beside dm-clrs.

    Args:
        make: build the environment if there is none (minutes, and a package index).

    Raises:
        ConfigError: there is none and it may not be made, or making it failed.
    """
    found = folder() / "bin" / "python"
    if found.exists():
        return str(found)
    if not make:
        raise errors.ConfigError(
            f"{folder()} holds no dm-clrs; make it with `python -m experiments bench clrs`."
        )
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder())], check=True)
        install = [str(found), "-m", "pip", "install", "--quiet", "-r", str(PINNED)]
        subprocess.run(install, check=True)
    except subprocess.CalledProcessError as error:
        raise errors.ConfigError(f"dm-clrs could not be installed: {error}.") from error
    return str(found)
