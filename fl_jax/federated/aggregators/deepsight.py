"""DeepSight: updates are grouped by what they were trained on, groups judged by their members."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked
from fl_jax.federated.statistics import gram, hdbscan
from fl_jax.federated.statistics import norms as lengths


class Layer(NamedTuple):
    """The last layer's part of a model or of an update."""

    kernel: Float[Array, "*lead inputs classes"]
    bias: Float[Array, "*lead classes"]


class Probe(NamedTuple):
    """The round's global model and the key of its random inputs."""

    variables: PyTree
    key: Key[Array, ""]


def energies(last: Layer) -> Float[Array, "*lead classes"]:
    """Normalised update energies (NEUPs): (|b_p| + sum_h |w_hp|)^2 over their sum.

    References:
        Rieger et al. 2022, equations 7 and 8.
    """
    size = jnp.abs(last.bias) + jnp.sum(jnp.abs(last.kernel), axis=-2)
    squares = jnp.square(size / _some(jnp.max(size, axis=-1, keepdims=True)))
    return squares / _some(jnp.sum(squares, axis=-1, keepdims=True))


def exceedings(energy: Float[Array, "*lead classes"]) -> Int[Array, "*lead"]:
    """How many energies exceed max(0.01, 1/P) of the largest.

    References:
        Rieger et al. 2022, equations 9 to 11.
    """
    return jnp.sum(energy > _bound(energy), axis=-1)


def _some(whole):
    """What parts are divided by: 1 of nothing, where an attacker begins and no slope may be NaN."""
    return jnp.where(whole > 0, whole, 1.0)


def _bound(energy):
    return max(0.01, 1 / energy.shape[-1]) * jnp.max(energy, axis=-1, keepdims=True)


def _apart(rows: Float[Array, "cohort features"]) -> Float[Array, "cohort cohort"]:
    return jnp.linalg.norm(rows[:, None, :] - rows[None, :, :], axis=-1)


def accepted(
    same: Bool[Array, "cohort cohort"],
    found: Int[Array, " cohort"],
    arrived: Bool[Array, " cohort"],
    share: float,
) -> Bool[Array, " cohort"]:
    """Who is in a group of which less than `share` is suspicious.

    Suspicious is an update whose exceedings are at most half of their median: it was trained on
    few classes.
    """
    counts = found.astype(jnp.float32)
    suspicious = (counts <= gram.median_of(counts, arrived) / 2).astype(jnp.float32)
    members = same.astype(jnp.float32)
    return arrived & (members @ suspicious < share * jnp.sum(members, axis=1))


def deepsight(
    *,
    apply: Callable[[PyTree, Array], Float[Array, "batch classes"]],
    inputs: Callable[[Key[Array, ""]], Array],
    select: Callable[[PyTree], Layer],
    draws: int = 3,
    share: float = 1 / 3,
    smallest: int = 2,
) -> Aggregator:
    """The mean of the updates in groups that are accepted, clipped to the median norm.

    Updates are clustered by the normalised energies of the last layer, by the ratios of local to
    global probabilities on random inputs (DDifs, for `draws` sets of inputs), and by the cosines
    of the last bias. What shares a cluster has distance 0, else 1; the mean of the three, the
    ratios counting as one, is clustered again. Of the groups, those with less than `share`
    suspicious members are accepted; an update in no cluster is a group of its own.

    The clusters are HDBSCAN*'s with min_samples = 1 (`hdbscan.together`); the paper does not say
    with which sizes it runs. Probabilities are softmaxes. A round in which nothing is accepted
    moves nothing.

    Args:
        apply: (variables, inputs) -> logits, in test mode.
        inputs: key -> (batch, ...) random inputs; the paper takes 20,000.
        select: (update or variables) -> its last layer, which has a bias.
        draws: sets of random inputs.
        share: tau, in (0, 1].
        smallest: updates of a cluster, at least 2.

    Raises:
        ConfigError: a number out of its range.

    References:
        Rieger, Nguyen, Miettinen, Sadeghi 2022, "DeepSight: Mitigating Backdoor Attacks in
        Federated Learning Through Deep Model Inspection", section IV, Algorithms 1 to 3.
    """
    errors.whole("draws of DeepSight", draws, least=1)
    if not 0 < share <= 1:
        raise errors.ConfigError(f"share (tau) must lie in (0, 1], got {share}.")
    if smallest < 2:
        raise errors.ConfigError(f"a cluster of DeepSight has 2 updates or more, got {smallest}.")

    def init(variables):
        return Probe(tree.zeros_like(variables), jax.random.key(0))

    def begin(variables, state, key):
        del state
        return Probe(variables, key)

    def ratios(updates, state: Probe):
        """(draws, cohort, classes): mean ratios of probabilities, one client after another."""
        batches = [inputs(key) for key in jax.random.split(state.key, draws)]
        logs_of = lambda model: [jax.nn.log_softmax(tree.wide(apply(model, x))) for x in batches]
        usual = logs_of(state.variables)

        def one(update):
            logs = logs_of(tree.add(state.variables, update))
            # Bounded: a model that is far out must not send infinities into the distances.
            ratio = lambda a, b: jnp.mean(jnp.exp(jnp.clip(a - b, -40.0, 40.0)), axis=0)
            return jnp.stack([ratio(a, b) for a, b in zip(logs, usual, strict=True)])

        return jnp.moveaxis(jax.lax.map(one, updates), 0, 1)

    def groups(seen: Stacked, last: Layer, energy, state: Probe):
        arrived = seen.weights > 0
        cluster = lambda apart: hdbscan.together(apart, arrived, smallest)
        far = lambda apart: 1 - cluster(apart).astype(jnp.float32)
        by_bias = far(1 - gram.cosines(gram.gram(last.bias)))
        by_energy = far(_apart(energy))
        by_output = jax.vmap(lambda rows: far(_apart(rows)))(ratios(seen.updates, state))
        return cluster((by_bias + by_energy + jnp.mean(by_output, axis=0)) / 3)

    def update(seen: Stacked, state: Probe):
        arrived = seen.weights > 0
        last = tree.wide(jax.vmap(select)(seen.updates))
        energy = energies(last)
        same = groups(seen, last, energy, state)
        passed = accepted(same, exceedings(energy), arrived, share)
        norms = lengths.of_each(seen.updates)
        bound = gram.median_of(norms, arrived)
        return lengths.clipped_mean(seen.updates, passed, norms, bound), state

    def score(update, others: Stacked, state: Probe):
        """What its softened exceedings lack to half of the others' median, the cosine distance of
        its last bias to the others' mean, and what its norm is beyond their median."""
        del state
        there = others.weights > 0
        own, rest = tree.wide((select(update), jax.vmap(select)(others.updates)))
        soft = lambda e: jnp.sum(jax.nn.sigmoid(10 * (e / _some(_bound(e)) - 1)), axis=-1)
        usual = gram.median_of(soft(energies(rest)), there)
        lacks = jax.nn.relu(1 - soft(energies(own)) / jnp.maximum(usual / 2, 1e-30))
        mean = there.astype(jnp.float32) @ rest.bias
        bound = gram.median_of(lengths.of_each(others.updates), there)
        return lacks + 1 - tree.cosine(own.bias, mean) + lengths.beyond(update, bound)

    return Aggregator(
        init,
        update,
        Stacked,
        begin=begin,
        score=score,
        memory="gram",
        properties=frozenset({"permutation", "equal"}),
    )
