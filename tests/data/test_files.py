"""Text and JSON lines, plain and compressed; what cannot be read is told in a sentence."""

import bz2
import gzip

import pytest

from fl_jax.core import errors
from fl_jax.data import files

PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("suffix", PACKED)
def test_text_and_records_come_back(tmp_path, suffix):
    path = tmp_path / f"some.jsonl{suffix}"
    body = '{"a": "\u00e9", "b": 1}\n\n{"a": [2]}\n'
    path.write_bytes(PACKED[suffix](body.encode()))
    assert files.text(path) == body
    assert list(files.records(path, "a")) == [{"a": "\u00e9", "b": 1}, {"a": [2]}]
    with files.opened(path, "rb") as file:
        assert file.read() == body.encode()
    with pytest.raises(errors.DataError, match=r"line 3, should be .* with a, b, but it is"):
        list(files.records(path, "a", "b"))


def test_fields_that_must_be_texts(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text('{"a": "x", "b": 1}\n{"a": 2}\n')
    with pytest.raises(errors.DataError, match=r"line 2, should be .* with the texts a, but"):
        list(files.records(path, "a", texts=True))


@pytest.mark.parametrize("line", ["5", '{"a": 1', "[" * 100_000, "null", '["a"]'])
def test_lines_that_are_no_records_are_named(tmp_path, line):
    path = tmp_path / "some.jsonl"
    path.write_text('{"a": 1}\n' + line)
    with pytest.raises(errors.DataError, match=r"some\.jsonl, line 2, should be"):
        list(files.records(path, "a"))


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("a.gz", gzip.compress(b"text" * 99)[:-9], "is cut short"),
        ("a.gz", gzip.compress(b"text" * 99)[:-8] + b"x" * 8, "cannot be read"),
        ("a.bz2", bz2.compress(b"text")[:-4], "is cut short"),
        ("a.gz", b"text", "cannot be read"),
        ("a.bz2", b"text", "cannot be read"),
        ("a.txt", b"\xff", "is not UTF-8"),
        ("a.txt", None, "cannot be read"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, body, said):
    path = tmp_path / name
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(errors.DataError, match=said):
        files.text(path)
