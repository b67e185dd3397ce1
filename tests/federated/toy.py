"""A small federated problem in one place: softmax regression on generated points."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fl_jax.federated import client, population
from fl_jax.federated.aggregators import base
from fl_jax.nn import loss, network
from fl_jax.train import optimizer
from fl_jax.train.state import Variables

PARTICIPANTS, COHORT, CLASSES, FEATURES = 12, 5, 3, 4


def examples(seed: int = 0, count: int = 150):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, FEATURES)).astype(np.float32)
    y = np.argmax(x[:, :CLASSES], axis=1).astype(np.int32)
    return {"x": x, "y": y}


def shares(seed: int = 0, count: int = 150, participants: int = PARTICIPANTS):
    """Ragged: from a handful of examples to dozens."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.choice(np.arange(1, count), participants - 1, replace=False))
    return np.split(rng.permutation(count), cuts)


def people(participants: int = PARTICIPANTS, count: int = 150) -> population.Population:
    split = shares(count=count, participants=participants)
    return population.make(examples(count=count), split)


NETWORK = network.from_nnx(lambda rngs: nnx.Linear(FEATURES, CLASSES, rngs=rngs))
LOSS = loss.classification(NETWORK)


def variables(key) -> Variables:
    return Variables(*NETWORK.init(key))


def trainer(*, epochs: int = 2, batch_size: int = 4, rate: float = 0.1):
    return client.make(
        LOSS,
        optimizer.make(optimizer.Optimizer("sgd", rate=rate, momentum=0.9)),
        epochs=epochs,
        batch_size=batch_size,
    )


def still(variables, examples, start, size, key, *, longest):
    """A participant whose update is zero."""
    del examples, start, size, key, longest
    return variables, client.ClientInfo(jnp.float32(0))


STILL = client.Client(still, lambda size: size)


def elsewhere(by: float) -> base.Aggregator:
    """The plain mean, in rounds that stand on the model moved by what the rule remembers."""
    return base.Aggregator(
        lambda variables: jnp.float32(0),
        lambda seen, state: (base.average(seen), state),
        begin=lambda variables, state, key: jnp.float32(by),
        broadcast=lambda variables, state: jax.tree.map(lambda a: a + state, variables),
    )
