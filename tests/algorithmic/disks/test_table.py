import numpy as np
import pytest

from algorithmic.disks import table
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
