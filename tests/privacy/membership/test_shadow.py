import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fl_jax.core import errors
from fl_jax.nn import network
from fl_jax.train import checkpoint, cohort, loop, optimizer
from fl_jax.train import mesh as meshes
from privacy.membership import shadow

NET = network.from_nnx(lambda rngs: nnx.Linear(5, 3, rngs=rngs))
FIT = shadow.make(NET, optimizer.make(optimizer.Optimizer("adam", rate=0.05)), batch=8)
KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def examples():
    draws = np.random.default_rng(0)
    x = draws.normal(size=(60, 5)).astype(np.float32)
    y = (x @ draws.normal(size=(5, 3))).argmax(1).astype(np.int32)
    return {"x": jnp.asarray(x), "y": jnp.asarray(y)}


@pytest.fixture(scope="module")
def recipes():
    draws = np.random.default_rng(1)
    rows = [draws.permutation(60)[: 12 + 3 * i] for i in range(5)]
    return shadow.recipes(range(5), rows, epochs=[3, 1, 2, 3, 4], l2=[0, 0, 0.1, 0, 0])


@pytest.fixture(scope="module")
def trained(examples, recipes):
    return shadow.train(FIT, recipes, examples, KEY, stride=2)


def close(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6)


def test_a_model_is_the_same_alone_and_beside_others(examples, recipes, trained):
    alone = FIT(jax.tree.map(lambda a: jnp.asarray(a[3]), recipes), examples, KEY)
    close(alone, jax.tree.map(lambda a: a[3], trained))
    wide = shadow.train(FIT, recipes, examples, KEY, plan=cohort.Plan("vmap"), stride=5)
    close(wide, trained)


def test_padding_changes_nothing(examples, recipes, trained):
    own = recipes.rows[1][: recipes.size[1]]
    longer = shadow.recipes([1], [own], epochs=1, capacity=40)
    alone = shadow.train(FIT, longer, examples, KEY)
    # the shuffle's draws are of the capacity, but draw i does not depend on how many there are
    close(jax.tree.map(lambda a: a[0], alone), jax.tree.map(lambda a: a[1], trained))


def test_models_dealt_over_devices(examples, recipes, trained):
    mesh = meshes.MeshConfig(clients=-1).make()
    assert mesh.shape["clients"] == 8
    put = meshes.replicate(mesh, examples)
    key = meshes.replicate(mesh, KEY)
    close(shadow.train(FIT, recipes, put, key, mesh=mesh, stride=5), trained)


def test_a_killed_run_goes_on_by_model_index(examples, recipes, trained, tmp_path, monkeypatch):
    calls = []
    real = loop.run

    def stopped(advance, state, **options):
        def counted(models, done):
            calls.append(done)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return advance(models, done)

        return real(counted, state, **options)

    monkeypatch.setattr(shadow.loop, "run", stopped)
    saved = checkpoint.Checkpoints(tmp_path)
    go = lambda: shadow.train(
        FIT, recipes, examples, KEY, stride=1, checkpoints=saved, save_every=1
    )
    with pytest.raises(KeyboardInterrupt):
        go()
    saved.wait()
    close(go(), trained)
    assert calls == [0, 1, 2, 2, 3, 4]
    saved.close()


def test_training_learns_and_l2_shrinks(examples, recipes, trained):
    logits = shadow.answers(NET, trained, examples["x"])
    assert logits.shape == (5, 60, 3)
    rows = shadow.recipes([0, 1], [np.arange(60)] * 2, epochs=60, l2=[0.0, 0.3])
    models = shadow.train(FIT, rows, examples, KEY)
    right = shadow.answers(NET, models, examples["x"]).argmax(-1) == np.asarray(examples["y"])
    assert right[0].mean() > 0.9
    size = np.asarray(jnp.sum(jnp.square(models.params["kernel"]), axis=(1, 2)))
    assert size[1] < 0.3 * size[0]


def test_the_plan_is_measured(examples, recipes):
    plan, seconds = shadow.measure(FIT, recipes, examples, KEY, models=3, epochs=1)
    assert str(plan) in seconds and min(seconds.values()) == seconds[str(plan)]


def test_bad_input_is_refused(examples):
    with pytest.raises(errors.DataError, match="at least one training record"):
        shadow.recipes([0], [np.array([], int)], epochs=1)
    with pytest.raises(errors.DataError, match="different ids"):
        shadow.recipes([0, 0], [np.arange(3)] * 2, epochs=1)
    bad = {**examples, "x": examples["x"].at[2].set(jnp.nan)}
    recipes = shadow.recipes([0, 1], [np.arange(10, 20), np.arange(5)], epochs=1)
    with pytest.raises(errors.DataError, match="model 1 of 2 is not finite"):
        shadow.train(FIT, recipes, bad, KEY)


def test_rows_and_labels_that_are_not_there_are_refused(examples):
    for row in (-1, 60):
        recipes = shadow.recipes([0], [np.array([3, row])], epochs=1)
        with pytest.raises(errors.DataError, match=r"rows must lie in 0\.\.59"):
            shadow.train(FIT, recipes, examples, KEY)
    bad = {**examples, "y": examples["y"].at[7].set(-1)}
    with pytest.raises(errors.DataError, match="labels must be >= 0, but one is -1"):
        shadow.train(FIT, shadow.recipes([0], [np.arange(5)], epochs=1), bad, KEY)
    many = {**examples, "y": examples["y"].at[3].set(10)}
    with pytest.raises(errors.DataError, match="no output for"):
        shadow.train(FIT, shadow.recipes([0], [np.arange(5)], epochs=1), many, KEY)
    short = {**examples, "x": examples["x"][:50]}
    with pytest.raises(errors.DataError, match="x has 50 rows and y 60"):
        shadow.train(FIT, shadow.recipes([0], [np.arange(5)], epochs=1), short, KEY)


@pytest.mark.parametrize("rows", [np.ones(4, bool), np.arange(3) + 0.5])
def test_rows_that_are_no_row_numbers_are_refused(rows):
    with pytest.raises(errors.DataError, match=r"np\.flatnonzero"):
        shadow.recipes([0], [rows], epochs=1)
    with pytest.raises(errors.DataError, match="capacity of 3 rows does not hold the 4"):
        shadow.recipes([0], [np.arange(4)], epochs=1, capacity=3)


def test_programs_of_a_sweep_are_let_go():
    def one():
        prepare = lambda x: x
        shadow._answers(NET, prepare, cohort.Plan("scan"))
        return weakref.ref(prepare)

    first, *_ = [one() for _ in range(shadow.KEPT + 1)]
    gc.collect()
    assert first() is None


@pytest.mark.parametrize("ids, epochs", [([0, 2**40], 1), ([-1, 0], 1), ([0, 1], -1)])
def test_ids_and_epochs_are_whole_numbers(ids, epochs):
    with pytest.raises(errors.DataError, match="must be whole numbers"):
        shadow.recipes(ids, [np.arange(2), np.arange(2)], epochs=epochs)
