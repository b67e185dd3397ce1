import logging
import signal
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.train import checkpoint, loop, metrics


@jax.jit
def advance(state, step):
    """Two steps of a random walk."""
    noise = jax.random.normal(jax.random.fold_in(state["key"], step), (3,))
    walk = state["walk"] + noise
    return {**state, "walk": walk}, {"sum": jnp.sum(walk)}


def start():
    return {"key": jax.random.key(0), "walk": jnp.zeros(3)}


def rows(info, step):
    return [{"step": step, "sum": info["sum"]}]


class Run:
    """A run directory; each call is a new process as far as the loop can tell."""

    def __init__(self, path):
        self.path = path

    def __call__(self, steps=12, advance=advance, save_every=4, **settings):
        with (
            checkpoint.Checkpoints(self.path / "checkpoints") as checkpoints,
            metrics.Metrics(self.path / "metrics.jsonl") as log,
        ):
            settings = {"stride": 2, "rows": rows, "metrics": log, **settings}
            return loop.run(
                advance,
                start(),
                steps=steps,
                checkpoints=checkpoints,
                save_every=save_every,
                **settings,
            )

    @property
    def steps(self):
        return checkpoint.Checkpoints(self.path / "checkpoints").steps()

    @property
    def text(self):
        return (self.path / "metrics.jsonl").read_text()


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


@pytest.fixture
def whole(tmp_path):
    """An uninterrupted run: its state and its metrics."""
    run = Run(tmp_path / "whole")
    return run()["walk"], run.text


def test_is_a_plain_loop():
    state = start()
    for step in range(0, 12, 2):
        state, _ = advance(state, step)
    found = loop.run(advance, start(), steps=12, stride=2)
    np.testing.assert_array_equal(found["walk"], state["walk"])


def test_saves_the_first_the_due_and_the_last(run):
    run(steps=10, save_every=4)
    assert run.steps == [4, 8, 10]  # 0 was there and has gone
    assert [r["step"] for r in metrics.read(run.path / "metrics.jsonl")] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize("save_every", [1, 2, 3, 5, None])
def test_any_number_of_steps_between_saves(run, save_every):
    seen = []
    checkpoints = types.SimpleNamespace(
        latest=lambda: None, wait=lambda: None, save=lambda step, *_: seen.append(step)
    )
    loop.run(advance, start(), steps=12, stride=2, checkpoints=checkpoints, save_every=save_every)
    expected = {
        1: [0, 2, 4, 6, 8, 10, 12],
        2: [0, 2, 4, 6, 8, 10, 12],
        3: [0, 4, 6, 10, 12],
        5: [0, 6, 10, 12],
        None: [0, 12],
    }
    assert seen == expected[save_every]


@pytest.mark.parametrize("dies_at", [0, 2, 4, 6, 8, 10])
@pytest.mark.parametrize("save_every", [4, None])
def test_goes_on_bit_for_bit(run, whole, dies_at, save_every):
    def dies(state, step):
        if step == dies_at:
            raise KeyboardInterrupt
        return advance(state, step)

    with pytest.raises(KeyboardInterrupt):
        run(advance=dies, save_every=save_every)
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 1234, "su')  # a row that was being written
    walk = run(save_every=save_every)["walk"]
    np.testing.assert_array_equal(walk, whole[0])
    assert run.text == whole[1]


def test_a_longer_run_goes_on_from_a_finished_one(run, whole):
    run(steps=6)
    np.testing.assert_array_equal(run(steps=12)["walk"], whole[0])
    assert run.text == whole[1]


def test_a_finished_run_does_nothing_more(run, whole):
    run()
    never = lambda state, step: pytest.fail("nothing was left to do")
    np.testing.assert_array_equal(run(advance=never)["walk"], whole[0])
    assert run.text == whole[1]


def test_resume_false_begins_anew(run, whole):
    run(steps=6)
    (run.path / "metrics.jsonl").unlink()
    begun = []
    run(resume=False, advance=lambda s, step: begun.append(step) or advance(s, step))
    assert begun[0] == 0
    assert run.text == whole[1] and run.steps == [4, 8, 12]


def test_metadata_is_kept(run):
    run(metadata={"executor": "scan"})
    _, _, metadata = checkpoint.Checkpoints(run.path / "checkpoints").restore(start())
    assert metadata == {"executor": "scan", "metrics": len(run.text)}


