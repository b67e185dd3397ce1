"""Which parameters are tested: the last ones, or those of the best validation score so far."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs.training import State
from fl_jax.core.types import Array, PyTree


class Kept(NamedTuple):
    """A training with the best parameters that it had; of several seeds, all stacked."""

    state: State
    shared: PyTree  # the best's
    own: tuple[PyTree, ...]
    score: Array  # of them, mean over the tasks, in [0, 1]; below 0 before the first validation
    round: Array  # int32, after which they were


def start(state: State) -> Kept:
    """Before the first round. The copies are the best's own: a round may overwrite the state."""
    copy = lambda x: jax.tree.map(jnp.copy, x)
    score = jnp.full(state.step.shape, -1.0, jnp.float32)
    return Kept(state, copy(state.shared), copy(state.own), score, jnp.zeros_like(state.step))


def update(kept: Kept, scores: np.ndarray, after: int) -> Kept:
    """The present parameters become the best where their scores are higher.

    Args:
        kept: the training after a round.
        scores: of the present parameters, () or (seeds,).
        after: that round's number, from 1.
    """
    scores = jnp.asarray(scores, jnp.float32)
    better = scores > kept.score

    def choose(new, old):
        return jnp.where(better.reshape(better.shape + (1,) * (new.ndim - better.ndim)), new, old)

    new = (kept.state.shared, kept.state.own, scores, jnp.full_like(kept.round, after))
    return Kept(kept.state, *jax.tree.map(choose, new, tuple(kept[1:])))


def chosen(state: State | Kept) -> State:
    """The state with the parameters that are to be tested."""
    if isinstance(state, Kept):
        return state.state._replace(shared=state.shared, own=state.own)
    return state
