"""Shadow data without the target's data: three ways of making it.

1. `climb`: search for records that the target is sure of, by hill climbing on its answers
   [Shokri et al. 2017, Algorithm 1]. Thousands of chains run in one compiled loop; a lane whose
   chain has ended takes the next one, so no query is asked for nothing.
2. `marginals`: every feature by itself from its marginal distribution.
3. `noisy`: real records with a share of their binary features flipped.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Key
from privacy.membership.target import BlackBox


@dataclasses.dataclass(frozen=True)
class Climb:
    """Algorithm 1's parameters."""

    most: int = 128  # k_max: features re-drawn at first [paper, Purchase; from memory]
    least: int = 4  # k_min: features re-drawn at last [paper, Purchase; from memory]
    rejections: int = 3  # rej_max: failures in a row after which k is halved [ART's default]
    confidence: float = 0.4  # conf_min: least probability of the class [ART's default]
    iterations: int = 1000  # iter_max: queries after which a chain fails
    lanes: int = 256  # chains side by side; more on an accelerator


class Synthetic(NamedTuple):
    """What the search found."""

    x: np.ndarray  # (chains, features) the accepted record, or the best one so far
    labels: np.ndarray  # (chains,) the class that was asked for
    found: np.ndarray  # (chains,) bool; False is a normal outcome: some classes cannot be made
    confidence: np.ndarray  # (chains,) the target's probability of the class for x
    queries: np.ndarray  # (chains,) queries that the chain took


Draw = Callable[[Array], Array]
"""key -> one record, each feature uniform over its values"""


