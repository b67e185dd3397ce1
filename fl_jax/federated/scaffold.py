"""SCAFFOLD: every participant's drift is measured once and taken out of its gradients.

A participant sends how it moved the model and how it changed its control variate. Both are one
message, `Variables` with the parameters {"model", "control"}, so that everything a round has
a slot for (attacks, rules, defences, detectors, secure aggregation) sees, and may forge, both.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from fl_jax.core import errors, tree
from fl_jax.core.types import PyTree
from fl_jax.federated import round
from fl_jax.federated.aggregators import mean
from fl_jax.federated.aggregators.base import Aggregator, Stacked
from fl_jax.federated.asynchronous.buffered import Buffered
from fl_jax.federated.attacks.base import Attack, View
from fl_jax.federated.client import Client
from fl_jax.federated.defences.base import Defence
from fl_jax.federated.sampling import Sampler
from fl_jax.train import cohort
from fl_jax.train.state import Variables


def make(
    *,
    client: Client,
    rate: float,
    sampler: Sampler | Buffered,
    server_rate: float = 1.0,
    aggregator: Aggregator | None = None,
    attack: Attack | None = None,
    defence: Defence = Defence(),
    evaluate: Callable[[Variables, Any], PyTree] = lambda variables, data: {},
    inspect: Callable[[Stacked], PyTree] | None = None,
    memory: int = 2**32,
    plan: cohort.Plan = cohort.Plan("scan"),
    mesh: Mesh | None = None,
) -> round.Round:
    """Rounds of SCAFFOLD, with the cheap control variates (option II).

    y <- y - rate (g(y) - c_i + c) locally, K steps; c_i' = c_i - c + (x - y) / (K rate). The server
    moves x by the mean of y - x and c by the sum of c_i' - c_i over all participants' number.

    Args:
        client: local training by plain SGD at `rate` (no momentum: K rate must be the distance).
        rate: the client's learning rate.
        sampler: who takes part; updates that do not arrive leave no trace.
        server_rate: eta_g.
        aggregator: what the server takes for the mean of the messages; None = the mean. One with
            noise (DP-FedAvg) does not make c private, which moves by the share of all participants
            whose messages arrived.
        attack: what compromised participants send: a message. Attacks that are made of the others'
            updates make one as they are; one that trains a model is given to `of_model`.
        defence: what the server does to messages and aggregate.
        evaluate: (model, RoundData.evaluation) -> metrics.
        inspect: looks at all messages of the round.
        memory: bytes that the n control variates may take.

    Returns:
        A `Round` whose state holds x and c in `variables`, which `model` takes apart, and the c_i
        in `clients`. Norms that it reports are of whole messages.

    Raises:
        ConfigError: the control variates do not fit `memory` (when the state is made); a rule that
            weighs by examples; late updates; otherwise as `round.make`.

    References:
        Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated
        Learning", Algorithm 1.
    """
    errors.positive("rate", rate)
    errors.positive("server_rate", server_rate)
    if isinstance(sampler, Buffered):
        raise errors.ConfigError(
            "SCAFFOLD's server keeps the mean of the participants' control variates, which late and"
            " discounted updates would not be; take a sampler of synchronous rounds."
        )
    rule = mean.mean(weight="uniform") if aggregator is None else aggregator
    if rule.weight != "uniform":
        raise errors.ConfigError(
            "SCAFFOLD weighs every participant the same, but the aggregator weighs by examples; use"
            " mean(weight='uniform') or a rule without weights."
        )
    participants = sampler.participants  # whose control variates are kept
    made = round.make(
        client=_controlled(client, rate),
        sampler=sampler,
        aggregator=_server(rule, server_rate, participants),
        attack=attack,
        defence=defence,
        evaluate=lambda variables, data: evaluate(model(variables), data),
        inspect=inspect,
        plan=plan,
        mesh=mesh,
    )

    def init(variables: Variables) -> round.RoundState:
        needed = participants * tree.nbytes(variables.params)
        if needed > memory:
            raise errors.ConfigError(
                f"SCAFFOLD keeps a control variate for each of {participants} participants, which"
                f" takes {needed:,} bytes, but `memory` allows {memory:,}; raise it, or choose"
                " FedAvg or FedProx, which keep none."
            )
        return made.init(message(variables, tree.zeros_like(variables.params)))

    return made._replace(init=init)


def message(variables: Variables, control: PyTree) -> Variables:
    """A model and a control variate, or how both changed, as one."""
    return Variables({"model": variables.params, "control": control}, variables.batch_stats)


def model(sent: Variables) -> Variables:
    """The model's part of a message, or of the server's variables."""
    return Variables(sent.params["model"], sent.batch_stats)


def _controlled(client: Client, rate: float) -> Client:
    """Local training of a message: y, and c + c_i' - c_i."""

    def train(variables: Variables, examples, start, size, key, *, longest: int, own):
        control = variables.params["control"]
        local, info = client.train(
            model(variables),
            examples,
            start,
            size,
            key,
            longest=longest,
            drift=tree.sub(control, own),
        )
        moved = tree.sub(local, model(variables))
        change = variate(moved.params, control, client.steps(size), rate)
        return message(local, tree.add(control, change)), info, tree.add(own, change)

    return Client(train, client.steps, lambda start: tree.zeros_like(start.params["control"]))


