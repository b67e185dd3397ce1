"""Which records stand in which batch of which round: every participant's walk through its data.

All is index arithmetic on the host and a function of (seed, name, position) alone, so the
batches of round t can be made without those before it.
"""

import zlib
from collections.abc import Callable

import numpy as np

from fl_jax.core import errors
from privacy.leakage.split import Split

POSITIVE_SHARES = (1.0, 1.0, 0.4, 0.4, 0.6, 0.6, 0.8, 0.8)  # of the auxiliary batches [authors]
NEGATIVES = 8  # auxiliary batches without the property [authors]


class Stream:
    """A pool of records, read in a new order each time it is used up.

    Example:
        >>> stream = Stream(np.arange(4), "mine", seed=0)
        >>> sorted(stream.take(4, 4).tolist()), stream.take(2, 6)[2:].tolist() == stream.take(
        ...     4, 4
        ... ).tolist()
        ([0, 1, 2, 3], True)
    """

    def __init__(self, pool: np.ndarray, name: str, *, seed: int):
        if len(pool) == 0:
            raise errors.DataError(f"there is no record to draw for {name}; give it at least one.")
        self.pool = np.asarray(pool)
        self._entropy = (seed, zlib.crc32(name.encode()))
        self._orders: dict[int, np.ndarray] = {}

    def take(self, first: int, count: int) -> np.ndarray:
        """Records `first` ... `first + count - 1` of the endless sequence."""
        position = first + np.arange(count)
        epoch, place = position // len(self.pool), position % len(self.pool)
        found = np.empty(count, np.int32)
        for e in np.unique(epoch).tolist():
            inside = epoch == e
            found[inside] = self.pool[self._order(e)[place[inside]]]
        return found

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            if len(self._orders) > 8:
                self._orders.clear()
            generator = np.random.default_rng((*self._entropy, epoch))
            self._orders[epoch] = generator.permutation(len(self.pool))
        return self._orders[epoch]


def every(period: int = 5, share: float = 1.0) -> Callable[[int], float]:
    """round -> the victim's share: a batch with the property each `period` rounds [authors]."""
    errors.whole("period", period, 1)
    _in_range(share)
    return lambda t: share if t % period == 0 else 0.0


