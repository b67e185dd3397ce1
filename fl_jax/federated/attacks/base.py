"""What an attack is: a pair of pure functions that make what compromised participants send."""

from collections.abc import Callable
from typing import Any, NamedTuple

from fl_jax.core import errors
from fl_jax.core.types import Array, Int, Key, PyTree
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.train.state import Variables


class View(NamedTuple):
    """What the attacker can see when it makes its updates."""

    variables: Variables  # the global model G^t
    count: Int[Array, ""]  # compromised participants in this round
    round: Int[Array, ""]
    benign: Any  # Summed or Stacked updates of the others, for attackers who are given them
    data: PyTree  # the attacker's own data and settings
    ids: Any = None  # (most,) who is compromised in this round; those beyond `count` repeat
    population: Any = None  # whose examples the compromised participants hold
    aggregator: PyTree = ()  # state of the server's rule, for attackers who know it


def others(view: View) -> Stacked:
    """The others' updates one by one, for attacks that are made with `sees=Stacked`.

    Raises:
        ConfigError: the view holds no such updates.
    """
    if not isinstance(view.benign, Stacked):
        raise errors.ConfigError(
            "this attack compares the others' updates, so that `View.benign` must be `Stacked`, but"
            f" {type(view.benign).__name__} came; an attack with sees=Stacked is given them by"
            " `round.make`."
        )
    return view.benign


def _same(variables, state):
    del variables
    return state


class Attack(NamedTuple):
    """What compromised participants send; made by a factory."""

    init: Callable[[Variables], PyTree]
    """variables -> state, which lives from round to round"""
    update: Callable[[View, PyTree, Key[Array, ""]], tuple[PyTree, PyTree, PyTree]]
    """(view, state, key) -> (updates stacked (most, ...), state, info)"""
    most: int = 1  # compromised participants that can fall into one round
    sees: type | None = None  # Stacked: the attacker is given the others' updates one by one
    observe: Callable[[Variables, PyTree], PyTree] = _same
    """(global model, state) -> state, in every round, whether compromised or not"""
