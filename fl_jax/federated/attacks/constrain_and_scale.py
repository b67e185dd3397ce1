"""Constrain-and-scale, and with it model replacement, train-and-scale and data poisoning.

The attacker trains a model X on its own data with backdoor examples mixed into every batch,
under alpha * L_class + (1 - alpha) * L_ano, and sends gamma (X - G). The four attacks of the
paper are settings of one program:

| attack | alpha | gamma | bound |
|---|---|---|---|
| data poisoning (the baseline) | 1 | 1 | none |
| model replacement | 1 | n/eta | none |
| train-and-scale | 1 | n/eta | S |
| constrain-and-scale | < 1 | n/eta | none |

They travel as data (`Poison`), so a grid of attacks and seeds is one compiled program.

References:
    Bagdasaryan et al. 2020, Algorithm 1, sections 3.3 and 4.3.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Float, Int, Key, PyTree
from fl_jax.federated.aggregators.base import Aggregator, Stacked
from fl_jax.federated.attacks import anomaly as scores
from fl_jax.federated.attacks import mixed, replacement
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.train import step
from fl_jax.train.state import Variables


class Poison(NamedTuple):
    """The attacker's data and settings."""

    clean: PyTree  # leaves (clean, ...): its examples of the main task
    backdoor: PyTree  # leaves (backdoor, ...): what it wants learnt, with the labels it wants
    per_batch: Int[Array, ""]  # c, backdoor examples in every batch
    epochs: Int[Array, ""]  # E_adv, passes over the clean examples at most
    rate: Float[Array, ""]  # lr_adv
    alpha: Float[Array, ""]  # share of L_class in the loss, (0, 1]
    gamma: Float[Array, ""]  # scale of the update
    bound: Float[Array, ""]  # S, largest norm of each update sent; inf = none
    stop: Float[Array, ""]  # training ends once the backdoor loss is below; 0 = never


class AttackInfo(NamedTuple):
    """What the attacker knows about its own attack."""

    epochs: Int[Array, ""]
    backdoor_loss: Float[Array, ""]  # of X on the backdoor examples
    gamma: Float[Array, ""]  # scale that was used, by all senders together
    local_norm: Float[Array, ""]  # ||X - G||
    sent_norm: Float[Array, ""]  # norm of each update sent


def poison(
    clean: PyTree,
    backdoor: PyTree,
    *,
    per_batch: int,
    epochs: int,
    rate: float,
    gamma: float,
    alpha: float = 1.0,
    bound: float = np.inf,
    stop: float = 0.0,
) -> Poison:
    """A checked `Poison`; arguments as its fields.

    Raises:
        ConfigError: gamma, rate, bound, alpha or stop out of range; per_batch or epochs no whole
            number of 0 or more.
        DataError: no example, arrays of unlike numbers of examples, or backdoor examples that are
            not like the clean ones.
    """
    errors.whole("backdoor examples a batch (per_batch)", per_batch)
    errors.whole("the attacker's epochs", epochs)
    errors.positive("gamma", gamma)
    errors.positive("the attacker's learning rate", rate)
    errors.positive("the norm bound", bound)
    if not 0 <= alpha <= 1:
        raise errors.ConfigError(f"alpha must lie in [0, 1], got {alpha}.")
    errors.not_negative("the loss at which training ends (stop)", stop)
    arrays = jax.tree.map(jnp.asarray, (clean, backdoor))
    _check_examples(*arrays)
    whole = [jnp.asarray(v, jnp.int32) for v in (per_batch, epochs)]
    real = [jnp.asarray(v, jnp.float32) for v in (rate, alpha, gamma, bound, stop)]
    return Poison(*arrays, *whole, *real)


def _check_examples(clean: PyTree, backdoor: PyTree) -> None:
    """Refuses what cannot be mixed into one batch: indexing would clamp a row in silence."""
    for name, examples in {"clean": clean, "backdoor": backdoor}.items():
        counts = {a.shape[:1] for a in jax.tree.leaves(examples)}
        if len(counts) != 1 or counts & {(), (0,)}:
            raise errors.DataError(
                f"the attacker's {name} examples are arrays of one leading length, 1 or more, but"
                f" lengths of {sorted(counts)} came."
            )
    shapes = lambda examples: {k: a.shape[1:] for k, a in tree.named_leaves(examples).items()}
    if shapes(clean) != shapes(backdoor):
        raise errors.DataError(
            "backdoor examples take places of clean ones, so both must be alike, but shapes of"
            f" {shapes(clean)} and {shapes(backdoor)} came."
        )


def poison_of(view: View) -> Poison:
    """The attacker's data and settings.

    Raises:
        ConfigError: the view holds something else.
    """
    if not isinstance(view.data, Poison):
        raise errors.ConfigError(
            "the attacker's data and settings are a `Poison`, made by `poison(...)` and handed"
            f" to the round in `RoundData.attack`, but {type(view.data).__name__} came."
        )
    return view.data


