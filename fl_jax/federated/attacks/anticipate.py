"""Anticipate: the attacker trains what the global model will be, some rounds from now."""

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors, rng, tree
from fl_jax.federated.attacks import replacement
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.federated.attacks.constrain_and_scale import constrain_and_scale
from fl_jax.train import step
from fl_jax.train.state import Variables


def ahead(
    loss: step.Loss,
    view: View,
    *,
    benign: optax.GradientTransformation,
    cohort: float,
    rounds: int,
    local_steps: int,
    batch_size: int,
) -> step.Loss:
    """The mean of the loss over the next `rounds` global models, as a function of X.

    With u(theta) the update of a benign participant, guessed by `local_steps` steps from theta
    on the attacker's own clean examples, and gamma(X) the scale that X - G is sent at by the k
    attackers together,

        theta_1 = G + (gamma / m) (X - G) + ((m - k) / m) u(G),   theta_{i+1} = theta_i + u(theta_i)

    and the gradient runs through all of it, second derivatives of the benign steps included. The
    scale itself counts as constant.

    Args:
        loss: (variables, batch, key) -> (loss, (batch_stats, metrics)).
        view: G and the attacker's `Poison`.
        benign: the optimizer of benign participants.
        cohort: m of a plain mean (n / eta of FedAvg by eta/n).
        rounds: k of the paper, how many global models are foreseen.
        local_steps: of a guessed benign participant.
        batch_size: of its steps.
    """
    base, data = view.variables, view.data
    held = jax.tree.leaves(data.clean)[0].shape[0]
    count = view.count.astype(jnp.float32)
    senders = jnp.maximum(count, 1.0)

    def move(variables: Variables, key) -> Variables:
        """u(theta)."""

        def one(s, carry):
            own = rng.fold(key, s)
            drawn = jax.random.randint(rng.fold(own, "draw"), (batch_size,), 0, held)
            batch = jax.tree.map(lambda a: a[drawn], data.clean)
            batch["mask"] = jnp.ones(batch_size, jnp.float32)
            return step.descend(loss, benign, *carry, batch, rng.fold(own, "step"))[:2]

        begin = (variables, benign.init(variables.params))
        local, _ = jax.lax.fori_loop(0, local_steps, one, begin)
        return tree.sub(local, variables)

    def foreseen(variables: Variables, batch, key):
        _, rest = loss(variables, batch, key)  # its batch statistics; the value is not used
        guess = rng.fold(key, "ahead")
        share = data.gamma / senders
        share = replacement.bounded_scale(variables, base, share, data.bound) * senders / cohort
        own = tree.scale(jax.lax.stop_gradient(share), tree.sub(variables, base))
        others = tree.scale((cohort - count) / cohort, move(base, rng.fold(guess, 0)))
        first = tree.add(base, tree.add(own, others))

        def later(carry, i):
            theta, total = carry
            theta = tree.add(theta, move(theta, rng.fold(guess, i)))
            return (theta, total + loss(theta, batch, key)[0]), None

        begin = (first, loss(first, batch, key)[0])
        (_, total), _ = jax.lax.scan(later, begin, jnp.arange(1, rounds))
        return total / rounds, rest

    return foreseen


def anticipate(
    loss: step.Loss,
    optimizer: optax.GradientTransformation,
    *,
    benign: optax.GradientTransformation,
    cohort: float,
    batch_size: int,
    rounds: int = 2,
    local_steps: int = 1,
    **settings,
) -> Attack:
    """As `constrain_and_scale`, under the loss of the coming global models in the place of X's.

    Args:
        loss: of the main task; sees batches with backdoor examples mixed in.
        optimizer: of the attacker, at a learning rate of 1.
        benign: the optimizer of benign participants, with their learning rate.
        cohort: m, participants that the server's plain mean is over (n / eta of FedAvg).
        batch_size: examples a step, the attacker's and the guessed benign ones'.
        rounds: how many global models are foreseen; the first is the one that X enters.
        local_steps: steps that a benign participant is guessed to take.
        settings: of `constrain_and_scale`.

    Raises:
        ConfigError: a number that is not positive.

    References:
        Wen, Geiping, Fowl, Souri, Chellappa, Goldblum, Goldstein 2022, "Thinking Two Moves Ahead:
        Anticipating Other Users Improves Backdoor Attacks in Federated Learning", Algorithm 1.
    """
    errors.positive("cohort", cohort)
    for name, value in {"rounds": rounds, "local_steps": local_steps}.items():
        errors.whole(name, value, least=1)

    def aim(view: View) -> step.Loss:
        return ahead(
            loss,
            view,
            benign=benign,
            cohort=float(cohort),
            rounds=rounds,
            local_steps=local_steps,
            batch_size=batch_size,
        )

    return constrain_and_scale(loss, optimizer, batch_size=batch_size, aim=aim, **settings)
