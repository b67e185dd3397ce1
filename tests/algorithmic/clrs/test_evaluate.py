"""Scores are those of known confusions, and do not depend on batches."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import evaluate, lanes, layout, net, samplers, specs, trajectory
from algorithmic.clrs.evaluate import Counts

SIMPLE = net.Config(processor="mpnn", hidden=8)  # quick to compile


def test_f1_is_of_the_whole_set():
    assert evaluate.score("activity_selector", {"selected": Counts(6, 2, 4)}) == pytest.approx(
        2 / 3
    )
    assert evaluate.score("activity_selector", {"selected": Counts(0, 0, 0)}) == 1.0
    assert evaluate.score("segments_intersect", {"intersect": Counts(0, 3, 5)}) == 0.0


def test_a_score_is_the_mean_of_its_outputs():
    total = {"topo": Counts(3, 0, 1), "topo_head": Counts(1, 0, 3)}
    assert evaluate.score("topological_sort", total) == pytest.approx(0.5)


def test_the_two_means_are_kept_apart():
    scores = dict.fromkeys(specs.ALGORITHMS, 0.5) | {"find_maximum_subarray_kadane": 1.0}
    found = evaluate.means(scores)
    assert found["algorithms"] == pytest.approx(0.5 + 0.5 / 30)
    assert found["families"] == pytest.approx(0.5 + 0.5 / 8)
    assert sum(len(names) for names in specs.FAMILIES.values()) == 30


def test_test_sets_have_the_benchmarks_sizes():
    sizes = {name: evaluate.test_size(name) for name in specs.ALGORITHMS}
    assert sizes["bfs"] == 32 and sizes["minimum"] == 2048
    assert sizes["find_maximum_subarray_kadane"] == 1024


def test_hints_that_are_the_truth_are_right_at_every_step(monkeypatch):
    """The decoder is replaced by one that knows the truth, and by one that is wrong from step 3."""
    name, n = "minimum", 6
    group, key = net.Group.of((name,)), jax.random.key(2)
    shared = net.processor(SIMPLE).init(key)
    own = net.init_tasks(key, group, SIMPLE)
    slots = layout.slots(name, specs.HINT)

    def knowing(shared, own, table, runs, config, watch):
        steps = runs.following.node.shape[0]
        said = []
        for t in range(steps):
            truth = jax.tree.map(lambda v, t=t: v[t], runs.following)
            logits = truth._replace(node=10.0 * (truth.node if t < 3 else -truth.node))
            mask = jnp.ones(truth.node.shape[:2])
            said.append(watch(logits, truth, mask, runs.valid[t]))
        return jax.tree.map(lambda *v: jnp.stack(v), *said)

    monkeypatch.setattr(net, "follow", knowing)
    jax.clear_caches()
    found = evaluate.hints(name, group, shared, own, SIMPLE, key, length=n, samples=5)
    assert set(found) == {probe for probe, _ in slots.node} == set(evaluate.judged(name))
    for right in found.values():
        np.testing.assert_array_equal(right, [1, 1, 1] + [0] * (len(right) - 3))


def test_hints_take_no_more_room_than_the_runs_need(monkeypatch):
    """Of bridges hardly any run is nearly as long as the longest that can be."""
    name, n, asked, followed = "bridges", 8, [], []
    group, key = net.Group.of((name,)), jax.random.key(2)
    shared = net.processor(SIMPLE).init(key)
    own = net.init_tasks(key, group, SIMPLE)
    draw = evaluate._draw

    def noted(*given):
        asked.append(given[5])
        return draw(*given)

    monkeypatch.setattr(evaluate, "_draw", noted)
    monkeypatch.setattr(evaluate, "_follow", lambda *given: followed.append(given[6:]) or {})
    options = samplers.Options(p=(0.3,))
    evaluate.hints(name, group, shared, own, SIMPLE, key, length=n, samples=4,
                           options=options)  # fmt: skip
    least, *more = trajectory.rooms(name, n)
    assert asked == [least] and least < more[-1]
    ((steps, runs),) = followed
    assert steps == int(runs.length.max()) - 1 < least


def test_the_network_that_is_followed_is_the_one_that_is_scored():
    name, config = "bfs", SIMPLE
    group, key = net.Group.of((name,)), jax.random.key(4)
    shared = net.processor(config).init(key)
    own = jax.tree.map(lambda v: v[0], net.init_tasks(key, group, config))
    table = jax.tree.map(lambda v: v[0], net.tables(group))
    runs = lanes.draw(name, group, key, 3, 5, 5, 6, samplers.Options())
    batch = lanes.whole(runs, 4)
    watch = lambda logits, truth, mask, valid: (logits, truth, mask, valid)
    follow = jax.jit(
        lambda batch: net.follow(shared, own, table, batch, config, watch),
        compiler_options={"xla_backend_optimization_level": "0"},
    )
    logits, truth, mask, valid = follow(batch)
    np.testing.assert_array_equal(truth.node, batch.following.node)
    np.testing.assert_array_equal(truth.pointer, batch.following.pointer)
    np.testing.assert_array_equal(valid, batch.valid)
    assert logits.pointer.shape == (4, 3, 1, 5, 5) and mask.shape == (4, 3, 5)


def test_both_scores_come_out_of_one_test():
    name, config = "bfs", SIMPLE
    group, key = net.Group.of((name,)), jax.random.key(4)
    shared, own = net.processor(config).init(key), net.init_tasks(key, group, config)
    found = evaluate.task(
        name, group, shared, own, config, key, length=5, samples=3, batch=2,
        options=samplers.Options(p=(0.9,)),
    )  # fmt: skip
    (official,), (accepting,) = found.official_counts.values(), found.accepting_counts.values()
    assert official.hit + official.missed == accepting.hit + accepting.missed == 15
    assert found.official == official.hit / 15 <= found.accepting == accepting.hit / 15


# Edge pointers, classes of edges, masks of edges with pointers of nodes, a permutation.
TYPICAL = ("floyd_warshall", "lcs_length", "bridges", "insertion_sort")


@pytest.mark.parametrize(
    "name",
    [
        name if name in TYPICAL else pytest.param(name, marks=pytest.mark.slow)
        for name in specs.ALGORITHMS
    ],
)
def test_a_test_at_64_has_no_array_of_rank_five(name):
    """Everything that evaluation compiles, traced alone: inputs and traces, the network with its
    scores, the network with its hints followed. Nor is anything larger than features of pairs."""
    n, count, room = 64, 3, 6
    model = net.Config(hidden=24, triplets=7)
    group, key = net.Group.of((name,)), jax.random.key(0)

    def network():
        own = jax.tree.map(lambda v: v[0], net.init_tasks(key, group, model))
        return net.init_shared(key, model), own

    shared, own = jax.eval_shape(network)
    table = jax.tree.map(lambda v: v[0], net.tables(group))
    draw = lambda key: evaluate._draw(name, group, key, count, n, room, samplers.Options())
    runs = jax.eval_shape(draw, key)
    score = lambda shared, own, runs: evaluate._count(
        name, group, shared, own, table, model, room - 1, runs, False
    )
    follow = lambda shared, own, runs: evaluate._follow(
        name, group, shared, own, table, model, room - 1, runs
    )
    widths = {24, 48, 72, 7, 14, 21}  # of features: multiples of h and of the triplets'
    for program, given in (
        (draw, (key,)),
        (score, (shared, own, runs)),
        (follow, (shared, own, runs)),
    ):
        seen = 0
        for shape in _shapes(jax.make_jaxpr(program)(*given).jaxpr):
            assert len(shape) <= 4, shape
            assert np.prod(shape) <= 72 * n**2 * count, shape
            seen += bool(widths & set(shape))
        assert program is draw or seen > 20  # the features are really among them


def _shapes(jaxpr):
    """The shapes of everything in a program and in the programs within it."""
    yield from (v.aval.shape for v in (*jaxpr.invars, *jaxpr.constvars) if hasattr(v.aval, "shape"))
    for eqn in jaxpr.eqns:
        yield from (v.aval.shape for v in eqn.outvars if hasattr(v.aval, "shape"))
        for sub in jax.extend.core.jaxprs_in_params(eqn.params):
            yield from _shapes(sub)
