"""Who takes part in a round, and who of them is compromised."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Bool, Int, Key
from fl_jax.federated.population import Population
from fl_jax.train import private


class Cohort(NamedTuple):
    """The participants of one round."""

    ids: Int[Array, " cohort"]  # distinct participants
    malicious: Bool[Array, " cohort"]  # who sends what the attack made
    active: Bool[Array, " cohort"]  # False: no update arrives from it


class Sampler(NamedTuple):
    """Who takes part in which round, with what a round must know beforehand."""

    draw: Callable[[Key[Array, ""], Int[Array, ""]], Cohort]
    """(key, round) -> Cohort"""
    participants: int  # whom it draws from: ids are 0..participants - 1
    attackers: int = 0  # the most compromised participants that one round can hold
    separation: int = 1  # rounds from one turn of a participant to its next, at least


def _check(participants, cohort, attackers: Sequence[int], fit: bool = True) -> None:
    errors.whole("participants", participants, least=1)
    errors.whole("cohort", cohort, least=1)
    if cohort > participants:
        raise errors.ConfigError(
            f"a round cannot select m = {cohort} of n = {participants} participants; m must be at"
            " most n."
        )
    for attacker in attackers:
        errors.whole("the number of an attacker", attacker)
    wrong = [a for a in attackers if not a < participants]
    if wrong:
        raise errors.ConfigError(
            f"attacker {wrong[0]} is not one of the participants 0..{participants - 1}."
        )
    if fit and len(set(attackers)) < len(attackers):
        raise errors.ConfigError(
            f"each attacker takes one place, but one is named twice: {list(attackers)}."
        )
    if fit and len(set(attackers)) > cohort:
        raise errors.ConfigError(
            f"{len(set(attackers))} attackers do not fit a round of m = {cohort}."
        )


def uniform(participants: int, cohort: int, *, attackers: Sequence[int] = ()) -> Sampler:
    """`cohort` of the participants without replacement; attackers act whenever they are drawn."""
    _check(participants, cohort, attackers, fit=False)
    compromised = np.zeros(participants, bool)
    compromised[list(attackers)] = True

    def sample(key, round):
        del round
        ids = jax.random.permutation(key, participants)[:cohort]
        return Cohort(ids, jnp.asarray(compromised)[ids], jnp.ones(cohort, bool))

    return Sampler(sample, participants, min(int(compromised.sum()), cohort))


def poisson(participants: int, rate: float, *, attackers: Sequence[int] = ()) -> Sampler:
    """Every participant by itself with probability `rate`: what DP-FedAvg is accounted for.

    A cohort has places for more than 1 - 1e-12 of all draws (`train.private.capacity`); those
    that nobody was drawn for are not active and cost no training.

    Raises:
        ConfigError: a rate outside (0, 1], or too small to be drawn (`train.private.threshold`).
    """
    if not 0 < rate <= 1:
        raise errors.ConfigError(f"a sampling rate must lie in (0, 1], got {rate}.")
    errors.whole("participants", participants, least=1)
    places, below = private.capacity(participants, rate), private.threshold(rate)
    _check(participants, places, attackers, fit=False)
    compromised = np.zeros(participants, bool)
    compromised[list(attackers)] = True

    def sample(key, round):
        del round
        draws = jax.random.uniform(key, (participants,))
        ids = jnp.argsort(draws)[:places]
        return Cohort(ids, jnp.asarray(compromised)[ids], draws[ids] < below)

    return Sampler(sample, participants, min(int(compromised.sum()), places))


def cyclic(
    participants: int,
    cohort: int,
    blocks: int,
    *,
    seed: int = 0,
    attackers: Sequence[int] = (),
) -> Sampler:
    """`cohort` of block t mod `blocks` in round t, without replacement.

    The participants are dealt over blocks as evenly as they go, at random and once for all, so that
    each one's rounds are at least `blocks` apart: what DP-FTRL with that many bands is accounted
    for.

    Args:
        participants, cohort: as in `uniform`; the cohort has to fit the smallest block.
        blocks: rounds from one turn of a participant to its next.
        seed: of the blocks.
        attackers: act whenever they are drawn.

    Raises:
        ConfigError: a cohort above participants // blocks, or a number out of its range.
    """
    _check(participants, cohort, attackers, fit=False)
    members, sizes, compromised = _blocks(participants, blocks, seed, attackers)
    if cohort > participants // blocks:
        raise errors.ConfigError(
            f"a block holds {participants // blocks} of {participants} participants, but a round"
            f" of m = {cohort} has to come from one; take a smaller cohort, or fewer than"
            f" {blocks} blocks."
        )

    def sample(key, round):
        block = round % blocks
        places = members.shape[1]
        last = jnp.arange(places) >= jnp.asarray(sizes)[block]  # nobody's places
        order = jnp.argsort(jnp.where(last, 2.0, jax.random.uniform(key, (places,))))
        ids = jnp.asarray(members)[block][order[:cohort]]
        return Cohort(ids, jnp.asarray(compromised)[ids], jnp.ones(cohort, bool))

    return Sampler(sample, participants, _most(members, sizes, compromised, cohort), blocks)


def cyclic_poisson(
    participants: int,
    rate: float,
    blocks: int,
    *,
    seed: int = 0,
    attackers: Sequence[int] = (),
) -> Sampler:
    """Everyone of block t mod `blocks` by itself with probability `rate` in round t.

    Blocks are as in `cyclic`. What banded DP-FTRL with amplification is accounted for
    [Choquette-Choo et al. 2023, "(Amplified) Banded Matrix Factorization"].

    Raises:
        ConfigError: a rate outside (0, 1], or more blocks than participants.
    """
    if not 0 < rate <= 1:
        raise errors.ConfigError(f"a sampling rate must lie in (0, 1], got {rate}.")
    errors.whole("participants", participants, least=1)
    _check(participants, 1, attackers, fit=False)
    members, sizes, compromised = _blocks(participants, blocks, seed, attackers)
    below = private.threshold(rate)
    places = private.capacity(members.shape[1], rate)

    def sample(key, round):
        block = round % blocks
        draws = jax.random.uniform(key, members.shape[1:])
        there = jnp.arange(members.shape[1]) < jnp.asarray(sizes)[block]
        draws = jnp.where(there, draws, 2.0)
        order = jnp.argsort(draws)[:places]
        ids = jnp.asarray(members)[block][order]
        return Cohort(ids, jnp.asarray(compromised)[ids], draws[order] < below)

    return Sampler(sample, participants, _most(members, sizes, compromised, places), blocks)


def _blocks(participants: int, blocks: int, seed: int, attackers: Sequence[int]):
    """(ids (blocks, places), sizes of the blocks, who is compromised).

    A smaller block's last place holds someone of another one, who is never active there.
    """
    errors.whole("blocks", blocks, least=1)
    errors.whole("the seed of the blocks", seed)
    if blocks > participants:
        raise errors.ConfigError(
            f"{participants} participants do not fill {blocks} blocks; take at most as many."
        )
    order = np.random.default_rng(seed).permutation(participants)
    places = -(-participants // blocks)
    members = np.resize(order, places * blocks).reshape(places, blocks).T.astype(np.int32)
    sizes = np.full(blocks, places)
    sizes[participants - (places - 1) * blocks :] -= 1
    compromised = np.zeros(participants, bool)
    compromised[list(attackers)] = True
    return members, sizes, compromised


def _most(members, sizes, compromised, places: int) -> int:
    """The most compromised participants that a round of one block can hold."""
    there = np.arange(members.shape[1]) < sizes[:, None]
    return min(int(np.sum(compromised[members] & there, axis=1).max()), places)


def single_shot(
    participants: int, cohort: int, *, attackers: Sequence[int], rounds: Sequence[int]
) -> Sampler:
    """Benign participants only, but in `rounds` the attackers take the first places.

    The paper's single-shot schedule: exactly the attackers in exactly these rounds.
    """
    _check(participants, cohort, attackers)
    for number in rounds:
        errors.whole("the number of a round with attackers", number)
    benign = np.setdiff1d(np.arange(participants), attackers)
    if len(benign) < cohort:
        raise errors.ConfigError(
            f"{len(benign)} benign participants do not fill the rounds of m = {cohort} in which"
            " no attacker takes part."
        )

    def sample(key, round):
        ids = jax.random.permutation(key, jnp.asarray(benign, jnp.int32))[:cohort]
        place = jnp.arange(cohort)
        attacked = jnp.isin(round, jnp.asarray(list(rounds), jnp.int32))
        malicious = attacked & (place < len(attackers))
        who = jnp.asarray([*attackers, *[0] * (cohort - len(attackers))], jnp.int32)
        return Cohort(jnp.where(malicious, who, ids), malicious, jnp.ones(cohort, bool))

    return Sampler(sample, participants, len(attackers))


def everyone(participants: int, *, attackers: Sequence[int] = ()) -> Sampler:
    """All participants, every round, in order of their ids; attackers act in each."""
    _check(participants, participants, attackers, fit=False)
    compromised = np.zeros(participants, bool)
    compromised[list(attackers)] = True

    def sample(key, round):
        del key, round
        ids = jnp.arange(participants)
        return Cohort(ids, jnp.asarray(compromised), jnp.ones(participants, bool))

    return Sampler(sample, participants, int(compromised.sum()))


def check_population(people: Population, participants: int) -> None:
    """Refuses a population of another size than the sampler's: indexing would clamp its ids.

    Raises:
        ConfigError: another number of participants.
    """
    (count,) = people.size.shape
    if count != participants:
        raise errors.ConfigError(
            f"the sampler draws from {participants} participants, but the population has"
            f" {count}; make both for the same number."
        )


def dropout(sampler: Sampler, rate: float) -> Sampler:
    """The same cohorts, of which each update fails to arrive with this probability.

    Raises:
        ConfigError: a rate outside [0, 1).
    """
    errors.below_one("a drop-out rate", rate)

    def sample(key, round):
        chosen = sampler.draw(key, round)
        lost = jax.vmap(lambda ident: jax.random.bernoulli(rng.fold(key, "lost", ident), rate))
        return chosen._replace(active=chosen.active & ~lost(chosen.ids))

    return sampler._replace(draw=sample)
