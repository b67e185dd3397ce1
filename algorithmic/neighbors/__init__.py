"""Exact k-nearest neighbours.

`knn` takes arrays of the host and gives some back, by a tree whose list work NumPy does; it cannot
be traced. `knn_traced` is a function of JAX's arrays for use under `jit`, by tiles. `knn_sharded`
deals the points over devices.
"""

from algorithmic.neighbors.search import knn, knn_traced
from algorithmic.neighbors.sharded import knn_sharded
from algorithmic.neighbors.tree import Index, build

__all__ = ["Index", "build", "knn", "knn_sharded", "knn_traced"]
