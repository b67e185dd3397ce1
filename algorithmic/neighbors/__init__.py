"""Exact k-nearest neighbours, jitted, on one device or many."""

from algorithmic.neighbors.search import knn
from algorithmic.neighbors.sharded import knn_sharded
from algorithmic.neighbors.tree import Index, build

__all__ = ["Index", "build", "knn", "knn_sharded"]
