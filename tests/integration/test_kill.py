"""A run may be killed at any moment and goes on as if it had not been.

pytest -m slow tests/integration/test_kill.py -s        # tells what the kills hit
"""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from fl_jax.train import manifest

ROOT = pathlib.Path(__file__).parents[2]


class Child:
    """The training program of `child.py`, in a directory of its own."""

    def __init__(self, directory, steps, pause=0.0, *, devices=1, **environment):
        command = [sys.executable, "-u", "-m", "tests.integration.child"]
        self.directory = directory
        self.process = subprocess.Popen(
            [*command, str(directory), str(steps), str(pause)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "JAX_NUM_CPU_DEVICES": str(devices),
                **environment,
            },
        )

    def step(self, wanted=0):
        """Waits until it begins a step, this one or a later one; None if it ended before."""
        for line in self.process.stdout:
            if line.startswith("step ") and int(line.split()[1]) >= wanted:
                return int(line.split()[1])
        return None

    def end(self):
        """Waits for its exit; the code and what it said on standard error."""
        _, told = self.process.communicate(timeout=120)
        return self.process.returncode, told

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        return self.end()


def finish(directory, steps, **settings):
    code, told = Child(directory, steps, **settings).end()
    assert code == 0, told
    return result(directory)


def result(directory):
    """The digests of the final state, and the metrics byte for byte."""
    final = json.loads((directory / "final.json").read_text())
    return final, (directory / "metrics.jsonl").read_bytes()


def saved(directory):
    return sorted(int(m.parent.name) for m in directory.glob(f"checkpoints/*/{manifest.NAME}"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What comes of a run of 24 steps that nothing interrupts."""
    return finish(tmp_path_factory.mktemp("whole"), 24)


def kill_often(tmp_path, whole, *, steps, pause, kills, seed):
    """Kills runs until the kills are used up; each run that comes to its end must be `whole`.

    One kill in five falls before the first step (imports, restoring); the others some steps
    later, at any moment of a step and of the save that is written meanwhile.

    Returns:
        How many kills left arrays half-written, and how many whole arrays without a manifest.
    """
    draw, done, runs, arrays, manifests = random.Random(seed), 0, 0, 0, 0
    while done < kills:
        runs += 1
        directory = tmp_path / f"run{runs}"
        while not (directory / "final.json").exists():
            started = time.time()
            child = Child(directory, steps, pause)
            if done == kills:
                code, told = child.end()
            elif draw.random() < 0.2:
                time.sleep(draw.uniform(0, 3))
                code, told = child.kill()
            else:
                for _ in range(draw.randrange(2, 9)):
                    child.step()
                time.sleep(draw.uniform(0, 0.1))
                code, told = child.kill()
            assert code in (0, -signal.SIGKILL), told
            if code == 0:
                continue
            done += 1
            for left in directory.glob("checkpoints/*"):
                if left.stat().st_ctime > started and not (left / manifest.NAME).exists():
                    manifests += (left / "arrays").exists()
                    arrays += not (left / "arrays").exists()
        assert result(directory) == whole
    print(f"{done} kills in {runs} runs; half-written: arrays {arrays}, manifest {manifests}")
    return arrays, manifests


def test_killed_twice(tmp_path, whole):
    kill_often(tmp_path, whole, steps=24, pause=0.02, kills=2, seed=0)


@pytest.mark.slow
def test_killed_forty_times(tmp_path):
    whole = finish(tmp_path / "whole", 60)
    arrays, _ = kill_often(tmp_path, whole, steps=60, pause=0.05, kills=40, seed=1)
    assert arrays >= 3


def test_sigterm_saves_the_step_under_way(tmp_path):
    child = Child(tmp_path, 24, pause=0.1)
    step = child.step(7)
    code, told = child.kill(signal.SIGTERM)
    assert code == 128 + signal.SIGTERM
    stopped = saved(tmp_path)[-1]
    assert step < stopped <= step + 2
    assert f"Stopped by SIGTERM after step {stopped}; it is saved in" in told
    assert "Traceback" not in told


def pair(directory, steps, pause=0.0):
    """Two processes of one device each that are one run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    how = f"coordinator=localhost:{port},processes=2,process="
    return [Child(directory, steps, pause, FL_JAX_DISTRIBUTED=f"{how}{i}") for i in range(2)]


def test_two_processes_are_one_run(tmp_path):
    """One of them is told to stop, both do, both go on; a single process computes the same."""
    first, second = pair(tmp_path / "pair", 24, pause=0.1)
    second.step(4)
    second.process.send_signal(signal.SIGTERM)
    ends = [first.end(), second.end()]
    assert [code for code, _ in ends] == [128 + signal.SIGTERM] * 2, ends
    assert "process 0 of 2: 1 of 2 devices" in ends[0][1]
    assert "process 1 of 2: 1 of 2 devices" in ends[1][1]
    assert 4 < saved(tmp_path / "pair")[-1] < 24
    ends = [child.end() for child in pair(tmp_path / "pair", 24)]
    assert [code for code, _ in ends] == [0, 0], ends
    assert result(tmp_path / "pair") == finish(tmp_path / "one", 24, devices=2)


@pytest.mark.slow
def test_one_process_goes_on_from_two(tmp_path):
    ends = [child.end() for child in pair(tmp_path / "pair", 18)]
    assert [code for code, _ in ends] == [0, 0], ends
    found = finish(tmp_path / "pair", 24, devices=2)
    assert found == finish(tmp_path / "one", 24, devices=2)
