"""The training loop: dispatch, report, save; stop when asked and go on where it stopped.

Everything that can be interrupted is here and nothing that is trained: `advance` is any
compiled function of the state. The loop looks at a dispatch only after the next one is on its
way, so the device does not wait for the log.
"""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable

import jax

from fl_jax.core import errors
from fl_jax.core.types import PyTree
from fl_jax.train import launch

log = logging.getLogger(__name__)


class Stopped(SystemExit):
    """The run was asked to stop and did, after saving.

    The exit code is 128 plus the signal's number (143 for SIGTERM, 130 for Ctrl-C), as a shell
    reports it: neither a scheduler nor `train && report` may take a stopped run for a finished
    one.
    """


class Diverged(errors.DataError):
    """Too many updates in a row were not finite; the last good state is saved."""


def run(
    advance: Callable[[PyTree, int], tuple[PyTree, PyTree]],
    state: PyTree,
    *,
    steps: int,
    stride: int = 1,
    checkpoints=None,
    save_every: int | None = None,
    resume: bool = True,
    metadata: dict | None = None,
    metrics=None,
    rows: Callable[[PyTree, int], list[dict]] = lambda info, step: [],
    progress=None,
    failed: Callable[[PyTree], int] = lambda info: 0,
    patience: int = 10,
) -> PyTree:
    """Advances the state to `steps`, from the newest checkpoint if there is one.

    With checkpoints, the state that the run begins with is saved before anything else, and on
    the disk before the first row: so whenever the run is killed there is a step to go back to,
    and with it the length that `metrics` had. A run resumed from there repeats what was lost,
    bit for bit, and its rows with it.

    Args:
        advance: `(state, step) -> (state, info)`, one dispatch; `step` is the number of steps
            behind the state, a Python int. The state given to it may be donated.
        state: what to begin with, and the form that a checkpoint is restored to.
        steps: where to end.
        stride: steps that one dispatch advances; divides `steps`.
        checkpoints: a `checkpoint.Checkpoints`; without it nothing is saved.
        save_every: steps between two saves, rounded up to whole dispatches. The first and the
            last state are saved in any case.
        resume: False begins anew, and the first save drops the steps saved by the run before.
        metadata: JSON to keep with each checkpoint (a config, the executor that was measured).
        metrics: a `metrics.Metrics`.
        rows: `(info, step) -> rows`, what to write of one dispatch, `step` being behind it.
        progress: a `metrics.Progress`, or anything with `update(step, row)`.
        failed: `info -> n`, the steps in a row, up to and with this dispatch, that were skipped
            because their updates were not finite.
        patience: how many skipped steps in a row end the run.

    Returns:
        The state after `steps`.

    Raises:
        Stopped: SIGTERM or SIGINT came; the step under way is finished and saved. A second
            signal is not waited for. Under `jax.distributed` the processes stop at one step,
            whichever of them the SIGTERM reached.
        Diverged: `patience` skipped steps in a row; the state is saved.
        ConfigError: steps that the dispatches do not meet, or a save_every below 1.
    """
    errors.positive("stride", stride)
    if save_every is not None:
        errors.positive("save_every", save_every)
    if steps % stride:
        raise errors.ConfigError(
            f"{steps} steps cannot be taken {stride} at a time; make stride a divisor of steps."
        )

    def save(step):
        if checkpoints is not None:
            offset = None if metrics is None else metrics.offset()
            checkpoints.save(step, state, {**(metadata or {}), "metrics": offset})

    step = 0
    if checkpoints is not None and resume and checkpoints.latest() is not None:
        step, state, saved = checkpoints.restore(state)
        if metrics is not None and saved["metrics"] is not None:
            metrics.truncate(saved["metrics"])
        if step > steps or step % stride:
            raise errors.ConfigError(
                f"the checkpoint in {checkpoints.directory} is of step {step}, from which "
                f"{steps} is not reached in dispatches of {stride}; resume with its config."
            )
    elif checkpoints is not None:
        save(step)
        checkpoints.wait()
    if progress is not None:
        progress.update(step, {})

    unseen = []  # the newest dispatch, at most
    fault = None  # where the updates stopped being finite: a step, and the skips up to it

    def look():
        """Reports the dispatch that was not looked at yet."""
        nonlocal fault
        for at, info in unseen:
            row = {}
            for row in rows(info, at):
                if metrics is not None:
                    metrics.write(row)
            if progress is not None:
                progress.update(at, row)
            skipped = int(failed(info))
            if skipped >= patience and fault is None:
                fault = at, skipped
        unseen.clear()

    with _stop_signal() as stop_signal:
        while step < steps:
            state, info = advance(state, step)
            look()
            step += stride
            unseen.append((step, info))
            number = stop_signal(step // stride)
            due = save_every is not None and step % save_every < stride
            if due or number or fault or step == steps:
                look()
                save(step)
            if fault:
                raise _diverged(*fault, step, checkpoints)
            if number:
                raise _stopped(number, step, checkpoints)
    if checkpoints is not None:
        checkpoints.wait()
    return state


def _diverged(at: int, skipped: int, step: int, checkpoints) -> Diverged:
    where = "no checkpoint was asked for"
    if checkpoints is not None:
        checkpoints.wait()
        where = f"its state is saved as step {step} in {checkpoints.directory}"
    return Diverged(
        f"steps {at - skipped + 1} to {at} were all skipped, because none of their updates was "
        f"finite. The last good step is {at - skipped}; {where}. Look at the data of step "
        f"{at - skipped + 1}, or lower the learning rate."
    )


def _stopped(number: int, step: int, checkpoints) -> Stopped:
    where = "nothing is saved, because no checkpoint was asked for"
    if checkpoints is not None:
        checkpoints.wait()
        where = f"it is saved in {checkpoints.directory}; go on with --resume"
    if jax.process_index() == 0:
        log.warning("Stopped by %s after step %d; %s.", signal.Signals(number).name, step, where)
    return Stopped(128 + number)


@contextlib.contextmanager
def _stop_signal():
    """Yields `dispatch -> number` of the signal that asks to stop after it, 0 for none."""
    if jax.process_count() > 1:
        # All must stop at one dispatch, so each listening for itself would not do.
        yield lambda dispatch: signal.SIGTERM if launch.preempted(dispatch) else 0
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda dispatch: 0  # Python lets nobody else listen
        return
    seen = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number, frame):
        seen.append(number)
        for listened, handler in before.items():
            signal.signal(listened, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield lambda dispatch: seen[0] if seen else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
