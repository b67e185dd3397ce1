"""What a round refuses: parts that do not go together, and slots that return something else."""

from collections.abc import Callable

import jax.numpy as jnp

from fl_jax.core import errors, tree
from fl_jax.core.types import PyTree
from fl_jax.federated import secure_aggregation as secure_sums
from fl_jax.federated.aggregators.base import Aggregator, Stacked
from fl_jax.federated.asynchronous.buffered import Buffered
from fl_jax.federated.attacks.base import Attack
from fl_jax.federated.client import Client
from fl_jax.federated.defences.base import Defence
from fl_jax.federated.sampling import Sampler
from fl_jax.train.state import Variables

# The kind of each part, and a factory that makes one.
MADE = {
    "client": (Client, "client.make(...)"),
    "sampler": (Sampler | Buffered, "sampling.uniform(...)"),
    "aggregator": (Aggregator, "mean.mean()"),
    "attack": (Attack, "constrain_and_scale.constrain_and_scale(...)"),
    "defence": (Defence, "norm_clip.norm_clip(...)"),
}


def made(**given) -> None:
    """Refuses a part of another kind, such as a factory that was not called.

    Raises:
        ConfigError: the part by its name.
    """
    for name, part in given.items():
        kind, like = MADE[name]
        if not isinstance(part, kind):
            raise errors.ConfigError(
                f"`{name}` takes the {name.capitalize()} that a factory such as {like} returns, but"
                f" {type(part).__name__} came; call the factory, or make one of your functions."
            )


def several(what: str, found, count: int):
    """What a slot returned, if it is as many things as it should be.

    Raises:
        ConfigError: it is one thing, or a tuple of another length.
    """
    if isinstance(found, Variables) or not isinstance(found, tuple) or len(found) != count:
        kind = type(found).__name__
        many = f"a tuple of {len(found)}" if type(found) is tuple else f"one {kind}"
        raise errors.ConfigError(f"{what}, but {many} came.")
    return found


def parts(
    *,
    sampler: Sampler | Buffered,
    aggregator: Aggregator,
    attack: Attack | None,
    defence: Defence,
    inspect: Callable[[Stacked], PyTree] | None,
    secure: secure_sums.SecureAggregation | None,
    stacks: bool,
) -> None:
    """Refuses parts of a round that do not go together; arguments as of `round.make`.

    Args:
        stacks: whether any part looks at the updates one by one.

    Raises:
        ConfigError: see `round.make`.
    """
    errors.one_of("weight of an aggregator", aggregator.weight, ("uniform", "examples"))
    if attack is not None and attack.most < sampler.attackers:
        raise errors.ConfigError(
            f"{sampler.attackers} compromised participants can fall into one round, but the attack"
            f" was made for {attack.most}; make it with attackers={sampler.attackers}."
        )
    if sampler.separation < aggregator.separation:
        raise errors.ConfigError(
            f"the aggregator's noise is accounted for participants whose turns are at least"
            f" {aggregator.separation} rounds apart, but this sampler may draw one again after"
            f" {sampler.separation}; take sampling.cyclic or cyclic_poisson with"
            f" {aggregator.separation} blocks, or arrivals of that separation."
        )
    if secure is None:
        return
    if isinstance(sampler, Buffered):
        raise errors.ConfigError(
            "secure aggregation masks the updates of a cohort that is known before anyone"
            " sends, but late updates fall into the buffer that is open when they arrive; leave"
            " secure aggregation out, or take a sampler of synchronous rounds."
        )
    _through_secure_sums(aggregator, defence, inspect, stacks, attack, secure)