def constrain_and_scale(
    loss: step.Loss,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    anomaly: Callable[[PyTree, PyTree], Float[Array, ""]] = scores.l2,
    test_loss: step.Loss | None = None,
    drop_every: int = 2,
    drop_factor: float = 0.1,
    attackers: int = 1,
    shared: bool = True,
    against: Aggregator | None = None,
    halvings: int = 0,
    radius: float | None = None,
    restrict: Callable[[View, PyTree], PyTree] | None = None,
    aim: Callable[[View], step.Loss] | None = None,
    start: Callable[[View, Key[Array, ""]], Variables] | None = None,
) -> Attack:
    """The attack; its data and knobs are a `Poison`, handed over in `View.data`.

    Args:
        loss: of the main task; sees batches with backdoor examples mixed in.
        optimizer: at a learning rate of 1; its updates are multiplied by the attacker's rate.
        batch_size: examples a step.
        anomaly: (local parameters, global parameters) -> scalar to be kept low.
        test_loss: loss that decides when to stop; None = `loss`.
        drop_every: epochs between drops of the rate.
        drop_factor: what each drop multiplies the rate by.
        attackers: compromised participants that can fall into one round; k of them send
            gamma/k each, which is one of them sending gamma.
        shared: False = each of them sends gamma (X - G): k participants who poison their data.
        against: the server's rule, for an adaptive attacker, who knows it and the others'
            updates: L_ano is then the rule's own score of the update as it would be sent.
        halvings: of such an attacker: X is trained as if X - G were sent as it is, and gamma is
            then the largest of gamma, gamma/2, ... gamma/2^halvings (or 1 each) at which the score
            is not above that of the most suspicious benign update.
        radius: X stays in a ball of this radius around G (projected gradient descent).
        restrict: (view, state) -> mask (1 or 0) of parameters that may move; None = all.
        aim: view -> the loss that X is trained under in the place of `loss`.
        start: (view, key) -> the model from which training starts; None = G.

    Raises:
        ConfigError: a number out of range; `halvings` without `against`, or one without a score.
    """
    test_loss = test_loss or loss
    errors.whole("batch_size", batch_size, least=1)
    errors.whole("attackers", attackers, least=1)
    errors.whole("drop_every", drop_every, least=1)
    errors.whole("halvings", halvings)
    if radius is not None:
        errors.positive("the radius of the attacker's ball", radius)
    if halvings and against is None:
        raise errors.ConfigError("`halvings` look for what passes a rule; name it in `against`.")
    if against is not None and against.score is None:
        raise errors.ConfigError(
            "an adaptive attack needs an aggregator with a score to differentiate through, but this"
            " one has none; choose another rule (of a defence, `choice.guarded` makes one), or an"
            " anomaly score from attacks.anomaly."
        )

    def senders(view: View):
        """Among how many gamma is divided."""
        return jnp.maximum(view.count, 1).astype(jnp.float32) if shared else jnp.float32(1)

    def suspicion(view: View, variables: Variables):
        if against is None:
            return anomaly(variables.params, view.variables.params)
        share = 1.0 if halvings else view.data.gamma / senders(view)
        sent = replacement.replace(variables, view.variables, share)
        return against.score(sent, view.benign, view.aggregator)

    def unsuspicious(view: View, local: Variables):
        """The largest scale that the rule finds no worse than its worst benign update."""
        benign = view.benign
        places = jnp.arange(benign.weights.shape[0])

        def own(i):
            update = jax.tree.map(lambda a: a[i], benign.updates)
            others = benign._replace(weights=jnp.where(places == i, 0.0, benign.weights))
            score = against.score(update, others, view.aggregator)
            return jnp.where(benign.weights[i] > 0, score, -jnp.inf)

        allowed = jnp.max(jax.lax.map(own, places))
        least = senders(view)  # X - G from each of them
        tried = jnp.maximum(view.data.gamma * jnp.exp2(-jnp.arange(halvings + 1.0)), least)

        def passes(gamma):
            sent = replacement.replace(local, view.variables, gamma / senders(view))
            return against.score(sent, benign, view.aggregator) <= allowed

        return jnp.max(jnp.where(jax.lax.map(passes, tried), tried, least))

    def train(view: View, mask, epochs, key):
        base: Variables = view.variables
        data: Poison = view.data
        classes = loss if aim is None else aim(view)

        def objective(variables, batch, step_key):
            value, rest = classes(variables, batch, step_key)
            score = suspicion(view, variables)
            return data.alpha * value + (1 - data.alpha) * score, rest

        def backdoor_loss(variables):
            value, _ = test_loss(variables, data.backdoor, rng.fold(key, "stop"))
            return value

        def project(params):
            if radius is None:
                return params
            away = tree.sub(params, base.params)
            size = tree.norm(away)
            inside = tree.add(base.params, tree.scale(radius / jnp.maximum(size, radius), away))
            return tree.where(size > radius, inside, params)

        local, taken = mixed.train(
            objective,
            optimizer,
            base if start is None else start(view, rng.fold(key, "start")),
            data.clean,
            data.backdoor,
            key,
            batch_size=batch_size,
            per_batch=data.per_batch,
            epochs=epochs,
            rate=lambda e: data.rate * drop_factor ** (e // drop_every).astype(jnp.float32),
            mask=mask,
            project=project,
            done=lambda variables: backdoor_loss(variables) < data.stop,
        )
        return local, taken, backdoor_loss(local)

    def update(view: View, state, key):
        data = poison_of(view)
        epochs = jnp.where(view.count > 0, data.epochs, 0)
        mask = None if restrict is None else restrict(view, state)
        local, taken, reached = train(view, mask, epochs, key)
        gamma = unsuspicious(view, local) if halvings else data.gamma
        share = gamma / senders(view)
        share = replacement.bounded_scale(local, view.variables, share, data.bound)
        sent = replacement.replace(local, view.variables, share)
        info = AttackInfo(
            taken,
            reached,
            share * senders(view),
            tree.norm(tree.sub(local, view.variables)),
            tree.norm(sent),
        )
        return jax.tree.map(lambda a: jnp.stack([a] * attackers), sent), state, info

    sees = None if against is None else Stacked
    return Attack(lambda variables: (), update, attackers, sees)
