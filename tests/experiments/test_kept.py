"""Items that outlive a stop."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.kept import Kept
from fl_jax.core import errors

NEVER = lambda: pytest.fail("made again")


@dataclasses.dataclass(frozen=True)
class Settings:
    rounds: int = 2
    parts: tuple[str, ...] = ("a", "b")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "kept.jsonl"


def test_what_was_found_is_not_found_again(path):
    row = {"name": "a", "median": 1 / 3, "epsilon": [1.0, math.inf], "TPR": None, "é": "\ud83d"}
    begun = Kept(path, Settings())
    assert begun.item("a", lambda: row) == row == begun.item("a", NEVER)
    again = Kept(path, Settings(), resume=True)
    assert again.item("a", NEVER) == row and again.item("b", lambda: 2) == 2
    assert Kept(path, Settings(), resume=True).item("b", NEVER) == 2


def test_arrays_come_back_bit_for_bit_and_trees_in_their_structure(path):
    tree = {
        "bf16": jnp.asarray([1.0, jnp.nan, -0.0], jnp.bfloat16),
        "wide": np.array([[1 / 3, np.inf]]),
        "none": (np.zeros((0, 3), np.float32), jnp.int32(7), np.array([True, False])),
        10: np.uint8(1), 9: jnp.arange(3.0),
    }  # fmt: skip
    tree = {str(k): v for k, v in tree.items()}
    like = jax.tree.map(lambda a: 0, tree)
    first = Kept(path).item("tree", lambda: tree, like)
    second = Kept(path, resume=True).item("tree", NEVER, like)
    for found in (first, second, Kept().item("tree", lambda: tree, like)):
        assert jax.tree.structure(found) == jax.tree.structure(tree)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(tree), strict=True):
            assert type(a) is np.ndarray and a.flags.writeable
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, np.asarray(b).tobytes())
    with pytest.raises(errors.DataError, match=r"'tree' in .*another structure"):
        Kept(path, resume=True).item("tree", NEVER, (0, 0))
    with pytest.raises(TypeError, match="object cannot be kept"):
        Kept(path, resume=True).item("thing", object)
    assert Kept(path, resume=True).item("thing", lambda: 1) == 1


def test_keys_of_a_tree_that_are_numbers_keep_their_order(path):
    tree = {10: np.float32(10), 9: np.float32(9)}
    like = {10: 0, 9: 0}
    Kept(path).item("tree", lambda: tree, like)
    assert Kept(path, resume=True).item("tree", NEVER, like) == tree


def test_half_an_item_is_none(path):
    """Wherever a kill comes, whole items are there and the next ones follow them."""
    Kept(path).item("a", lambda: [1.5])
    whole = path.read_bytes()
    Kept(path, resume=True).item("b", lambda: [2.5])
    both = path.read_bytes()
    for cut in range(len(whole), len(both)):
        path.write_bytes(both[:cut])
        again = Kept(path, resume=True)
        assert again.item("a", NEVER) == [1.5] and path.read_bytes() == both[:cut]
        assert again.item("b", lambda: [2.5]) == [2.5] and path.read_bytes() == both


def test_a_full_disk_leaves_whole_items(path, monkeypatch):
    kept = Kept(path)
    kept.item("a", lambda: 1)
    whole = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            kept.item("much", lambda: "x" * 100)
    assert len(path.read_bytes()) > len(whole)
    assert kept.item("b", lambda: 2) == 2
    assert [json.loads(line) for line in path.read_bytes().splitlines()[1:]] == [
        {"name": "a", "value": 1},
        {"name": "b", "value": 2},
    ]


def test_items_of_something_else_are_refused(path):
    Kept(path, [Settings(), "data"]).item("a", lambda: 1)
    for other in ([Settings(3), "data"], [Settings(), "other data"], None):
        with pytest.raises(errors.ConfigError, match="other settings or data"):
            Kept(path, other, resume=True)
    assert Kept(path, [Settings(), "data"], resume=True).item("a", NEVER) == 1


def test_nothing_is_begun_over_what_is_there_nor_resumed_where_nothing_is(path):
    with pytest.raises(errors.ConfigError, match="leave --resume out"):
        Kept(path, resume=True)
    Kept(path).item("a", lambda: 1)
    with pytest.raises(errors.ConfigError, match="an earlier run found; add --resume"):
        Kept(path)
    assert Kept(path, resume=True).item("a", NEVER) == 1


@pytest.mark.parametrize("content", [b"", b"mine", b"a,b\n1,2\n", b'{"kept": 1}\n', b"\xff" * 500])
def test_a_file_of_someone_elses_stays(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(errors.ConfigError, match="add --resume"):
        Kept(path)
    with pytest.raises(errors.DataError, match="is something else; write to another place"):
        Kept(path, resume=True)
    assert path.read_bytes() == content


ARRAY = '{"name": "b", "value": {"dtype": %s, "shape": [2], "base64": "%s"}}'


@pytest.mark.parametrize(
    "line",
    ["", "{", "1", "{}", '{"name": []}', '{"name": "b"}', "\ufeff1", ARRAY % ('"float32"', "AAAA"),
     ARRAY % ('"float32"', "?"), ARRAY % ('"none"', ""), ARRAY % ("7", "")],
)  # fmt: skip
def test_a_broken_line_is_told(path, line):
    Kept(path).item("a", lambda: 1)
    with path.open("ab") as file:
        file.write(line.encode() + b"\n")
    with pytest.raises(errors.DataError, match=r"line 3 of .*kept.jsonl is broken; remove it"):
        Kept(path, resume=True)
