"""Averages of updates."""

from fl_jax.core import errors, tree
from fl_jax.federated.aggregators.base import Aggregator, Summed, average, stateless

LINEAR = frozenset({"permutation", "equal", "translation", "scale"})


def fedavg(*, eta: float, participants: int) -> Aggregator:
    """(eta / n) * sum_i D_i over the round's updates: the global rate of the paper.

    eta = n/m is the plain mean of m local models. An update that is dropped (not finite, not
    arrived) leaves the factor as it is.

    Args:
        eta: global learning rate, > 0.
        participants: n, all participants, not the cohort.

    References:
        Bagdasaryan et al. 2020, "How To Backdoor Federated Learning", eq. 1.
    """
    errors.positive("eta", eta)
    errors.whole("participants", participants, least=1)

    def update(seen: Summed, state):
        return tree.scale(eta / participants, seen.total), state

    return Aggregator(stateless, update, properties=frozenset({"permutation", "scale"}))


def mean(*, weight: str = "examples") -> Aggregator:
    """sum_i w_i D_i / sum_i w_i, with w_i the share's size (`examples`) or 1 (`uniform`).

    Dropped updates leave the mean, whose weights are renormalised; a round in which all are
    dropped gives 0.

    References:
        McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from
        Decentralized Data", Algorithm 1.
    """
    errors.one_of("weight", weight, ("examples", "uniform"))

    def update(seen: Summed, state):
        return average(seen), state

    return Aggregator(stateless, update, weight=weight, properties=LINEAR)
