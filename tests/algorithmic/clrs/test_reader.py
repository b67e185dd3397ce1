"""What dm-clrs stores, read back, is what the device draws."""

import jax
import numpy as np
import pytest

from algorithmic import clrs
from algorithmic.clrs import lanes, net, reader, samplers
from fl_jax.core import errors


def stored(name, n):
    """(what dm-clrs would keep, the same draw as channels)."""
    quick = {"xla_backend_optimization_level": "0"}
    key, room = jax.random.key(0), clrs.longest(name, n)
    group = net.Group.of((name,))
    draw = jax.jit(
        lambda k: (
            clrs.sample(name, k, 2, n, max_length=room),
            lanes.draw(name, group, k, 2, n, n, room, samplers.Options()),
        ),
        compiler_options=quick,
    )
    found, runs = jax.device_get(draw(key))
    return reader.Stored(found.inputs, found.hints, found.outputs, found.length), group, runs


@pytest.mark.parametrize("name", ["bfs", "insertion_sort", "minimum", "lcs_length"])
def test_what_is_read_is_what_is_drawn(name):
    batch, group, expected = stored(name, 4)
    found = reader.runs(name, group, batch)
    np.testing.assert_array_equal(found.length, expected.length)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        (found.inputs, found.outputs), (expected.inputs, expected.outputs),
    )  # fmt: skip
    steps = np.arange(len(jax.tree.leaves(found.hints)[0]))
    live = steps[:, None] < expected.length  # beyond a run's length anything may stand
    equal = lambda x, y: np.testing.assert_allclose(x[live], y[live], atol=1e-6)
    jax.tree.map(equal, jax.device_get(found.hints), expected.hints)


def test_a_record_of_the_archive_is_split_by_stage():
    batch, _, _ = stored("bfs", 4)
    fields = {f"input_{k}": v for k, v in batch.inputs.items()}
    fields |= {f"hint_{k}": np.swapaxes(v, 0, 1) for k, v in batch.hints.items()}
    fields |= {f"output_{k}": v for k, v in batch.outputs.items()} | {"lengths": batch.lengths}
    read = reader.record("bfs", fields)
    jax.tree.map(np.testing.assert_array_equal, tuple(read), tuple(batch))
    with pytest.raises(errors.DataError, match="is no field of bfs"):
        reader.record("bfs", {**fields, "input_key": fields["input_pos"]})
    del fields["input_A"]
    with pytest.raises(errors.DataError, match="needs the input 'A'"):
        reader.record("bfs", fields)
    wrong = batch._replace(outputs={"pi": batch.outputs["pi"][:, :3]})
    with pytest.raises(errors.DataError, match="must have shape"):
        reader.runs("bfs", net.Group.of(("bfs",)), wrong)


def test_lengths_that_are_none_are_refused():
    run = jax.device_get(clrs.sample("minimum", jax.random.key(0), 2, 4))
    fields = {f"input_{k}": v for k, v in run.inputs.items()}
    fields |= {f"output_{k}": v for k, v in run.outputs.items()}
    fields |= {f"hint_{k}": np.swapaxes(v, 0, 1) for k, v in run.hints.items()}
    assert reader.record("minimum", {**fields, "lengths": run.length}).lengths.tolist() == [4, 4]
    with pytest.raises(errors.DataError, match="needs the field 'lengths'"):
        reader.record("minimum", fields)
    for lengths in ([99, 4], [0, 4], [4]):
        with pytest.raises(errors.DataError, match="lengths of minimum must be one of 1 to 4"):
            reader.record("minimum", {**fields, "lengths": np.array(lengths)})
    short = {**fields, "hint_i": fields["hint_i"][:, :2], "lengths": run.length}
    with pytest.raises(errors.DataError, match="as many steps"):
        reader.record("minimum", short)