def test_the_state_may_be_donated(run, whole):
    donating = jax.jit(advance, donate_argnums=0)
    np.testing.assert_array_equal(run(advance=donating, save_every=2)["walk"], whole[0])
    for step in run.steps:
        c = checkpoint.Checkpoints(run.path / "checkpoints")
        _, found, _ = c.restore(start(), step=step)
        expected = loop.run(advance, start(), steps=step, stride=2)
        np.testing.assert_array_equal(found["walk"], expected["walk"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_stops(run, whole, caplog, number, code):
    before = signal.getsignal(number)

    def interrupted(state, step):
        if step == 6:
            signal.raise_signal(number)
        return advance(state, step)

    with pytest.raises(loop.Stopped) as stopped, caplog.at_level(logging.WARNING, "fl_jax"):
        run(advance=interrupted)
    assert stopped.value.code == code
    assert run.steps == [0, 4, 8]  # the step under way was finished and saved
    assert f"Stopped by {number.name} after step 8; it is saved in" in caplog.text
    assert signal.getsignal(number) is before
    np.testing.assert_array_equal(run()["walk"], whole[0])
    assert run.text == whole[1]


def test_a_second_signal_is_not_waited_for(run):
    # A shell's background job is started with SIGINT ignored, and hands that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def stuck(state, step):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second did not get through")

    try:
        with pytest.raises(KeyboardInterrupt):
            run(advance=stuck)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_run_without_signals(run, whole):
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert run.text == whole[1]


def failing(first, last=10**9):
    """From step `first` on, updates are skipped; counted as a step would."""

    def advance(state, step):
        bad = first <= step + 1 <= last
        skipped = state["skipped"] + 1 if bad else 0
        value = state["value"] if bad else state["value"] + 1
        return {"skipped": skipped, "value": value}, {"skipped": skipped}

    return advance


def test_too_many_failures_stop_with_the_last_good_state(tmp_path):
    state = {"skipped": 0, "value": 0}
    with checkpoint.Checkpoints(tmp_path) as c, pytest.raises(loop.Diverged) as told:
        loop.run(
            failing(8),
            state,
            steps=50,
            checkpoints=c,
            failed=lambda i: i["skipped"],
            patience=5,
        )
    text = str(told.value)
    assert "steps 8 to 12 were all skipped" in text
    assert "The last good step is 7; its state is saved as step 13" in text
    step, found, _ = c.restore(state)
    assert (step, found["value"]) == (13, 7)


def test_fewer_failures_do_not(tmp_path):
    state = {"skipped": 0, "value": 0}
    found = loop.run(failing(8, 11), state, steps=50, failed=lambda i: i["skipped"], patience=5)
    assert found["value"] == 46


def test_failures_at_the_very_end_count():
    state = {"skipped": 0, "value": 0}
    with pytest.raises(loop.Diverged, match=r"steps 6 to 10 were .* no checkpoint was asked for"):
        loop.run(failing(6), state, steps=10, failed=lambda i: i["skipped"], patience=5)


def test_progress_hears_of_every_dispatch():
    heard = []
    progress = types.SimpleNamespace(update=lambda step, row: heard.append((step, sorted(row))))
    loop.run(advance, start(), steps=6, stride=2, rows=rows, progress=progress)
    assert heard == [(0, []), *((s, ["step", "sum"]) for s in (2, 4, 6))]


def test_the_next_dispatch_is_under_way_when_one_is_looked_at():
    order = []
    loop.run(
        lambda s, step: (order.append(f"go {step}"), (s, step))[1],
        0,
        steps=3,
        rows=lambda info, step: order.append(f"look {step}") or [],
    )
    assert order == ["go 0", "go 1", "look 1", "go 2", "look 2", "look 3"]


def test_misfits_are_sentences(run):
    with pytest.raises(errors.ConfigError, match="7 steps cannot be taken 2 at a time"):
        run(steps=7)
    with pytest.raises(errors.ConfigError, match="stride must be above 0"):
        run(stride=0)
    with pytest.raises(errors.ConfigError, match="save_every must be above 0"):
        run(save_every=0)
    run(steps=10)
    with pytest.raises(errors.ConfigError, match="is of step 10, from which 8 is not reached"):
        run(steps=8)
    with pytest.raises(errors.ConfigError, match="is of step 10, from which 12 is not reached"):
        run(steps=12, stride=3)


def test_a_shortened_metrics_file_is_told(run):
    run(steps=6)
    (run.path / "metrics.jsonl").write_text("")
    with pytest.raises(errors.DataError, match="put the file back, or start without --resume"):
        run()