def variate(moved: PyTree, control: PyTree, steps, rate: float) -> PyTree:
    """c_i' - c_i = (x - y) / (K rate) - c, of a model that K steps moved by y - x."""
    taken = jnp.maximum(steps, 1).astype(jnp.float32)
    return tree.sub(tree.scale(-1 / (taken * rate), moved), control)


def _server(rule: Aggregator, server_rate: float, participants: int) -> Aggregator:
    """The rule, its model times eta_g and its control variate times |S| / n."""

    def update(seen, state):
        out, state = rule.update(seen, state)
        weight = jnp.sum(seen.weights) if isinstance(seen, Stacked) else seen.weight
        moved = tree.scale(server_rate, model(out))
        return message(moved, tree.scale(weight / participants, out.params["control"])), state

    return rule._replace(update=update)


def of_model(attack: Attack, change: Callable[[View, Variables], PyTree] | None = None) -> Attack:
    """An attack on models (replacement, constrain-and-scale, sign flip, ...) as one on messages.

    It sees x, and of the others' messages what moved x.

    Args:
        attack: view of a model -> updates of a model.
        change: (view of messages, updates of the model (most, ...)) -> changes of the control
            variate (most, ...); None = none at all, which leaves c as the others make it.
            `as_trained` gives what honest training would have gone with the update.
    """

    def inner(view: View) -> View:
        benign = view.benign
        if isinstance(benign, Stacked):
            benign = benign._replace(updates=model(benign.updates))
        return view._replace(variables=model(view.variables), benign=benign)

    def update(view: View, state, key):
        sent, state, info = attack.update(inner(view), state, key)
        control = tree.zeros_like(sent.params) if change is None else change(view, sent)
        return message(sent, control), state, info

    return attack._replace(
        init=lambda variables: attack.init(model(variables)),
        update=update,
        observe=lambda variables, state: attack.observe(model(variables), state),
    )


def as_trained(client: Client, rate: float) -> Callable[[View, Variables], PyTree]:
    """The change of a control variate that honest training to the sent update would give.

    For `of_model`: the two parts of the message then agree, which no server can tell from an honest
    one. An update that is scaled by gamma scales what it does to c too.
    """

    def change(view: View, sent: Variables) -> PyTree:
        steps = client.steps(view.population.size[view.ids])
        one = lambda moved, steps: variate(moved, view.variables.params["control"], steps, rate)
        return jax.vmap(one)(sent.params, steps)

    return change
