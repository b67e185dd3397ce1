"""FedBuff and FedAsync: what stands in the place of a round's sampler when nobody waits.

A server step is then a round whose K clients each train from a version of their own: all side by
side, at the cost of a synchronous cohort of K, and with every attack, rule, defence and server
optimizer in its slot.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.federated.asynchronous import arrivals as arriving
from fl_jax.federated.asynchronous import staleness
from fl_jax.federated.asynchronous.arrivals import Arrivals, Buffer, Flights
from fl_jax.train.state import Variables


class Late(NamedTuple):
    """Everything that the next server step needs of the earlier ones."""

    flights: Flights
    history: PyTree  # leaves (versions, ...): version v stands in place v % versions


class Buffered(NamedTuple):
    """Rounds of late updates, for `round.make(sampler=...)`; made by `buffered`."""

    arrivals: Arrivals
    versions: int
    discount: Callable[[Int[Array, "*many"]], Float[Array, "*many"]]
    mixing: bool
    memory: int

    @property
    def participants(self) -> int:
        """Whom it draws from."""
        return self.arrivals.participants

    @property
    def attackers(self) -> int:
        """The most compromised participants that one buffer can hold."""
        return self.arrivals.attackers

    @property
    def separation(self) -> int:
        """Steps from one update of a participant to its next, at least."""
        return self.arrivals.separation

    def init(self, variables: Variables) -> Late:
        """Nobody is training yet, and the first version is there.

        Raises:
            ConfigError: versions that do not fit `memory`.
        """
        needed = self.versions * tree.nbytes(variables)
        if needed > self.memory:
            raise errors.ConfigError(
                f"{self.versions} versions of the model take {needed:,} bytes, but `memory` allows"
                f" {self.memory:,}; raise it, or keep fewer."
            )
        places = lambda a: jnp.zeros((self.versions, *a.shape), a.dtype)
        late = Late(self.arrivals.init(), jax.tree.map(places, variables))
        return self.keep(late, variables, 0)

    def draw(self, late: Late, key: Key[Array, ""], step) -> tuple[Buffer, Late]:
        """The arrivals of a step; those that began before the oldest version are not active."""
        found, flights = self.arrivals.draw(late.flights, key, step)
        known = found.cohort.active & (found.age < self.versions)
        found = found._replace(cohort=found.cohort._replace(active=known))
        return found, late._replace(flights=flights)

    def keep(self, late: Late, variables: Variables, number) -> Late:
        """With the model that is sent to whoever begins after so many steps."""
        put = lambda all, new: all.at[number % self.versions].set(new)
        return late._replace(history=jax.tree.map(put, late.history, variables))

    def version(self, late: Late, number) -> Variables:
        """The model that was sent to whoever began after so many steps."""
        return jax.tree.map(lambda all: all[number % self.versions], late.history)


def buffered(
    arrivals: Arrivals,
    *,
    versions: int,
    discount: staleness.Discount | None = None,
    mixing: bool = False,
    memory: int = 2**32,
) -> Buffered:
    """Server steps of K late updates: G <- G + rule(s(age_1) D_1, ..., s(age_K) D_K).

    FedBuff is the mean of a buffer. D_i is how client i moved the model that it was sent, clipped
    by the defence before it is discounted and by the rule (DP-FedAvg, centred clipping) after. A
    mean divides by K, or by the weights of what arrived, not by the discounts. Rules that compare
    updates (median, Krum) see discounted ones and need a K of several; with K = 1 there is nobody
    to compare with. Mixing is FedAsync: D_i = w_i - G, to the model as it is now, and with
    `mean.fedavg(eta=alpha, participants=1)` and K = 1 the server does
    G <- (1 - alpha s) G + alpha s w_i. Its local term rho/2 ||w - w_0||^2 is `client.make`'s
    `proximal`.

    An attack's view is of the newest model that any of the buffer's attackers was sent; each of
    their updates is discounted by its own age. A participant is in a buffer once at most, so
    that what it remembers (error feedback) and draws is its own as in a synchronous round.

    Differential privacy: arrivals are no secret random sample, and nothing is amplified. With
    `dp_fedavg` (expected = K) a step is one Gaussian mechanism of noise multiplier z, whatever the
    ages, and T steps hold at most P = ceil(T / separation) updates of a participant: a ledger of
    `Adjacency.ADD_REMOVE` records `Gaussian(z)` P times. `dp_ftrl` is accounted for by the
    separation itself. Neighbours are those of a schedule: a participant sends zeros in all of its
    places. It holds if nobody's data decide when anybody's updates arrive, which of real arrivals
    is an assumption (more data take longer), and of the simulated ones true.

    Secure aggregation is refused: its masks are agreed by a cohort that is known before anyone
    sends, and nobody knows which buffer an update will fall into.

    Args:
        arrivals: who arrives when, from `arrivals`.
        versions: S, models that the server keeps; an update of age S or more is lost, though it
            has its place in the buffer. `needed` is how many lose none.
        discount: s, from `staleness`; None = (1 + age)^-1/2.
        mixing: count w_i - G in the place of how the model that it was sent was moved.
        memory: bytes that the versions may take.

    Raises:
        ConfigError: versions no whole number of 1 or more, or what are no arrivals.

    References:
        Nguyen et al. 2022, "Federated Learning with Buffered Asynchronous Aggregation",
        Algorithm 1; Xie, Koyejo, Gupta 2019, "Asynchronous Federated Optimization", Algorithm 1.
    """
    errors.whole("versions", versions, least=1)
    if not isinstance(arrivals, Arrivals):
        raise errors.ConfigError(
            "late updates need `arrivals.arrivals(...)`, which say who arrives when, got"
            f" {type(arrivals).__name__}."
        )
    discount = staleness.polynomial(0.5) if discount is None else discount
    return Buffered(arrivals, versions, discount, mixing, memory)


def needed(arrivals: Arrivals, key: Key[Array, "*runs"], steps: int) -> int:
    """The versions that a run of so many steps with this key, or any of these, has to keep.

    Args:
        key: the run's key, or (runs,) of them.
    """
    keys = key.reshape(-1)
    ages = jax.jit(jax.vmap(lambda k: arriving.observe(arrivals, k, steps).age))(keys)
    return int(ages.max()) + 1


def check(late: Buffered, key: Key[Array, "*runs"], steps: int) -> None:
    """Refuses a run of so many steps that loses updates; arguments as of `needed`.

    Raises:
        ConfigError: an update that began before the oldest version that is kept.
    """
    least = needed(late.arrivals, key, steps)
    if least > late.versions:
        raise errors.ConfigError(
            f"within {steps} steps an update arrives that is {least - 1} versions old, but only"
            f" {late.versions} versions are kept; keep {least}, enlarge the buffer of"
            f" K = {late.arrivals.buffer}, or let fewer than M = {late.arrivals.concurrency} train"
            " at a time."
        )
