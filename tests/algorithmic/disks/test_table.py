import numpy as np
import pytest

from algorithmic.disks import emulator, mlp, table
from fl_jax.core import errors


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "rows.npz"
    table.write_npz(path, {"version": 1}, values=np.random.default_rng(0).random(4000))
    assert table.read_npz(path, 1)[0] == {"version": 1}
    good = path.read_bytes()
    middle = len(good) // 2
    for bad in (good[:middle], good[:middle] + b"\xff" * 64 + good[middle + 64 :], good[:3], b""):
        path.write_bytes(bad)
        with pytest.raises(errors.DataError, match="is not a file of this package"):
            table.read_npz(path, 1)
    path.write_bytes(good)
    with pytest.raises(errors.DataError, match="holds something else: it has no abundances"):
        table.Table.load(path)
    for other in (emulator.Emulator, mlp.MLP):
        with pytest.raises(errors.DataError, match="holds something else"):
            other.load(path)


def test_yaml_finds_numbers_where_json_had_them(tmp_path):
    import yaml

    meta = {"atol": 1e-20, "rtol": [1e-4, -1e-05, 2.5e-06], "note": 'below "1e-20", noise', "n": 3}
    rows = table.Table({"disk": np.zeros(1, int)}, ("CO",), np.full((1, 1), 1e-4), meta)
    rows.to_ecsv(tmp_path / "rows.ecsv")
    lines = (tmp_path / "rows.ecsv").read_text().splitlines()
    header = yaml.safe_load("\n".join(s[2:] for s in lines[1:] if s.startswith("# ")))
    assert header["meta"] == meta


def test_files_whose_header_says_something_else(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, header=np.array("[1]"), abundances=np.ones((2, 1)))
    with pytest.raises(errors.DataError, match="has version None"):
        table.Table.load(path)
    arrays = {"abundances": np.ones((2, 1)), "column/disk": np.ones(2, int)}
    for header, changed, said in [
        ({}, {}, "does not say what its columns are"),
        ({"species": ["CO", "OH"], "meta": {}}, {}, "does not say what its columns are"),
        ({"species": ["CO"], "meta": {}}, {"column/disk": np.ones(3, int)}, "different lengths"),
    ]:
        table.write_npz(path, {"version": 1, **header}, **{**arrays, **changed})
        with pytest.raises(errors.DataError, match=said):
            table.Table.load(path)
    table.write_npz(path, {"version": 1, "species": ["CO"], "meta": {}}, **arrays)
    assert len(table.Table.load(path)) == 2
    with pytest.raises(errors.DataError, match="no table came"):
        table.concatenate([])
