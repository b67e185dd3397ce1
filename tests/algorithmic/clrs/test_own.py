"""Algorithms of one's own: known as the thirty are, and refused where they are not as they say."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic import clrs
from algorithmic.clrs import evaluate, net, own, reader, samplers, specs, traces, training
from algorithmic.clrs.traces.machine import Machine
from fl_jax.core import errors

ROOT = pathlib.Path(__file__).parents[3]


def test_the_example_of_the_readme_runs(capsys):
    text = (ROOT / "experiments/clrs/README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "[0 1 0]" and 0 <= float(said[1]) <= 1


@pytest.mark.parametrize("name", [*specs.SPECS, *specs.MORE])
def test_the_thirty_are_as_they_must_be(name):
    spec = {k: p for k, p in specs.of(name).items() if name not in own.UNLIKE or k != "string"}
    sampler = lambda _, key, size, n, config: samplers.inputs_of(name, key, size, n, config)
    if name not in own.UNLIKE:
        own.check(name, spec, traces.MACHINES[name], sampler, specs.smallest(name))
    if name not in specs.MORE:
        own._check_probes(name, specs.of(name))


def reversal(**changes):
    """Sorts an array from above in one step; its output is a permutation named `after`."""

    def start(x, n):
        return {"t": jnp.int32(0)}

    def step(x, n, state):
        return {"t": jnp.int32(1)}, {"t_h": x["key"][0]}, state["t"] == 1

    def outputs(x, n, state):
        at = jnp.arange(x["key"].shape[0], dtype=jnp.int32)
        order = jnp.argsort(jnp.where(at < n, -x["key"], jnp.inf)).astype(jnp.int32)
        before = order[jnp.maximum(at - 1, 0)]
        pred = at.at[order].set(jnp.where((at >= 1) & (at < n), before, order))
        return {"after": pred.astype(jnp.int16)}

    def draw(key, size, n):
        at = jnp.arange(size, dtype=jnp.int32)
        return {"key": jnp.where(at < n, jax.random.uniform(key, (size,), jnp.float32), 0.0)}

    parts = {"start": start, "step": step, "outputs": outputs, "longest": lambda n: 2}
    parts |= {k: v for k, v in changes.items() if k in parts}
    said = "pos:N.sc key:N.sc | after:N.perm | t_h:G.sc"
    given = {"name": "refused", "probes": said, "draw": draw}
    given |= {k: v for k, v in changes.items() if k not in parts}
    clrs.register(machine=Machine(**parts), **given)


def test_a_permutation_of_any_name_trains_is_read_and_scored():
    reversal(name="reversal", smallest=1)
    found = clrs.trace("reversal", key=np.array([0.2, 0.9, 0.5]))
    assert found.outputs["after"].tolist() == [2, 1, 1] and int(found.length) == 2
    assert clrs.trace("reversal", key=np.array([0.2])).outputs["after"].tolist() == [0]
    batch = clrs.sample("reversal", jax.random.key(0), 4, 5)
    for keys, after in zip(batch.inputs["key"], batch.outputs["after"], strict=True):
        order = np.argsort(-np.asarray(keys))
        assert np.asarray(after)[order[1:]].tolist() == order[:-1].tolist()
    config = training.Training(tasks=("reversal",), batch=2, lengths=(4,))
    model = net.Config(processor="mpnn", hidden=8)
    state = training.init(jax.random.key(0), model, config)
    after, info = jax.jit(training.draw_and_step(model, config))(state, jax.random.key(1))
    assert bool(info.finite[0][0]) and int(after.step) == 1
    (group,) = training.groups(config)
    scores = evaluate.task("reversal", group, after.shared, after.own[0], model, jax.random.key(2),
                           length=6, samples=4)  # fmt: skip
    assert 0 <= scores.official == scores.accepting <= 1
    assert np.isnan(evaluate.means({"reversal": 1.0})["families"])
    stored = reader.Stored(*(jax.tree.map(np.asarray, v) for v in batch))
    runs = reader.runs("reversal", group, stored)
    assert runs.outputs.pointer.shape == (4, 5, 1)


def test_a_run_that_is_longer_than_its_machine_says_is_refused():
    """It was cut off in its middle, and its outputs were those of there."""
    reversal(name="hasty", longest=lambda n: 1)
    with pytest.raises(errors.ConfigError, match="has not ended after 1 hints"):
        clrs.trace("hasty", key=np.array([0.2, 0.9, 0.5]))
    with pytest.raises(errors.ConfigError, match="of hasty on 4 nodes"):
        clrs.sample("hasty", jax.random.key(0), 2, 4)


def test_graphs_are_drawn_as_another_draws_them():
    def start(x, n):
        return {"done": jnp.bool_(False)}

    def step(x, n, state):
        alone = ~jnp.any(x["A"] != 0, axis=0)
        return state, {"alone_h": alone.astype(jnp.int8)}, jnp.bool_(True)

    def outputs(x, n, state):
        at = jnp.arange(x["A"].shape[0], dtype=jnp.int32)
        return {"alone": (~jnp.any(x["A"] != 0, axis=0) & (at < n)).astype(jnp.int8)}

    said = "pos:N.sc A:E.sc adj:E.m | alone:N.m | alone_h:N.m"
    clrs.register("isolated", said, Machine(start, step, outputs, lambda n: 1), "dfs")
    batch = clrs.sample("isolated", jax.random.key(0), 8, 6, p=(0.1,))
    assert batch.inputs["adj"].shape == (8, 6, 6)
    alone = ~(np.asarray(batch.inputs["A"]) != 0).any(1)
    assert (
        (alone == (np.asarray(batch.outputs["alone"]) == 1)).all()
        and alone.any()
        and not alone.all()
    )
    assert samplers.training("isolated").p == samplers.training("dfs").p


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"name": "bfs"}, "not known already"), ({"name": "a b"}, "letters"),
     ({"probes": "key:N.sc | after:N.perm | t_h:G.sc"}, "pos:N.sc"),
     ({"probes": "pos:N.sc key:N.sc | after:N.perm"}, "inputs | outputs | hints"),
     ({"probes": "pos:N.sc key:N.xx | after:N.perm | t_h:G.sc"}, "name:place.kind"),
     ({"probes": "pos:N.sc key:N.sc | after:E.perm | t_h:G.sc"}, "no place"),
     ({"probes": "pos:N.sc key:N.sc | after:N.perm |"}, "needs a hint"),
     ({"probes": "pos:N.sc key:N.sc | after:N.sc | t_h:G.sc"}, "no scalar"),
     ({"probes": "pos:N.sc key:N.sc | after:N.perm b:N.ptr | t_h:G.sc"}, "only one"),
     ({"probes": "pos:N.sc | after:N.perm | t_h:G.sc"}, "beside pos"),
     ({"probes": "pos:N.sc key:N.sc | after:N.m | t_h:G.sc"}, "should be int8"),
     ({"probes": "pos:N.sc key:N.sc | after:N.perm | s:G.sc"}, "should be \\['s'\\]"),
     ({"draw": "kmp_matcher"}, "size of their own"), ({"draw": "bfs"}, "inputs of"),
     ({"draw": lambda key, size, n: {"key": jax.random.uniform(key, (size,))}}, "float64"),
     ({"start": lambda x, n: {"t": jnp.zeros((), x["key"].dtype)}}, "must stay"),
     ({"step": lambda x, n, s: (s, {"t_h": x["key"][0]}, s["t"])}, "one bool"),
     ({"longest": lambda n: 0}, "at least 1"), ({"smallest": 0}, "smallest")],
)  # fmt: skip
def test_refusals_are_sentences(changes, said):
    with pytest.raises(errors.ConfigError, match=said):
        reversal(**changes)
    assert "refused" not in specs.OWN and "refused" not in traces.MACHINES


def test_a_name_is_given_once():
    reversal(name="given_once")
    with pytest.raises(errors.ConfigError, match="not known already"):
        reversal(name="given_once")
