import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.train import cohort
from fl_jax.train import mesh as meshes

ITEMS = {
    "id": jnp.arange(11),
    "x": jnp.arange(33.0).reshape(11, 3),
    "nothing": jnp.zeros((11, 0)),  # a part that a model does without
}
PLANS = ("vmap", "scan", "chunk:4", "debug")


def fn(item):
    return {"square": item["x"] ** 2, "id": item["id"], "nothing": item["nothing"]}


def contribution(item):
    return {"x": item["x"], "one": jnp.float32(1)}, item["id"] * 2


@pytest.mark.parametrize("plan", PLANS)
def test_map_stacks_in_the_order_of_the_items(plan):
    out = cohort.map(fn, ITEMS, plan=cohort.Plan.parse(plan))
    np.testing.assert_array_equal(out["square"], ITEMS["x"] ** 2)
    np.testing.assert_array_equal(out["id"], np.arange(11))
    assert out["nothing"].shape == (11, 0)


@pytest.mark.parametrize("plan", PLANS)
def test_sum_counts_every_item_once(plan):
    total, infos = cohort.sum(contribution, ITEMS, plan=cohort.Plan.parse(plan))
    np.testing.assert_allclose(total["x"], ITEMS["x"].sum(0))
    assert float(total["one"]) == 11
    np.testing.assert_array_equal(infos, 2 * np.arange(11))


@pytest.mark.parametrize("plan", ["vmap", "scan", "chunk:8", "debug"])
@pytest.mark.parametrize("devices", [1, 2])
def test_a_sum_of_narrow_floats_does_not_stop_where_their_digits_end(plan, devices):
    items = jnp.ones(40, jnp.bfloat16).at[0].set(256)  # to which bfloat16 adds no 1
    mesh = meshes.MeshConfig(clients=devices).make(jax.devices()[:devices])
    plan = cohort.Plan.parse(plan)
    total, _ = cohort.sum(lambda x: (x, ()), items, plan=plan, mesh=mesh)
    assert total.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(total), 256 + 39, rtol=4e-3)


@pytest.mark.parametrize("plan", ["vmap", "scan", "chunk:2"])
@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize("count", [1, 7, 8, 11])
def test_dealing_over_devices_changes_nothing(plan, devices, count):
    mesh = meshes.MeshConfig(clients=devices).make(jax.devices()[:devices])
    items = jax.tree.map(lambda a: a[:count], ITEMS)
    cost = jnp.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5])[:count]
    run = lambda items: cohort.sum(
        contribution, items, plan=cohort.Plan.parse(plan), mesh=mesh, cost=cost
    )
    total, infos = jax.jit(run)(items)
    np.testing.assert_allclose(total["x"], items["x"].sum(0))
    assert float(total["one"]) == count
    np.testing.assert_array_equal(infos, 2 * np.arange(count))


def test_shared_values_reach_all_devices_wherever_they_lie():
    mesh = meshes.MeshConfig(clients=8).make()

    def one(item, weights):
        return item["x"] @ weights + jnp.sum(jnp.zeros_like(weights))

    def run(weights, items):
        return cohort.map(one, items, shared=(weights,), mesh=mesh)

    weights = jnp.array([1.0, 2.0, 3.0])
    for placed in (weights, meshes.replicate(mesh, weights)):
        np.testing.assert_allclose(jax.jit(run)(placed, ITEMS), ITEMS["x"] @ weights)


def test_uneven_items_take_their_own_number_of_steps():
    """A block runs as long as its longest member; sorting by cost keeps that short."""
    lengths = jnp.array([1, 50, 2, 51, 3, 52])

    def one(length):
        return jax.lax.fori_loop(0, length, lambda i, a: a + 1, jnp.int32(0))

    for plan in ("vmap", "scan", "chunk:3"):
        out = cohort.map(one, lengths, plan=cohort.Plan.parse(plan), cost=lengths)
        np.testing.assert_array_equal(out, lengths)


def test_the_debug_plan_names_the_item_and_the_stage():
    def broken(item):
        return jnp.log(item["x"] - 7)

    with pytest.raises(cohort.CohortError, match=r"training failed for item 0 of 11.*not finite"):
        cohort.map(broken, ITEMS, plan=cohort.Plan("debug"), stage="training")

    def wrong_shape(item):
        return item["x"] @ jnp.ones((4, 2))

    with pytest.raises(cohort.CohortError, match=r"training failed for item 0 of 11.*'id': 0"):
        cohort.map(wrong_shape, ITEMS, plan=cohort.Plan("debug"), stage="training")


def test_the_debug_plan_names_an_item_that_holds_a_key(key):
    def broken(item):
        return (), item["x"] / 0

    items = {"key": jax.random.split(key, 2), "x": jnp.ones(2)}
    with pytest.raises(cohort.CohortError, match=r"item 0 of 2, {'key': \(\), 'x': 1.0}"):
        cohort.map(broken, items, plan=cohort.Plan("debug"))


def test_the_debug_plan_refuses_to_be_traced():
    with pytest.raises(errors.ConfigError, match="cannot be traced"):
        jax.jit(lambda items: cohort.map(fn, items, plan=cohort.Plan("debug")))(ITEMS)


@pytest.mark.parametrize("text", ["chunk", "chunk:0", "chunk:x", "scan:3", "fast"])
def test_plans_that_are_none(text):
    with pytest.raises(errors.ConfigError, match="cohort plan"):
        cohort.Plan.parse(text)


@pytest.mark.parametrize("made", [("chunk:8",), ("fast",), ("chunk", 0)])
def test_plans_that_are_none_are_refused_however_they_are_made(made):
    with pytest.raises(errors.ConfigError, match="reads chunk:K"):
        cohort.Plan(*made)


@pytest.mark.parametrize("text", ["vmap", "scan", "debug", "chunk:32"])
def test_plans_survive_being_written_down(text):
    assert str(cohort.Plan.parse(text)) == text


def test_items_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one leading length"):
        cohort.map(lambda item: item, (jnp.ones(3), jnp.ones(4)))


def test_the_fastest_plan_is_the_one_that_takes_least_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(cohort.time, "perf_counter", lambda: now[0])
    takes = {"scan": 3.0, "vmap": 1.0, "chunk:4": 2.0}

    def runner(plan):
        def call():
            now[0] += takes[str(plan)]
            return jnp.ones(1)

        return call

    plans = [cohort.Plan.parse(name) for name in takes]
    chosen, seconds = cohort.fastest(runner, plans)
    assert str(chosen) == "vmap"
    assert seconds == takes


@pytest.mark.parametrize(
    ("items", "cost", "said"),
    [
        (jnp.zeros(0), None, "got 0 items and no cost"),
        (jnp.zeros(3), jnp.zeros(5), r"got 3 items and a cost of shape \(5,\)"),
    ],
)
def test_no_items_and_costs_of_others_are_refused(items, cost, said):
    """A longer cost would take items that do not exist for the last one, in silence."""
    with pytest.raises(ValueError, match=said):
        cohort.map(lambda x: x, items, cost=cost)
