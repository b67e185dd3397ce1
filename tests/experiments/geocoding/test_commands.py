"""What the commands do to a run, and what they refuse."""

import jax
import numpy as np
import pytest

from experiments.geocoding import commands, config, task
from fl_jax.core import errors
from fl_jax.geocoding import network, store, train


def test_refusals(tmp_path):
    with pytest.raises(errors.DataError, match="no geocoder"):
        commands.text([str(tmp_path), "Lyon"])
    with pytest.raises(errors.ConfigError, match="could not be read"):
        commands.text([str(tmp_path), "Lyon", "--nonsense"])


def test_a_region_of_no_mass_and_a_corpus_that_is_not_there_are_refused(tmp_path):
    for mass in ("0", "2", "nan"):
        with pytest.raises(errors.ConfigError, match="--region"):
            commands.text([str(tmp_path), "Lyon", "--region", mass])
    with pytest.raises(errors.DataError, match="not there"):
        commands.score([str(tmp_path), str(tmp_path / "none.jsonl")])


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A geocoder over the embedded cities that was never trained, as a run leaves it."""
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    start = train.prepare(config.SMOKE, task.load(config.SMOKE).corpus)
    made = start.geocoder(network.init(jax.random.key(0), start.net))
    store.save(made, tmp_path / "run" / "geocoder")
    return tmp_path / "run"


def content(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_evaluating_leaves_the_run_as_it_is_and_calibrating_does_not(saved, tmp_path, capsys):
    before = content(saved)
    assert commands.evaluate([str(saved), "--rows", "5", "--out", str(tmp_path / "out")]) == 0
    assert content(saved) == before
    assert (tmp_path / "out" / "report.md").read_text().strip() in capsys.readouterr().out
    written = lambda: {p.name: p.stat().st_mtime_ns for p in saved.rglob("*") if p.is_file()}
    first = written()
    assert commands.calibrate([str(saved)]) == 0
    # No other file is touched: what stops it leaves a geocoder.
    assert [n for n, at in written().items() if at != first[n]] == ["knowledge.safetensors"]
    assert "300 development items" in capsys.readouterr().out
    changed = [p.name for p, data in content(saved).items() if before[p] != data]
    assert changed == ["knowledge.safetensors"]
    made = store.load(saved / "geocoder").calibration
    assert (made.temperature != 1).any() and (np.diff(made.mass) >= 0).all()
    with pytest.raises(errors.ConfigError, match="rows"):
        commands.evaluate([str(saved), "--rows", "0"])
