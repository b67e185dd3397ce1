"""The batch command: rows in, rows out, and what is kept when it stops halfway."""

import types

import numpy as np
import pytest

from experiments.geocoding import batching, commands
from fl_jax.core import errors
from fl_jax.geocoding.geocoder import Answer
from tests.experiments.geocoding.test_tables import rows_of, write


class Stub:
    """A geocoder that finds Lyon and nothing else."""

    partition = types.SimpleNamespace(label=lambda node: "2033")
    gazetteer = types.SimpleNamespace(
        ids=np.array([7]), display=lambda row: "Lyon, France", country_code=lambda row: "FR"
    )

    def geocode(self, texts, residual):
        assert len(texts) <= 64 and residual == 0.05
        known = [t == "Lyon" for t in texts]
        return [
            Answer(t, 45.76 if k else np.nan, 4.84, 0.9, 0, (), ((0, 1.0),), None, None, 0.0)
            for t, k in zip(texts, known, strict=True)
        ]


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_file_is_geocoded_with_progress(tmp_path, monkeypatch, capsys, kind):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(commands, "_load", lambda run: Stub())
    source, target = tmp_path / f"in{kind}", tmp_path / "out.jsonl"
    write(source, [{"place": t} for t in ["Lyon", "nowhere"] * 40])
    assert commands.batch(["run", str(source), str(target), "--column", "place"]) == 0
    rows = rows_of(target, "place")
    assert len(rows) == 80
    assert rows[0]["place"] == "Lyon" and rows[0]["geocoded_place"] == "Lyon, France"
    assert (rows[0]["lat"], rows[0]["lon"], rows[0]["cell"]) == (45.76, 4.84, "2033")
    assert rows[1]["lat"] is None and rows[0]["geonameid"] == 7 and rows[0]["country"] == "FR"
    assert rows[0]["error"] is None
    shown = capsys.readouterr()
    assert "text 80/80" in shown.err and "80 texts, 40 of them found" in shown.out


def test_a_text_too_long_is_answered_alone_and_what_is_found_is_counted(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(commands, "_load", lambda run: Stub())
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    texts = ["Lyon", "a" * 10_001, "nowhere", ""]
    write(source, [{"text": t, "lat": "1"} for t in texts])
    assert commands.batch(["run", str(source), str(target)]) == 0
    rows = rows_of(target, "text")
    assert [r["text"] for r in rows] == texts and {r["lat"] for r in rows} == {"1"}
    assert [r["geocoded_lat"] for r in rows] == ["45.76", "", "", ""]
    assert [bool(r["error"]) for r in rows] == [False, True, False, False]
    assert "10001 characters" in rows[1]["error"]
    assert "4 texts, 1 of them found" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_values_that_are_no_texts_are_answered_alone(tmp_path, monkeypatch, kind):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(commands, "_load", lambda run: Stub())
    source, target = tmp_path / "in.jsonl", tmp_path / f"out{kind}"
    values = ['"Lyon"', '"\\ud83d"', '["Lyon"]', "5", "NaN", "null"]
    source.write_text("".join(f'{{"text": {v}, "more": {v}}}\n' for v in values))
    assert commands.batch(["run", str(source), str(target)]) == 0
    rows = rows_of(target, "text")
    assert [bool(r["error"]) for r in rows] == [False, True, True, True, False, False]
    assert [bool(r["lat"]) for r in rows] == [True, False, False, False, False, False]
    assert "list" in rows[2]["error"]


def test_what_a_file_holds_is_never_written_over(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_load", lambda run: Stub())
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    write(source, [{"text": "Lyon", "lat": "a", "geocoded_lat": "b"}])
    assert commands.batch(["run", str(source), str(target)]) == 0
    (row,) = rows_of(target, "text")
    assert row["lat"] == "a" and row["geocoded_lat"] == "b" and row["lon"] == "4.84"


def test_a_target_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_load", lambda run: pytest.fail("loaded"))
    source = tmp_path / "in.csv"
    source.write_text("text\nLyon\n")
    with pytest.raises(errors.ConfigError, match=r"\.txt"):
        commands.batch(["run", str(source), str(tmp_path / "out.txt")])
    with pytest.raises(errors.DataError, match="no folder"):
        commands.batch(["run", str(source), str(tmp_path / "none" / "out.csv")])


def test_what_was_geocoded_before_a_stop_is_not_geocoded_again(tmp_path, monkeypatch, capsys):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    write(source, [{"text": t} for t in ["Lyon", "nowhere"] * 80])
    asked = []

    class Stops(Stub):
        def geocode(self, texts, residual):
            asked.append(len(texts))
            if len(asked) == 2:
                raise KeyboardInterrupt
            return super().geocode(texts, residual)

    monkeypatch.setattr(commands, "_load", lambda run: Stops())
    words = ["run", str(source), str(target)]
    with pytest.raises(KeyboardInterrupt):
        commands.batch(words)
    assert not target.exists()
    part = tmp_path / "out.csv.part"
    with part.open("a") as file:
        file.write('{"lat": 1')  # a kill came within a line
    with pytest.raises(errors.ConfigError, match="other settings or data"):
        commands.batch([*words, "--residual", "0.5"])
    assert commands.batch(words) == 0
    assert asked == [64, 64, 64, 32] and not part.exists()
    rows = rows_of(target)
    assert [r["lat"] for r in rows] == ["45.76", ""] * 80 and len({tuple(r) for r in rows}) == 1
    assert "160 texts, 80 of them found" in capsys.readouterr().out


def test_what_is_there_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_load", lambda run: pytest.fail("loaded"))
    source, other, folder = (tmp_path / n for n in ("in.csv", "link.csv", "folder.csv"))
    source.write_text("text\nLyon\n")
    other.symlink_to("/dev/full")
    folder.mkdir()
    for target in (source, other, folder):
        with pytest.raises(errors.ConfigError, match="there already"):
            commands.batch(["run", str(source), str(target)])
    assert source.read_text() == "text\nLyon\n"


def test_a_disk_that_is_full_is_one_sentence_and_the_work_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_load", lambda run: Stub())
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\nLyon\n")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(batching.tables, "write", full)
        with pytest.raises(errors.DataError, match=r"out.csv cannot be written \(No space"):
            commands.batch(["run", str(source), str(target)])
    monkeypatch.setattr(Stub, "geocode", lambda *a, **k: pytest.fail("computed again"))
    assert commands.batch(["run", str(source), str(target)]) == 0
    assert rows_of(target)[0]["lat"] == "45.76"
    with pytest.raises(errors.DataError, match="cannot be written"):
        commands.batch(["run", str(source), str(tmp_path / ("x" * 300 + ".csv"))])
