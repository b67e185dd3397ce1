"""The main job as a user runs it: several processes, several devices, killed and resumed."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def start(out, *words, **environment):
    command = [sys.executable, "-m", "experiments", "backdoor", "--preset", "smoke"]
    given = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    return subprocess.Popen(
        [*command, "--out", str(out), *words],
        cwd=ROOT,
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes):
    for process in processes:
        said, _ = process.communicate(timeout=900)
        assert process.returncode == 0, said


def test_two_processes_write_what_one_with_two_devices_writes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    finish(
        *(
            start(
                tmp_path / "two",
                FL_JAX_DISTRIBUTED=f"coordinator={address},processes=2,process={i}",
            )
            for i in range(2)
        )
    )
    finish(start(tmp_path / "one", JAX_NUM_CPU_DEVICES="2"))
    two, one = (tmp_path / name / "metrics.jsonl" for name in ("two", "one"))
    assert two.read_bytes() == one.read_bytes()
    assert (tmp_path / "two" / "result.json").is_file()


def test_killed_in_each_stage_it_ends_bit_for_bit_the_same(tmp_path):
    finish(start(tmp_path / "whole"))
    killed = tmp_path / "killed"
    run = start(killed)
    for stage in ("pretrain", "follow"):
        deadline = time.monotonic() + 600
        while not any((killed / "checkpoints" / stage).glob("*/manifest.json")):
            assert run.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        run = start(killed, "--resume")
    finish(run)
    whole = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert (killed / "metrics.jsonl").read_bytes() == whole
