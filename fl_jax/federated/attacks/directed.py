"""Directed deviation: the global model is moved against the direction that it would take.

The attackers know the others' updates and the server's rule. s is the sign of what each parameter
would do without them; they send what makes the rule go along -s as far as it lets itself be moved.

References:
    Fang, Cao, Jia, Gong 2020, "Local Model Poisoning Attacks to Byzantine-Robust Federated
    Learning", USENIX Security, section 4 (full knowledge).
"""

import jax
import jax.numpy as jnp

from fl_jax.core import errors, rng, tree
from fl_jax.federated.aggregators import krum
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.attacks.base import Attack, View, others
from fl_jax.federated.attacks.untargeted import SentInfo, moments
from fl_jax.federated.statistics import gram


def against_krum(
    *, attackers: int, assumed: int | None = None, spread: float = 0.0, least: float = 1e-5
) -> Attack:
    """-lambda s, with a lambda at which Krum takes one of the attackers' updates for the round's.

    s is the sign of Krum's choice among the benign. lambda starts at the bound of Theorem 1,

        sqrt(min_l sum_{j near l} ||x_l - x_j||^2 / ((m - f - k - 1) d)) + max_i ||x_i|| / sqrt(d),

    and is halved until Krum, run on all updates, chooses an attacker. Where it never does, the
    last one tried is sent. The paper writes the bound for k = f.

    Args:
        attackers: most that can fall into one round; k are in it.
        assumed: f of the server's Krum; None = k.
        spread: epsilon, the largest distance of the other attackers' updates from the first one's;
            the paper takes 0.01, 0 sends copies.
        least: where halving ends; the paper's 1e-5.

    Raises:
        ConfigError: a setting out of range, or (when the round is traced) benign updates that do
            not come one by one.

    References:
        Fang et al. 2020, section 4.2, eq. 3 to 5 and Theorem 1.
    """
    errors.whole("attackers", attackers, least=1)
    errors.positive("the least lambda", least)
    errors.not_negative("spread", spread)
    if assumed is not None:
        errors.not_negative("assumed (f of Krum)", assumed)

    def update(view: View, state, key):
        benign = others(view)
        there = benign.weights > 0
        places = there.shape[0]
        count = jnp.sum(there).astype(jnp.int32)
        f = view.count if assumed is None else jnp.int32(assumed)

        apart = gram.pairwise(benign.updates)
        best = jnp.argmin(krum.scores(apart, there, f))
        s = jax.tree.map(lambda a: jnp.sign(a[best]), benign.updates)
        offsets = _around(key, s, attackers, spread)

        # Every distance that Krum will see, for any lambda, comes from these inner products.
        rows = jax.tree.map(
            lambda x, s, e: jnp.concatenate([x, s[None], e]), benign.updates, s, offsets
        )
        products = gram.gram(rows)
        among = jnp.concatenate([there, jnp.arange(attackers) < view.count])

        def taken(scale):
            own, ones = jnp.eye(places + attackers), jnp.ones((attackers, 1))
            along = jnp.concatenate([jnp.zeros((places, 1)), -scale * ones])
            mix = jnp.concatenate([own[:, :places], along, own[:, places:]], axis=1)
            mixed = jnp.matmul(mix, products, precision=jax.lax.Precision.HIGHEST)
            sent = jnp.matmul(mixed, mix.T, precision=jax.lax.Precision.HIGHEST)
            return jnp.argmin(krum.scores(gram.distances(sent), among, f)) >= places

        nearest = jnp.min(krum.scores(apart, there, f - view.count))
        squares = jnp.where(there, jax.vmap(tree.squared_norm)(benign.updates), 0.0)
        size = jnp.maximum(tree.squared_norm(s), 1.0)  # d, but for parameters that stand still
        neighbours = jnp.maximum(count - f - 1, 1).astype(jnp.float32)
        bound = jnp.sqrt(nearest / (neighbours * size)) + jnp.sqrt(jnp.max(squares) / size)
        bound = jnp.where(count > 0, bound, 0.0)

        def goes_on(carry):
            scale, success = carry
            return ~success & (scale / 2 >= least)

        def halve(carry):
            scale = carry[0] / 2
            return scale, taken(scale)

        scale, _ = jax.lax.while_loop(goes_on, halve, (bound, taken(bound)))
        sent = jax.tree.map(lambda s, e: e - jnp.asarray(scale, s.dtype) * s[None], s, offsets)
        first = jax.tree.map(lambda a: a[0], sent)
        return sent, state, SentInfo(scale, tree.norm(first))

    return Attack(lambda variables: (), update, attackers, Stacked)


def _around(key, like, count: int, radius: float):
    """(count, ...) vectors shorter than the radius, the first of them zero."""
    stacked = jax.tree.map(lambda a: jnp.zeros((count, *a.shape), a.dtype), like)
    away = tree.normal(rng.fold(key, "spread"), stacked, 1.0)
    lengths = radius * jax.random.uniform(rng.fold(key, "length"), (count,)).at[0].set(0.0)
    return jax.vmap(lambda e, r: tree.scale(r / jnp.maximum(tree.norm(e), 1e-30), e))(away, lengths)


def against_trimmed_mean(*, attackers: int, reach: float = 2.0, of: str = "model") -> Attack:
    """In every coordinate, draws beyond the extreme benign value on the side away from s.

    Where the benign mean grows, the attackers draw uniformly between the smallest benign value
    w and w / b (w > 0) or b w (w < 0); where it falls, between the largest w and b w or w / b.
    Against the coordinate-wise median it is the same attack.

    Args:
        attackers: most that can fall into one round.
        reach: b > 1; the paper takes 2.
        of: `model`: w are local models G + D_i, as in the paper; `update`: w are the updates D_i,
            with which the attackers stay near the others.

    Raises:
        ConfigError: reach not above 1, or an unknown `of`.

    References:
        Fang et al. 2020, section 4.3.
    """
    errors.whole("attackers", attackers, least=1)
    errors.one_of("kind of value (of)", of, ("model", "update"))
    if not reach > 1:
        raise errors.ConfigError(f"reach (b) must be above 1, got {reach}; the paper takes 2.")

    def update(view: View, state, key):
        benign = others(view)
        seen = moments(benign)
        there = seen.there > 0
        start = view.variables if of == "model" else tree.zeros_like(view.variables)
        leaves, treedef = jax.tree.flatten(start)
        keys = jax.tree.unflatten(treedef, [*jax.random.split(key, len(leaves))])

        def draw(x, mean, base, key):
            here = there.reshape(-1, *[1] * (x.ndim - 1))
            low = jnp.min(jnp.where(here, x, jnp.inf), axis=0) + base
            high = jnp.max(jnp.where(here, x, -jnp.inf), axis=0) + base
            down = jnp.where(low > 0, low / reach, low * reach)
            up = jnp.where(high > 0, high * reach, high / reach)
            grows = mean > 0
            edge, far = jnp.where(grows, low, high), jnp.where(grows, down, up)
            share = jax.random.uniform(key, (attackers, *base.shape)).astype(base.dtype)
            sent = edge[None] + share * (far - edge)[None] - base[None]
            return jnp.where(jnp.any(there), sent, 0)

        sent = jax.tree.map(draw, benign.updates, seen.mean, start, keys)
        first = jax.tree.map(lambda a: a[0], sent)
        return sent, state, SentInfo(jnp.float32(reach), tree.norm(first))

    return Attack(lambda variables: (), update, attackers, Stacked)
