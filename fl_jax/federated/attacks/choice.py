"""One of several attacks, chosen by a number in the data: a grid of attacks is one program."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int, PyTree
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.attacks.base import Attack, View


class ChoiceData(NamedTuple):
    """Which attack acts, and the data of each."""

    index: Int[Array, ""]
    each: tuple[PyTree, ...]


class ChoiceInfo(NamedTuple):
    """What every attack can tell: the norm of what it sent first."""

    sent_norm: Float[Array, ""]


def choice(attacks: Sequence[Attack]) -> Attack:
    """The attack number `View.data.index` of these, each seeing its own data.

    Only the chosen attack runs (`lax.switch`), as long as the index is not mapped over. Attacks
    that send fewer updates than the others leave the further compromised participants silent:
    they send zeros.
    """
    if not attacks:
        raise errors.ConfigError("a choice of attacks needs at least one.")
    most = max(attack.most for attack in attacks)

    def init(variables):
        return tuple(attack.init(variables) for attack in attacks)

    def observe(variables, states):
        return tuple(a.observe(variables, s) for a, s in zip(attacks, states, strict=True))

    def update(view: View, states, key):
        def branch(i):
            attack = attacks[i]

            def run(view, states):
                ids = None if view.ids is None else view.ids[: attack.most]
                own = view._replace(data=view.data.each[i], ids=ids)
                sent, new, _ = attack.update(own, states[i], key)
                sent = jax.tree.map(lambda a: _lengthen(a, most), sent)
                return sent, (*states[:i], new, *states[i + 1 :])

            return run

        branches = [branch(i) for i in range(len(attacks))]
        sent, states = jax.lax.switch(view.data.index, branches, view, states)
        first = jax.tree.map(lambda a: a[0], sent)
        return sent, states, ChoiceInfo(tree.norm(first))

    sees: Any = Stacked if any(attack.sees is Stacked for attack in attacks) else None
    return Attack(init, update, most, sees, observe)


def _lengthen(leaf, length: int):
    missing = length - leaf.shape[0]
    return jnp.concatenate([leaf, jnp.zeros((missing, *leaf.shape[1:]), leaf.dtype)])
