"""Who arrives when: M participants train at any time, and the server steps at every K-th arrival.

The simulation knows nothing of models, so that it can be looked at before anything is trained
(`observe`). Time is counted from the last server step on: float32 keeps its digits in long runs.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Float, Int, Key
from fl_jax.federated.asynchronous.delays import Delay
from fl_jax.federated.sampling import Cohort


class Flights(NamedTuple):
    """Who is training."""

    ids: Int[Array, " places"]  # `participants` where nobody is
    began: Int[Array, " places"]  # server steps behind the model that it was sent
    since: Float[Array, " places"]  # when it began, from the last server step on: <= 0
    left: Float[Array, " places"]  # time until its update arrives; inf where nobody is
    used: Int[Array, " participants"]  # the server step that took its last update


class Buffer(NamedTuple):
    """The arrivals of one server step, in their order."""

    cohort: Cohort
    age: Int[Array, " buffer"]  # server steps between the model it was sent and this one's
    elapsed: Float[Array, ""]  # time since the last server step


class Arrivals(NamedTuple):
    """A simulator, made by `arrivals`."""

    init: Callable[[], Flights]
    draw: Callable[[Flights, Key[Array, ""], Int[Array, ""]], tuple[Buffer, Flights]]
    """(flights, key, number of the server step) -> (its buffer, flights)"""
    participants: int
    concurrency: int  # M
    buffer: int  # K
    separation: int = 1  # server steps from one update of a participant to its next, at least
    attackers: int = 0  # the most compromised participants that one buffer can hold


def arrivals(
    participants: int,
    *,
    concurrency: int,
    buffer: int,
    delay: Delay,
    separation: int = 1,
    attackers: Sequence[int] = (),
) -> Arrivals:
    """Participants drawn uniformly from those who are free, each begun when another arrives.

    Whoever begins is sent the newest model; server steps at the very instant come first, so that
    K = M and equal delays are synchronous rounds. Nobody begins while its update waits in the
    buffer: a step takes one update of a participant at most, and a place for which nobody is free
    waits for the step. With M = n everyone trains all the time but for that.

    Args:
        participants: n.
        concurrency: M, how many train at a time.
        buffer: K, arrivals that one server step takes; 1 is fully asynchronous.
        delay: from `delays`; drawn anew for every update, by who begins it and when.
        separation: server steps from one update of a participant to its next, at least: what
            bounds the number of its updates, however fast it is (see `buffered`). It times K is
            at most n.
        attackers: compromised participants, who come as they are drawn.

    Raises:
        ConfigError: a number out of range, more places than participants, a buffer that they do
            not fill, or delays of others.

    References:
        Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba 2022, "Federated Learning with
        Buffered Asynchronous Aggregation", Algorithm 1.
    """
    for name, value in {
        "participants (n)": participants,
        "concurrency (M)": concurrency,
        "buffer (K)": buffer,
        "separation": separation,
    }.items():
        errors.whole(name, value, least=1)
    if concurrency > participants:
        raise errors.ConfigError(
            f"M = {concurrency} of n = {participants} participants cannot train at a time; take"
            " M <= n."
        )
    if buffer * separation > participants:
        raise errors.ConfigError(
            f"a buffer of K = {buffer}, each participant in one of {separation} at most, takes"
            f" {buffer * separation} participants, but there are n = {participants}; take a"
            " smaller buffer or separation."
        )
    if delay.participants not in (None, participants):
        raise errors.ConfigError(
            f"delays are given for {delay.participants} participants, but there are"
            f" {participants}; give one each, or one for all."
        )
    compromised = _marks(participants, attackers)
    nobody = participants

    def init():
        places = jnp.zeros(concurrency, jnp.int32)
        return Flights(
            ids=places + nobody,
            began=places,
            since=places.astype(jnp.float32),
            left=jnp.full(concurrency, jnp.inf, jnp.float32),
            used=jnp.full(participants, -separation, jnp.int32),
        )

    def draw(flights: Flights, key, step):
        busy = jnp.zeros(participants, bool).at[flights.ids].set(True, mode="drop")
        free = ~busy & (step - flights.used >= separation)
        # Within a step nobody becomes free: this order holds for all who begin before its end.
        scores = jax.random.uniform(rng.fold(key, "next"), (participants,))
        queue = jnp.argsort(jnp.where(free, scores, 2.0)).astype(jnp.int32)
        count = jnp.sum(free)
        takes = lambda ident: delay.draw(rng.fold(key, "delay", ident), ident)
        at = lambda place: queue[jnp.clip(place, 0, participants - 1)]

        empty = flights.ids == nobody
        rank = jnp.cumsum(empty) - 1
        begins = empty & (rank < count)
        who = at(rank)
        flights = flights._replace(
            ids=jnp.where(begins, who, flights.ids),
            began=jnp.where(begins, step, flights.began),
            since=jnp.where(begins, 0.0, flights.since),
            left=jnp.where(begins, jax.vmap(takes)(who), flights.left),
        )

        def arrive(carry, place):
            flights, begun = carry
            first = jnp.argmin(flights.left)
            now, ident, began = flights.left[first], flights.ids[first], flights.began[first]
            # The last arrival's place is filled from the model that this step makes.
            goes_on = (begun < count) & (place < buffer - 1)
            new = at(begun)
            flights = flights._replace(
                ids=flights.ids.at[first].set(jnp.where(goes_on, new, nobody)),
                began=flights.began.at[first].set(step),
                since=flights.since.at[first].set(now),
                left=flights.left.at[first].set(jnp.where(goes_on, now + takes(new), jnp.inf)),
            )
            return (flights, begun + goes_on.astype(jnp.int32)), (now, ident, began)

        (flights, _), (times, ids, began) = jax.lax.scan(
            arrive, (flights, jnp.sum(begins)), jnp.arange(buffer)
        )
        end = times[-1]
        flights = flights._replace(
            began=jnp.where(flights.since >= end, step + 1, flights.began),
            since=flights.since - end,
            left=flights.left - end,
            used=flights.used.at[ids].set(step),
        )
        cohort = Cohort(ids, jnp.asarray(compromised)[ids], jnp.ones(buffer, bool))
        return Buffer(cohort, step - began, end), flights

    most = min(int(compromised.sum()), buffer)
    return Arrivals(init, draw, participants, concurrency, buffer, separation, most)


def single_shot(
    arrivals: Arrivals, *, attackers: Sequence[int], steps: Sequence[int], age: int
) -> Arrivals:
    """Benign arrivals only, but in `steps` the attackers have the first places of the buffer.

    Whoever would have had them is crowded out: its update is lost.

    Args:
        arrivals: without attackers of its own.
        age: server steps behind the model that the attackers were sent; 0 is fresh. In a step
            before that one they have the first model.

    Raises:
        ConfigError: attackers that do not fit, or others who do not fill the buffers.
    """
    a = arrivals
    compromised = _marks(a.participants, attackers)
    errors.whole("the age of the attackers' updates", age)
    for number in steps:
        errors.whole("the number of a step with attackers", number)
    count, others = len(attackers), a.participants - int(compromised.sum())
    if a.attackers or count != compromised.sum() or not 1 <= count <= a.buffer:
        raise errors.ConfigError(
            f"{count} attackers, each named once, have to fit a buffer of K = {a.buffer} of"
            " arrivals that are benign otherwise; take arrivals without attackers."
        )
    if others < max(a.concurrency, a.buffer * a.separation):
        raise errors.ConfigError(
            f"{others} benign participants do not fill M = {a.concurrency} places and buffers of"
            f" K = {a.buffer} with a separation of {a.separation}; take more participants."
        )

    def init():
        flights = a.init()
        never = jnp.iinfo(jnp.int32).max // 2  # has just been used, in every step: is not drawn
        return flights._replace(used=jnp.where(jnp.asarray(compromised), never, flights.used))

    def draw(flights, key, step):
        found, flights = a.draw(flights, key, step)
        place = jnp.arange(a.buffer)
        hit = jnp.isin(step, jnp.asarray(list(steps), jnp.int32)) & (place < count)
        who = jnp.asarray([*attackers, *[0] * (a.buffer - count)], jnp.int32)
        cohort = found.cohort._replace(ids=jnp.where(hit, who, found.cohort.ids), malicious=hit)
        ages = jnp.where(hit, jnp.minimum(age, step), found.age)
        return found._replace(cohort=cohort, age=ages), flights

    gaps = [after - before for before, after in itertools.pairwise(sorted(set(steps)))]
    separation = min([a.separation, *gaps])
    return a._replace(init=init, draw=draw, attackers=count, separation=separation)


def observe(arrivals: Arrivals, key: Key[Array, ""], steps: int) -> Buffer:
    """The buffers of so many server steps, stacked (steps, ...): those of a round with this key."""

    def one(flights, step):
        own = rng.fold(key, "round", step, "sample")
        found, flights = arrivals.draw(flights, own, step)
        return flights, found

    return jax.lax.scan(one, arrivals.init(), jnp.arange(steps))[1]


def _marks(participants: int, attackers: Sequence[int]) -> np.ndarray:
    """(participants,) who is compromised."""
    marks = np.zeros(participants, bool)
    for attacker in attackers:
        errors.whole("the number of an attacker", attacker)
        if attacker >= participants:
            raise errors.ConfigError(
                f"attacker {attacker} is not one of the participants 0..{participants - 1}."
            )
        marks[attacker] = True
    return marks
