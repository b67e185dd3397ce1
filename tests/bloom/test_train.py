"""The trainer: meshes give what one device gives, it learns, it compiles once, it resumes."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import recipe, sharding, train
from fl_jax.bloom.config import Config
from fl_jax.core import errors, tree
from fl_jax.train import checkpoint, loop
from fl_jax.train import mesh as meshes
from fl_jax.train.mesh import MeshConfig

CONFIG = Config(vocab=64, hidden=32, layers=2, heads=4)
RECIPE = recipe.Recipe(rate=3e-3, warmup=8, decay=800, batch=8, ramp_start=0)
MESHES = [
    {"data": 8},
    {"fsdp": 4, "tensor": 2},
    pytest.param({"data": 2, "fsdp": 2, "tensor": 2}, marks=pytest.mark.slow),
]


def batch(step=0, rows=8):
    """Counting modulo something, from somewhere: easy to learn."""
    rng = np.random.default_rng(step)
    start, pace = rng.integers(0, 64, (2, rows, 1))
    return {"tokens": ((start + (pace % 3 + 1) * np.arange(17)) % 64).astype(np.int32)}


@pytest.fixture(scope="module")
def one():
    """The trainer on one device, compiled once."""
    return train.make(CONFIG, RECIPE)


def start(trainer):
    return trainer.init(jax.random.key(0))


@pytest.mark.parametrize("sizes", MESHES, ids=str)
def test_one_step_on_a_mesh_is_one_step(sizes, one):
    """Loss to 1e-5, update to 1e-5 of its norm."""
    mesh = MeshConfig(**sizes).make()
    many = train.make(CONFIG, RECIPE, mesh=mesh)
    key = jax.random.key(1)
    # Not from step 0, where the rate is 0 and Adam's first step is all sign.
    warm = start(one)
    for i in range(3):
        warm, _ = one.step(warm, batch(i), key)
    # Copies: the step uses its state up, and what shares its memory with it.
    held = jax.tree.map(np.array, warm)
    before = held.variables.params
    placed = jax.tree.map(jax.device_put, held, sharding.state(warm, CONFIG, mesh))
    after, info = one.step(warm, batch(9), key)
    after_many, info_many = many.step(placed, batch(9), key)
    np.testing.assert_allclose(info_many.loss, info.loss, rtol=1e-5)
    wanted = jax.tree.map(lambda a, b: np.asarray(a) - b, after.variables.params, before)
    found = jax.tree.map(lambda a, b: np.asarray(a) - b, after_many.variables.params, before)
    assert tree.norm(tree.sub(found, wanted)) <= 1e-5 * tree.norm(wanted)
    kernel = after_many.variables.params["layers"]["qkv"]["kernel"]
    pieces = sizes.get("fsdp", 1) * sizes.get("tensor", 1)
    assert kernel.addressable_shards[0].data.size * pieces == kernel.size


def test_it_learns_and_the_second_step_compiles_nothing(one):
    trainer = one
    state = start(trainer)
    state, first = trainer.step(state, batch(0), jax.random.key(0))
    compiled = trainer.step.__wrapped__._cache_size()
    for i in range(1, 40):
        state, info = trainer.step(state, batch(i), jax.random.key(0))
    assert trainer.step.__wrapped__._cache_size() == compiled
    assert float(info.loss) < float(first.loss) - 0.5
    assert int(state.skipped) == 0


def test_bfloat16_keeps_float32_state():
    config = dataclasses.replace(CONFIG, dtype="bfloat16")
    trainer = train.make(config, RECIPE)
    given = jax.eval_shape(trainer.init, jax.random.key(0))
    state, _ = jax.eval_shape(trainer.raw, given, batch(), jax.random.key(0))
    assert {a.dtype.name for a in jax.tree.leaves(state.variables)} == {"float32"}
    moments = [a.dtype.name for a in jax.tree.leaves(state.optimizer) if a.ndim]
    assert len(moments) > 20 and set(moments) == {"float32"}


def test_accumulated_spans_equal_the_whole_batch_and_the_published_way_does_not():
    given = batch()
    spans = np.zeros_like(given["tokens"])
    spans[:, 10:] = 1
    spans[0, 4:7] = 2  # an uneven number of spans over the micro-batches
    spans[2, 2:3] = 2
    given = {**given, "segments": np.ones_like(spans), "spans": spans}
    losses = {}
    for parts, published in ((1, False), (4, False), (4, True)):
        plan = dataclasses.replace(RECIPE, micro_batches=parts)
        trainer = train.make(CONFIG, plan, norm="span", microbatch_norm=published)
        state = start(trainer)
        # Larger weights, so that rows differ.
        params = jax.tree.map(lambda a: a * 30 if a.ndim > 2 else a, state.variables.params)
        state = state._replace(variables=state.variables._replace(params=params))
        _, info = trainer.step(state, given, jax.random.key(0))
        losses[parts, published] = float(info.loss), float(info.grad_norm)
    np.testing.assert_allclose(losses[4, False], losses[1, False], rtol=1e-5)
    assert abs(losses[4, True][0] - losses[1, False][0]) > 1e-5


def test_resume_is_bit_equal(tmp_path, one):
    trainer = one

    def advance(state, step):
        return trainer.step(state, batch(step), jax.random.fold_in(jax.random.key(0), step))

    def run(steps, directory=None):
        state = start(trainer)
        if directory is None:
            return loop.run(advance, state, steps=steps)
        with checkpoint.Checkpoints(directory) as saved:
            return loop.run(advance, state, steps=steps, checkpoints=saved)

    straight = run(7)
    run(3, tmp_path)
    resumed = run(7, tmp_path)
    for a, b in zip(jax.tree.leaves(straight), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("sizes", [{}, {"data": 4, "fsdp": 2}, {"fsdp": 4, "tensor": 2}], ids=str)
def test_the_step_compiles_for_tpus(sizes, monkeypatch):
    """As far as that goes without one, with the kernel that is chosen there."""
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    mesh = MeshConfig(**sizes).make() if sizes else None
    trainer = train.make(CONFIG, RECIPE, mesh=mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(train.make(CONFIG, RECIPE).init, key)
    lay = lambda a, where: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where)
    given = jax.tree.map(lambda a: lay(a, sharding.batch(mesh) if mesh else None), batch())
    if mesh:
        state = jax.tree.map(lay, state, sharding.state(state, CONFIG, mesh))
    promotion = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
    with promotion[0], promotion[1], meshes.use(mesh) if mesh else contextlib.nullcontext():
        traced = trainer.step.__wrapped__.trace(state, given, key)
        text = traced.lower(lowering_platforms=("tpu",)).as_text()
    assert "tpu_custom_call" in text


def test_a_mesh_that_does_not_divide_the_model_is_refused():
    mesh = MeshConfig(tensor=8).make()
    with pytest.raises(errors.ConfigError, match="'tensor' of 8 does not divide 4 heads"):
        train.make(CONFIG, RECIPE, mesh=mesh)
    odd = dataclasses.replace(CONFIG, vocab=63)
    with pytest.raises(errors.ConfigError, match="63 rows of the vocabulary"):
        train.make(odd, RECIPE, mesh=MeshConfig(data=4, tensor=2).make())


def test_batches_that_cannot_be_are_refused(one):
    given = {"tokens": np.full((8, 17), 64, np.int32)}
    with pytest.raises(errors.DataError, match="ids from 0 to 63, but there is a 64"):
        one.step(None, given, None)
    many = train.make(CONFIG, RECIPE, mesh=MeshConfig(fsdp=4, tensor=2).make())
    with pytest.raises(errors.ConfigError, match="batch of 6 sequences cannot be split over 4"):
        many.step(None, batch(rows=6), None)
    parts = dataclasses.replace(RECIPE, micro_batches=4)
    many = train.make(CONFIG, parts, mesh=MeshConfig(fsdp=4, tensor=2).make())
    with pytest.raises(errors.ConfigError, match=r"micro-batch \(of 4\) of 2 sequences cannot be"):
        many.step(None, batch(rows=8), None)
    with pytest.raises(errors.DataError, match="two tokens at least, got 1"):
        one.step(None, {"tokens": np.zeros((8, 1), np.int32)}, None)
    tokens = batch()["tokens"]
    for given, came in [(tokens, "ndarray;"), ({"token": tokens}, r"one with \['token'\];")]:
        with pytest.raises(errors.DataError, match=f"dictionary with `tokens`, got {came}"):
            one.step(None, given, None)
    with pytest.raises(errors.DataError, match=r"integers \(batch, time\), got a list;"):
        one.step(None, {"tokens": tokens.tolist()}, None)
    with pytest.raises(errors.DataError, match=r"got tokens of shape \(17,\)"):
        one.step(None, {"tokens": jnp.asarray(tokens[0])}, None)
    for name in ("spans", "mask"):
        with pytest.raises(errors.DataError, match=f"{name} of a batch is an array, got a list"):
            one.step(None, batch() | {name: [[0] * 17] * 8}, None)
    for name, shape in [("segments", (8, 16)), ("spans", (1, 17)), ("weights", (8, 17))]:
        given = batch() | {name: np.ones(shape, np.int32)}
        with pytest.raises(errors.DataError, match=f"{name} of a batch of tokens"):
            one.step(None, given, None)


@pytest.mark.parametrize("span", [-1, 17, 900])
def test_spans_that_are_not_numbered_by_row_are_refused(one, span):
    """Those beyond the row had a weight of 1 a token, whatever their length."""
    given = batch() | {"spans": np.full((8, 17), span, np.int32)}
    with pytest.raises(errors.DataError, match=f"numbered from 1 to 16 .* there is a {span}"):
        one.step(None, given, None)


def test_rows_that_do_not_count_on_a_mesh(one):
    """`mask` has no time to be split over, and could not be laid out."""
    given = batch() | {"mask": np.array([1, 1, 1, 0, 1, 1, 0, 1], np.float32)}
    many = train.make(CONFIG, RECIPE, mesh=MeshConfig(data=2, fsdp=2, tensor=2).make())
    found = [float(t.step(start(t), given, jax.random.key(0))[1].loss) for t in (one, many)]
    kept = {name: a[given["mask"] > 0] for name, a in given.items()}
    wanted = one.step(start(one), kept, jax.random.key(0))[1].loss
    np.testing.assert_allclose(found, float(wanted), rtol=1e-6)


def test_a_step_that_is_not_finite_is_skipped(one):
    state = start(one)
    # The same program as for the others: a parameter is at fault, not a leaf more in the batch.
    params = jax.tree.map(lambda a: a.at[0].set(jnp.nan), state.variables.params)
    state = state._replace(variables=state.variables._replace(params=params))
    state, info = one.step(state, batch(), jax.random.key(0))
    assert not bool(info.finite) and int(state.skipped) == 1 and int(state.step) == 0
