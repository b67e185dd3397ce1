"""What a defence is: a function on every update, and one on the aggregate."""

from collections.abc import Callable
from typing import NamedTuple

from fl_jax.core.types import Array, Float, Key, PyTree


def _same_update(update: PyTree, state: PyTree) -> PyTree:
    del state
    return update


def _same_aggregate(aggregate: PyTree, state: PyTree, key: Key[Array, ""]):
    del key
    return aggregate, state


def _stateless(variables: PyTree) -> tuple:
    del variables
    return ()


class Defence(NamedTuple):
    """What stands between the updates and the global model; made by a factory."""

    init: Callable[[PyTree], PyTree] = _stateless
    """variables -> state, which lives from round to round"""
    client: Callable[[PyTree, PyTree], PyTree] = _same_update
    """(one update, state) -> update: what the server does to each before it aggregates"""
    server: Callable[[PyTree, PyTree, Key[Array, ""]], tuple[PyTree, PyTree]] = _same_aggregate
    """(aggregate, state, key) -> (aggregate, state)"""
    score: Callable[[PyTree, PyTree], Float[Array, ""]] | None = None
    """(one update, state) -> how much of it the defence would cut; differentiable"""

    @property
    def inspects(self) -> bool:
        """Whether the server touches single updates, which secure aggregation forbids."""
        return self.client is not _same_update


def none() -> Defence:
    """No defence."""
    return Defence()
