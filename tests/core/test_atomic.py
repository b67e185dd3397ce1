"""Files that are whole, or as they were."""

import subprocess
import sys

import pytest

from fl_jax.core import atomic


def test_what_is_there_is_replaced_at_the_end_alone(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic.replace(path) as fresh:
        fresh.write_text("ne")
        assert path.read_text() == "old" and fresh.parent == tmp_path
        fresh.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, "old"])
def test_what_fails_leaves_what_was_there_and_nothing_else(tmp_path, before):
    path = tmp_path / "a.json"
    if before:
        path.write_text(before)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), atomic.replace(str(path)) as fresh:
            fresh.write_text("half")
            raise error
    assert [p.read_text() for p in tmp_path.iterdir()] == ([before] if before else [])


def test_what_is_killed_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    code = (
        "import os, signal, sys\n"
        "from fl_jax.core import atomic\n"
        "with atomic.replace(sys.argv[1]) as fresh:\n"
        "    fresh.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    assert path.read_text() == "old"
    with atomic.replace(path) as fresh:  # what the kill left is written over
        fresh.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_what_is_not_written_is_told(tmp_path):
    with pytest.raises(FileNotFoundError), atomic.replace(tmp_path / "a"):
        pass
    assert not list(tmp_path.iterdir())