def cycling(shares: tuple[float, ...], period: int = 5) -> Callable[[int], float]:
    """As `every`, each of the shares in its turn."""
    errors.whole("period", period, 1)
    if not shares:
        raise errors.ConfigError("a cycle needs one share at least.")
    for share in shares:
        _in_range(share)
    return lambda t: shares[t // period % len(shares)] if t % period == 0 else 0.0


def between(first: int, last: int, share: float = 1.0) -> Callable[[int], float]:
    """round -> the share in rounds `first` <= t < `last`, and nothing outside."""
    _in_range(share)
    return lambda t: share if first <= t < last else 0.0


def _in_range(share: float) -> None:
    if not 0 < share <= 1:
        raise errors.ConfigError(f"a property share lies in (0, 1], got {share}.")


def count(share: float, batch: int) -> int:
    """Whole records in a share of a batch; 0.29 of 100 are 29, which 28.999999999999996 is not."""
    return int(share * batch + 1e-9)


class Draws:
    """The batches of all rounds of one run.

    Args:
        split: who holds what.
        batch: records of a batch.
        schedule: round -> share of property records in the victim's batch, in [0, 1].
        seed: of all orders.
        steps: local steps of a round (federated averaging); 0 = one batch without that axis.
        record: (warm up, period): auxiliary updates are computed in rounds t >= warm up with
            t % period == 0.
        others: innocent updates in what the adversary sees, beside the victim's.
        pool: innocent updates computed each recorded round, of which every auxiliary update
            takes `others` at random; 0 = fresh ones for each.
        positive: share of property records in each auxiliary batch with the property.
        negatives: auxiliary batches without.
        adversary: share of property records in the adversary's own batches; 0.2 in the active
            attack [authors].

    Raises:
        ConfigError: a share of `positive` or `adversary` that is no whole record of a batch, a
            share outside (0, 1], or a pool smaller than `others`.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch: int,
        schedule: Callable[[int], float],
        seed: int,
        steps: int = 0,
        record: tuple[int, int] = (100, 1),
        others: int = 0,
        pool: int = 32,
        positive: tuple[float, ...] = POSITIVE_SHARES,
        negatives: int = NEGATIVES,
        adversary: float = 0.0,
    ):
        errors.whole("batch", batch, 1)
        errors.whole("warm up", record[0])
        errors.whole("period of the recorded rounds", record[1], 1)
        for share in (*positive, *([adversary] if adversary else [])):
            _in_range(share)
            if not count(share, batch):
                raise errors.ConfigError(
                    f"a share of {share:g} of a batch of {batch} is no record with the property;"
                    " choose larger batches or shares."
                )
        if pool and pool < others:
            raise errors.ConfigError(
                f"a pool of {pool} innocent updates cannot give {others} to each auxiliary update;"
                " make it larger, or 0 for fresh ones."
            )
        self.batch, self.steps, self.schedule = batch, max(steps, 1), schedule
        self.shape = (steps, batch) if steps else (batch,)
        self.record, self.others, self.seed, self.adversary = record, others, seed, adversary
        self.positive, self.negatives = positive, negatives
        self.fresh = others > 0 and not pool
        self.pool = (len(positive) + negatives) * others if self.fresh else (pool if others else 0)
        stream = lambda pool, name: Stream(pool, name, seed=seed)
        self._victim = [
            stream(split.victim_property, "victim, property"),
            stream(
                split.victim_rest if len(split.victim_rest) else split.victim_property, "victim"
            ),
        ]
        self._shares = [stream(s, f"participant {k + 1}") for k, s in enumerate(split.shares)]
        self._own = stream(split.auxiliary_property, "adversary, property")
        self._auxiliary = [
            stream(split.auxiliary_property, "auxiliary, property"),
            stream(split.auxiliary_rest, "auxiliary"),
        ]
        self._innocent = stream(split.auxiliary_rest, "pool")

    @property
    def labels(self) -> np.ndarray:
        """(auxiliary updates,) 1 with the property, 0 without."""
        return np.repeat([1, 0], [len(self.positive), self.negatives]).astype(np.int32)

    def shares(self, rounds: int) -> np.ndarray:
        """(rounds,) the share of property records that the victim trained on."""
        return np.array([count(self.schedule(t), self.batch) for t in range(rounds)]) / self.batch

    def recorded(self, t: int) -> bool:
        """Whether auxiliary updates are computed in round t."""
        warm, period = self.record
        return t >= warm and t % period == 0

    def rounds(self, first: int, count: int) -> dict[str, np.ndarray]:
        """Index arrays of rounds `first` ... `first + count - 1`, stacked.

        Returns:
            `participants` (count, K, *shape), `auxiliary` (count, P + N, *shape), `pool`
            (count, M, *shape), `chosen` (count, P + N, others) places in the pool, `record`
            (count,) bool.
        """
        made = [self._round(t) for t in range(first, first + count)]
        return {name: np.stack([one[name] for one in made]) for name in made[0]}

    def _mixed(self, streams, at: int, shares) -> np.ndarray:
        """Batches (len(shares), *shape) with these shares of property records.

        Each reads as many of both streams as it could need: positions are the same whatever
        the shares are.
        """
        size = self.batch * self.steps
        have, rest = (
            s.take(at * len(shares) * size, len(shares) * size).reshape(-1, self.steps, self.batch)
            for s in streams
        )
        many = np.array([count(share, self.batch) for share in shares])[:, None, None]
        mixed = np.where(np.arange(self.batch) < many, have, rest)
        return mixed.reshape(len(shares), *self.shape)

    def _round(self, t: int) -> dict[str, np.ndarray]:
        size = self.batch * self.steps
        victim = self._mixed(self._victim, t, [self.schedule(t)])
        adversary = self._mixed([self._own, self._shares[0]], t, [self.adversary])
        innocent = [s.take(t * size, size).reshape(1, *self.shape) for s in self._shares[1:]]
        recorded = self.recorded(t)
        shares = [*self.positive, *[0.0] * self.negatives]
        total = len(shares)
        auxiliary = np.zeros((total, *self.shape), np.int32)
        pool = np.zeros((self.pool, *self.shape), np.int32)
        chosen = np.zeros((total, self.others), np.int32)
        if recorded:  # the others are not looked at
            auxiliary = self._mixed(self._auxiliary, t, shares)
            pool = self._innocent.take(t * self.pool * size, self.pool * size).reshape(pool.shape)
            generator = np.random.default_rng((self.seed, zlib.crc32(b"chosen"), t))
            if self.fresh:
                chosen = np.arange(self.pool, dtype=np.int32).reshape(chosen.shape)
            elif self.others:
                order = generator.random((total, self.pool)).argsort(axis=1)
                chosen = order[:, : self.others].astype(np.int32)
        return {
            "participants": np.concatenate([victim, adversary, *innocent]),
            "auxiliary": auxiliary,
            "pool": pool,
            "chosen": chosen,
            "record": np.array(recorded),
        }
