"""Devices as a mesh, from one CPU to a pod, and which axis of it an array's axes lie on.

Models name the axes of their arrays by what they are (`batch`, `embed`, `heads`); `AXES` says
once which axes of the mesh share them out. What moves between versions of JAX is called here
and nowhere else.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax

from fl_jax.core import errors

Mesh = jax.sharding.Mesh
NamedSharding = jax.sharding.NamedSharding
PartitionSpec = jax.sharding.PartitionSpec

# Logical axis of an array -> mesh axes it is split over. A mesh axis serves one axis of an
# array: the first that asks for it, so that activations ("batch", "sequence", "embed") are
# split by example and parameters ("embed", "mlp") by both.
AXES: dict[str, tuple[str, ...]] = {
    "clients": ("clients",),  # also shadow models, seeds, grid cells
    "batch": ("data", "fsdp"),
    "sequence": (),
    "layers": (),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "head": (),
    "mlp": ("tensor",),
    "vocab": ("tensor",),
}


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How many devices stand along each axis of the mesh; -1, once, for all that remain.

    Example:
        >>> MeshConfig(clients=4, tensor=2).sizes(devices=8)
        {'clients': 4, 'data': 1, 'fsdp': 1, 'tensor': 2}
        >>> MeshConfig(clients=-1, tensor=2).sizes(devices=6)
        {'clients': 3, 'data': 1, 'fsdp': 1, 'tensor': 2}
    """

    clients: int = 1  # independent models: clients, shadow models, seeds
    data: int = 1  # examples of one batch; parameters are copied
    fsdp: int = 1  # examples of one batch; parameters are split and gathered for use
    tensor: int = 1  # the width of layers; wants the fastest links, hence the last axis
    further: tuple[tuple[str, int], ...] = ()  # axes of a system's own, as ("expert", 4)

    def sizes(self, devices: int) -> dict[str, int]:
        """The size of each axis on this many devices.

        Raises:
            ConfigError: the sizes do not multiply to that.
        """
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)[:-1]}
        sizes = {**dict(self.further), **own}  # tensor stays the innermost
        text = " x ".join(f"{name} {size}" for name, size in sizes.items())
        open_axes = [name for name, size in sizes.items() if size == -1]
        if len(open_axes) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
            raise errors.ConfigError(
                f"a mesh of {text} cannot be; sizes are above 0, and one of them may be -1 for "
                "all devices that remain."
            )
        fixed = math.prod(size for size in sizes.values() if size != -1)
        if open_axes and devices % fixed == 0:
            sizes[open_axes[0]] = devices // fixed
        elif open_axes or fixed != devices:
            raise errors.ConfigError(
                f"a mesh of {text} takes {'a multiple of ' if open_axes else ''}{fixed} "
                f"devices and there are {devices}; change a size, or set one to -1 for all "
                "devices that remain."
            )
        return sizes

    def make(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """The mesh, of these devices or of all, laid out so that near axes are near devices.

        Its axes are `Auto`: shardings are given at the edges and the compiler finds the rest.
        """
        devices = jax.devices() if devices is None else list(devices)
        sizes = self.sizes(len(devices))
        auto = (jax.sharding.AxisType.Auto,) * len(sizes)
        return jax.make_mesh(tuple(sizes.values()), tuple(sizes), auto, devices=devices)


def use(mesh: Mesh):
    """`with use(mesh): ...` makes it the mesh that bare specs and `shard_map` refer to."""
    return jax.set_mesh(mesh)


def spec(*names: str | None, axes: dict[str, tuple[str, ...]] = AXES) -> PartitionSpec:
    """The partition of an array whose axes have these logical names; None is not split.

    Args:
        names: one for each axis of the array, from `AXES`.
        axes: another table, as `{**AXES, "expert": ("expert",)}`.

    Example:
        >>> tuple(spec("batch", "sequence", "embed"))
        (('data', 'fsdp'), None, None)
        >>> tuple(spec("embed", "mlp"))
        ('fsdp', 'tensor')
    """
    taken, parts = set(), []
    for name in names:
        wanted = () if name is None else axes[errors.one_of("logical axis", name, axes)]
        free = tuple(axis for axis in wanted if axis not in taken)
        taken |= set(free)
        parts.append(free if len(free) > 1 else free[0] if free else None)
    return PartitionSpec(*parts)


def sharding(mesh: Mesh, *names: str | None, axes=AXES) -> NamedSharding:
    """`spec` on this mesh; axes that the mesh has not (a mesh of the user's own) do not count.

    `sharding(mesh)` is a copy on every device.
    """
    there = {name: tuple(a for a in on if a in mesh.axis_names) for name, on in axes.items()}
    return NamedSharding(mesh, spec(*names, axes=there))


def replicate(mesh: Mesh | None, values):
    """The pytree with a copy on every device of the mesh; without one, where JAX puts it.

    Under `jax.distributed` every process gives the same values.
    """
    if mesh is None:
        return jax.tree.map(jax.numpy.asarray, values)
    return jax.device_put(values, sharding(mesh))


def shard_map(
    f: Callable, mesh: Mesh, in_specs, out_specs, *, over: str | None = None, check: bool = True
) -> Callable:
    """`f` on each device's shard, with collectives by axis name.

    Args:
        f: takes and returns the shards of one device.
        in_specs: partition of each argument; a prefix of its tree.
        out_specs: partition of the result.
        over: the one axis that is dealt by hand, where the mesh has others: along those, the
            compiler goes on to lay out the arrays inside of `f` as they came and as `f` says.
        check: that what `out_specs` calls a copy is one. Off only where the check does not
            know a primitive.
    """
    others = over is not None and mesh.size > mesh.shape[over]
    by_hand = {"axis_names": {over}} if others else {}
    return jax.shard_map(
        f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=check, **by_hand
    )
