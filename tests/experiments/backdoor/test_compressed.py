"""Codes side by side: whole updates train as the main experiment does, fewer bits are counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import compressed, stages, task
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
    found, model = compressed.pretrain(config, chosen, keys, base.whole(), feedback=False)
    setting = stages.Setting(config, chosen, keys, cohort.Plan("scan"), None)
    algorithm = stages.pretraining(setting)
    init = Variables(*chosen.network.init(rng.fold(keys[0], "init")))
    data = round.RoundData(chosen.population, (), jax.tree.map(jnp.asarray, chosen.test))
    many = jax.jit(round.repeat(algorithm.step, 2))
    _, info = many(algorithm.init(init), data, rng.fold(keys[0], "pretrain"))
    np.testing.assert_allclose(found[0], info.metrics["main"], atol=0.006)  # two of 360 images
    assert base.bits(base.whole(), model) == 32 * sum(a.size for a in jax.tree.leaves(init))


def test_a_code_is_timed_and_the_table_has_a_line_each():
    assert 0 <= compressed.seconds(quantise.uniform(4), 100) < 10
    row = {"code": "TernGrad", "bits": 2.04, "halfway": [90.0, 1.0], "end": [95.0, None]}
    lines = compressed.table([{**row, "milliseconds": 12.3}], 1000).splitlines()
    assert lines[2:] == ["| TernGrad | 2.04 | 90.0 ± 1.0 | 95.0 | 12 |"]
