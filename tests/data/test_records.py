import hashlib
import pathlib

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.data import records


@pytest.mark.data("location30")
def test_location30_is_the_published_table():
    data = records.location30()
    assert data.x.shape == (5010, 446) and data.classes == 30 and data.real
    counts = np.bincount(data.y)
    assert (len(counts), counts.min(), counts.max()) == (30, 97, 308)
    assert round(data.x.sum(1).mean(), 2) == 53.70


@pytest.mark.data("adult")
def test_adult_is_one_hot_and_standardised():
    data = records.adult()
    assert data.x.shape == (32_561, 108) and np.bincount(data.y).tolist() == [24_720, 7_841]
    np.testing.assert_allclose(data.x[:, :6].std(0), 1, atol=1e-4)
    assert (data.x[:, 6:].sum(1) == 8).all()


def test_a_stand_in_says_what_it_is(monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    data = records.load("location30")
    assert not data.real and "stand-in" in data.origin and data.x.shape == (5010, 446)
    assert np.array_equal(data.x, records.load("location30").x)
    assert records.load("purchase10").classes == 10
    with pytest.raises(errors.DataError, match="adult"):
        records.load("adult")
    with pytest.raises(errors.ConfigError, match="unknown data set"):
        records.load("purchase7")


def test_published_sets_are_read_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_JAX_DATA", str(tmp_path))
    monkeypatch.setitem(records.SHAPES, "purchase100", records.Shape(6, 4, 3))
    monkeypatch.setitem(records.SHAPES, "texas100", records.Shape(6, 4, 3))
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 2, (6, 4)), np.array([1, 2, 3, 1, 2, 3])
    for name in ("purchase100", "texas100"):
        (tmp_path / name).mkdir()
        with pytest.raises(errors.DataError, match="has neither"):
            records.published(name)
    np.savetxt(tmp_path / "purchase100/dataset_purchase", np.c_[y, x], "%d", ",")
    np.savetxt(tmp_path / "texas100/feats", x, "%d", ",")
    np.savetxt(tmp_path / "texas100/labels", y, "%d")
    for name in ("purchase100", "texas100"):
        found = records.load(name)
        assert np.array_equal(found.x, x) and np.array_equal(found.y, y - 1) and found.real
        assert "checksum recorded" in found.origin
        assert "checksum as first recorded" in records.load(name).origin
    (tmp_path / "texas100/labels").write_text("1\n2\n3\n3\n2\n1\n")
    with pytest.raises(errors.DataError, match="labels has the SHA-256"):
        records.load("texas100")
    packed = tmp_path / "purchase100/purchase100.npz"
    np.savez(packed, features=x, labels=np.eye(3)[y - 1])
    monkeypatch.setitem(records.BLOBS, "purchase100", records.blob(packed)[:7])
    assert "as published" in records.load("purchase100").origin
    np.savez(packed, features=x * 2, labels=y)
    with pytest.raises(errors.DataError, match="not binary"):
        records.load("purchase100")


def test_what_may_not_be_written_is_not_pinned(tmp_path, monkeypatch):
    path = tmp_path / "feats"
    path.write_text("1,0\n")

    def refuse(*args, **kwargs):
        raise PermissionError("read-only")

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "read_bytes", lambda self: b"1,0\n")
        assert "cannot be written" in records.pinned([path])
    assert not (tmp_path / "SHA256SUMS").exists()


def test_a_git_blob_id():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "hello"
        path.write_bytes(b"hello\n")
        assert records.blob(path) == "ce013625030ba8dba906f756967f9e9ca394464a"  # git's own
        with pytest.raises(errors.DataError, match="damaged or another file"):
            records.check_sha256(path, hashlib.sha256(b"other").hexdigest())
