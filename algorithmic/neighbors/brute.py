"""Every query against every point, tile by tile, with a running list of the nearest."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from algorithmic.neighbors import distance

POINTS, QUERIES = 4096, 256  # a tile


@functools.partial(jax.jit, static_argnames=("k", "points_tile", "queries_tile"))
def brute(
    queries: Float[Array, "m d"],
    points: Float[Array, "n d"],
    k: int,
    zero: Int[Array, ""],
    *,
    points_tile: int = POINTS,
    queries_tile: int = QUERIES,
) -> tuple[Float[Array, "m k"], Int[Array, "m k"]]:
    """(squared distances, indices) of the k nearest, near to far, ties by index.

    The points are visited in their order and `top_k` keeps the first of equals, in a tile and
    against what was kept before: ties need no further care.

    Args:
        queries: float32.
        points: float32; n >= k.
        k: neighbours.
        zero: int32 zero, see `distance.squared`.
        points_tile: points at a time.
        queries_tile: queries at a time.
    """
    m, n = len(queries), len(points)
    dims = points.shape[1]
    points_tile = min(points_tile, n)
    tiles = -(-n // points_tile)
    spread = jnp.pad(
        points, ((0, tiles * points_tile - n), (0, 0)), constant_values=jnp.inf
    ).reshape(tiles, points_tile, dims)
    ids = jnp.arange(tiles * points_tile, dtype=jnp.int32).reshape(tiles, points_tile)
    kept = min(k, points_tile)

    def block(q):
        def visit(best, tile):
            near, at = best
            p, number = tile
            d2 = distance.squared([q[:, None, c] - p[None, :, c] for c in range(dims)], zero)
            closest, place = jax.lax.top_k(-d2, kept)
            merged = jnp.concatenate([near, -closest], axis=1)
            indices = jnp.concatenate([at, number[place]], axis=1)
            closest, place = jax.lax.top_k(-merged, k)
            return (-closest, jnp.take_along_axis(indices, place, axis=1)), None

        none = (jnp.full((len(q), k), jnp.inf), jnp.full((len(q), k), n, jnp.int32))
        return jax.lax.scan(visit, none, (spread, ids))[0]

    queries_tile = min(queries_tile, m)
    groups = -(-m // queries_tile)
    padded = jnp.pad(queries, ((0, groups * queries_tile - m), (0, 0)))
    near, at = jax.lax.map(block, padded.reshape(groups, queries_tile, dims))
    return near.reshape(-1, k)[:m], at.reshape(-1, k)[:m]
