"""Which axis of each BLOOM array is what, and so where a mesh splits it.

The names are those of `fl_jax.train.mesh.AXES`: `embed` over fsdp, `heads`, `mlp` and `vocab`
over tensor, `batch` over data and fsdp.
"""

import math

import jax
from jax.sharding import Mesh, NamedSharding

from fl_jax.bloom.config import Config
from fl_jax.core import errors, tree
from fl_jax.core.types import PyTree
from fl_jax.train import mesh as meshes

ACTIVATIONS = ("batch", "sequence", "embed")
_NORM = {"scale": (None,), "bias": (None,)}
NAMES = {
    "embedding": {"table": ("vocab", "embed"), "norm": _NORM},
    "layers": {
        "attention_norm": {"scale": ("layers", None), "bias": ("layers", None)},
        "qkv": {
            "kernel": ("layers", "embed", "heads", None, "head"),
            "bias": ("layers", "heads", None, "head"),
        },
        "out": {"kernel": ("layers", "heads", "head", "embed"), "bias": ("layers", None)},
        "mlp_norm": {"scale": ("layers", None), "bias": ("layers", None)},
        "up": {"kernel": ("layers", "embed", "mlp"), "bias": ("layers", "mlp")},
        "down": {"kernel": ("layers", "mlp", "embed"), "bias": ("layers", None)},
    },
    "norm": _NORM,
}


def parameters(config: Config, mesh: Mesh) -> PyTree:
    """The sharding of every parameter on this mesh.

    Raises:
        ConfigError: the mesh does not divide heads, vocabulary or width.
    """
    check(config, mesh)
    is_names = lambda x: isinstance(x, tuple)
    return jax.tree.map(lambda names: meshes.sharding(mesh, *names), NAMES, is_leaf=is_names)


def state(state: PyTree, config: Config, mesh: Mesh) -> PyTree:
    """The sharding of a training state, abstract or not: moments lie where their parameters do.

    A leaf whose path ends like a parameter's and has its shape is split like it; everything
    else (counters) is copied.
    """
    known = tree.named_leaves(parameters(config, mesh))

    def leaf(whole, value):
        for name, sharding in known.items():
            if whole.endswith(name) and len(sharding.spec) == len(value.shape):
                return sharding
        return meshes.sharding(mesh)

    return tree.map_named(leaf, state)


def batch(mesh: Mesh) -> NamedSharding:
    """The sharding of token batches (batch, time)."""
    return meshes.sharding(mesh, "batch", "sequence")


def check(config: Config, mesh: Mesh) -> None:
    """Refuses a mesh that does not divide the model.

    Raises:
        ConfigError: with what is to be divided, by how much, and which axis asks for it.
    """
    for axis, what, value in (
        ("tensor", "heads", config.heads),
        ("tensor", "rows of the vocabulary", config.vocab),
        ("fsdp", "columns of the hidden width", config.hidden),
    ):
        size = mesh.shape.get(axis, 1)
        if value % size:
            raise errors.ConfigError(
                f"a mesh axis {axis!r} of {size} does not divide {value} {what}; choose a size"
                " that does."
            )


def check_rows(rows: int, mesh: Mesh, micro_batches: int = 1) -> None:
    """Refuses a batch, or a micro-batch, that the mesh does not divide.

    Raises:
        ConfigError: with the rows and the devices that share them.
    """
    what = "batch" if micro_batches == 1 else f"micro-batch (of {micro_batches})"
    share = math.prod(mesh.shape.get(axis, 1) for axis in meshes.AXES["batch"])
    if rows % share:
        raise errors.ConfigError(
            f"a {what} of {rows} sequences cannot be split over {share} devices (data x fsdp);"
            f" use a multiple of {share}."
        )


def constrain(x, *names: str | None):
    """x laid out by its logical axes on the mesh in use (`jax.set_mesh`); x where there is none.

    Axes of the mesh that are dealt by hand (`shard_map`) say nothing here.
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_names, mesh.axis_sizes, mesh.axis_types, strict=True)
    free = {name for name, size, kind in kinds if kind.name != "Manual" and size > 1}
    if not free:
        return x
    there = {n: tuple(a for a in on if a in free) for n, on in meshes.AXES.items()}
    return jax.lax.with_sharding_constraint(x, meshes.spec(*names, axes=there))
