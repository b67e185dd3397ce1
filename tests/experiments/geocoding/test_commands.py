"""Files of texts in and out, and what the commands refuse."""

import pathlib

import pytest

from experiments.geocoding import commands
from fl_jax.core import errors


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_rows_round_trip(tmp_path, kind):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"rows{kind}"
    rows = [{"text": "東京", "note": "a,b\tc"}, {"text": "Lyon", "note": "d"}]
    commands.write_rows(path, rows)
    assert commands.read_rows(path, "text") == rows
    with pytest.raises(errors.DataError, match="no column"):
        commands.read_rows(path, "name")


def test_refusals(tmp_path):
    with pytest.raises(errors.DataError, match="not there"):
        commands.read_rows(pathlib.Path(tmp_path / "x.csv"), "text")
    (tmp_path / "x.jsonl").write_text("{")
    with pytest.raises(errors.DataError, match="cannot be read"):
        commands.read_rows(tmp_path / "x.jsonl", "text")
    with pytest.raises(errors.DataError, match="no geocoder"):
        commands.text([str(tmp_path), "Lyon"])
    with pytest.raises(errors.ConfigError, match="could not be read"):
        commands.text([str(tmp_path), "Lyon", "--nonsense"])
