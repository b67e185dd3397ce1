"""Published schedules in samples, masks, and the optimizers on stacked layers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import model, recipe
from fl_jax.core import errors, tree
from tests.bloom import golden


def test_the_176b_ramp_and_rate():
    plan = recipe.PRETRAINING["176b"]
    steps, samples, sizes = recipe.stages(plan)
    assert len(sizes) == 117 and sizes[0] == 192 and sizes[-1] == 2048
    # Each increment lasts 9,765,625 / 116 samples, rounded up to a whole batch.
    assert 9_765_625 <= samples[-1] < 9_765_625 + 2048
    assert np.all(np.diff(samples) == np.diff(steps) * sizes[:-1])
    rate = lambda s: float(recipe.rate_at(plan, jnp.float32(s)))
    assert rate(0) == 0
    assert rate(183_105) == pytest.approx(6e-5, rel=1e-5)
    middle = (183_105 + 200_000_000) / 2
    assert rate(middle) == pytest.approx(3.3e-5, rel=1e-4)
    assert rate(200_000_000) == pytest.approx(6e-6, rel=1e-4)
    assert rate(220_000_000) == pytest.approx(6e-6, rel=1e-4)


def test_traced_and_exact_samples_agree():
    plan = recipe.PRETRAINING["1b7"]
    steps = np.array([0, 1, 100, 30_000, 10**5])
    traced = jax.vmap(lambda s: recipe.samples_at(plan, s))(jnp.asarray(steps))
    exact = [recipe.batch_at(plan, int(s))[1] for s in steps]
    np.testing.assert_allclose(traced, exact, rtol=1e-6)


def test_fine_tuning_is_constant_from_the_first_step():
    plan = recipe.FINETUNING["176b"]
    assert (plan.batch, plan.weight_decay) == (2048, 1e-4)
    for samples in (0.0, 1e6):
        assert float(recipe.rate_at(plan, jnp.float32(samples))) == pytest.approx(2e-5)
    assert recipe.batch_at(plan, 5) == (2048, 5 * 2048)


def test_decay_spares_biases_and_norms():
    decayed = recipe.decayed(golden.params())
    assert decayed["embedding"]["table"] and decayed["layers"]["qkv"]["kernel"]
    assert not decayed["layers"]["qkv"]["bias"] and not decayed["norm"]["scale"]
    assert not decayed["layers"]["mlp_norm"]["scale"]


def test_adamw_is_that_of_the_paper():
    """Two steps by hand, decay and clipping included."""
    plan = recipe.Recipe(rate=0.1, warmup=0, decay=0, batch=4, ramp_start=0, clip=1.0)
    optimizer = recipe.optimizer(plan)
    params = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([3.0])}
    grads = {"kernel": jnp.array([[3.0, 0.0]]), "bias": jnp.array([4.0])}  # norm 5
    state = optimizer.init(params)
    m = v = np.zeros(3)
    g = np.array([3.0, 0.0, 4.0]) / 5
    p = np.array([1.0, -2.0, 3.0])
    for t in (1, 2):
        updates, state = optimizer.update(grads, state, params)
        params = jax.tree.map(jnp.add, params, updates)
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
        p = p - 0.1 * (step + 0.1 * p * np.array([1, 1, 0]))
    found = np.concatenate([np.ravel(params["kernel"]), params["bias"]])
    np.testing.assert_allclose(found, p, rtol=1e-5)


def test_muon_orthogonalises_each_matrix_and_leaves_the_rest_to_adamw(key):
    params = golden.params()
    plan = recipe.Recipe(
        rate=1.0, warmup=0, decay=0, batch=4, ramp_start=0, weight_decay=0.0, clip=0.0,
        optimizer="muon",
    )  # fmt: skip
    optimizer = recipe.optimizer(plan)
    grads = model.init(key, golden.CONFIG, std=1.0)
    grads = jax.tree.map(lambda g: g + 0.01, grads)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    for layer in range(2):
        up = np.asarray(updates["layers"]["up"]["kernel"][layer])
        singular = np.linalg.svd(up, compute_uv=False)
        assert singular.max() / singular.min() < 2.5  # a random matrix of this shape: > 3
        before = np.linalg.svd(np.asarray(grads["layers"]["up"]["kernel"][layer]))[1]
        assert before.max() / before.min() > singular.max() / singular.min()
    table = np.asarray(updates["embedding"]["table"])
    # The first step of Adam has one size everywhere; an orthogonal matrix has not.
    assert np.ptp(np.abs(table)) < 1e-3 and np.ptp(np.abs(up)) > 0.1


def test_muon_decays_matrices_and_the_embedding_alone():
    """The AdamW within muon decayed biases and norms too."""
    plan = recipe.Recipe(
        rate=0.1, warmup=0, decay=0, batch=4, ramp_start=0, weight_decay=0.5, clip=0.0,
        optimizer="muon",
    )  # fmt: skip
    optimizer = recipe.optimizer(plan)
    params = jax.tree.map(lambda p: p + 1, golden.params())
    state = optimizer.init(params)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), state, params)
    wanted = lambda path, p: p * (0 if path.endswith(("bias", "scale")) else -0.05)
    chex.assert_trees_all_close(updates, tree.map_named(wanted, params), rtol=1e-6)


def test_impossible_recipes():
    with pytest.raises(errors.ConfigError, match="never is 250"):
        recipe.Recipe(batch=250)
    with pytest.raises(errors.ConfigError, match="cannot grow from 192 to 64 sequences"):
        recipe.Recipe(batch=64)
    with pytest.raises(errors.ConfigError, match=r"from 1e-06 cannot end at 1e-05"):
        recipe.Recipe(rate=1e-6)
    with pytest.raises(errors.ConfigError, match="unknown BLOOM optimizer"):
        recipe.Recipe(optimizer="sgd")


@pytest.mark.parametrize("decay", [100, 50])
def test_a_decay_that_ends_within_the_warmup(decay):
    """The rate after the peak was 0 / 0, or the peak for good."""
    plan = recipe.Recipe(rate=1.0, final_rate=0.25, warmup=100, decay=decay)
    rates = [float(recipe.rate_at(plan, jnp.float32(s))) for s in (50, 100, 101, 1000)]
    np.testing.assert_allclose(rates, [0.5, 1.0, 0.25, 0.25], rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ramp_step": 0}, "ramp_step must be above 0"),
        ({"ramp_step": -32}, "ramp_step must be above 0"),
        ({"ramp_start": -64}, "ramp_start must be 0 or more"),
        ({"ramp": -5}, "ramp must be 0 or more"),
        ({"warmup": -5}, "warmup must be 0 or more"),
        ({"micro_batches": 0}, "micro_batches must be above 0"),
        ({"rate": float("nan")}, "rate must be above 0"),
    ],
)
def test_numbers_out_of_range(given, message):
    with pytest.raises(errors.ConfigError, match=message):
        recipe.Recipe(**given)
