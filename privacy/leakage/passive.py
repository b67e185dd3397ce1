"""Passive property inference: does the batch behind an update have a property?

The adversary knows every model theta_t. On auxiliary records with and without the property it
computes the updates that they would have caused, adds as many innocent ones as stand beside the
victim's in what it sees, and trains a classifier that it then asks about the observed updates.

References:
    Melis et al. 2019, section IV, Algorithm 3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from fl_jax.core import errors, rng, tree
from fl_jax.train import cohort
from fl_jax.train import mesh as meshes
from privacy.leakage import collaborative
from privacy.leakage.features import Extractor


def imitate(
    learning: collaborative.Learning,
    extractor: Extractor,
    weights: np.ndarray,
    *,
    plan: cohort.Plan = cohort.Plan("vmap"),
    dealt: bool = False,
) -> Callable:
    """The auxiliary updates of one round, as features.

    Args:
        learning: what a participant sends.
        extractor: of the features.
        weights: (K,) of the participants' updates, as the protocol has them; an imitated victim
            takes the victim's, an innocent update the mean of the others'.
        plan: how the batches run (`cohort.Plan`).
        dealt: whether the round runs under `over_devices`, so that a device sees its share.

    Returns:
        (params, examples, auxiliary (A, ...), pool (M, ...), chosen (A, others), key) ->
        features (A, length): index arrays as `draws.Draws.rounds` makes them.
    """
    weights = np.asarray(weights, np.float32)
    ours = float(weights[collaborative.VICTIM])
    innocent = float(
        np.mean(np.delete(weights, [collaborative.VICTIM, collaborative.ADVERSARY]))
        if len(weights) > 2
        else ours
    )

    def features(params, examples, auxiliary, pool, chosen, key):
        def send(item, params, examples, key):
            place, taken = item
            batch = jax.tree.map(lambda leaf: leaf[taken], examples)
            return learning.send(params, batch, rng.fold(key, place))

        first = jax.lax.axis_index(cohort.AXIS) * auxiliary.shape[0] if dealt else 0

        def sent(indices, name, first=0):
            items = (first + jnp.arange(indices.shape[0]), indices)
            shared = (params, examples, rng.fold(key, name))
            return cohort.map(send, items, shared=shared, plan=plan, stage=name)

        if not pool.shape[0]:
            one = lambda item, *shared: extractor.extract(send(item, *shared))
            items = (first + jnp.arange(auxiliary.shape[0]), auxiliary)
            shared = (params, examples, rng.fold(key, "auxiliary"))
            return cohort.map(one, items, shared=shared, plan=plan, stage="auxiliary")
        updates = tree.scale(ours, sent(auxiliary, "auxiliary", first))
        crowd = tree.scale(innocent, sent(pool, "pool"))
        # (A, M): which innocent updates stand beside which auxiliary one.
        beside = jnp.sum(jax.nn.one_hot(chosen, pool.shape[0], dtype=jnp.float32), axis=1)
        flat = lambda leaf: (beside @ leaf.reshape(leaf.shape[0], -1)).reshape(-1, *leaf.shape[1:])
        updates = jax.tree.map(lambda u, c: u + flat(c), updates, crowd)
        return jax.vmap(extractor.extract)(updates)

    return features


def recorder(
    learning: collaborative.Learning,
    view: collaborative.View,
    extractor: Extractor,
    weights: np.ndarray,
    *,
    plan: cohort.Plan = cohort.Plan("vmap"),
    dealt: bool = False,
) -> Callable:
    """What the adversary keeps of a round, for `collaborative.run`.

    Arguments as in `imitate`; `view` is the threat model.

    Returns:
        A `record` function: {"observed": (length,) features of what was seen, "auxiliary":
        (A, length) features of what was imitated, zeros in rounds that are not recorded}.
    """
    features = imitate(learning, extractor, weights, plan=plan, dealt=dealt)

    def record(before, after, info, examples, batch, key):
        observed = extractor.extract(view.observe(before, after, info))

        def attack(batch):
            return features(
                before, examples, batch["auxiliary"], batch["pool"], batch["chosen"], key
            )

        shape = (batch["auxiliary"].shape[0], extractor.length)
        # Both branches are traced, one is run: a round that is not recorded costs nothing more.
        auxiliary = jax.lax.cond(
            batch["record"], attack, lambda batch: jnp.zeros(shape, jnp.float32), batch
        )
        return {"observed": observed, "auxiliary": auxiliary}

    return record


def over_devices(many: Callable, mesh: Mesh) -> Callable:
    """Rounds of `collaborative.run` with the auxiliary updates dealt over devices.

    The rest of a round is little and is computed by every device, so that none waits for another.

    Args:
        many: (state, examples, batches, key) -> (state, records), whose recorder is `dealt`.
        mesh: with an axis `clients`; the auxiliary updates are a multiple of its size.

    Returns:
        The same function of the whole arrays.
    """
    whole, split = PartitionSpec(), PartitionSpec(None, cohort.AXIS)

    def dealt(state, examples, batches, key):
        count, devices = batches["auxiliary"].shape[1], mesh.shape[cohort.AXIS]
        if count % devices:
            raise errors.ConfigError(
                f"{count} auxiliary updates cannot be dealt over {devices} devices; choose a"
                " multiple, or fewer devices."
            )
        parts = {name: split if name in ("auxiliary", "chosen") else whole for name in batches}
        return meshes.shard_map(
            many,
            mesh,
            (whole, whole, parts, whole),
            (whole, {"observed": whole, "auxiliary": split}),
            check=False,  # the loops start from constants, which do not vary over devices
        )(state, examples, batches, key)

    return dealt
