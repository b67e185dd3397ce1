"""One federated round as one pure function.

    select -> train all clients -> attack -> defend -> aggregate -> server step -> evaluate

Everything stays on the device: a round is one program, `repeat` makes R rounds one program, and
`jax.jit(..., donate_argnums=0)` lets it work in place. Attack, defence and aggregator are slots.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from fl_jax.core import errors, rng, tree
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.federated import checks, sampling
from fl_jax.federated import secure_aggregation as secure_sums
from fl_jax.federated.aggregators.base import Aggregator, Stacked, Summed, as_stacked, sent_out
from fl_jax.federated.asynchronous.buffered import Buffered
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.federated.client import Client
from fl_jax.federated.defences.base import Defence
from fl_jax.federated.population import Population
from fl_jax.federated.sampling import Sampler
from fl_jax.train import cohort
from fl_jax.train.state import Variables

# Rules add up squared lengths, and squares of those: what float32 does not hold makes NaN of them,
# or of the whole round nothing.
LONGEST = 1e17


class RoundState(NamedTuple):
    """Everything the next round needs."""

    round: Int[Array, ""]
    variables: Variables  # the global model, batch statistics included
    server: optax.OptState
    aggregator: PyTree
    defence: PyTree
    attack: PyTree
    dropped: Int[Array, ""]  # updates left out so far: not finite, or as long as LONGEST
    clients: PyTree = ()  # what the participants keep, leaves (participants, ...)
    late: PyTree = ()  # of late updates: who is training, and from which models


class RoundData(NamedTuple):
    """What a round reads and does not change."""

    population: Population
    attack: PyTree = ()  # the attacker's own data and settings
    evaluation: PyTree = ()  # what `evaluate` is given


class RoundInfo(NamedTuple):
    """What a round reports."""

    ids: Int[Array, " cohort"]
    malicious: Bool[Array, " cohort"]
    finite: Bool[Array, " cohort"]  # False: the update was left out
    loss: Float[Array, " cohort"]  # mean local training loss; 0 of those who took no honest step
    norm: Float[Array, " cohort"]  # ||D_i||; of compromised participants, what they sent
    attack: PyTree  # what the attack reports; zeros in rounds without attackers
    metrics: PyTree  # what `evaluate` returns
    inspection: PyTree = ()  # what `inspect` returns
    secure: PyTree = ()  # `SecureInfo` of a round with secure aggregation
    age: PyTree = ()  # (cohort,) of late updates: server steps since they began
    elapsed: PyTree = ()  # () of late updates: time since the last server step


class Round(NamedTuple):
    """A federated learning algorithm."""

    init: Callable[[Variables], RoundState]
    step: Callable[[RoundState, RoundData, Key[Array, ""]], tuple[RoundState, RoundInfo]]


def make(
    *,
    client: Client,
    sampler: Sampler | Buffered,
    aggregator: Aggregator,
    attack: Attack | None = None,
    defence: Defence | None = None,
    server: optax.GradientTransformation | None = None,
    evaluate: Callable[[Variables, Any], PyTree] = lambda variables, data: {},
    inspect: Callable[[Stacked], PyTree] | None = None,
    secure: secure_sums.SecureAggregation | None = None,
    plan: cohort.Plan = cohort.Plan("scan"),
    mesh: Mesh | None = None,
) -> Round:
    """A round with these parts.

    Args:
        client: local training, from `client.make`.
        sampler: who takes part, from `sampling`; or whose late updates a server step takes, from
            `asynchronous.buffered`: a round then is such a step.
        aggregator: how updates become one step, from `aggregators`.
        attack: what compromised participants send, from `attacks`; None = they train honestly
            like everyone else.
        defence: what the server does to updates and aggregate, from `defences`; None = nothing.
        server: optimizer of the server, which takes minus the aggregate for a gradient, from
            `server.adaptive` or `train.optimizer`; batch statistics are always moved by the
            aggregate itself. None adds the aggregate.
        evaluate: (variables, RoundData.evaluation) -> metrics of the new global model.
        inspect: looks at all updates of the round, reported as `RoundInfo.inspection`.
        secure: secure aggregation, from `secure_aggregation.make`: the server gets the sum of
            the updates alone.
        plan: how the clients run (`cohort.Plan`).
        mesh: a mesh with a `clients` axis to deal them over.

    Returns:
        A `Round`. Randomness is drawn per (key, round, participant id), so results do not depend
        on plan, device count or the order of the cohort.

    Raises:
        ConfigError: a part that none of its factories made; more compromised participants in a
            round than the attack sends updates for; participants who come back sooner than the
            aggregator's noise is meant for;
            secure aggregation together with something that looks at single updates, with late
            updates, or with a range that cuts what the aggregator counts by. `init`:
            variables that are no `Variables`, or not floating-point. The step, when it is traced:
            a population of another size than the sampler's; a slot that returns something that is
            not like the model, or an attack whose state changes its form.
    """
    if not isinstance(plan, cohort.Plan):
        raise errors.ConfigError(
            f"plan is a cohort.Plan, like cohort.Plan.parse('chunk:8'), got {plan!r}."
        )
    defence = Defence() if defence is None else defence
    checks.made(client=client, sampler=sampler, aggregator=aggregator, defence=defence)
    if attack is not None:
        checks.made(attack=attack)
    stacks = aggregator.sees is Stacked or inspect is not None
    stacks |= attack is not None and attack.sees is Stacked
    checks.parts(
        sampler=sampler,
        aggregator=aggregator,
        attack=attack,
        defence=defence,
        inspect=inspect,
        secure=secure,
        stacks=stacks,
    )
    rule = as_stacked(aggregator) if stacks else aggregator
    late = sampler if isinstance(sampler, Buffered) else None
    parts = _Parts(
        client,
        sampler,
        late,
        rule,
        attack,
        defence,
        server,
        evaluate,
        inspect,
        secure,
        plan,
        mesh,
        stacks,
    )
    return Round(functools.partial(_init, parts), functools.partial(_step, parts))


class _Parts(NamedTuple):
    """What a round is made of."""

    client: Client
    sampler: Sampler | Buffered
    late: Buffered | None  # the sampler, if it is that
    rule: Aggregator  # that sees the stack wherever anything does
    attack: Attack | None
    defence: Defence
    server: optax.GradientTransformation | None
    evaluate: Callable[[Variables, Any], PyTree]
    inspect: Callable[[Stacked], PyTree] | None
    secure: secure_sums.SecureAggregation | None
    plan: cohort.Plan
    mesh: Mesh | None
    stacks: bool


class _Arrived(NamedTuple):
    """What has come from the cohort."""

    seen: Summed | Stacked
    loss: Float[Array, " cohort"]
    norm: Float[Array, " cohort"]
    finite: Bool[Array, " cohort"]
    weight: Float[Array, " cohort"]
    kept: PyTree  # what participants remember, leaves (cohort, ...)
    clipped: Int[Array, ""]  # coordinates beyond the range of secure aggregation


def _init(parts: _Parts, variables: Variables) -> RoundState:
    checks.averaged(variables)
    many = lambda a: jnp.broadcast_to(a[None], (parts.sampler.participants, *a.shape))
    kept = () if parts.client.remember is None else parts.client.remember(variables)
    # The state may be donated, and whoever made the model wants to begin from it again.
    variables = jax.tree.map(jnp.copy, variables)
    start = RoundState(
        round=jnp.zeros((), jnp.int32),
        variables=variables,
        server=() if parts.server is None else parts.server.init(variables.params),
        aggregator=parts.rule.init(variables),
        defence=parts.defence.init(variables),
        attack=() if parts.attack is None else parts.attack.init(variables),
        dropped=jnp.zeros((), jnp.int32),
        clients=jax.tree.map(many, kept),
        late=() if parts.late is None else parts.late.init(variables),
    )
    # Rules, attacks and optimizers may begin with the model: nothing shared could be donated.
    return tree.apart(start)


def _step(parts: _Parts, state: RoundState, data: RoundData, key: Key[Array, ""]):
    rule, attack, secure = parts.rule, parts.attack, parts.secure
    sampling.check_population(data.population, parts.sampler.participants)
    root, key = key, rng.fold(key, "round", state.round)
    selected, age, elapsed, late = _select(parts, state, rng.fold(key, "sample"))
    session = None if secure is None else secure_sums.session(secure, selected.ids.shape[0])
    begun = rule.begin(state.variables, state.aggregator, rng.fold(key, "aggregator"))
    sent = sent_out(rule, state.variables, begun)
    if parts.late is not None and rule.broadcast is not None:
        late = parts.late.keep(late, sent, state.round)
    state = state._replace(variables=sent, aggregator=begun, late=late)
    arrived = _train(parts, state, data.population, selected, age, session, root)
    attack_state, attack_info = state.attack, ()
    if attack is not None:
        state = state._replace(attack=attack.observe(state.variables, state.attack))
        arrived, attack_state, attack_info = _strike(
            parts, state, data, selected, age, arrived, session, key
        )
    seen, told = arrived.seen, ()
    if session is not None:
        seen, told = _reveal(parts, state, arrived, session, key)
    inspection = () if parts.inspect is None else parts.inspect(seen)
    aggregate, aggregator_state = checks.several(
        "an aggregator's `update` returns (update, state)", rule.update(seen, state.aggregator), 2
    )
    checks.alike("an aggregator returns one update", aggregate, state.variables)
    aggregate, defence_state = checks.several(
        "a defence's `server` returns (aggregate, state)",
        parts.defence.server(aggregate, state.defence, rng.fold(key, "defence")),
        2,
    )
    checks.alike("a defence's `server` returns the aggregate", aggregate, state.variables)
    aggregate = tree.cast(aggregate, state.variables)
    variables, server_state = _advance(state, aggregate, parts.server)
    put = lambda all, new: all.at[selected.ids].set(new)
    new = RoundState(
        round=state.round + 1,
        variables=variables,
        server=server_state,
        aggregator=aggregator_state,
        defence=defence_state,
        attack=attack_state,
        dropped=state.dropped + jnp.sum(~arrived.finite).astype(jnp.int32),
        clients=jax.tree.map(put, state.clients, arrived.kept),
        # Made of what the others read, it is written after that and in place.
        late=() if parts.late is None else parts.late.keep(late, variables, state.round + 1),
    )
    info = RoundInfo(
        ids=selected.ids,
        malicious=selected.malicious,
        finite=arrived.finite,
        loss=arrived.loss,
        norm=arrived.norm,
        attack=attack_info,
        metrics=parts.evaluate(variables, data.evaluation),
        inspection=inspection,
        secure=told,
        age=age,
        elapsed=elapsed,
    )
    return new, info


def _select(parts: _Parts, state: RoundState, key):
    """(cohort, age of its updates, time since the last step, who trains on): the last three are
    empty where nobody is late."""
    if parts.late is None:
        return parts.sampler.draw(key, state.round), (), (), ()
    (selected, age, elapsed), late = parts.late.draw(state.late, key, state.round)
    return selected, age, elapsed, late


def _begun(parts: _Parts, state: RoundState, age):
    """(number of the round in which a participant began, the model that it was sent)."""
    if parts.late is None:
        return state.round, state.variables
    number = state.round - age
    return number, parts.late.version(state.late, number)


def _train(
    parts: _Parts, state: RoundState, population: Population, selected, age, session, root
) -> _Arrived:
    """The honest updates, and what their clients report."""
    client = parts.client

    def one(item, state, population, root):
        place, ident, counts, arrives, own, age = item
        size = population.size[ident]
        number, start = _begun(parts, state, age)
        trained, info, *kept = client.train(
            start,
            population.examples,
            population.start[ident],
            jnp.where(counts & arrives, size, 0),  # steps that nobody will see are not taken
            rng.fold(root, "round", number, "client", ident),
            longest=population.longest,
            **({} if client.remember is None else {"own": own}),
        )
        checks.alike("a client returns its local variables", trained, state.variables)
        update = tree.sub(trained, state.variables if _mixes(parts) else start)
        norm = tree.norm(update)
        update, weight, finite = _weigh(parts, state, update, size, counts & arrives, age)
        kept = tree.where(weight > 0, kept[0], own) if kept else own
        report = (info.loss, norm, finite, weight, kept)
        if parts.stacks:
            return (), (report, update, jnp.int32(0))
        inward = parts.rule.arrive is not None
        masks = rng.fold(root, "round", state.round, "secure")
        sent, clipped = _hand_over(update, weight, place, session, masks, inward)
        return sent, (report, (), clipped)

    # By whom is selected, not by whose update arrives: a client that is lost leaves the order
    # of the others, and with it every bit of their sum, as it is.
    honest = ~selected.malicious if parts.attack is not None else jnp.ones_like(selected.malicious)
    own = jax.tree.map(lambda a: a[selected.ids], state.clients)
    total, (report, updates, clipped) = cohort.sum(
        one,
        (jnp.arange(selected.ids.shape[0]), selected.ids, honest, selected.active, own, age),
        shared=(state._replace(clients=()), population, root),
        plan=parts.plan,
        mesh=parts.mesh,
        cost=client.steps(jnp.where(honest, population.size[selected.ids], 0)),
        stage="local training",
    )
    loss, norm, finite, weight, kept = report
    seen = Stacked(updates, weight, selected.ids) if parts.stacks else total
    return _Arrived(seen, loss, norm, finite, weight, kept, jnp.sum(clipped))


def _strike(
    parts: _Parts,
    state: RoundState,
    data: RoundData,
    selected,
    age,
    arrived: _Arrived,
    session,
    key,
):
    """(arrived, attack's state, its info): what the compromised participants send is added."""
    attack = parts.attack
    malicious = selected.malicious & selected.active
    count = jnp.sum(malicious).astype(jnp.int32)
    # The places of the attackers in the cohort; those beyond `count` fall off its end.
    length = malicious.shape[0]
    places = jnp.nonzero(malicious, size=attack.most, fill_value=length)[0]
    ids = selected.ids[jnp.minimum(places, length - 1)]
    start, ages = state.variables, ()
    if parts.late is not None:  # they share the newest model that any of them was sent
        ages = age[jnp.minimum(places, length - 1)]
        newest = jnp.min(jnp.where(places < length, ages, parts.late.versions))
        _, start = _begun(parts, state, jnp.where(count > 0, newest, 0))
    view = View(
        variables=start,
        count=count,
        round=state.round,
        benign=arrived.seen if session is None else (),  # masked: nobody can read it
        data=data.attack,
        ids=ids,
        population=data.population,
        aggregator=state.aggregator,
    )

    def attacked(view):
        found = attack.update(view, state.attack, rng.fold(key, "attack"))
        return checks.several("an attack's `update` returns (updates, state, info)", found, 3)

    def quiet(view):
        updates, after, info = jax.eval_shape(attacked, view)
        checks.alike(
            f"an attack returns `most` = {attack.most} updates stacked on a leading axis",
            updates,
            state.variables,
            (attack.most,),
        )
        checks.same_form(after, state.attack)
        return tree.zeros_like(updates), state.attack, tree.zeros_like(info)

    sent, attack_state, info = jax.lax.cond(count > 0, attacked, quiet, view)
    sent = tree.cast(sent, state.variables)
    if _mixes(parts):
        away = tree.sub(start, state.variables)
        sent = jax.tree.map(lambda a, b: a + b[None], sent, away)
    # Of a training that diverged the server drops the update; no later round may stand on it.
    sound = tree.all_finite(attack_state) | ~tree.all_finite(state.attack)
    attack_state = tree.where(sound, attack_state, state.attack)
    norms = jax.vmap(tree.norm)(sent)
    weigh = lambda *each: _weigh(parts, state, *each)
    sent, weights, finite = jax.vmap(weigh)(sent, data.population.size[ids], places < length, ages)
    put = lambda all, new: all.at[places].set(new, mode="drop")
    seen, clipped = arrived.seen, arrived.clipped
    if parts.stacks:
        updates = jax.tree.map(put, seen.updates, sent)
        seen = seen._replace(updates=updates, weights=put(seen.weights, weights))
    else:
        inward = parts.rule.arrive is not None
        hand = lambda item: _hand_over(*item, session, rng.fold(key, "secure"), inward)
        handed, more = jax.lax.map(hand, (sent, weights, places))
        seen = jax.tree.map(lambda t, s: t + jnp.sum(s, axis=0, dtype=t.dtype), seen, handed)
        clipped += jnp.sum(more)
    arrived = arrived._replace(
        seen=seen,
        norm=put(arrived.norm, norms),
        finite=put(arrived.finite, finite),
        weight=put(arrived.weight, weights),
        clipped=clipped,
    )
    return arrived, attack_state, info


def _mixes(parts: _Parts) -> bool:
    """Whether what counts is how far a client's model is from the server's."""
    return parts.late is not None and parts.late.mixing


def _weigh(parts: _Parts, state: RoundState, update, size, counts, age):
    """(update or zeros, weight, finite) of one sender: what is not counted leaves no trace."""
    rule = parts.rule
    update = parts.defence.client(update, state.defence)
    checks.alike("a defence's `client` returns an update", update, state.variables)
    if parts.late is not None:
        update = tree.scale(parts.late.discount(age), update)
    finite = tree.squared_norm(update) < LONGEST**2  # False of NaN
    base = size.astype(jnp.float32) if rule.weight == "examples" else jnp.float32(1)
    weight = jnp.where(finite & counts, base, 0.0)
    update = tree.where(weight > 0, update, tree.zeros_like(update))
    if rule.arrive is not None:
        update, factor = rule.arrive(update, state.aggregator)
        weight = weight * factor
        update = tree.where(weight > 0, update, tree.zeros_like(update))
    return update, weight, finite


def _hand_over(update, weight, place, session, key, inward: bool):
    """What reaches the server's sum from one client: its weighted update, masked if secure.

    `inward`: what the client has clipped is not made longer by rounding.
    """
    if session is None:
        # The sum of narrow floats may be beyond them.
        return Summed(tree.scale(weight, tree.wide(update)), weight), jnp.int32(0)
    encoded, clipped = secure_sums.encode(session, update, inward=inward)
    masked = secure_sums.mask(session, key, place, encoded)
    sent = tree.where(weight > 0, masked, tree.zeros_like(masked))
    return Summed(sent, weight), jnp.where(weight > 0, clipped, 0)


def _reveal(parts: _Parts, state: RoundState, arrived: _Arrived, session, key):
    """(the sum without its masks, `SecureInfo`)."""
    rule, variables = parts.rule, state.variables
    total, recovered = secure_sums.unmask(
        session, rng.fold(key, "secure"), arrived.seen.total, arrived.weight > 0
    )
    one = variables  # shapes and dtypes of what one client adds to the sum
    if rule.arrive is not None:
        one = jax.eval_shape(lambda update: rule.arrive(update, state.aggregator)[0], variables)
    seen = Summed(secure_sums.decode(session, total, one), arrived.seen.weight)
    return seen, secure_sums.SecureInfo(arrived.clipped.astype(jnp.int32), recovered)


def _advance(state: RoundState, aggregate: PyTree, server: optax.GradientTransformation | None):
    """The server's step: the aggregate itself, or an optimizer that follows it."""
    if server is None:
        return tree.add(state.variables, aggregate), state.server
    descent = jax.tree.map(jnp.negative, aggregate.params)
    updates, server_state = server.update(descent, state.server, state.variables.params)
    params = optax.apply_updates(state.variables.params, updates)
    stats = tree.add(state.variables.batch_stats, aggregate.batch_stats)
    return Variables(params, stats), server_state


def repeat(step, rounds: int):
    """`rounds` rounds as one function: (state, data, key) -> (state, infos stacked (rounds, ...)).

    One dispatch then runs them all; `jax.jit(repeat(step, 10), donate_argnums=0)`.
    """

    def many(state, data, key):
        def one(state, _):
            return step(state, data, key)

        return jax.lax.scan(one, state, length=rounds)

    return many
