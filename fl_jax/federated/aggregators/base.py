"""What an aggregator is: a pair of pure functions, and what it needs to see."""

from collections.abc import Callable
from typing import Any, NamedTuple

from fl_jax.core.types import Array, Float, PyTree


class Summed(NamedTuple):
    """What remains of a round when updates are added up as they come."""

    total: PyTree  # sum of weight_i * update_i
    weight: Float[Array, ""]  # sum of weight_i


class Stacked(NamedTuple):
    """All updates of a round, for rules that compare them."""

    updates: PyTree  # leaves (cohort, ...); zeros where the weight is 0
    weights: Float[Array, " cohort"]


class Aggregator(NamedTuple):
    """How a server turns the updates of a round into one step.

    Memory decides the kind: a rule that can be written on sums sees `Summed`, and memory does
    not grow with the cohort; any other sees `Stacked`.
    """

    init: Callable[[PyTree], PyTree]
    """variables -> state, which lives from round to round"""
    update: Callable[[Any, PyTree], tuple[PyTree, PyTree]]
    """(Summed or Stacked, state) -> (aggregated update, state)"""
    sees: type = Summed
    weight: str = "uniform"  # what an update weighs: `uniform` (1) or `examples` (its share)


def stateless(variables: PyTree) -> tuple:
    """The `init` of an aggregator that remembers nothing."""
    del variables
    return ()
