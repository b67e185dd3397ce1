"""3DFed: colluders with noise that cancels, decoys, and marks that tell what the server took."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Bool, Float, Int
from fl_jax.federated import client as clients
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks import indicators, noise_masks
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.federated.attacks.chameleon import part
from fl_jax.train import step
from fl_jax.train.state import Variables


class Memory(NamedTuple):
    """What the colluders remember: what they sent last, what they heard of it, how they tune."""

    before: Float[Array, " size"]  # the indicators' parameter in the model they sent against
    places: Int[Array, " most"]  # where each put its mark
    values: Float[Array, " most"]  # and what
    backdoored: Bool[Array, " most"]  # who sent the backdoor
    decoys: Bool[Array, " most"]  # and who a decoy
    waiting: Bool[Array, ""]  # no model has come since
    heard: Bool[Array, ""]  # one has come, and nothing was made of it yet
    feedback: Float[Array, " most"]  # how far it moved at each mark, over the mark
    alpha: Float[Array, " groups"]  # weight of the peaks in each group's noise masks
    count: Int[Array, ""]  # k, decoys that are sent
    begun: Bool[Array, ""]
    noisy: Bool[Array, ""]  # the server adds noise: no marks, no decoys any more


class Info(NamedTuple):
    """What the colluders know about their own attack."""

    verdicts: Int[Array, " most"]  # of what was sent last (`indicators`); -1: not known
    decoys: Int[Array, ""]  # sent in this round
    noisy: Bool[Array, ""]
    alpha: Float[Array, " groups"]
    scale: Float[Array, ""]  # s, of X - G
    local_norm: Float[Array, ""]  # ||X - G||
    benign_norm: Float[Array, ""]  # of the reference's update, parameters only
    mark_norm: Float[Array, ""]  # of the longest indicator
    mask_norm: Float[Array, ""]  # of the first noise mask
    backdoor_loss: Float[Array, ""]  # of X
    sent_norm: Float[Array, ""]  # of the first update


def three_d_fed(
    loss: step.Loss,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    attackers: int,
    target: int,
    indicator: str,
    benign: optax.GradientTransformation,
    benign_epochs: int = 2,
    head: str = "head",
    group: int = 2,
    neurons: int = 5,
    descent: noise_masks.Descent = noise_masks.Descent(),
    lowest: float = 0.0,
    factor: float = 1e5,
    least: float = 1e-3,
    loudest: float = 0.2,
    threshold: float = 1e-5,
    candidates: int = 10,
    probes: int = 256,
    reach: float = 10.0,
    pull: float = 10.0,
    **settings,
) -> Attack:
    """Constrained training, then camouflage that is tuned by what the last global model tells.

    X is trained under alpha L_class + (1 - alpha) ||X - G|| as by `constrain_and_scale`; with 0.6
    and half of every batch backdoored these are the paper's weights, 0.3, 0.3 and 0.4. Everyone
    compromised then sends s (X - G), where s in [1, gamma] makes it as long as a reference, the
    honest update of the first of them, plus

    - a noise mask on the last layer, which cancels in the sum of its `group` (`noise_masks`);
    - an indicator, a coordinate that nobody needs, enlarged by `factor` (`indicators`).

    The last k of them send decoys in its place: honest training that also goes far in one
    coordinate of the last layer in which X and the reference agree, so that a rule that looks for
    the largest direction finds that one. In the next global model the indicators show which
    updates were accepted, clipped or rejected, and alpha and k follow (`tune`).

    What differs from the authors' code: the compromised of a round are fixed, so decoys take the
    places of backdoored updates (all but one at most) and do not come on top; noise begins at the
    size of a benign update's coordinates and not at one set by hand; an indicator is no longer
    than `loudest` (1e5 times the stillest of millions of coordinates is short, of thousands it is
    hundreds of benign updates); masks are on the last layer, as in the code, where the paper has
    all layers. `View.data` is a `Poison` whose gamma is the largest s.

    Args:
        loss: of the main task; sees batches with backdoor examples mixed in.
        optimizer: of X, at a learning rate of 1.
        batch_size: examples a step.
        attackers: most that can fall into one round.
        target: the wanted label; its neuron of the last layer has no noise.
        indicator: path of the parameter for indicators; the authors take the last convolution.
        benign: the optimizer of benign participants, with their learning rate.
        benign_epochs: passes that they take over their shares.
        head: path of the last layer, neurons on the last axis of every leaf.
        group: colluders whose masks cancel.
        neurons: of the last layer that have noise.
        descent: how the masks are optimised.
        lowest: alpha is drawn from [lowest, 1].
        factor: of an indicator.
        least: shortest indicator. A part of it must change the parameters that it is added to: in
            bfloat16 0.1 does, 0.001 vanishes.
        loudest: longest indicator, in lengths of a benign update; inf for none, as in the authors'
            code.
        threshold: of a rejected indicator; 1e-5, 1e-4 for small networks. It has to be larger
            than what the others' updates do there, over the indicator.
        candidates: coordinates that are looked at for each indicator.
        probes: examples of each kind that the curvature is of.
        reach: how far a decoy goes in its coordinate.
        pull: weight of that distance in its loss.
        settings: of `constrain_and_scale`.

    Raises:
        ConfigError: a number out of range; `init`: no such parameter, or a target that is none of
            the classes.

    References:
        Li, Ye, Hu, Li, Wang, Fang, Shi 2023, "3DFed: Adaptive and Extensible Framework for Covert
        Backdoor Attack in Federated Learning"; rules and constants from the authors' code.
    """
    counts = {
        "attackers": attackers,
        "benign_epochs": benign_epochs,
        "group": group,
        "neurons": neurons,
        "candidates": candidates,
        "probes": probes,
    }
    for name, value in counts.items():
        errors.whole(f"{name} of 3DFed", value, least=1)
    numbers = {
        "factor": factor,
        "least": least,
        "threshold": threshold,
        "loudest": loudest,
        "reach": reach,
    }
    for name, value in numbers.items():
        errors.positive(f"{name} of 3DFed", value)
    errors.not_negative("pull of 3DFed", pull)
    if not 0 <= lowest < 1:
        raise errors.ConfigError(f"lowest of 3DFed must lie in [0, 1), got {lowest}.")
    constrained = scaling.constrain_and_scale(
        loss, optimizer, batch_size=batch_size, shared=False, **settings
    )
    slots = jnp.arange(attackers)
    teams, groups = slots // group, -(-attackers // group)

    def init(variables: Variables) -> Memory:
        part(variables.params, head)  # refuses a wrong path
        _check_target(tree.below(variables.params, head), target)
        flat = indicators.leaf_of(variables.params, indicator)
        none = lambda: jnp.zeros(attackers, bool)
        return Memory(
            before=flat,
            places=jnp.zeros(attackers, jnp.int32),
            values=jnp.ones(attackers, flat.dtype),
            backdoored=none(),
            decoys=none(),
            waiting=jnp.zeros((), bool),
            heard=jnp.zeros((), bool),
            feedback=jnp.zeros(attackers, flat.dtype),
            alpha=jnp.zeros(groups, jnp.float32),
            count=jnp.zeros((), jnp.int32),
            begun=jnp.zeros((), bool),
            noisy=jnp.zeros((), bool),
        )

    def observe(variables: Variables, state: Memory) -> Memory:
        moved = indicators.leaf_of(variables.params, indicator) - state.before
        feedback = moved[state.places] / state.values
        return state._replace(
            feedback=jnp.where(state.waiting, feedback, state.feedback),
            heard=state.heard | state.waiting,
            waiting=jnp.zeros((), bool),
        )

    def hear(state: Memory, key) -> tuple[Memory, Int[Array, " most"]]:
        """(what is made of what was heard, the verdicts)."""
        asked = state.heard & ~state.noisy
        sent = state.backdoored | state.decoys
        told, noise = indicators.verdicts(state.feedback, sent, threshold)
        noisy = state.noisy | (asked & noise)
        draws = jax.random.uniform(key, (groups,))
        tuned, count = tune(state, told, teams, draws, lowest=lowest)
        alpha = jnp.where(asked, tuned, state.alpha)
        alpha = jnp.where(state.begun, alpha, lowest + (1 - lowest) * draws)
        alpha = jnp.clip(jnp.where(noisy, lowest, alpha), 0.01, 0.99)
        count = jnp.where(noisy, 0, jnp.where(asked, count, state.count))
        told = jnp.where(asked & ~noise & sent, told, -1)
        return state._replace(alpha=alpha, count=count, noisy=noisy), told

    def honest(view: View, i, key, acts, aside=lambda params: 0.0, share=1.0) -> Variables:
        """The model of compromised participant i, trained on its own examples under
        share * L_class + aside; G itself where it does not act."""

        def objective(variables, batch, step_key):
            value, rest = loss(variables, batch, step_key)
            return share * value + aside(variables.params), rest

        trainer = clients.make(objective, benign, epochs=benign_epochs, batch_size=batch_size)
        people, ident = view.population, view.ids[i]
        size = jnp.where(acts, people.size[ident], 0)
        local, _ = trainer.train(
            view.variables,
            people.examples,
            people.start[ident],
            size,
            key,
            longest=people.longest,
        )
        return local

    def bend(view: View, key) -> Float[Array, " size"]:
        """The curvature of the loss on clean and backdoored examples, where marks may go."""
        probe = lambda examples: jax.tree.map(lambda a: a[:probes], examples)

        def value(params):
            total = jnp.float32(0)
            for batch in map(probe, (view.data.clean, view.data.backdoor)):
                batch = {**batch, "mask": jnp.ones(len(batch["y"]), jnp.float32)}
                total += loss(view.variables._replace(params=params), batch, key)[0]
            return total

        return indicators.curvature(value, view.variables.params, indicator)

    def update(view: View, state: Memory, key):
        data = scaling.poison_of(view)
        state, told = hear(state, rng.fold(key, "tune"))
        here = slots < view.count
        decoy = here & (slots >= view.count - jnp.minimum(state.count, view.count - 1))

        plain = view._replace(data=data._replace(gamma=jnp.float32(1)))
        sent, _, trained = constrained.update(plain, (), rng.fold(key, "backdoor"))
        model = honest(view, 0, rng.fold(key, "reference"), view.count > 0)
        moved = lambda local: tree.sub(tree.wide(local), tree.wide(view.variables))
        reference = moved(model)
        own = tree.wide(jax.tree.map(lambda a: a[0], sent))
        longer = tree.norm(reference.params) / jnp.maximum(tree.norm(own.params), 1e-30)
        scale = jnp.clip(longer, 1.0, jnp.maximum(data.gamma, 1.0))
        own = tree.scale(scale, own)

        leaf = lambda update: jnp.abs(indicators.leaf_of(update.params, indicator))
        curved = bend(view, rng.fold(key, "probe"))
        places = indicators.choose(leaf(own) + leaf(reference), curved, attackers, candidates)
        longest = jnp.maximum(loudest * tree.norm(reference.params), least)
        last = tree.below(own.params, head)
        usual = tree.below(reference.params, head)
        masks = noise_masks.design(
            last,
            rng.fold(key, "masks"),
            unit=tree.norm(usual) / tree.size(usual) ** 0.5,
            alpha=state.alpha,
            group=teams,
            there=here & ~decoy,
            target=target,
            count=neurons,
            descent=descent,
        )
        # Decoys leave along a coordinate of the matrix in which nothing is to be seen.
        path = max(last, key=lambda name: last[name].size)
        apart = jnp.abs(last[path] - usual[path]).reshape(-1)
        agreed = jax.lax.top_k(-apart, min(attackers, apart.size))[1]
        centres = indicators.leaf_of(model.params, path)[agreed]

        def one(item):
            i, mask = item
            place = (attackers - 1 - i) % len(agreed)

            def aside(params):
                away = indicators.leaf_of(params, path)[agreed[place]] - centres[place]
                away = jnp.where(away >= 0, away, -away)  # not |.|, which stays where it is 0
                return jnp.where(away > reach, 0.0, -pull * away) / 2

            other = honest(view, i, rng.fold(key, "decoy", i), decoy[i], aside, share=0.5)
            masked = tree.map_named(lambda n, a: a + mask[n] if n in mask else a, own.params)
            whole = tree.where(decoy[i], moved(other), own._replace(params=masked))
            whole = tree.cast(whole, view.variables)
            marked, value = indicators.implant(
                whole.params, indicator, places[i], factor=factor, least=least, most=longest
            )
            return whole._replace(params=tree.where(state.noisy, whole.params, marked)), value

        out, values = jax.lax.map(one, (slots, masks))
        new = state._replace(
            before=indicators.leaf_of(view.variables.params, indicator),
            places=places,
            values=values,
            backdoored=here & ~decoy,
            decoys=decoy,
            waiting=~state.noisy,
            heard=jnp.zeros((), bool),
            begun=jnp.ones((), bool),
        )
        info = Info(
            verdicts=told,
            decoys=jnp.sum(decoy).astype(jnp.int32),
            noisy=state.noisy,
            alpha=state.alpha,
            scale=scale,
            local_norm=trained.local_norm,
            benign_norm=tree.norm(reference.params),
            mark_norm=jnp.max(jnp.abs(values)),
            mask_norm=tree.norm({name: n[0] for name, n in masks.items()}),
            backdoor_loss=trained.backdoor_loss,
            sent_norm=tree.norm(jax.tree.map(lambda a: a[0], out)),
        )
        return out, new, info

    return Attack(init, update, attackers, constrained.sees, observe)


def _check_target(layer: dict[str, Array], target: int) -> None:
    """Refuses a last layer whose leaves differ in their neurons, and a target that is none."""
    neurons = {name: a.shape[-1] if a.ndim else 0 for name, a in layer.items()}
    classes = min(neurons.values())
    if len(set(neurons.values())) > 1 or classes == 0:
        raise errors.ConfigError(
            "the last layer of 3DFed has its neurons, one for each class, on the last axis of"
            f" every leaf, but these are {neurons}; name one layer."
        )
    errors.whole("target of 3DFed", target)
    if target >= classes:
        raise errors.ConfigError(
            f"target of 3DFed must be one of the classes 0..{classes - 1}, got {target}."
        )


def tune(
    state: Memory,
    told: Int[Array, " most"],
    teams: Int[Array, " most"],
    draws: Float[Array, " groups"],
    *,
    lowest: float,
) -> tuple[Float[Array, " groups"], Int[Array, ""]]:
    """(alpha, k) for the next attack, by what became of the last.

    k falls by every decoy that was accepted, which shows that they are not needed, and rises by
    one if nobody got through. A group of whose backdoored updates 0.8 were accepted has a good
    alpha. If all groups have, each draws between the two smallest; if some, within 0.1 above the
    smallest; if none, from [lowest, 1]. A single group keeps a good one.

    Args:
        state: with what was sent, alpha and k.
        told: verdict on each.
        teams: group of each.
        draws: uniform in [0, 1).
        lowest: of alpha.

    References:
        Li et al. 2023, "3DFed", the section on adaptive tuning, and the authors' code.
    """
    accepted = told == indicators.ACCEPTED
    through = jnp.any(state.backdoored & (told != indicators.REJECTED))
    useless = jnp.sum(state.decoys & accepted)
    nobody = ~through & (useless == 0)
    count = jnp.maximum(state.count - useless, 0) + nobody.astype(jnp.int32)
    count = jnp.minimum(count, len(told) - 1).astype(jnp.int32)

    member = (teams[None, :] == jnp.arange(len(draws))[:, None]) & state.backdoored[None, :]
    size, taken = jnp.sum(member, axis=1), jnp.sum(member & accepted[None, :], axis=1)
    good = (size > 0) & (5 * taken >= 4 * size)
    anywhere = lowest + (1 - lowest) * draws
    if len(draws) == 1:
        return jnp.where(good, state.alpha, anywhere), count
    order = jnp.sort(jnp.where(good, state.alpha, jnp.inf))
    found = jnp.sum(good)
    wide = jnp.where((found > 1) & jnp.all(good == (size > 0)), order[1] - order[0], 0.1)
    return jnp.where(found > 0, order[0] + wide * draws, anywhere), count
