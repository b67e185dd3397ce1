import subprocess
import sys

CODE = """
import sys
sys.modules["jaxtyping"] = None  # as if it were not installed
from fl_jax.core import tree, types
import jax.numpy as jnp
print(types.Float[types.Array, "n"], float(tree.norm({"a": jnp.array([3.0, 4.0])})))
"""


def test_the_package_runs_without_jaxtyping():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "typing.Any 5.0\n"
