"""The contract of attacks, over all of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from fl_jax.core import tree
from fl_jax.federated.aggregators import krum
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.attacks import (
    anticipate,
    chameleon,
    choice,
    directed,
    distributed,
    iba,
    neurotoxin,
    three_d_fed,
    untargeted,
)
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.attacks.base import View
from fl_jax.nn import network
from tests.federated import toy

POISON = scaling.poison(
    toy.examples(2, 8), toy.examples(3, 5), per_batch=2, epochs=1, rate=0.1, gamma=3.0, alpha=0.9
)
USUAL = {"batch_size": 4}
SGD = optax.sgd(1.0)
CLIENT = toy.trainer(epochs=1)
TWO = jax.tree.map(lambda a: jnp.stack([a, a]), POISON)
single = functools.partial(scaling.constrain_and_scale, toy.LOSS, SGD, **USUAL)

TRIGGER = iba.Trigger(network.from_nnx(lambda rngs: nnx.Linear(4, 4, rngs=rngs)), target=2)

# Every attack with the data it needs; a new one is one line here and passes the same tests.
ATTACKS = {
    "constrain_and_scale": (single(attackers=3), POISON),
    "adaptive": (single(attackers=2, against=krum.krum(attackers=1)), POISON),
    "adaptive, fitted": (
        single(attackers=2, against=krum.krum(attackers=1), halvings=4),
        POISON,
    ),
    "pgd": (single(radius=0.05), POISON),
    "neurotoxin": (neurotoxin.neurotoxin(toy.LOSS, SGD, share=0.2, **USUAL), POISON),
    "anticipate": (
        anticipate.anticipate(toy.LOSS, SGD, benign=SGD, cohort=5, attackers=2, **USUAL),
        POISON,
    ),
    "chameleon": (
        chameleon.chameleon(
            toy.LOSS,
            SGD,
            lambda variables, x: x @ variables.params["kernel"],
            contrastive_epochs=1,
            contrastive_rate=0.1,
            head="bias",
            **USUAL,
        ),
        POISON,
    ),
    "3dfed": (
        three_d_fed.three_d_fed(
            toy.LOSS,
            SGD,
            attackers=3,
            target=2,
            indicator="kernel",
            head="bias",
            benign=SGD,
            **USUAL,
        ),
        POISON,
    ),
    "iba": (
        iba.iba(toy.LOSS, SGD, TRIGGER, attackers=2, generator_steps=1, **USUAL),
        iba.Irreversible(POISON, TRIGGER.generator.init(jax.random.key(0))[0]),
    ),
    "distributed": (distributed.distributed(single(), 2), TWO),
    "alie": (untargeted.little_is_enough(attackers=2), ()),
    "ipm": (untargeted.inner_product(attackers=2), ()),
    "min-max": (untargeted.min_max(attackers=2), ()),
    "min-sum": (untargeted.min_sum(attackers=2, direction="unit"), ()),
    "directed, krum": (directed.against_krum(attackers=2, spread=0.01), ()),
    "directed, trim": (directed.against_trimmed_mean(attackers=2), ()),
    "noise": (untargeted.noise(attackers=2, deviation=0.1), ()),
    "sign flip": (untargeted.sign_flip(CLIENT, attackers=2), ()),
    "label flip": (untargeted.label_flip(CLIENT, attackers=2, classes=3), ()),
    "honest": (untargeted.honest(CLIENT, attackers=2), ()),
}
ATTACKS["choice"] = (
    choice.choice([ATTACKS["alie"][0], ATTACKS["ipm"][0]]),
    choice.ChoiceData(jnp.int32(1), ((), ())),
)


def view_of(g, attack, data, count=2):
    draw = np.random.default_rng(8)
    benign = jax.tree.map(
        lambda a: jnp.asarray(0.1 * draw.normal(size=(5, *a.shape)), jnp.float32), g
    )
    weights = jnp.array([1.0, 0.0, 1.0, 1.0, 1.0])
    there = lambda a: jnp.where(weights.reshape(-1, *[1] * (a.ndim - 1)) > 0, a, 0)
    benign = Stacked(jax.tree.map(there, benign), weights)
    ids = jnp.arange(attack.most)
    count, now = jnp.int32(min(count, attack.most)), jnp.int32(0)
    return View(g, count, now, benign, data, ids, toy.people(), ())


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_sends_finite_updates_of_the_shape_of_the_model(name, key):
    attack, data = ATTACKS[name]
    g = toy.variables(key)
    view = view_of(g, attack, data)
    run = jax.jit(attack.update)
    state = attack.observe(g, attack.init(g))
    sent, after, info = run(view, state, key)
    assert jax.tree.structure(sent) == jax.tree.structure(g)
    for update, leaf in zip(jax.tree.leaves(sent), jax.tree.leaves(g), strict=True):
        assert update.shape == (attack.most, *leaf.shape)
        assert update.dtype == leaf.dtype
    assert bool(tree.all_finite((sent, info)))
    assert float(tree.norm(sent)) > 0
    assert jax.tree.structure(after) == jax.tree.structure(state)
    again, _, _ = run(view, state, key)
    assert all(
        (a == b).all() for a, b in zip(jax.tree.leaves(sent), jax.tree.leaves(again), strict=True)
    )
