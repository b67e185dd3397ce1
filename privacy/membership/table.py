"""The table that every modern attack reads: a signal per (record, model).

Arrays alone are enough: rows are the audited records, columns the shadow models, and a mask says
which model trained on which record. No attack in this package that takes a table needs a model.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fl_jax.core import errors


class Scores(NamedTuple):
    """Signals of the audited records; made and checked by `make`."""

    target: np.ndarray  # (records,) of the target model; (records, queries) if augmented
    shadow: np.ndarray  # (records, models), or (records, models, queries)
    member: np.ndarray  # (records, models) bool: the model trained on the record


def make(target: np.ndarray, shadow: np.ndarray, member: np.ndarray | None = None) -> Scores:
    """A checked table.

    Args:
        target: (records,) or (records, queries).
        shadow: (records, models) or (records, models, queries).
        member: (records, models) bool; None if no shadow model saw any of the records (an
            offline table).

    Raises:
        DataError: shapes that do not fit together, a mask that is not boolean, or values that
            are not finite.

    Example:
        >>> table = make(np.zeros(3), np.zeros((3, 4)))
        >>> int(table.member.sum())
        0
    """
    target, shadow = np.asarray(target, np.float64), np.asarray(shadow, np.float64)
    if shadow.ndim not in (2, 3) or target.shape != (shadow.shape[0], *shadow.shape[2:]):
        raise errors.DataError(
            "a table needs target scores (records,) and shadow scores (records, models), both"
            f" with one more axis if records were augmented; got {target.shape} and {shadow.shape}."
        )
    shape = shadow.shape[:2]
    member = np.zeros(shape, bool) if member is None else np.asarray(member)
    if member.shape != shape or member.dtype != bool:
        raise errors.DataError(
            f"the member mask must be bool of shape {shape}, records x models, got"
            f" {member.dtype} of shape {member.shape}; transpose it or compare it with 0."
        )
    for what, values in (("target", target), ("shadow", shadow)):
        if not np.all(np.isfinite(values)):
            raise errors.DataError(
                f"the {what} scores hold {int(np.sum(~np.isfinite(values)))} values that are not"
                " finite; look for diverged models and take signals that are finite"
                " (signals.logit_from_logits)."
            )
    return Scores(target, shadow, member)


def require(member: np.ndarray, *, inside: int, outside: int) -> None:
    """Refuses a table in which some record has too few IN or OUT models.

    Raises:
        DataError: it names the record.
    """
    counts = member.sum(1)
    for what, have, need in (
        ("trained on it", counts, inside),
        ("did not", member.shape[1] - counts, outside),
    ):
        if have.min(initial=need) < need:
            worst = int(np.argmin(have))
            raise errors.DataError(
                f"every record needs at least {need} models that {what}, but record {worst} has"
                f" {int(have[worst])}; take more models, a balanced design, or an offline attack."
            )


def leave_one_out(scores: Scores, model: int) -> tuple[Scores, np.ndarray]:
    """Shadow model `model` as the target of the others, and which records it trained on.

    It is how attacks calibrate their thresholds and tune themselves without the target.

    Raises:
        ConfigError: there is no such model.
    """
    if not 0 <= model < scores.shadow.shape[1]:  # -1 would leave the model among its attackers
        raise errors.ConfigError(
            f"there are shadow models 0..{scores.shadow.shape[1] - 1}, got {model}."
        )
    others = np.arange(scores.shadow.shape[1]) != model
    table = Scores(scores.shadow[:, model], scores.shadow[:, others], scores.member[:, others])
    return table, scores.member[:, model]


def over_queries(attack: Callable[..., np.ndarray], *tables: Scores) -> np.ndarray:
    """(records,) the attack's scores, of augmented records their mean over the queries.

    Args:
        attack: tables without queries -> (records,).
        tables: what it reads, all with as many queries or all without.

    Raises:
        DataError: some have queries that others lack.
    """
    queries = {t.target.shape[1:] for t in tables}
    if len(queries) > 1:
        raise errors.DataError(
            f"tables that are read together need as many queries, got {sorted(queries)}; augment"
            " the records of both in the same ways."
        )
    if queries == {()}:
        return attack(*tables)
    one = lambda t, q: Scores(t.target[:, q], t.shadow[:, :, q], t.member)
    count = tables[0].target.shape[1]
    return np.mean([attack(*(one(t, q) for t in tables)) for q in range(count)], axis=0)
