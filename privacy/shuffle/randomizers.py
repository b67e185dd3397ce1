"""The local randomizers, jitted, each with its unbiased estimator.

A randomizer is written for one user; `jax.vmap` it over (key, record). `estimate` takes the
reports of all users, in any order, and returns an unbiased estimate: the frequencies of the k
symbols, or the mean of the records.

A record outside the domain is replaced by a valid one inside the randomizer, because the guarantee
must hold for whatever a user holds: a symbol outside 0..k-1 by 0, a number that is not finite by 0.

The privacy statement is about real arithmetic and true randomness. float32 sampling and JAX's
counter-based generator approximate both: a probability is right to 1e-7, and a rare one to a
thousandth of itself. An eps0 below 1e-4 is only roughly what it says; a large one gives no report
away. Deployments need a cryptographic source.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from privacy.accounting.errors import PrivacyError, count, positive
from privacy.shuffle import mechanisms
from privacy.shuffle.question import LARGEST


class Randomizer(NamedTuple):
    """A local randomizer and what undoes its bias."""

    randomize: Callable[[Key[Array, ""], Any], PyTree]  # (key, record) -> report
    estimate: Callable[[PyTree], Float[Array, "..."]]  # reports (n, ...) -> estimate


def _budget(eps0):
    eps0 = positive("eps0", eps0)
    if eps0 > LARGEST:
        raise PrivacyError(f"eps0 must be <= {LARGEST:g} for a randomizer, got {eps0:g}.")
    return eps0


def _symbol(symbol, k):
    return jnp.where((symbol >= 0) & (symbol < k), symbol, 0)


def _coin(key, yes: float, no: float, shape: tuple[int, ...] = ()) -> Bool[Array, "..."]:
    """True with probability `yes`, False with `no`, which add up to 1; either may be tiny.

    A uniform float32 is a multiple of 2^-23: one comparison would never say what is rarer. What is
    rare happens where so many random bits are 0 as halve 1 down to it, and then by a comparison.
    """
    rare = min(yes, no)
    rest, halvings = math.frexp(rare)
    halvings = -halvings
    if halvings < 10:
        return jax.random.bernoulli(key, yes, shape)
    first, last = jax.random.split(key)
    masks = np.full(-(-halvings // 32), 2**32 - 1, np.uint32)
    masks[-1] >>= -halvings % 32
    bits = jax.random.bits(first, (*shape, masks.size), jnp.uint32)
    none = jnp.all(bits & jnp.broadcast_to(masks, bits.shape) == 0, axis=-1)
    hit = none & jax.random.bernoulli(last, rest, shape)
    return hit if yes < no else ~hit


def randomized_response(k: int, eps0: float) -> Randomizer:
    """k-ary randomized response; records and reports are symbols 0..k-1."""
    eps0 = _budget(eps0)
    p = mechanisms.RandomizedResponse(k).level(eps0).only
    own = 1 - (k - 1) * p

    def randomize(key, symbol: Int[Array, ""]) -> Int[Array, ""]:
        keep, other = jax.random.split(key)
        symbol = _symbol(symbol, k)
        # another symbol, uniformly: a shift by 1..k-1
        shifted = (symbol + jax.random.randint(other, (), 1, k)) % k
        return jnp.where(_coin(keep, own, (k - 1) * p), symbol, shifted)

    def estimate(reports: Int[Array, " n"]) -> Float[Array, " k"]:
        share = jnp.mean(jax.nn.one_hot(reports, k), axis=0)
        return (share - p) / (own - p)

    return Randomizer(randomize, estimate)


def _bits(k, own, other):
    """Estimator of frequencies from indicator vectors with these rates for own and other."""

    def estimate(reports: Bool[Array, "n k"]) -> Float[Array, " k"]:
        return (jnp.mean(reports.astype(jnp.float32), axis=0) - other) / (own - other)

    return estimate


def subset_selection(k: int, size: int, eps0: float) -> Randomizer:
    """A subset of `size` symbols as a (k,) bool vector."""
    mechanisms.SubsetSelection(k, size)
    eps0 = _budget(eps0)
    e0 = math.exp(eps0)
    hold = size * e0 / (size * e0 + k - size)  # the subset holds the own symbol
    other = (hold * (size - 1) + (1 - hold) * size) / (k - 1)

    def randomize(key, symbol):
        keep, order = jax.random.split(key)
        holds = _coin(keep, hold, (k - size) / (size * e0 + k - size))
        # the own symbol first or last, the others by random priority between
        rank = (
            jax.random.uniform(order, (k,)).at[_symbol(symbol, k)].set(jnp.where(holds, -1.0, 2.0))
        )
        return jnp.zeros(k, bool).at[jnp.argsort(rank)[:size]].set(True)

    return Randomizer(randomize, _bits(k, hold, other))


def unary_encoding(k: int, eps0: float) -> Randomizer:
    """Optimized unary encoding: a (k,) bool vector."""
    return _flips(k, 0.5, _share(_budget(eps0)))


def rappor(k: int, eps0: float) -> Randomizer:
    """Basic RAPPOR: a (k,) bool vector."""
    half = _budget(eps0) / 2
    return _flips(k, _share(-half), _share(half))


def _share(eps: float) -> float:
    """1/(1 + e^eps), which with that of -eps adds up to 1."""
    small = math.exp(-abs(eps))
    return (small if eps > 0 else 1.0) / (1 + small)


def _flips(k, own, other):
    k = count("k", k, 2)
    stays = 0.5 if own == 0.5 else other  # 1 - own

    def randomize(key, symbol):
        mine = jnp.zeros(k, bool).at[_symbol(symbol, k)].set(True)
        return jnp.where(mine, _coin(key, own, stays, (k,)), _coin(key, other, 1 - other, (k,)))

    return Randomizer(randomize, _bits(k, own, other))


def hadamard_response(k: int, eps0: float) -> Randomizer:
    """Hadamard response: a column index of the Hadamard matrix of order K > k, a power of two."""
    k, eps0 = count("k", k, 2), _budget(eps0)
    order = 1 << k.bit_length()  # rows 1..k are used, row 0 is constant
    own = _share(-eps0)

    def sign(row, column):
        return 1 - 2 * (jax.lax.population_count(row & column) & 1)

    def randomize(key, symbol):
        keep, place = jax.random.split(key)
        row = _symbol(symbol, k).astype(jnp.int32) + 1
        column = jax.random.randint(place, (), 0, order)
        wanted = jnp.where(_coin(keep, own, _share(eps0)), 1, -1)
        # toggling the row's lowest bit flips the sign and is one to one
        return jnp.where(sign(row, column) == wanted, column, column ^ (row & -row))

    def estimate(reports):
        rows = jnp.arange(1, k + 1, dtype=jnp.int32)
        high = jnp.mean(sign(rows[None], reports[:, None].astype(jnp.int32)) == 1, axis=0)
        return (high - 0.5) / (own - 0.5)

    return Randomizer(randomize, estimate)


def local_hashing(k: int, buckets: int, eps0: float) -> Randomizer:
    """A hash function, named by its seed, and a randomized bucket: ((), ()) integers."""
    k = count("k", k, 2)
    inner = randomized_response(count("buckets", buckets, 2), eps0)
    own = 1 / (1 + (buckets - 1) * math.exp(-eps0))

    def bucket(seed, symbol):
        return jax.random.randint(jax.random.fold_in(jax.random.key(seed), symbol), (), 0, buckets)

    def randomize(key, symbol):
        name, noise = jax.random.split(key)
        seed = jax.random.bits(name, (), jnp.uint32)
        return seed, inner.randomize(noise, bucket(seed, _symbol(symbol, k)))

    def estimate(reports):
        symbols = jnp.arange(k)
        hit = jax.vmap(lambda s, z: jax.vmap(lambda j: bucket(s, j) == z)(symbols))(*reports)
        return (jnp.mean(hit, axis=0) - 1 / buckets) / (own - 1 / buckets)

    return Randomizer(randomize, estimate)


def _mean(reports):
    return jnp.mean(reports, axis=0)


def _unit_sized(x):
    """(x / 2^e, e) with the largest entry in [1/2, 1): exact, and its norm does not overflow.

    A vector with an entry that is not finite becomes 0.
    """
    x = jnp.where(jnp.all(jnp.isfinite(x)), x, 0.0)
    exponent = jnp.frexp(jnp.max(jnp.abs(x)))[1]
    return jnp.ldexp(x, -exponent), exponent


def clip(x: Float[Array, "..."], radius: float) -> Float[Array, "..."]:
    """x, scaled down to norm `radius` where it is longer; 0 where it is not finite."""
    y, exponent = _unit_sized(x)
    norm = jnp.linalg.norm(y.reshape(-1))
    inside = jnp.ldexp(norm, exponent) <= radius  # or infinite
    return jnp.where(inside, jnp.ldexp(y, exponent), y * (radius / jnp.maximum(norm, 0.25)))


def laplace(eps0: float) -> Randomizer:
    """A number clipped to [0, 1] plus Laplace noise of scale 1/eps0."""
    scale = 1 / _budget(eps0)

    def randomize(key, x: Float[Array, ""]) -> Float[Array, ""]:
        x = jnp.where(jnp.isfinite(x), jnp.clip(x, 0.0, 1.0), 0.0)
        return x + scale * jax.random.laplace(key)

    return Randomizer(randomize, _mean)


def gaussian(radius: float, sigma: float) -> Randomizer:
    """A vector clipped to norm `radius` plus N(0, sigma^2) on every coordinate."""
    radius, sigma = positive("radius", radius), positive("sigma", sigma)
    return Randomizer(
        lambda key, x: clip(x, radius) + sigma * jax.random.normal(key, jnp.shape(x)), _mean
    )


def privunit(dimension: int, eps0: float, *, radius: float = 1.0, threshold: float | None = None):
    """PrivUnit: the direction of a vector, reported as a vector of length radius / m.

    a in the cap {<a, u> >= g} with probability e^eps0 s/(1 - s + e^eps0 s), else outside it,
    uniformly either way; the report radius * a / m has mean radius * u [Bhowmick et al. 2018; Asi,
    Feldman, Talwar, ICML 2022]. Every record is first scaled to norm exactly `radius`, because
    only directions are protected; a zero record becomes a random direction, as does one that is not
    finite.
    """
    dimension, eps0 = count("dimension", dimension), _budget(eps0)
    radius = positive("radius", radius)
    if dimension < 4:
        raise PrivacyError(f"privunit samples in dimension >= 4, got {dimension}.")
    family = mechanisms.PrivUnit(dimension, threshold)
    g = family.cap(eps0)
    s = mechanisms.cap_mass(dimension, g)
    outside = (1 - s) / (1 - s + math.exp(eps0) * s)
    inside = math.exp(eps0) * s / (1 - s + math.exp(eps0) * s)
    scale = radius / mechanisms.mean_projection(dimension, eps0, g)
    power = (dimension - 3) / 2
    slope = 2 * power * g / (1 - g * g)
    rate = max(slope, math.sqrt(2 * power))  # a steeper proposal where the cap is nearly half
    slack = (rate - slope) ** 2 / (4 * power)  # how far the density then rises above it

    def in_cap(key):
        """<a, u> given that it is >= g: exponential proposals from g on."""

        def propose(carry):
            key, _, _ = carry
            key, jump, coin = jax.random.split(key, 3)
            t = g + jax.random.exponential(jump) / rate
            inside_ = jnp.where(t < 1, t, 0.0)
            log_ratio = power * (jnp.log1p(-inside_ * inside_) - math.log1p(-g * g))
            log_ratio = log_ratio + rate * (t - g)
            accepted = (jnp.log(jax.random.uniform(coin)) < log_ratio - slack) & (t < 1)
            return key, t, accepted

        start = (key, jnp.float32(0), jnp.bool_(False))
        return jax.lax.while_loop(lambda carry: ~carry[2], propose, start)[1]

    def outside_cap(key):
        def propose(carry):
            key, _, _ = carry
            key, a, b = jax.random.split(key, 3)
            z = jax.random.normal(a)
            t = z / jnp.sqrt(z * z + 2 * jax.random.gamma(b, (dimension - 1) / 2))
            return key, t, t < g

        start = (key, jnp.float32(0), jnp.bool_(False))
        return jax.lax.while_loop(lambda carry: ~carry[2], propose, start)[1]

    def randomize(key, x: Float[Array, " d"]) -> Float[Array, " d"]:
        coin, height, around, spare = jax.random.split(key, 4)
        x, _ = _unit_sized(x)
        other = jax.random.normal(spare, (dimension,))
        u = jnp.where(jnp.linalg.norm(x) > 0, x, other)
        u = u / jnp.linalg.norm(u)
        high, low = jax.random.split(height)
        t = jnp.where(_coin(coin, inside, outside), in_cap(high), outside_cap(low))
        w = jax.random.normal(around, (dimension,))
        w = w - jnp.dot(w, u) * u
        w = w / jnp.linalg.norm(w)
        return scale * (t * u + jnp.sqrt(jnp.maximum(1 - t * t, 0.0)) * w)

    return Randomizer(randomize, _mean)


def rotation(dimension: int, seed: int) -> Float[Array, "d d"]:
    """A random orthonormal basis that everyone knows: (d, d) float32, rows are its vectors."""
    dimension = count("dimension", dimension)
    draws = np.random.default_rng(seed).standard_normal((dimension, dimension))
    basis, triangle = np.linalg.qr(draws)
    return jnp.asarray(basis * np.sign(np.diag(triangle)), jnp.float32)


def cldp(
    dimension: int,
    eps0: float,
    *,
    radius: float = 1.0,
    basis: Float[Array, "d d"] | None = None,
) -> Randomizer:
    """CLDP-SGD's randomizer: one coordinate of a vector in [-radius, radius]^d, and one bit.

    A coordinate j is drawn uniformly and the sign b is + with probability

        1/2 + x_j/(2 radius) (e^eps0-1)/(e^eps0+1);

    the report (j, b) stands for d radius (e^eps0+1)/(e^eps0-1) b e_j, whose mean is x [Girgis,
    Data, Diggavi, Kairouz, Suresh, AISTATS 2021]. Each (j, b) has a probability between
    1/(d (e^eps0+1)) and e^eps0 times that, whatever x is: eps0-LDP (`cldp_matrix` enumerates it).

    Args:
        dimension: d.
        eps0: local privacy loss (nats).
        radius: coordinates are clipped to it; only what is not clipped is unbiased.
        basis: orthonormal rows known to everyone (`rotation`): the coordinates of the vector in
            this basis are reported, which spreads a vector of norm 1 evenly, about 1/sqrt(d) each.
    """
    dimension, radius = count("dimension", dimension), positive("radius", radius)
    keep, wrong = math.tanh(_budget(eps0) / 2), _share(eps0)

    def plus(coin, share):
        """The sign is +."""
        if wrong > 2**-10:
            return jax.random.bernoulli(coin, 0.5 + 0.5 * keep * share)
        # the same: a sign without noise, which is wrong as rarely as eps0 allows
        right = jax.random.bernoulli(coin, 0.5 + 0.5 * share)
        return right ^ _coin(jax.random.fold_in(coin, 1), wrong, _share(-eps0))

    def randomize(key, x: Float[Array, " d"]):
        place, coin = jax.random.split(key)
        j = jax.random.randint(place, (), 0, dimension)
        value = x[j] if basis is None else jnp.dot(basis[j], x)
        share = jnp.where(jnp.isfinite(value), jnp.clip(value / radius, -1.0, 1.0), 0.0)
        return j, jnp.where(plus(coin, share), 1, -1).astype(jnp.int8)

    def estimate(reports):
        j, b = reports
        total = jnp.zeros(dimension).at[j].add(b.astype(jnp.float32))
        total = total if basis is None else total @ basis
        return total * (dimension * radius / keep / j.shape[0])

    return Randomizer(randomize, estimate)


def cldp_matrix(shares: np.ndarray, eps0: float) -> np.ndarray:
    """(inputs, 2 d) probabilities of `cldp`: what proves its eps0.

    Args:
        shares: (inputs, d) coordinates over the radius, in [-1, 1]. Probabilities are linear in
            them, so the 2^d corners bound what all inputs do.
        eps0: local privacy loss (nats).
    """
    shares = np.asarray(shares, float)
    plus = (0.5 + 0.5 * math.tanh(eps0 / 2) * shares) / shares.shape[1]
    return np.concatenate([plus, 1 / shares.shape[1] - plus], axis=1)
