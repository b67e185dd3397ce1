"""Checkpoints that are whole or invisible, and come back on any device layout.

One step is one folder, `<directory>/<step>/`: `arrays/`, written by orbax under a temporary
name and renamed, then `manifest.json` (`fl_jax.train.manifest`). The step counts as saved from
the moment that its manifest has its name; whatever kills the run before that leaves a folder
that nobody reads and that the next save removes.

The tree is stored flat, one array for each path (`params/dense/kernel`), so that a checkpoint
can be read without the classes that made it, and a tree that changed is told leaf by leaf.
Nothing is pickled: typed keys are stored as their data and the name of their implementation,
Python numbers and strings in the manifest.
"""

import errno
import json
import logging
import operator
import pathlib
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from fl_jax.core import errors, tree
from fl_jax.core.types import PyTree
from fl_jax.train import manifest

log = logging.getLogger(__name__)

_PLAIN = (bool, int, float, str)


class CheckpointError(errors.DataError):
    """A checkpoint that could not be saved, found, or read."""


class Checkpoints:
    """The saved steps of one run, in one directory.

    A save copies the arrays off the device before it returns, so that their buffers may be
    donated to the next step, and writes them while training goes on. What goes wrong meanwhile
    (a full disk) is raised by the next `save`, `wait` or `close`; the steps saved before stay.

    Under `jax.distributed` every process makes the same calls in the same order, on a directory
    that all of them see; arrays that one process holds alone are taken from process 0. Writing,
    the SHA-256 of what was written, and its check on the way back are process 0's; budget about
    a second per gigabyte, in the background, for the first.

    Args:
        directory: where the steps are; made by the first save.
        keep: how many of the newest steps stay. With 1 there is nothing to fall back on.
        keep_every: steps divisible by this number stay as well, for good.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     with Checkpoints(directory) as checkpoints:
        ...         checkpoints.save(7, {"w": jnp.arange(3.0)}, {"note": "an example"})
        ...         step, tree, metadata = checkpoints.restore({"w": jnp.zeros(3)})
        >>> step, tree["w"].tolist(), metadata
        (7, [0.0, 1.0, 2.0], {'note': 'an example'})
    """

    def __init__(self, directory, *, keep: int = 3, keep_every: int | None = None):
        errors.positive("keep", keep)
        if keep_every is not None:
            errors.positive("keep_every", keep_every)
        self.directory = pathlib.Path(directory).absolute()
        self.keep = keep
        self.keep_every = keep_every
        self._orbax = None
        self._thread = None
        self._saving = None
        self._error = None

    def save(self, step, state: PyTree, metadata: dict | None = None) -> None:
        """Saves the tree as this step; returns once its buffers may be donated.

        Saving step s ends the history there: saved steps from s on, left by a run that went on
        from an older step or by a damaged checkpoint, are removed first.

        Args:
            step: a whole number of Python, NumPy or JAX, at least 0.
            state: a pytree of arrays, typed keys, and Python numbers or strings.
            metadata: anything JSON, returned by `restore`.

        Raises:
            CheckpointError: this save could not begin, or the one before it failed.
            ConfigError: a step below 0, or that is no whole number.
            TypeError: the tree or the metadata holds something that cannot be saved.
        """
        self.wait()
        step = _whole(step)
        leaves = _named(state)
        body = {
            "step": step,
            "metadata": metadata or {},
            "leaves": {n: _describe(n, x) for n, x in leaves.items()},
            "plain": {n: x for n, x in leaves.items() if type(x) in _PLAIN},
            "keys": {n: _implementation(x) for n, x in leaves.items() if _is_key(x)},
        }
        try:
            body = json.loads(json.dumps(body))  # as it will be read; the caller's may change
        except (TypeError, ValueError) as error:
            raise TypeError(f"the metadata of a checkpoint must be JSON: {error}") from error
        arrays = {n: _storable(x) for n, x in leaves.items() if _has_array(x)}
        folder, self._saving = self._folder(step), step
        self._attempt(step, lambda: _is_first() and self._make_room(step))
        try:
            if arrays:
                self._checkpointer().save(folder / "arrays", arrays)
        except Exception as error:
            self._error = error
        self._thread = threading.Thread(target=self._finish, args=(folder, body))
        self._thread.start()

    def restore(self, like: PyTree, *, step: int | None = None) -> tuple[int, PyTree, dict]:
        """The newest step that is undamaged, or exactly the one asked for.

        A damaged step is reported by a warning in the log, and the one before it is tried.

        Args:
            like: a tree of arrays, or of `jax.ShapeDtypeStruct`. What comes back has its
                structure and lies where its leaves lie, whatever devices it was saved from. A
                leaf that is on no device in particular comes back like that.
            step: this step and no other.

        Returns:
            `(step, tree, metadata)`.

        Raises:
            CheckpointError: nothing (undamaged) is there, or the tree is not that of `like`.
        """
        self.wait()
        step, body = self._choose(step)
        wanted = _named(like)
        self._compare(step, wanted, body["leaves"])
        targets = {n: _target(x) for n, x in wanted.items() if _has_array(x)}
        found = dict(body["plain"])
        if targets:
            found |= self._checkpointer().restore(self._folder(step) / "arrays", targets)
        leaves = [_rebuild(x, found.get(n), body["keys"].get(n)) for n, x in wanted.items()]
        return step, jax.tree.unflatten(jax.tree.structure(like), leaves), body["metadata"]

    def steps(self) -> list[int]:
        """The saved steps, oldest first, as this process sees the directory now."""
        manifests = self.directory.glob(f"*/{manifest.NAME}")
        return sorted(int(m.parent.name) for m in manifests if m.parent.name.isdigit())

    def latest(self) -> int | None:
        """The newest saved step, the same on every process; None if there is none."""
        self.wait()
        return _agree(max(self.steps(), default=None))

    def wait(self) -> None:
        """Returns when the save under way, if any, is on the disk.

        Raises:
            CheckpointError: it failed, on this process or another.
        """
        if self._thread is not None:
            self._attempt(self._saving, self._join)

    def close(self) -> None:
        """Waits for the save under way and lets go of orbax; as `wait`."""
        try:
            self.wait()
        finally:
            self._release()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            return self.close()
        # The error on its way out is the one to tell; the other processes may not have it, so
        # they cannot be asked how their save went.
        try:
            self._join()
        except Exception as lost:
            log.warning("The last checkpoint was not saved: %s.", _reason(lost))
        self._release()

    def _folder(self, step: int) -> pathlib.Path:
        return self.directory / str(step)

    def _checkpointer(self):
        if self._orbax is None:
            import orbax.checkpoint  # a second of import that only runs that save have to pay

            self._orbax = orbax.checkpoint.StandardCheckpointer()
        return self._orbax

    def _release(self) -> None:
        if self._orbax is not None:
            self._orbax.close()
            self._orbax = None

    def _make_room(self, step: int) -> None:
        """Removes what a killed run left, and the history from this step on; nothing else."""
        self.directory.mkdir(parents=True, exist_ok=True)
        saved = set(self.steps())
        for folder in list(self.directory.iterdir()):
            if folder.name.isdigit() and not (
                int(folder.name) in saved and int(folder.name) < step
            ):
                if all(map(_is_ours, folder.iterdir())):
                    _remove(folder)
                elif int(folder.name) == step:
                    raise RuntimeError(f"{folder} holds files that are no checkpoint's")
        self._folder(step).mkdir()

    def _finish(self, folder: pathlib.Path, body: dict) -> None:
        """In the background: orbax's commit, then the manifest, then the steps to let go."""
        try:
            if self._orbax is not None:
                self._orbax.wait_until_finished()
            if _is_first() and self._error is None:
                manifest.write(folder, body)
                self._prune()
        except BaseException as error:
            self._error = error
        if _is_first() and self._error is not None:
            _remove(folder)  # on a full disk, what was written of it is in the way

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _prune(self) -> None:
        for step in self.steps()[: -self.keep]:
            if self.keep_every is None or step % self.keep_every:
                _remove(self._folder(step))

    def _attempt(self, step: int, action) -> None:
        """Does it, and lets it fail on all processes if it fails on one."""
        failure = None
        try:
            action()
        except Exception as error:
            failure = error
        if jax.process_count() > 1:
            failures = multihost_utils.process_allgather(np.int32(failure is not None))
            if failure is None and failures.any():
                failure = RuntimeError(f"process {int(failures.argmax())} failed, see its log")
        if failure is not None:
            saved = ", ".join(str(s) for s in self.steps()) or "none"
            raise CheckpointError(
                f"step {step} could not be saved in {self.directory}: {_reason(failure)}. "
                f"Saved steps that are still there: {saved}. Make room or name another "
                "directory, then run again with --resume."
            ) from failure

    def _choose(self, step: int | None) -> tuple[int, dict]:
        """The step to restore and its manifest; process 0 checks, the others follow."""
        chosen = self._undamaged(step) if _is_first() else None
        chosen = _agree(chosen)
        if chosen is None:
            which = "saved step" if step is None else f"undamaged step {step}"
            raise CheckpointError(
                f"no {which} in {self.directory} (saved: {self.steps() or 'none'}); name "
                "another directory, or start without --resume."
            )
        return chosen, manifest.read(self._folder(chosen))

    def _undamaged(self, step: int | None) -> int | None:
        saved = self.steps()
        for candidate in reversed(saved) if step is None else [s for s in saved if s == step]:
            try:
                manifest.verify(self._folder(candidate), manifest.read(self._folder(candidate)))
                return candidate
            except manifest.Damaged as damage:
                log.warning(
                    "The checkpoint of step %d in %s is damaged and is passed over: %s.",
                    candidate, self.directory, damage,
                )  # fmt: skip
        return None

    def _compare(self, step: int, wanted: dict, found: dict[str, str]) -> None:
        """Refuses to restore a tree into another one; names the leaves that differ."""
        expected = {n: _describe(n, x) for n, x in wanted.items()}
        pairs = {n: (expected.get(n), found.get(n)) for n in {**expected, **found}}
        faults = [
            f"{n} is expected as {e or 'nothing'}, found as {f or 'nothing'}"
            for n, (e, f) in pairs.items()
            if e != f
        ]
        if faults:
            more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
            raise CheckpointError(
                f"the checkpoint of step {step} in {self.directory} holds another tree: "
                f"{'; '.join(faults[:3])}{more}. Restore it with the config it was saved with."
            )