def _through_secure_sums(
    aggregator: Aggregator,
    defence: Defence,
    inspect,
    stacks: bool,
    attack: Attack | None,
    secure: secure_sums.SecureAggregation,
) -> None:
    """Refuses whatever needs to see an update by itself where the server cannot, and a range that
    cuts what the rule counts."""
    looks = [
        name
        for name, does in {
            "the aggregator": aggregator.inspects,
            "the defence": defence.inspects,
            "`inspect`": inspect is not None,
            "the attack": stacks,
        }.items()
        if does
    ]
    if looks:
        raise errors.ConfigError(
            "secure aggregation hides single updates from the server, but"
            f" {looks[0]} looks at each of them; use a rule on sums (mean, fedavg), or leave"
            " secure aggregation out."
        )
    if aggregator.weight != "uniform":
        raise errors.ConfigError(
            "under secure aggregation every update weighs the same, but the aggregator weighs by"
            " examples; use mean(weight='uniform') or fedavg."
        )
    if attack is not None and aggregator.arrive is not None:
        raise errors.ConfigError(
            "under secure aggregation each client clips its own update, and nobody can make a"
            " compromised one do so; leave out the attack, or secure aggregation."
        )
    if aggregator.reach > secure.clip:
        raise errors.ConfigError(
            f"secure aggregation cuts every number to [-{secure.clip:g}, {secure.clip:g}], but the"
            f" aggregator counts by numbers of {aggregator.reach:g} that go through it with the"
            f" update; take a clip range of {aggregator.reach:g} at least."
        )
    if secure.bits is not None and aggregator.reach * 2**secure.bits % 1:
        raise errors.ConfigError(
            f"secure aggregation with bits={secure.bits} rounds the {aggregator.reach:g} that the"
            " aggregator counts by to a multiple of"
            f" {0.5**secure.bits:g}; take more bits, or None for as many as there is room for."
        )


def averaged(variables: Variables) -> None:
    """Refuses variables that cannot be averaged.

    Raises:
        ConfigError: a leaf that is not floating-point.
    """
    if not isinstance(variables, Variables):
        raise errors.ConfigError(
            "a round begins with train.state.Variables(params, batch_stats), as"
            f" Variables(*network.init(key)) makes them, but {type(variables).__name__} came."
        )
    whole = [
        (name, leaf.dtype)
        for name, leaf in tree.named_leaves(variables).items()
        if not jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    if whole:
        raise errors.ConfigError(
            "a round averages parameters and batch statistics, which must be floating-point"
            f" numbers, but {whole[0][0]} is {whole[0][1]}; leave counters out of the variables or"
            " make them float32."
        )


def alike(what: str, got: PyTree, variables: Variables, lead: tuple[int, ...] = ()) -> None:
    """Refuses what a slot returns if it is not like the model.

    Args:
        what: what the slot is to return, the beginning of the sentence.
        lead: axes before each leaf's own.

    Raises:
        ConfigError: a leaf that is missing, too many, or of another shape.
    """
    shown = lambda tree_, lead: {
        name: (*lead, *jnp.shape(leaf)) for name, leaf in tree.named_leaves(tree_).items()
    }
    got, wanted = shown(got, ()), shown(variables, lead)
    wrong = [name for name in {**wanted, **got} if got.get(name) != wanted.get(name)]
    if wrong:
        raise errors.ConfigError(
            f"{what}, like the variables (parameters and batch statistics), but {wrong[0]} should"
            f" be {wanted.get(wrong[0], 'absent')} and is {got.get(wrong[0], 'absent')}."
        )


def same_form(after: PyTree, before: PyTree) -> None:
    """Refuses an attack whose state changes its form: rounds without attackers keep it as it is.

    Raises:
        ConfigError: a leaf that is missing, too many, or of another shape or dtype.
    """
    dtype = lambda leaf: getattr(leaf, "dtype", None) or jnp.result_type(leaf)
    form = lambda state: {
        name: f"{dtype(leaf)} of shape {jnp.shape(leaf)}"
        for name, leaf in tree.named_leaves(state).items()
    }
    got, wanted = form(after), form(before)
    wrong = [name for name in {**wanted, **got} if got.get(name) != wanted.get(name)]
    if wrong:
        raise errors.ConfigError(
            "an attack's state keeps the form that its `init` gave it, but"
            f" {wrong[0] or 'it'} was {wanted.get(wrong[0], 'absent')} and is"
            f" {got.get(wrong[0], 'absent')} after `update`."
        )
