"""Attackers that act apart: each with its own part of the trigger (DBA), or its own settings."""

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, rng
from fl_jax.federated.attacks.base import Attack, View


def split(pattern: np.ndarray, parts: int) -> list[np.ndarray]:
    """The pixel pattern in so many parts, which together are the whole.

    Lit and black pixels are dealt out in reading order, in equal runs; all others are -1, which
    leaves the image's own pixel.

    Args:
        pattern: (rows, columns): 1 = lit, 0 = black, -1 = leave.
        parts: how many.

    Raises:
        ConfigError: fewer pixels than parts.

    References:
        Xie, Huang, Chen, Li 2020, "DBA: Distributed Backdoor Attacks", section 3.1.
    """
    errors.whole("parts", parts, least=1)
    places = np.argwhere(pattern >= 0)
    if len(places) < parts:
        raise errors.ConfigError(
            f"a pattern of {len(places)} pixels cannot be split into {parts} parts; use fewer"
            " attackers or a larger pattern."
        )
    out = []
    for own in np.array_split(places, parts):
        part = np.full_like(pattern, -1)
        part[tuple(own.T)] = pattern[tuple(own.T)]
        out.append(part)
    return out


def distributed(attack: Attack, attackers: int) -> Attack:
    """Every compromised participant runs `attack` on its own data, and scales on its own.

    `View.data` has a leading axis of `attackers`: attacker i of the round takes entry i, which
    for DBA holds part i of the trigger. The test is on the whole trigger.

    Raises:
        ConfigError: an attack of several, or (when the round is traced) one that remembers what it
            sends, or data of another number of attackers.
    """
    errors.whole("attackers", attackers, least=1)
    if attack.most != 1:
        raise errors.ConfigError(
            f"a distributed attack is made of single ones, but this one sends {attack.most}"
            " updates; make it with attackers=1."
        )

    def update(view: View, state, key):
        lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(view.data)}
        if lengths - {(attackers,)}:
            raise errors.ConfigError(
                f"a distributed attack of {attackers} takes as many data stacked on a leading"
                f" axis, but axes of {sorted(lengths)} came; stack what each attacker holds"
                " (jax.tree.map(lambda *a: jnp.stack(a), ...))."
            )
        alone = jnp.minimum(view.count, 1)

        def one(item):
            i, data = item
            sent, after, info = attack.update(
                view._replace(count=alone, data=data), state, rng.fold(key, i)
            )
            if [id(a) for a in jax.tree.leaves(after)] != [id(a) for a in jax.tree.leaves(state)]:
                raise errors.ConfigError(
                    "a distributed attack is made of one whose `update` leaves its state alone, but"
                    " this one remembers what it sends (as IBA and 3DFed do), each attacker"
                    " something else."
                )
            return jax.tree.map(lambda a: a[0], sent), info

        sent, infos = jax.lax.map(one, (jnp.arange(attackers), view.data))
        return sent, state, jax.tree.map(lambda a: a[0], infos)

    return attack._replace(update=update, most=attackers)
