import errno
import logging
import os
import pathlib
import random
import shutil
import subprocess
import sys
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.train import checkpoint, manifest, mesh


class Moments(typing.NamedTuple):
    mean: jax.Array
    count: jax.Array


def state(scale=1.0):
    """One of each kind of leaf."""
    return {
        "params": {"kernel": scale * jnp.arange(12.0).reshape(3, 4), "bias": jnp.ones(4)},
        "optimizer": (Moments(jnp.full((2, 2), scale, jnp.bfloat16), jnp.int32(7)), None, ()),
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4, impl="rbg"), 5),
        "empty": jnp.zeros((0, 3)),
        "mask": np.array([True, False]),
        "double": np.float64(1 / 3),
        "seconds": 0.1,
        "round": 2**70,
        "name": "a",
        "done": False,
    }


def assert_equal(found, expected):
    """Bit for bit, dtypes and Python types included."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert type(a) is type(b)
        if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            assert jax.random.key_impl(a) == jax.random.key_impl(b)
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def saved(tmp_path):
    """Steps 1 and 2 of scale 1 and 2."""
    with checkpoint.Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(1, state(1.0), {"note": 1})
        checkpoints.save(2, state(2.0), {"note": 2})
    return checkpoints


def files(checkpoints, step):
    folder = checkpoints.directory / str(step)
    return [p for p in sorted(folder.rglob("*")) if p.is_file()]


def test_every_kind_of_leaf_comes_back(saved):
    step, tree, metadata = saved.restore(state(0.0))
    assert step == 2 and metadata == {"note": 2}
    assert_equal(tree, state(2.0))
    assert_equal(saved.restore(state(0.0), step=1)[1], state(1.0))


def test_abstract_trees_will_do(saved):
    like = jax.eval_shape(lambda: {k: state()[k] for k in ("params", "optimizer", "key")})
    with checkpoint.Checkpoints(saved.directory.parent / "part") as part:
        part.save(0, {k: state()[k] for k in like})
        _, tree, _ = part.restore(like)
    assert_equal(tree, {k: state()[k] for k in like})


def test_what_was_on_no_device_in_particular_still_is(saved):
    _, tree, _ = saved.restore(state())
    assert not tree["params"]["kernel"].committed
    assert not tree["key"].committed
    cpu = jax.devices()[3]
    like = {**state(), "params": jax.device_put(state()["params"], cpu)}
    _, tree, _ = saved.restore(like)
    assert tree["params"]["kernel"].committed
    assert tree["params"]["kernel"].devices() == {cpu}


def test_a_tree_with_nothing_for_orbax(tmp_path):
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(0, {"step": 3, "none": jnp.zeros((2, 0))})
        _, tree, _ = checkpoints.restore({"step": 0, "none": jnp.ones((2, 0))})
    assert tree["step"] == 3 and tree["none"].shape == (2, 0)


@pytest.mark.parametrize(("there", "back"), [(1, 8), (8, 1), (8, 4), (4, 8)])
def test_restores_on_another_number_of_devices(tmp_path, there, back):
    def place(tree, devices):
        made = mesh.MeshConfig(clients=-1).make(jax.devices()[-devices:])
        placed = {
            "split": jax.device_put(tree["split"], mesh.sharding(made, "clients")),
            "copied": jax.device_put(tree["copied"], mesh.sharding(made)),
            "keys": jax.device_put(tree["keys"], mesh.sharding(made, "clients")),
        }
        return jax.device_put(tree, jax.devices()[5]) if devices == 1 else placed

    tree = {
        "split": jax.random.normal(jax.random.key(0), (16, 3)),
        "copied": jnp.arange(3),
        "keys": jax.random.split(jax.random.key(1), 8),
    }
    like = place(jax.tree.map(jnp.zeros_like, {**tree, "keys": tree["keys"]}), back)
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, place(tree, there))
        _, restored, _ = checkpoints.restore(like)
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        _, again, _ = checkpoints.restore(abstract)
    for found in (restored, again):
        assert_equal(found, tree)
        assert jax.tree.map(lambda x: x.sharding, found) == jax.tree.map(lambda x: x.sharding, like)


def test_buffers_may_be_donated_and_arrays_changed_after_a_save(tmp_path):
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    tree = {str(i): jnp.zeros((500, 500)) for i in range(8)}
    counts, metadata = np.zeros(100_000), {"at": 0}
    with checkpoint.Checkpoints(tmp_path, keep=10) as checkpoints:
        for i in range(5):
            checkpoints.save(i, {"tree": tree, "counts": counts}, metadata)
            tree = step(step(tree))
            counts += 2
            metadata["at"] += 2
        for i in range(5):
            like = {"tree": tree, "counts": counts}
            _, found, note = checkpoints.restore(like, step=i)
            assert all((x == 2 * i).all() for x in jax.tree.leaves(found))
            assert note == {"at": 2 * i}


def test_keep(tmp_path):
    with checkpoint.Checkpoints(tmp_path, keep=2, keep_every=4) as checkpoints:
        assert checkpoints.latest() is None
        for step in range(10):
            checkpoints.save(step, {"x": jnp.ones(2)})
        assert checkpoints.latest() == 9
        assert checkpoints.steps() == [0, 4, 8, 9]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "4", "8", "9"]


def test_saving_ends_the_history_there(saved):
    with saved:
        saved.save(3, state(3.0))
        saved.restore(state(), step=1)
        saved.save(2, state(20.0))
        assert saved.latest() == 2
        assert_equal(saved.restore(state())[1], state(20.0))
        assert saved.steps() == [1, 2]


def test_a_change_to_the_tree_is_told_leaf_by_leaf(saved):
    like = state()
    like["params"]["bias"] = jnp.ones(5)
    like["seconds"] = 3
    like["more"] = jnp.ones(())
    del like["mask"]
    with pytest.raises(checkpoint.CheckpointError) as told:
        saved.restore(like)
    text = str(told.value)
    assert "step 2" in text and str(saved.directory) in text
    assert "more is expected as float32[], found as nothing" in text
    assert "params/bias is expected as float32[5], found as float32[4]" in text
    assert "seconds is expected as int, found as float" in text
    assert "and 1 more" in text


@pytest.mark.parametrize("name", ["key", "double", "done", "empty", "optimizer"])
def test_no_entry_goes_missing_silently(saved, name):
    like = state()
    del like[name]
    with pytest.raises(checkpoint.CheckpointError, match=f"{name}.* is expected as nothing"):
        saved.restore(like)


def test_what_cannot_be_saved_is_told_at_once(tmp_path):
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(TypeError, match="f is a builtin_function_or_method; a checkpoint"):
            checkpoints.save(0, {"f": len})
        with pytest.raises(TypeError, match="metadata of a checkpoint must be JSON"):
            checkpoints.save(0, {"x": jnp.ones(2)}, {"x": jnp.ones(2)})
        with pytest.raises(TypeError, match="two leaves of the tree have the same path"):
            checkpoints.save(0, {"a/b": jnp.ones(2), "a": {"b": jnp.ones(2)}})
        assert checkpoints.latest() is None
    with pytest.raises(ValueError, match="keep must be above 0"):
        checkpoint.Checkpoints(tmp_path, keep=0)


@pytest.mark.parametrize("step", [-1, 2.0, "3"])
def test_a_step_that_nobody_would_find_again_is_refused(tmp_path, step):
    with (
        checkpoint.Checkpoints(tmp_path) as checkpoints,
        pytest.raises(errors.ConfigError, match=r"is 0, 1, 2, \.\.\., got"),
    ):
        checkpoints.save(step, state())


@pytest.mark.parametrize("step", [np.int64(4), jnp.int32(4)])
def test_steps_of_numpy_and_jax_are_numbers(tmp_path, step):
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(step, {"w": jnp.ones(2)})
        assert checkpoints.restore({"w": jnp.ones(2)})[0] == 4


def test_nothing_there(tmp_path, saved):
    with pytest.raises(checkpoint.CheckpointError, match="no saved step in"):
        checkpoint.Checkpoints(tmp_path / "none").restore(state())
    with pytest.raises(checkpoint.CheckpointError, match=r"no undamaged step 7 .*\[1, 2\]"):
        saved.restore(state(), step=7)


def kinds():
    """One name for each kind of file that a step consists of."""
    return [
        "manifest.json",
        "arrays/_METADATA",
        "arrays/_CHECKPOINT_METADATA",
        "arrays/manifest.ocdbt",
        "arrays/d/",
        "arrays/ocdbt.process_0/manifest.ocdbt",
        "arrays/ocdbt.process_0/d/",
    ]


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("damage", ["first", "middle", "last", "cut", "gone"])
def test_damage_falls_back_on_the_step_before(saved, caplog, kind, damage):
    folder = saved.directory / "2"
    path = next(p for p in files(saved, 2) if str(p.relative_to(folder)).startswith(kind))
    whole = path.read_bytes()
    at = {"first": 0, "middle": len(whole) // 2, "last": len(whole) - 1}.get(damage, 0)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
    with caplog.at_level(logging.WARNING, "fl_jax"):
        step, tree, _ = saved.restore(state())
    assert step == 1
    assert_equal(tree, state(1.0))
    if (kind, damage) != ("manifest.json", "gone"):  # without a manifest it was never saved
        (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("fl_jax")]
        assert "step 2" in warning and "damaged" in warning
        assert path.name in warning
        with pytest.raises(checkpoint.CheckpointError, match="no undamaged step 2"):
            saved.restore(state(), step=2)


@pytest.mark.parametrize("stride", [50, pytest.param(1, marks=pytest.mark.slow)])
def test_every_file_is_under_the_seal(tmp_path, stride):
    """One random bit of any byte of any file, and the step no longer counts."""
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, {"x": jnp.ones(3)})
    folder, draw = tmp_path / "2", random.Random(0)
    for path in files(checkpoints, 2):
        whole = path.read_bytes()
        for at in range(0, len(whole), stride):
            changed = bytearray(whole)
            changed[at] ^= 1 << draw.randrange(8)
            path.write_bytes(changed)
            with pytest.raises(manifest.Damaged):
                manifest.verify(folder, manifest.read(folder))
        path.write_bytes(whole)
    manifest.verify(folder, manifest.read(folder))


def test_when_all_are_damaged_it_says_so(saved):
    for step in (1, 2):
        next(p for p in files(saved, step) if p.name == "_METADATA").unlink()
    with pytest.raises(checkpoint.CheckpointError, match="name another directory"):
        saved.restore(state())


def test_what_a_killed_run_left_is_passed_over_then_removed(saved):
    left = saved.directory / "3"
    shutil.copytree(saved.directory / "2", left)
    (left / manifest.NAME).rename(left / f"{manifest.NAME}.tmp")  # killed before the rename
    begun = saved.directory / "4" / "arrays.orbax-checkpoint-tmp"  # killed before the commit
    shutil.copytree(saved.directory / "2" / "arrays", begun)
    (saved.directory / "5").mkdir()
    assert saved.latest() == 2
    assert saved.restore(state())[0] == 2
    assert left.exists() and begun.exists()  # a reader touches nothing
    with saved:
        saved.save(3, state(3.0))
    assert saved.steps() == [1, 2, 3]
    assert sorted(p.name for p in saved.directory.iterdir()) == ["1", "2", "3"]
    assert_equal(saved.restore(state())[1], state(3.0))


def test_other_files_in_the_directory_stay(saved):
    (saved.directory / "notes.txt").write_text("mine")
    (saved.directory / "best").mkdir()
    with saved:
        saved.save(3, state())
    assert (saved.directory / "notes.txt").exists() and (saved.directory / "best").exists()


def test_a_folder_that_is_no_checkpoint_stays_though_its_name_is_a_number(saved):
    """Photographs of 2024, say: every save removed them."""
    other = saved.directory / "2024" / "summer.jpg"
    other.parent.mkdir()
    other.write_text("mine")
    with saved:
        saved.save(3, state())
        with pytest.raises(checkpoint.CheckpointError, match="files that are no checkpoint's"):
            saved.save(2024, state())
    assert other.read_text() == "mine" and saved.steps() == [1, 2, 3]


def test_a_full_disk_while_the_manifest_is_written(saved, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(manifest.os, "fsync", full)
    saved.save(3, state(3.0))
    with pytest.raises(checkpoint.CheckpointError) as told:
        saved.save(4, state(4.0))
    assert "step 3 could not be saved" in str(told.value)
    assert "the disk is full" in str(told.value) and "still there: 1, 2" in str(told.value)
    monkeypatch.undo()
    assert saved.latest() == 2 and not (saved.directory / "3").exists()
    with saved:
        saved.save(4, state(4.0))  # and with room again it goes on
    assert saved.steps() == [1, 2, 4]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("mounting a small tmpfs takes Linux and root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


# Of what orbax writes in parallel one failure closes the event loop; writes of tensorstore that end
# after it find the loop closed, in a thread of its own where nobody can catch it.
@pytest.mark.filterwarnings(
    r"ignore:Exception ignored in[\s\S]*Event loop is closed"
    ":pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("surfaces", ["wait", "save", "close"])
def test_a_full_disk_while_arrays_are_written(small_disk, surfaces):
    noise = lambda n: {"x": jax.random.normal(jax.random.key(0), (n,))}
    checkpoints = checkpoint.Checkpoints(small_disk / "run")
    checkpoints.save(1, noise(1000))
    checkpoints.save(2, noise(1_000_000))
    calls = {"wait": [], "save": [3, noise(1000)], "close": []}
    with pytest.raises(checkpoint.CheckpointError, match=r"step 2 .* disk is full.* there: 1\."):
        getattr(checkpoints, surfaces)(*calls[surfaces])
    assert checkpoints.steps() == [1]
    with checkpoints:
        checkpoints.save(2, noise(1001))
    assert checkpoints.steps() == [1, 2]
    np.testing.assert_array_equal(checkpoints.restore(noise(1001))[1]["x"], noise(1001)["x"])


def test_a_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(checkpoint.CheckpointError, match="step 0 could not be saved in"),
        checkpoint.Checkpoints(tmp_path / "file") as checkpoints,
    ):
        checkpoints.save(0, {"x": jnp.ones(2)})


def test_the_error_on_its_way_out_is_the_one_told(tmp_path, monkeypatch, caplog):
    def broken(folder, body):
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(manifest, "write", broken)
    with (
        pytest.raises(ZeroDivisionError),
        checkpoint.Checkpoints(tmp_path) as checkpoints,
    ):
        checkpoints.save(0, {"x": jnp.ones(2)})
        raise ZeroDivisionError
    assert "The last checkpoint was not saved" in caplog.text


def test_importing_is_light():
    code = "import sys, fl_jax.train.checkpoint; print('orbax' in sys.modules)"
    root = pathlib.Path(checkpoint.__file__).parents[2]
    run = [sys.executable, "-c", code]
    assert subprocess.check_output(run, cwd=root, text=True).strip() == "False"