def _whole(step) -> int:
    """A step, of NumPy or JAX too; a folder of another name would be read by nobody."""
    try:
        whole = operator.index(step)
    except TypeError:
        whole = -1
    if whole < 0:
        raise errors.ConfigError(f"the step of a checkpoint is 0, 1, 2, ..., got {step!r}.")
    return whole


def _is_first() -> bool:
    return jax.process_index() == 0


def _agree(step: int | None) -> int | None:
    """Process 0's value, on every process."""
    if jax.process_count() > 1:
        told = multihost_utils.broadcast_one_to_all(np.int32(-1 if step is None else step))
        return None if told < 0 else int(told)
    return step


def _is_ours(path: pathlib.Path) -> bool:
    """Whether a save left it: the manifest, the arrays, or either under a temporary name."""
    return path.name.startswith((manifest.NAME, "arrays"))


def _remove(folder: pathlib.Path) -> None:
    """The manifest first: from then on the step is not there, however far the rest gets."""
    (folder / manifest.NAME).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _reason(error: BaseException) -> str:
    """One line on what went wrong; a full disk in plain words, however deep it was found."""
    seen = error
    while seen is not None:
        if getattr(seen, "errno", None) == errno.ENOSPC or "No space left" in str(seen):
            return "the disk is full"
        seen = seen.__cause__ or seen.__context__
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def _named(x: PyTree) -> dict:
    leaves = tree.named_leaves(x)
    if len(leaves) != len(jax.tree.leaves(x)):
        raise TypeError(
            "two leaves of the tree have the same path; use keys without '/' in dictionaries."
        )
    return leaves


