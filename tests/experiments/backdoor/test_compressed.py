"""Codes side by side: whole updates train as the main experiment does, fewer bits are counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import adapted, compressed, stages, task
from experiments.backdoor.config import SMOKE
from fl_jax.core import rng
from fl_jax.federated import round
from fl_jax.federated.compression import base, quantise
from fl_jax.train import cohort
from fl_jax.train.state import Variables


def test_whole_updates_train_as_the_main_experiment_does():
    config = dataclasses.replace(SMOKE, pretrain_rounds=2)
    chosen = task.make(config)
    keys = jnp.stack([jax.random.key(config.seed)])
    found, models = compressed.pretrain(config, chosen, keys, base.whole(), feedback=False)
    setting = stages.Setting(config, chosen, keys, cohort.Plan("scan"), None)
    algorithm = stages.pretraining(setting)
    init = Variables(*chosen.network.init(rng.fold(keys[0], "init")))
    data = round.RoundData(chosen.population, (), jax.tree.map(jnp.asarray, chosen.test))
    many = jax.jit(round.repeat(algorithm.step, 2))
    state, info = many(algorithm.init(init), data, rng.fold(keys[0], "pretrain"))
    np.testing.assert_allclose(found[0], info.metrics["main"], atol=0.006)  # two of 360 images
    for got, want in zip(*map(jax.tree.leaves, (models, state.variables)), strict=True):
        np.testing.assert_allclose(got[0], want, atol=1e-4)
    assert base.bits(base.whole(), init) == 32 * sum(a.size for a in jax.tree.leaves(init))


def test_an_update_that_replaces_is_sent_in_the_code():
    """Whole it is the replacement of the other experiments; next to nothing of it does nothing."""
    chosen = task.make(SMOKE)
    keys = jnp.stack([jax.random.key(0)])
    models = jax.vmap(lambda key: Variables(*chosen.network.init(key)))(keys)
    replaced = adapted.after(SMOKE, chosen, "pixel pattern", models, keys)
    held = {"main": chosen.test, "backdoor": chosen.backdoors["pixel pattern"].test}
    held = jax.tree.map(jnp.asarray, held)
    expected = task.evaluate(chosen)(jax.tree.map(lambda a: a[0], replaced), held)
    found = compressed.attacked(SMOKE, chosen, models, keys, base.whole())
    for name in ("main", "backdoor"):
        np.testing.assert_allclose(found[f"replaced, {name}"], expected[name], atol=0.006)
    nothing = base.Code(lambda x, key: jnp.zeros_like(x), lambda d: 0.0)
    found = compressed.attacked(SMOKE, chosen, models, keys, nothing)
    expected = task.evaluate(chosen)(jax.tree.map(lambda a: a[0], models), held)
    for name in ("main", "backdoor"):
        np.testing.assert_allclose(found[f"replaced, {name}"], expected[name], atol=0.006)


def test_a_code_is_timed_and_the_table_has_a_line_each():
    assert 0 <= compressed.seconds(quantise.uniform(4), 100) < 10
    row = {"code": "TernGrad", "bits": 2.04, "halfway": [90.0, 1.0], "end": [95.0, None]}
    row |= {"replaced, main": [94.0, 1.0], "replaced, backdoor": [100.0, 0.0]}
    lines = compressed.table([{**row, "milliseconds": 12.3}], 1000).splitlines()
    assert lines[2:] == ["| TernGrad | 2.04 | 90.0 ± 1.0 | 95.0 | 94.0 ± 1.0 | 100.0 ± 0.0 | 12 |"]
