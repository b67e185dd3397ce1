"""Secure aggregation: the server learns the sum of the updates and nothing about any of them.

A client's update becomes integers, q = round(clip(x) 2^s) mod 2^32 (towards 0 where clients clip
for themselves), and leaves it as

    y_i = q_i + PRG(b_i) + sum_{j > i} PRG(s_ij) - sum_{j < i} PRG(s_ij)     mod 2^32

over its neighbours j in a k-regular graph. The pair masks cancel in the sum of all; every secret
is shared among the neighbours (Shamir, t of k), who reveal the shares of b_i for those whose
update arrived and of s_ij for those whose did not, never of both for one client. What is simulated
here are the masks, the shares and the recovery, all of them real; the key agreement and the
encrypted channels are not, pair seeds come from a common key. Clients are honest but curious.

The clip range is a defence of its own: an update scaled by gamma is cut unless the range holds
gamma |X - G|. The number of coordinates that were cut is reported.

References:
    Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning";
    Bell et al. 2020, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead".
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import dtypes, errors, rng
from fl_jax.core.types import Array, Bool, Int, Key, PyTree

PRIME = 65521  # the largest prime below 2^16: products of two elements fit 32 bits
LARGEST = 2**31 - 1  # of the sums: they are signed, of 32 bits
DIGITS = 100  # behind the point, at most; 2^100 is a float32
LIMB, LIMBS = 13, 5  # a 64-bit seed is five digits of 13 bits, each below PRIME


class SecureInfo(NamedTuple):
    """What secure aggregation reports of a round."""

    clipped: Int[Array, ""]  # coordinates, over all clients, that lay outside the range
    recovered: Bool[Array, ""]  # False: too few shares, the round's sum is lost


class SecureAggregation(NamedTuple):
    """The settings; made by `make`."""

    clip: float
    degree: int | None
    threshold: int | None
    bits: int | None


def make(
    *,
    clip: float,
    degree: int | None = None,
    threshold: int | None = None,
    bits: int | None = None,
) -> SecureAggregation:
    """Secure aggregation for `round.make(secure=...)`.

    Args:
        clip: coordinates are cut to [-clip, clip] before they are encoded.
        degree: k, neighbours of each client, even; None = all others up to 2 ceil(log2 m) + 8.
        threshold: t, shares that recover a secret; None = more than half of the neighbours.
        bits: s, binary digits behind the point; None = as many as m summands leave room for.

    Raises:
        ConfigError: a value out of range, or a threshold above the number of shares.
    """
    errors.positive("the clip range of secure aggregation", clip)
    if bits is not None:
        errors.whole("bits", bits)
    if degree is not None and (degree < 2 or degree % 2):
        raise errors.ConfigError(
            f"the graph of secure aggregation needs an even degree of 2 or more, got {degree}."
        )
    if threshold is not None:
        errors.whole("threshold", threshold, least=1)
        if degree is not None and threshold > degree:
            raise _above(threshold, degree)
    return SecureAggregation(clip, degree, threshold, bits)


def _above(threshold, shares):
    return errors.ConfigError(
        f"the threshold t = {threshold} is above the number of shares, one for each of the"
        f" {shares} neighbours; lower it, or raise the degree."
    )


class Session(NamedTuple):
    """The settings resolved for a cohort of m."""

    size: int  # m
    offsets: tuple[int, ...]  # neighbours on the ring of shuffled clients
    threshold: int
    bits: int
    clip: float


def session(settings: SecureAggregation, size: int) -> Session:
    """The session of a cohort of `size` clients.

    Raises:
        ConfigError: fewer than two clients; a threshold above the number of neighbours; or a
            range that the sum of m clients overflows, with its digits or with none.
    """
    if size < 2:
        raise errors.ConfigError("secure aggregation needs 2 or more clients a round, got 1.")
    degree = settings.degree or 2 * math.ceil(math.log2(size)) + 8
    half = min(degree // 2, (size - 1) // 2)
    offsets = [*range(-half, 0), *range(1, half + 1)]
    if degree >= size - 1:  # the full graph; an even circle has one opposite neighbour
        offsets = [o for o in range(-((size - 1) // 2), size // 2 + 1) if o]
    threshold = settings.threshold or len(offsets) // 2 + 1
    if threshold > len(offsets):
        raise _above(threshold, len(offsets))
    room = _room(settings.clip, size)
    if room < 0:
        raise errors.ConfigError(
            f"{size} clients with a clip range of {settings.clip:g} do not fit 32-bit sums, even of"
            f" whole numbers; take a range of at most {LARGEST // size}."
        )
    bits = settings.bits if settings.bits is not None else room
    if bits > room:
        raise errors.ConfigError(
            f"{size} clients with a clip range of {settings.clip} and {bits} binary digits do not"
            f" fit 32-bit sums; take at most {room} digits or a smaller range."
        )
    return Session(size, tuple(offsets), threshold, bits, settings.clip)


def _room(clip: float, size: int) -> int:
    """The digits behind the point with which `size` numbers at the end of the range still fit."""
    if not size * clip <= LARGEST:
        return -1
    end = float(np.float32(clip))  # what `encode` cuts to
    bits = 0
    while bits < DIGITS and size * round(end * 2.0**bits) <= LARGEST:
        bits += 1
    return bits if size * round(end * 2.0**bits) <= LARGEST else bits - 1


# Encoding


def encode(plan: Session, update: PyTree, *, inward: bool = False) -> tuple[PyTree, Int[Array, ""]]:
    """(uint32 leaves, number of coordinates outside the range).

    Args:
        plan: of the cohort.
        update: leaves of numbers, computed in float32.
        inward: round towards 0 and not to the nearest, so that no update becomes longer: of a
            million coordinates that are rounded up, the noise of DP-FedAvg would not cover all.
    """
    rounded = jnp.trunc if inward else jnp.round

    def whole(leaf):
        clipped = jnp.clip(leaf.astype(jnp.float32), -plan.clip, plan.clip)
        return rounded(clipped * 2.0**plan.bits).astype(jnp.int32).astype(jnp.uint32)

    out = [jnp.sum(jnp.abs(leaf) > plan.clip) for leaf in jax.tree.leaves(update)]
    return jax.tree.map(whole, update), sum(out, jnp.int32(0)).astype(jnp.int32)


def decode(plan: Session, total: PyTree, like: PyTree) -> PyTree:
    """The sum as real numbers, in the dtypes of `like`, but float32 at least."""

    def real(leaf, model):
        signed = jax.lax.bitcast_convert_type(leaf, jnp.int32)
        return (signed.astype(jnp.float32) * 2.0**-plan.bits).astype(dtypes.wide(model.dtype))

    return jax.tree.map(real, total, like)


# Masks


def prg(seed: Key[Array, ""], like: PyTree) -> PyTree:
    """A uint32 mask of the shapes of `like`, uniform."""
    leaves, treedef = jax.tree.flatten(like)
    drawn = [
        jax.random.bits(jax.random.fold_in(seed, i), leaf.shape, jnp.uint32)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(treedef, drawn)


def _add(x: PyTree, y: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, x, y)  # wraps at 2^32, as it should


def ring(plan: Session, key: Key[Array, ""]) -> Int[Array, " cohort"]:
    """Where each client stands on the ring: a random permutation makes the graph random."""
    return jax.random.permutation(rng.fold(key, "ring"), plan.size)


def neighbours(plan: Session, order: Int[Array, " cohort"], i) -> Int[Array, " degree"]:
    """The neighbours of client i."""
    place = jnp.argmax(order == i)
    return order[(place + jnp.asarray(plan.offsets)) % plan.size]


def own_seed(key: Key[Array, ""], i) -> Key[Array, ""]:
    """b_i."""
    return rng.fold(key, "own", i)


def pair_seed(key: Key[Array, ""], i, j) -> Key[Array, ""]:
    """s_ij = s_ji; Diffie-Hellman in a deployment."""
    return rng.fold(key, "pair", jnp.minimum(i, j), jnp.maximum(i, j))


def _signed(sign, mask: PyTree) -> PyTree:
    return jax.tree.map(lambda a: jnp.where(sign > 0, a, jnp.uint32(0) - a), mask)


def mask(plan: Session, key: Key[Array, ""], i, encoded: PyTree) -> PyTree:
    """y_i: what client i sends."""
    order = ring(plan, key)
    near = neighbours(plan, order, i)

    def add(n, total):
        j = near[n]
        drawn = prg(pair_seed(key, i, j), encoded)
        return _add(total, _signed(j - i, drawn))

    masked = _add(encoded, prg(own_seed(key, i), encoded))
    return jax.lax.fori_loop(0, len(plan.offsets), add, masked)


def unmask(
    plan: Session, key: Key[Array, ""], total: PyTree, arrived: Bool[Array, " cohort"]
) -> tuple[PyTree, Bool[Array, ""]]:
    """(sum of the encoded updates that arrived, whether all secrets could be recovered).

    The server's part: it works on the sum of what arrived and on the shares that the neighbours
    who are still there reveal. Where a secret has fewer than t shares, the sum is lost, and zeros
    are returned.
    """
    order = ring(plan, key)

    def secret(seed, holders, dealt):
        shares = deal(seed, plan, dealt)
        return recover(shares, arrived[holders], plan.threshold)

    def client(i, carry):
        total, ok = carry
        near = neighbours(plan, order, i)

        def there(total, ok):
            seed, enough = secret(own_seed(key, i), near, rng.fold(key, "deal own", i))
            return _add(total, _signed(jnp.int32(-1), prg(seed, total))), ok & enough

        def gone(total, ok):
            def pair(n, carry):
                total, ok = carry
                j = near[n]

                def left(total, ok):
                    dealt = rng.fold(key, "deal pair", i, j)
                    seed, enough = secret(pair_seed(key, i, j), near, dealt)
                    # j added the mask with the sign of i - j: it is taken off again.
                    return _add(total, _signed(j - i, prg(seed, total))), ok & enough

                return jax.lax.cond(arrived[j], left, lambda t, o: (t, o), total, ok)

            return jax.lax.fori_loop(0, len(plan.offsets), pair, (total, ok))

        return jax.lax.cond(arrived[i], there, gone, total, ok)

    found, ok = jax.lax.fori_loop(0, plan.size, client, (total, jnp.bool_(True)))
    return jax.tree.map(lambda a: jnp.where(ok, a, jnp.uint32(0)), found), ok


# Shamir's sharing over GF(65521), in 32-bit arithmetic


def _times(a, b):
    return (a * b) % jnp.uint32(PRIME)


def _inverse(a):
    """a^(p-2)."""
    result, base, exponent = jnp.ones_like(a), a, PRIME - 2
    while exponent:
        if exponent & 1:
            result = _times(result, base)
        base = _times(base, base)
        exponent >>= 1
    return result


def deal(seed: Key[Array, ""], plan: Session, key: Key[Array, ""]) -> Array:
    """Shares (degree, LIMBS) of a seed, the n-th at x = n + 1: t of them give it back.

    A polynomial of degree t - 1 with random coefficients and the seed's digits at x = 0.
    """
    words = jax.random.key_data(seed)
    high, low = words[0], words[1]
    digits = []
    for n in range(LIMBS):
        shift = n * LIMB
        digit = low >> shift if shift < 32 else jnp.uint32(0)
        if shift + LIMB > 32:  # the upper word joins in
            up = 32 - shift
            digit = digit | (high << up if up >= 0 else high >> -up)
        digits.append(digit & jnp.uint32((1 << LIMB) - 1))
    value = jnp.stack(digits)
    x = jnp.arange(1, len(plan.offsets) + 1, dtype=jnp.uint32)[:, None]
    drawn = jax.random.randint(key, (plan.threshold - 1, LIMBS), 0, PRIME).astype(jnp.uint32)
    shares = jnp.zeros((len(plan.offsets), LIMBS), jnp.uint32)
    for coefficient in drawn[::-1]:
        shares = _times((shares + coefficient[None]) % jnp.uint32(PRIME), x)
    return (shares + value[None]) % jnp.uint32(PRIME)


def recover(shares: Array, held: Bool[Array, " degree"], threshold: int):
    """(the seed, whether `threshold` of the shares are held), by Lagrange at x = 0."""
    order = jnp.argsort(~held, stable=True)[:threshold]
    x = (order + 1).astype(jnp.uint32)
    apart = (x[None, :] + jnp.uint32(PRIME) - x[:, None]) % jnp.uint32(PRIME)
    own = jnp.eye(threshold, dtype=bool)
    factors = jnp.where(
        own, jnp.uint32(1), _times(jnp.broadcast_to(x[None, :], apart.shape), _inverse(apart))
    )
    weight = jnp.ones(threshold, jnp.uint32)
    for n in range(threshold):
        weight = _times(weight, factors[:, n])
    digits = jnp.zeros(LIMBS, jnp.uint32)
    for n in range(threshold):
        digits = (digits + _times(weight[n], shares[order[n]])) % jnp.uint32(PRIME)
    low, high = jnp.uint32(0), jnp.uint32(0)
    for n in range(LIMBS):
        shift = n * LIMB
        if shift < 32:
            low = low | (digits[n] << shift)
        if shift + LIMB > 32:
            up = 32 - shift
            high = high | (digits[n] >> up if up >= 0 else digits[n] << -up)
    seed = jax.random.wrap_key_data(jnp.stack([high, low]))
    return seed, jnp.sum(held) >= threshold
