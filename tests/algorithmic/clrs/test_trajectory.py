"""All thirty traces against dm-clrs: golden checksums by default, the package itself as oracle."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic import clrs
from algorithmic.clrs import inputs, samplers, specs, traces, trajectory
from algorithmic.clrs.traces import machine
from fl_jax.core import errors

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
import reference_inputs  # noqa: E402

GOLDEN = json.loads((HERE / "golden.json").read_text())  # made by make_golden.py
ROOM = 2100  # more hints than any golden run has


def cut(name, probe, value, n, length):
    """What belongs to n nodes and `length` hints of a padded value of one sample."""
    p = specs.of(name)[probe]
    value = np.asarray(value)
    if p.stage == specs.HINT:
        assert not np.any(value[length:]), f"{probe} is not zero beyond the length"
        value = value[:length]
    ranks = {specs.NODE: 1, specs.EDGE: 2, specs.GRAPH: 0}[p.location]
    value = value[(slice(None),) * (p.stage == specs.HINT) + (slice(0, n),) * ranks]
    return value[..., :n] if p.kind == specs.MASK_ONE else value


def padded_runs(name, cases, size):
    """Runs of different sizes in one program, each padded to `size` nodes."""
    with jax.enable_x64(True):
        compact = []
        for n, seed in cases:
            x, _ = inputs.compact(name, reference_inputs.inputs(name, n, seed), jnp.float64)
            pad = lambda v: np.pad(v, [(0, size - s) for s in v.shape]) if v.ndim else v
            compact.append({k: pad(np.asarray(v)) for k, v in x.items()})
        batch = {k: np.stack([c[k] for c in compact]) for k in compact[0]}

        def run(batch, n):
            room = min(clrs.longest(name, size), ROOM)
            ran = machine.run_batch(traces.MACHINES[name], batch, n, room)
            stored = jax.vmap(lambda x, n: inputs.stored(name, x, n, jnp.float64))(batch, n)
            return trajectory.expand(name, clrs.Trajectory(stored, *ran), jnp.float64)

        # Compiled with little effort: these programs run once.
        quick = jax.jit(run, compiler_options={"xla_backend_optimization_level": "0"})
        return jax.device_get(quick(batch, jnp.asarray([n for n, _ in cases], jnp.int32)))


def compare_with_golden(name, size):
    cases = [tuple(map(int, case.split())) for case in GOLDEN[name]]
    cases = [case for case in cases if case[0] <= size]
    runs = padded_runs(name, cases, size)
    for b, (n, seed) in enumerate(cases):
        golden = dict(GOLDEN[name][f"{n} {seed}"])
        length = golden.pop("length")
        assert int(runs.length[b]) == length
        for key, expected in golden.items():
            stage, probe = key.split()
            held = getattr(runs, stage + "s")[probe]
            value = held[:, b] if stage == "hint" else held[b]
            found = reference_inputs.checksum(cut(name, probe, value, n, length))
            assert found == pytest.approx(expected, rel=1e-9, abs=2e-9), (name, n, seed, key)


@pytest.mark.parametrize("name", specs.ALGORITHMS)
def test_a_run_is_that_of_dm_clrs_at_every_size_up_to_16(name):
    compare_with_golden(name, 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", specs.ALGORITHMS)
def test_a_run_is_that_of_dm_clrs_at_every_size_up_to_64(name):
    compare_with_golden(name, 64)


@pytest.mark.oracle
@pytest.mark.parametrize("name", specs.ALGORITHMS)
def test_every_value_is_that_of_dm_clrs(name, tmp_path):
    """`trace` itself against the installed package, value by value."""
    from experiments.bench import peers

    python = peers.python("clrs")
    file = tmp_path / "full.npz"
    sizes = ["4"] if name == "segments_intersect" else ["4", "9", "16", "31", "64"]
    command = [str(HERE / "make_golden.py"), "--full", str(file), "--seeds", "3", "--names", name]
    subprocess.run([python, *command, "--sizes", *sizes], check=True)
    for key, expected in np.load(file).items():
        _, n, seed, stage, probe = key.split()
        run = clrs.trace(name, **reference_inputs.inputs(name, int(n), int(seed)))
        value = np.asarray(getattr(run, stage + "s")[probe])
        if stage == "hint":
            value = value[: int(run.length)]
        assert value.shape == expected.shape, key
        if specs.of(name)[probe].kind == specs.SCALAR:
            np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14, err_msg=key)
        else:
            np.testing.assert_array_equal(value, expected, err_msg=key)


def test_the_golden_file_has_every_algorithm_size_and_probe():
    assert set(GOLDEN) == set(specs.ALGORITHMS)
    for name, cases in GOLDEN.items():
        sizes = {int(case.split()[0]) for case in cases}
        assert sizes == ({4} if name == "segments_intersect" else {4, 5, 7, 11, 16, 64})
        for values in cases.values():
            shown = {key.split()[1] for key in values if key != "length"}
            assert shown == set(specs.of(name))


def test_trace_takes_dm_clrs_probes_and_their_short_forms():
    x = reference_inputs.inputs("bellman_ford", 7, 1)
    short = clrs.trace("bellman_ford", **x)
    n = 7
    full = clrs.trace(
        "bellman_ford",
        pos=np.arange(n) / n,
        s=np.eye(n)[x["s"]],
        A=x["A"],
        adj=((x["A"] + np.eye(n)) != 0) * 1.0,
    )
    jax.tree.map(np.testing.assert_array_equal, short, full)
    assert short.hints["d"].dtype == np.float64
    np.testing.assert_array_equal(full.inputs["pos"], np.arange(n) / n)


def test_trace_under_vmap_and_jit_is_the_trace_called_on_arrays():
    key = jax.random.uniform(jax.random.key(1), (3, 6))
    lifted = jax.jit(jax.vmap(lambda k: clrs.trace("quickselect", key=k)))(key)
    for i in range(3):
        one = clrs.trace("quickselect", key=np.asarray(key[i]))
        assert one.hints["i_rank"].dtype == np.float32
        jax.tree.map(lambda v, o, i=i: np.testing.assert_allclose(v[i], o), lifted, one)


def test_a_cut_run_still_tells_its_length():
    key = np.linspace(1, 0, 6)
    whole, cut_short = (clrs.trace("bubble_sort", key=key, max_length=m) for m in (None, 5))
    assert whole.hints["i"].shape[0] == 16 == int(whole.length) == int(cut_short.length)
    np.testing.assert_array_equal(whole.hints["pred_h"][:5], cut_short.hints["pred_h"])
    np.testing.assert_array_equal(whole.outputs["pred"], cut_short.outputs["pred"])


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("bsf", {}, "did you mean 'bfs'"),
        ("bfs", {"A": np.eye(4), "r": 1}, "unknown input of bfs 'r'"),
        ("bfs", {"A": np.eye(4)}, "also needs the input 's'"),
        ("bfs", {"A": np.ones((4, 3)), "s": 0}, "A of bfs must have shape (4, 4)"),
        ("bfs", {"A": np.eye(4), "s": np.eye(4)}, "s of bfs must have shape (4,)"),
        ("minimum", {"key": np.ones(1)}, "minimum needs at least 2 nodes, got 1"),
        ("minimum", {"key": np.float64(1)}, "one entry per node"),
        ("segments_intersect", {"x": np.ones(5), "y": np.ones(5)}, "exactly 4 nodes, got 5"),
        ("topological_sort", {"A": np.ones((4, 4))}, "needs a graph without cycles"),
        ("kmp_matcher", {"string": np.array([0, 1, 1]), "key": np.zeros(3, int)}, "does not fit"),
        ("lcs_length", {"string": np.array([0, 1, 0]), "key": np.zeros(3, int)}, "zeros for the"),
        ("bfs", {"A": np.eye(4), "s": 4}, "s of bfs must be from 0 to 3, got 4"),
        ("bfs", {"A": np.eye(4), "s": np.zeros(4)}, "a single 1"),
        ("dijkstra", {"A": np.full((4, 4), np.inf), "s": 0}, "0 in A for no edge"),
        ("minimum", {"key": np.array([1.0, np.nan])}, "holds NaN"),
        ("bfs", {"A": np.eye(2), "adj": np.ones((2, 2)), "s": 0}, "adj of bfs must mark where A"),
        ("lcs_length", {"string": np.array([0, 1]), "key": np.array([4, 0])}, "from 0 to 3, got 4"),
    ],
)
def test_bad_inputs_are_refused_in_a_sentence(name, given, words):
    with pytest.raises((errors.ConfigError, errors.DataError)) as caught:
        clrs.trace(name, **given)
    assert words in str(caught.value)
    assert str(caught.value).count(". ") <= 1


@pytest.mark.parametrize("name", ["naive_string_matcher"])
def test_a_sample_is_the_trace_of_its_inputs(name):
    batch = clrs.sample(name, jax.random.key(3), 2, 16)
    for b in range(2):
        given = {k: np.asarray(v[b]) for k, v in batch.inputs.items()}
        one = clrs.trace(name, **given)
        length = int(one.length)
        assert length == int(batch.length[b])
        for probe, value in one.hints.items():
            np.testing.assert_array_equal(value[:length], batch.hints[probe][:length, b])
            assert not np.any(batch.hints[probe][length:, b])
        for probe, value in one.outputs.items():
            np.testing.assert_array_equal(value, batch.outputs[probe][b])


def test_longest_is_never_exceeded_by_hard_inputs():
    assert int(clrs.trace("quicksort", key=np.arange(9.0)).length) <= clrs.longest("quicksort", 9)
    circle = 2 * np.pi * np.arange(9) / 9
    hull = clrs.trace("jarvis_march", x=np.cos(circle + 0.1), y=np.sin(circle + 0.1))
    assert int(hull.length) == clrs.longest("jarvis_march", 9)  # every point on the hull


def test_sizes_of_padded_samples_do_not_matter():
    config = samplers.training("bfs")
    small, n = samplers.draw("bfs", jax.random.key(0), 4, jnp.int32(5), config, size=9)
    assert n.tolist() == [5] * 4
    assert not np.any(small["A"][:, 5:]) and not np.any(small["A"][:, :, 5:])
    assert int(jnp.max(small["s"])) < 5


def test_a_cycle_along_which_paths_get_ever_shorter_is_refused():
    down = np.array([[0, 1.0, 0], [0, 0, -3.0], [0, 1.0, 0]])
    with pytest.raises(errors.DataError, match="never ends on a cycle"):
        clrs.trace("bellman_ford", A=down, s=0)
    apart = np.pad(down[1:, 1:], ((1, 0), (1, 0)))  # s does not reach it
    assert clrs.trace("bellman_ford", A=apart, s=0).outputs["pi"].tolist() == [0, 1, 2]
    once = np.array([[0, 4.0, 2.0], [0, 0, 0], [0, -3.0, 0]])
    assert clrs.trace("bellman_ford", A=once, s=0).outputs["pi"].tolist() == [0, 2, 0]


@pytest.mark.parametrize("sizes", [(0, 4, None), (2, 4, 0), (2, 4, -1)])
def test_sizes_of_samples_are_whole_numbers(sizes):
    batch, length, room = sizes
    with pytest.raises(errors.ConfigError, match="must be a whole number of 1 or more"):
        clrs.sample("minimum", jax.random.key(0), batch, length, max_length=room)
