import io
import json

import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.train import metrics


def test_rows_are_strict_json(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    row = {
        "step": np.int64(3),
        "loss": jnp.float32(0.1),
        "half": jnp.bfloat16(0.5),
        "double": np.float64(0.1) + 0.2,
        "worse": float("nan"),
        "worst": jnp.float32(jnp.inf),
        "ok": np.bool_(True),
        "per_class": jnp.array([0.5, jnp.nan]),
        "name": "näme",
        "none": None,
        "nested": {"list": [1, (2.5, np.float16(1.5))]},
    }
    with metrics.Metrics(path) as log:
        log.write(row)
    refuse = lambda constant: pytest.fail(f"{constant} is not JSON")
    assert json.loads(path.read_text(), parse_constant=refuse) == {
        "step": 3,
        "loss": 0.1,
        "half": 0.5,
        "double": 0.1 + 0.2,
        "worse": None,
        "worst": None,
        "ok": True,
        "per_class": [0.5, None],
        "name": "näme",
        "none": None,
        "nested": {"list": [1, [2.5, 1.5]]},
    }


def test_short_digits_lose_nothing(key):
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert all(np.float32(metrics.plain(v)) == v for v in values)


def test_what_json_has_not_is_refused(tmp_path):
    with metrics.Metrics(tmp_path / "m") as log, pytest.raises(TypeError):
        log.write({"a": object()})
    assert (tmp_path / "m").read_bytes() == b""


def test_a_row_is_there_at_once_and_appended_after_reopening(tmp_path):
    path = tmp_path / "m"
    log = metrics.Metrics(path)
    log.write({"a": 1})
    assert metrics.read(path) == [{"a": 1}]
    log.close()
    with metrics.Metrics(path) as log:
        log.write({"a": 2})
    assert metrics.read(path) == [{"a": 1}, {"a": 2}]


def test_truncate_goes_back(tmp_path):
    path = tmp_path / "m"
    with metrics.Metrics(path) as log:
        log.write({"a": 1})
        here = log.offset()
        log.write({"a": 2})
        log.truncate(here)
        log.write({"a": 3})
        assert log.offset() == 2 * here
        with pytest.raises(errors.DataError, match="start without --resume"):
            log.truncate(1000)
    assert metrics.read(path) == [{"a": 1}, {"a": 3}]


def test_a_row_that_a_kill_cut_off_is_not_read(tmp_path):
    (tmp_path / "m").write_bytes(b'{"a": 1}\n{"a":')
    assert metrics.read(tmp_path / "m") == [{"a": 1}]
    (tmp_path / "m").write_bytes(b'{"a":')
    assert metrics.read(tmp_path / "m") == []


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics.jax, "process_index", lambda: 1)
    stream = io.StringIO()
    with metrics.Metrics(tmp_path / "m") as log:
        log.write({"a": 1})
        log.truncate(5)
        assert log.offset() == 0
    with metrics.Progress(2, stream=stream, every=0) as progress:
        progress.update(0)
        progress.update(1)
    assert not (tmp_path / "m").exists()
    assert stream.getvalue() == ""


def test_progress_tells_at_times_and_at_the_end():
    now, stream = [0.0], io.StringIO()
    with metrics.Progress(1000, stream=stream, every=10, clock=lambda: now[0]) as progress:
        for done in range(400, 1001, 50):  # resumed at 400
            progress.update(done, {"step": done, "loss": 1 / 3, "clients": 7, "name": "x"})
            now[0] += 6
    assert stream.getvalue().splitlines() == [
        "step 500/1000  50 %  60 s left  loss 0.3333  clients 7",
        "step 600/1000  60 %  48 s left  loss 0.3333  clients 7",
        "step 700/1000  70 %  36 s left  loss 0.3333  clients 7",
        "step 800/1000  80 %  24 s left  loss 0.3333  clients 7",
        "step 900/1000  90 %  12 s left  loss 0.3333  clients 7",
        "step 1000/1000  100 %  0 s left  loss 0.3333  clients 7",
    ]


def test_long_times_are_told_shortly():
    assert [metrics._duration(s) for s in (0, 99, 100, 5900, 12_000)] == [
        "0 s",
        "99 s",
        "2 min",
        "98 min",
        "3 h 20 min",
    ]


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with metrics.Progress(10, what="round", stream=stream) as progress:
        progress.update(0)
        progress.update(10, {"loss": 0.5})
    assert "round" in stream.getvalue() and "10/10" in stream.getvalue()
    assert "loss 0.5" in stream.getvalue()


@pytest.mark.parametrize("cut", [b'{"a": 2', b'{"a": "' + b"x" * 200_000])
def test_rows_go_on_behind_the_last_whole_one(tmp_path, cut):
    """A row behind what a kill had cut off was one broken line with it, and `read` failed."""
    path = tmp_path / "m"
    path.write_bytes(b'{"a": 1}\n' + cut)
    with metrics.Metrics(path) as log:
        assert log.offset() == 9
        log.write({"a": 3})
    assert metrics.read(path) == [{"a": 1}, {"a": 3}]
    path.write_bytes(cut)
    with metrics.Metrics(path) as log:
        log.write({"a": 3})
    assert metrics.read(path) == [{"a": 3}]