def _is_key(leaf) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _has_array(leaf) -> bool:
    """Whether orbax has something to store: plain values and empty arrays it has not."""
    return type(leaf) not in _PLAIN and 0 not in leaf.shape


def _implementation(key) -> str:
    return str(jax.random.key_impl(key))


def _describe(name: str, leaf) -> str:
    """What a leaf is, in a word: `float32[3,4]`, `key<fry>[]`, `int`."""
    if type(leaf) in _PLAIN:
        return type(leaf).__name__
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return f"{leaf.dtype}[{','.join(str(n) for n in leaf.shape)}]"
    raise TypeError(
        f"{name} is a {type(leaf).__name__}; a checkpoint holds arrays, keys, numbers, strings."
    )


def _storable(leaf):
    """The leaf as orbax takes it, safe from what happens to it after the save has returned."""
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if not isinstance(leaf, jax.Array):
        return np.array(leaf)
    if jax.process_count() > 1 and (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return np.asarray(leaf.addressable_data(0))  # all hold it whole; process 0 writes it
    return leaf


def _placement(leaf) -> jax.sharding.Sharding | None:
    """Where a leaf is to lie; None for one that JAX may move as it likes."""
    if isinstance(leaf, jax.Array) and not leaf.committed:
        return None
    return getattr(leaf, "sharding", None)


def _target(leaf) -> jax.ShapeDtypeStruct | np.ndarray:
    """What orbax is to read into: a sharding, or host memory (it looks only at the form)."""
    data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    placement = _placement(leaf)
    if placement is None:
        return np.empty(data.shape, data.dtype)
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=placement)


def _rebuild(leaf, value, implementation: str | None):
    """The restored value in the form of `leaf`."""
    if type(leaf) in _PLAIN:
        return value
    if value is None:
        value = np.zeros(leaf.shape, leaf.dtype)
    if isinstance(leaf, np.generic):
        return leaf.dtype.type(value)
    if isinstance(leaf, np.ndarray):
        return value
    value = value if isinstance(value, jax.Array) else jnp.array(value)
    return jax.random.wrap_key_data(value, impl=implementation) if implementation else value
