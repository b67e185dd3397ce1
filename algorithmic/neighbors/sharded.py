"""Points dealt over devices: each finds its own nearest, all are merged."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.neighbors import brute, search
from fl_jax.train import mesh as meshes


def knn_sharded(queries, points, k: int, mesh: jax.sharding.Mesh, axis: str = "data"):
    """`knn` with the points over the devices of one axis of a mesh.

    Every device ranks its rows by tiles; the k nearest of each are gathered and ranked again by
    distance and index.

    Args:
        queries: (m, d), the same on every device.
        points: (n, d); padded to a multiple of the devices.
        k: neighbours.
        mesh: of the devices.
        axis: over which the points go.

    Returns:
        (distances (m, k) float32, indices (m, k) int32) as NumPy arrays.
    """
    queries, points = search.check(queries, points, k)
    devices = mesh.shape[axis]
    rows = max(-(-len(points) // devices), k)
    padded = np.full((rows * devices, points.shape[1]), np.inf, np.float32)
    padded[: len(points)] = points
    near, at = _merged(mesh, axis, k, rows)(queries, padded, np.int32(0))
    return np.sqrt(np.asarray(near)), np.asarray(at)


@functools.lru_cache(maxsize=16)
def _merged(mesh, axis: str, k: int, rows: int):
    spec = jax.sharding.PartitionSpec

    def local(queries, points, zero):
        near, at = brute.brute(queries, points, k, zero)
        at = at + jax.lax.axis_index(axis).astype(jnp.int32) * rows
        near, at = (jax.lax.all_gather(x, axis, axis=1, tiled=True) for x in (near, at))
        near, at = jax.lax.sort((near, at), dimension=1, num_keys=2)
        return near[:, :k], at[:, :k]

    return jax.jit(
        meshes.shard_map(local, mesh, (spec(), spec(axis), spec()), (spec(), spec()), check=False)
    )
