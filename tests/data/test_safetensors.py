"""The reader against hostile files, and against what the writer makes."""

import json
import struct
import time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_jax.core import errors
from fl_jax.data import safetensors


def raw(header, data=b"", length=None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def read(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    return safetensors.File(path)


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_every_dtype_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.integers(0, 2, (3, 2)).astype(dtype) for name, dtype in safetensors.DTYPES.items()
    }
    tensors["empty"] = np.zeros((0, 4), np.float32)
    tensors["scalar"] = np.array(3.5, ml_dtypes.bfloat16)
    path = tmp_path / "all.safetensors"
    safetensors.write(path, tensors, {"format": "pt"})
    file = safetensors.File(path)
    assert file.metadata == {"format": "pt"}
    assert list(file.entries) == list(tensors)
    for name, tensor in tensors.items():
        found = file.tensor(name)
        assert found.dtype == tensor.dtype and found.shape == tensor.shape
        np.testing.assert_array_equal(found, tensor)
    with pytest.raises(errors.DataError, match="no tensor 'nothing'"):
        file.tensor("nothing")


def test_what_a_stream_makes_is_checked_and_leaves_no_file(tmp_path):
    stream = safetensors.Stream(np.dtype("f4"), (2,), lambda: np.zeros(3, np.float32))
    with pytest.raises(errors.DataError, match=r"float32\[2\], but what was made is float32\[3\]"):
        safetensors.write(tmp_path / "x.safetensors", {"w": stream})
    assert not (tmp_path / "x.safetensors").exists()
    with pytest.raises(errors.DataError, match="complex64"):
        safetensors.write(tmp_path / "x.safetensors", {"w": np.zeros(1, np.complex64)})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has 0 bytes"),
        (b"\x01\x02", "has 2 bytes"),
        (raw({}, length=10**12), "more than the limit"),
        (raw({}, length=500), "the file has"),
        (raw(b"{nonsense"), "no JSON"),
        (raw(b"[" * 100_000), "no JSON"),
        (raw(b"\xff\xfe"), "no JSON"),
        (raw([1]), "no JSON object"),
        (raw({"w": entry()}, b"1234567"), "end at byte"),
        (raw({"w": entry()}, b"123456789"), "end at byte"),
        (raw({"w": entry(offsets=(1, 9))}, b"123456789"), "begins at byte"),
        (raw({"a": entry(), "b": entry(offsets=(4, 12))}, b"1" * 12), "begins at byte"),
        (raw({"w": entry(shape=(3,))}, b"12345678"), "takes 12 bytes"),
        (raw({"w": entry(shape=(-2,))}, b"12345678"), "no list of sizes"),
        (raw({"w": entry(shape=(2**62, 2**62))}, b"12345678"), "takes"),
        (raw({"w": entry(shape=(True, 2))}, b"12345678"), "no list of sizes"),
        (raw({"w": entry(shape=[1] * 40)}, b"1234"), "no list of sizes"),
        (raw({"w": entry(dtype="F33")}, b"12345678"), "dtype"),
        (raw({"w": entry(dtype=["F32"])}, b"12345678"), "dtype"),
        (raw({"w": entry(offsets=(8, 0))}, b"12345678"), "range"),
        (raw({"w": entry(offsets=(0, 8, 9))}, b"12345678"), "no two positions"),
        (raw({"w": {"dtype": "F32"}}), "not described"),
        (raw({"w": 3}), "not described"),
        (raw({"__metadata__": {"a": 1}}), "no object of strings"),
        (raw(b'{"w":' + json.dumps(entry()).encode() + b',"w":3}', b"12345678"), "twice"),
    ],
)
def test_hostile_headers_are_refused(tmp_path, content, why):
    with pytest.raises(errors.DataError, match=why):
        read(tmp_path, content)


def test_too_many_tensors_are_refused_quickly(tmp_path):
    empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    content = raw({str(i): empty for i in range(safetensors.TENSOR_LIMIT + 1)})
    start = time.process_time()
    with pytest.raises(errors.DataError, match="more than the limit"):
        read(tmp_path, content)
    assert time.process_time() - start < 2


GOOD = raw({"a": entry(), "b": entry("I8", (3, 1), (8, 11))}, b"12345678abc")


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    place=st.integers(0, len(GOOD) - 1),
    bytes_=st.binary(max_size=6),
    cut=st.integers(0, 6),
)
def test_a_mutated_file_is_read_or_refused(tmp_path_factory, place, bytes_, cut):
    """Whatever is changed: the tensors of a file that is accepted lie inside it."""
    content = GOOD[:place] + bytes_ + GOOD[place + cut :]
    try:
        file = read(tmp_path_factory.getbasetemp(), content)
    except errors.DataError:
        return
    for name, one in file.entries.items():
        assert 8 <= one.start <= one.end <= len(content)
        assert file.tensor(name).nbytes == one.end - one.start


@pytest.mark.parametrize(
    ("index", "why"),
    [
        ("{", "no weight_map"),
        ("[]", "no weight_map"),
        ('{"weight_map": 3}', "no weight_map"),
        ('{"weight_map": {"w": "../x.safetensors"}}', "no file beside it"),
        ('{"weight_map": {"w": "/etc/passwd"}}', "no file beside it"),
        ('{"weight_map": {"w": "missing.safetensors"}}', "no file beside it"),
    ],
)
def test_hostile_indices_are_refused(tmp_path, index, why):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(errors.DataError, match=why):
        safetensors.files(tmp_path)


def test_a_folder_without_checkpoint_says_what_to_do(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(errors.DataError, match=r"pickled \.bin checkpoints are not read"):
        safetensors.files(tmp_path)
