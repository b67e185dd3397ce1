"""Seeds that train together: their checkpoints, rows and tests, beside seeds alone."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from algorithmic.clrs import evaluate
from experiments import result
from experiments.clrs import commands, config, run, task
from fl_jax.core import errors
from fl_jax.train import metrics

TINY = dataclasses.replace(
    config.SMOKE,
    tasks=("minimum",),
    seeds=2,
    rounds=2,
    test_lengths=(4,),
    log_every=1,
    save_every=1,
)


def trained(cfg, path):
    directory = result.RunDirectory.open("clrs", "smoke", cfg, str(path), False)
    directory.write_config()
    run.run(cfg, directory)
    rows = metrics.read(directory.path / "metrics.jsonl")
    return directory, [row for row in rows if row["stage"] == "train"], rows


@pytest.mark.slow
def test_seeds_together_leave_what_seeds_alone_leave(tmp_path, capsys):
    _, alone, _ = trained(TINY, tmp_path / "alone")
    directory, losses, rows = trained(dataclasses.replace(TINY, plan="scan"), tmp_path / "both")
    assert [(r["seed"], r["round"]) for r in losses] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    for one, other in zip(alone, losses, strict=True):
        np.testing.assert_allclose(other["minimum"], one["minimum"], rtol=1e-5)
    tests = [(r["seed"], r["task"]) for r in rows if r["stage"] == "test"]
    assert tests == [(0, "minimum"), (1, "minimum")]

    # `test` finds them in their common checkpoint, and a resumed run has nothing left to do.
    assert commands.test([str(directory.path), "--lengths", "4", "--samples", "8"]) == 0
    again = json.loads((directory.path / "test.json").read_text())
    assert [r["score"] for r in again] == [r["score"] for r in rows if r["stage"] == "test"]
    before = (directory.path / "metrics.jsonl").read_text()
    run.run(dataclasses.replace(TINY, plan="scan"), directory, resume=True)
    assert (directory.path / "metrics.jsonl").read_text() == before


def test_hints_go_on_where_a_kill_left_them(tmp_path, monkeypatch):
    """One row was enough to take them for measured, and the other tasks' were never there."""
    cfg = dataclasses.replace(TINY, tasks=("minimum", "find_maximum_subarray_kadane"), seeds=1)
    directory = result.RunDirectory.open("clrs", "smoke", cfg, str(tmp_path / "run"), False)
    (states,) = (task.split(cfg, seeds, task.start(cfg, seeds)) for seeds in task.batches(cfg))
    found = lambda name, *_, **__: {probe: [1.0, 0.5] for probe in evaluate.judged(name)}
    monkeypatch.setattr(evaluate, "hints", found)
    measure = lambda: run.hints(cfg, directory, 0, states[0])
    measure()
    path = run.file(directory, 0, "hints")
    whole = path.read_bytes()
    assert len(metrics.read(path)) == 6  # i, min_h; best_low, best_high, i, j
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    measure()
    assert path.read_bytes() == whole
    measure()
    assert path.read_bytes() == whole


def test_seeds_and_devices_that_cannot_be_are_refused():
    for change, words in (
        ({"plan": "often"}, "unknown cohort plan"),
        ({"plan": "vmap", "data": 2}, "dealt over the devices whole"),
        ({"data": jax.device_count() + 1}, "set data to no more"),
        ({"seeds": 0}, "seeds must be above 0"),
        ({"test_lengths": (4, 1)}, "minimum needs at least 2 nodes"),
    ):
        with pytest.raises(errors.ConfigError, match=words):
            task.check(dataclasses.replace(TINY, **change))


def test_tests_go_on_where_a_kill_left_them(tmp_path, monkeypatch):
    cfg = dataclasses.replace(TINY, tasks=("minimum", "find_maximum_subarray_kadane"), seeds=1)
    directory = result.RunDirectory.open("clrs", "smoke", cfg, str(tmp_path / "run"), False)
    directory.write_config()
    (states,) = (task.split(cfg, seeds, task.start(cfg, seeds)) for seeds in task.batches(cfg))
    asked = []

    def found(name, *_, **__):
        asked.append(name)
        return evaluate.Scores(0.5, 0.5, {}, {})

    monkeypatch.setattr(evaluate, "task", found)
    run.test(cfg, directory, 0, states[0])
    path = run.file(directory, 0, "test")
    whole = path.read_bytes()
    path.write_bytes(whole.splitlines(keepends=True)[0])
    run.test(cfg, directory, 0, states[0])
    assert path.read_bytes() == whole
    assert asked == [*cfg.tasks, cfg.tasks[1]]  # the first one is not tested again

    asked.clear()
    monkeypatch.setattr(run, "saved", lambda *_: {0: (2, states[0])})
    command = [str(directory.path), "--lengths", "4,5", "--samples", "8"]
    assert commands.test(command) == 0
    stored = directory.path / "test.json"
    asked.clear()
    with pytest.raises(errors.ConfigError, match="at least 2 nodes"):
        commands.test([str(directory.path), "--lengths", "4,1"])
    assert not asked  # not even the size that there is
    rows = json.loads(stored.read_text())
    assert [(r["n"], r["task"]) for r in rows] == [(n, name) for n in (4, 5) for name in cfg.tasks]
    stored.write_text(json.dumps(rows[1:]))
    asked.clear()
    assert commands.test(command) == 0
    assert asked == ["minimum"]
    again = json.loads(stored.read_text())
    assert sorted(map(str, again)) == sorted(map(str, rows))

    # More samples take the place of fewer; what another checkpoint had stays.
    asked.clear()
    assert commands.test([str(directory.path), "--lengths", "4", "--samples", "16"]) == 0
    assert asked == list(cfg.tasks)
    monkeypatch.setattr(run, "saved", lambda *_: {0: (3, states[0])})
    assert commands.test([str(directory.path), "--lengths", "4", "--samples", "16"]) == 0
    kept = {(r["round"], r["n"], r["samples"]) for r in json.loads(stored.read_text())}
    assert kept == {(2, 4, 16), (2, 5, 8), (3, 4, 16)}