@functools.cache
def binary(features: int) -> Draw:
    """Records of fair bits, uint8."""
    words = -(-features // 32)

    def draw(key):
        bits = (
            jax.random.bits(key, (words, 1), jnp.uint32) >> jnp.arange(32, dtype=jnp.uint32)[None]
        )
        return (bits.reshape(-1)[:features] & 1).astype(jnp.uint8)

    return draw


def uniform(low: np.ndarray, high: np.ndarray) -> Draw:
    """Records uniform between `low` and `high`, (features,) float32 each."""
    low, high = (jnp.asarray(bound, jnp.float32) for bound in (low, high))
    return lambda key: low + (high - low) * jax.random.uniform(key, low.shape)


def climb(
    box: BlackBox,
    labels: np.ndarray,
    draw: Draw,
    key: Key[Array, ""],
    config: Climb = Climb(),
) -> Synthetic:
    """One record per wanted label, or the notice that none was found.

    A chain depends on its number and the key alone, not on the lanes or the chains beside it.

    Args:
        box: the target; its meter is charged for every query. If it has a limit, chains that
            are not done when it is reached fail.
        labels: (chains,) the class that each is to be a confident example of.
        draw: records at random, from `binary` or `uniform`.
        key: of all chains.
        config: of the search.

    Raises:
        ConfigError: a class that the target does not have, k_min above k_max, no lanes or no
            iterations.
        DataError: labels that are no whole numbers.
    """
    labels = np.asarray(labels)
    if labels.size and not np.issubdtype(labels.dtype, np.integer):
        raise errors.DataError(f"labels must be whole numbers, got {labels.dtype}; give classes.")
    labels = labels.astype(np.int32)
    errors.whole("lanes", config.lanes, 1)
    errors.whole("iterations", config.iterations, 1)
    if not (labels.min(initial=0) >= 0 and labels.max(initial=0) < box.classes):
        raise errors.ConfigError(
            f"classes to synthesise must lie in 0..{box.classes - 1}, got {labels.min()} to"
            f" {labels.max()}."
        )
    if not 0 < config.least <= config.most:
        raise errors.ConfigError(
            f"k_min must be between 1 and k_max, got {config.least} and {config.most}."
        )
    meter = box.meter
    most = np.iinfo(np.int32).max
    budget = most if meter.limit is None else min(meter.limit - meter.count, most)
    if budget <= 0:
        meter.charge(1)  # refuses
    config = dataclasses.replace(config, lanes=min(config.lanes, len(labels), budget))
    out = _climb(box.answer, draw, config, jnp.asarray(labels), key, jnp.int32(budget))
    x, found, confidence, queries = (np.asarray(a) for a in out)
    meter.charge(int(queries.sum()))
    return Synthetic(x, labels, found, confidence, queries)


class _Lanes(NamedTuple):
    """One chain a lane; `job` beyond the last means idle."""

    job: Array
    best: Array  # (lanes, features)
    y_best: Array
    rejected: Array  # j
    k: Array
    asked: Array


@functools.partial(jax.jit, static_argnames=("answer", "draw", "config"))
def _climb(answer, draw, config, labels, key, budget):
    jobs, lanes = labels.shape[0], config.lanes
    shape = jax.eval_shape(draw, key)
    features = shape.shape[0]
    most, least = min(config.most, features), min(config.least, features)

    def fresh(job):
        """A lane at the start of a chain: nothing is known, any answer is better."""
        zero = jnp.zeros(job.shape, jnp.int32)
        best = jnp.zeros((*job.shape, features), shape.dtype)
        start = jnp.zeros(job.shape, jnp.float32)
        return _Lanes(job, best, start, zero, zero + most, zero)

    def propose(job, asked, best, k):
        own = rng.fold(key, job, asked)
        drawn = draw(rng.fold(own, "values"))
        return jnp.where((asked == 0) | chosen(rng.fold(own, "places"), features, k), drawn, best)

    def step(carry):
        lane, next_job, spent, out = carry
        busy = lane.job < jobs
        at = jnp.minimum(lane.job, jobs - 1)
        x = jax.vmap(propose)(lane.job, lane.asked, lane.best, lane.k)
        answers = answer(x).astype(jnp.float32)
        want = labels[at]
        y = jnp.take_along_axis(answers, want[:, None], axis=1)[:, 0]

        better = y >= lane.y_best
        sure = better & (y > config.confidence) & (jnp.argmax(answers, 1) == want)
        coin = jax.vmap(lambda j, a: jax.random.uniform(rng.fold(key, j, a, "accept")))
        accept = sure & (coin(lane.job, lane.asked) < y) & busy

        rejected = jnp.where(better, 0, lane.rejected + 1)
        halve = rejected > config.rejections
        k = jnp.where(halve, jnp.maximum(least, (lane.k + 1) // 2), lane.k)
        lane = _Lanes(
            lane.job,
            jnp.where(better[:, None], x, lane.best),
            jnp.where(better, y, lane.y_best),
            jnp.where(halve, 0, rejected),
            k,
            lane.asked + 1,
        )
        spent += jnp.sum(busy).astype(jnp.int32)
        # A chain ends when it is accepted or has used up its queries; so do all when the budget
        # does not cover another round of them.
        short = spent + jnp.sum(busy).astype(jnp.int32) > budget
        ended = busy & (accept | (lane.asked >= config.iterations) | short)
        place = jnp.where(ended, lane.job, jobs)
        put = lambda all, new: all.at[place].set(new, mode="drop")
        out = jax.tree.map(put, out, (lane.best, accept, lane.y_best, lane.asked))
        order = jnp.cumsum(ended.astype(jnp.int32)) - 1
        job = jnp.where(ended, jnp.where(short, jobs, next_job + order), lane.job)
        new = fresh(job)
        pick = lambda a, b: jnp.where(ended.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        return jax.tree.map(pick, new, lane), next_job + jnp.sum(ended), spent, out

    def going(carry):
        return jnp.any(carry[0].job < jobs)

    out = (
        jnp.zeros((jobs, features), shape.dtype),
        jnp.zeros(jobs, bool),
        jnp.zeros(jobs, jnp.float32),
        jnp.zeros(jobs, jnp.int32),
    )
    first = fresh(jnp.arange(lanes, dtype=jnp.int32))
    carry = (first, jnp.int32(lanes), jnp.int32(0), out)
    return jax.lax.while_loop(going, step, carry)[3]


def chosen(key, features: int, k):
    """(features,) bool: exactly k places at random, k being data and not shape.

    The k-th smallest of distinct random numbers is found by bisection on their bits, 31 passes
    without a sort; the low bits are the place itself, so that no two numbers are equal.
    """
    width = max(1, (features - 1).bit_length())
    draws = jax.random.bits(key, (features,), jnp.uint32) >> 1
    draws = (draws >> width << width) | jnp.arange(features, dtype=jnp.uint32)

    def bit(i, low):
        """low: the largest number known to have fewer than k draws below it."""
        trial = low | (jnp.uint32(1) << (jnp.uint32(30) - i.astype(jnp.uint32)))
        below = jnp.sum(draws < trial, dtype=jnp.int32)
        return jnp.where(below < k, trial, low)

    cut = jax.lax.fori_loop(0, 31, bit, jnp.uint32(0))
    return draws <= cut


def marginals(x: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """(count, features) records whose features are drawn independently from those of x.

    Each feature of each record is that feature of some record of x, so the marginals are exact
    and nothing else of x is left.
    """
    rng = np.random.default_rng(seed)
    out = np.empty((count, x.shape[1]), x.dtype)
    for feature in range(x.shape[1]):
        out[:, feature] = x[rng.integers(len(x), size=count), feature]
    return out


def noisy(x: np.ndarray, share: float, *, seed: int = 0) -> np.ndarray:
    """The binary records with this share of every record's features flipped.

    Raises:
        ConfigError: a share outside [0, 1].
        DataError: features that are not 0 or 1.
    """
    if not 0 <= share <= 1:
        raise errors.ConfigError(f"the share of features to flip lies in [0, 1], got {share}.")
    if not np.isin(x, (0, 1)).all():
        raise errors.DataError("noise of this kind flips bits: the features must be 0 or 1.")
    flips = round(share * x.shape[1])
    if not flips:
        return x.copy()
    order = np.random.default_rng(seed).random(x.shape).argpartition(flips - 1, axis=1)
    turned = np.zeros(x.shape, bool)
    np.put_along_axis(turned, order[:, :flips], True, axis=1)
    return np.where(turned, 1 - x, x).astype(x.dtype)
