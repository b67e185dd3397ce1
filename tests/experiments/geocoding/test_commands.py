"""Files of texts in and out, and what the commands refuse."""

import pathlib
import types

import jax
import numpy as np
import pytest

from experiments.geocoding import commands, config, task
from fl_jax.core import errors
from fl_jax.geocoding import network, store, train
from fl_jax.geocoding.geocoder import Answer


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


def test_ends_of_lines_within_texts_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "Lyon\u2028France\u0085"}, {"text": "Paris"}]
    commands.write_rows(path, rows)
    assert commands.read_rows(path, "text") == rows
    for kind, body in ((".csv", "text,note\nLyon,a\n"), (".jsonl", '{"text": "Lyon"}\n')):
        path = tmp_path / f"marked{kind}"
        path.write_text(body, "utf-8-sig")
        assert [r["text"] for r in commands.read_rows(path, "text")] == ["Lyon"]


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
    commands.write_rows(source, [{"place": t} for t in ["Lyon", "nowhere"] * 40])
    assert commands.batch(["run", str(source), str(target), "--column", "place"]) == 0
    rows = commands.read_rows(target, "place")
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
    commands.write_rows(source, [{"text": t, "lat": "1"} for t in texts])
    assert commands.batch(["run", str(source), str(target)]) == 0
    rows = commands.read_rows(target, "text")
    assert [r["text"] for r in rows] == texts and {r["lat"] for r in rows} == {"1"}
    assert [r["geocoded_lat"] for r in rows] == ["45.76", "", "", ""]
    assert [bool(r["error"]) for r in rows] == [False, True, False, False]
    assert "10001 characters" in rows[1]["error"]
    assert "4 texts, 1 of them found" in capsys.readouterr().out


def test_a_target_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_load", lambda run: pytest.fail("loaded"))
    source = tmp_path / "in.csv"
    source.write_text("text\nLyon\n")
    with pytest.raises(errors.ConfigError, match=r"\.txt"):
        commands.batch(["run", str(source), str(tmp_path / "out.txt")])
    with pytest.raises(errors.DataError, match="no folder"):
        commands.batch(["run", str(source), str(tmp_path / "none" / "out.csv")])


@pytest.mark.parametrize(
    ("body", "said"),
    [("text,a,a\nLyon,1,2\n", "two columns 'a'"), ("text,a\nLyon,1,2\n", "row 1"),
     ("text,a\n", "no rows"), ("", "no rows")],
)  # fmt: skip
def test_tables_that_would_lose_something_are_refused(tmp_path, body, said):
    (tmp_path / "in.csv").write_text(body)
    with pytest.raises(errors.DataError, match=said):
        commands.read_rows(tmp_path / "in.csv", "text")


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_values_that_are_no_texts_are_answered_alone(tmp_path, monkeypatch, kind):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr(commands, "_load", lambda run: Stub())
    source, target = tmp_path / "in.jsonl", tmp_path / f"out{kind}"
    values = ['"Lyon"', '"\\ud83d"', '["Lyon"]', "5", "NaN", "null"]
    source.write_text("".join(f'{{"text": {v}, "more": {v}}}\n' for v in values))
    assert commands.batch(["run", str(source), str(target)]) == 0
    rows = commands.read_rows(target, "text")
    assert [bool(r["error"]) for r in rows] == [False, True, True, True, False, False]
    assert [bool(r["lat"]) for r in rows] == [True, False, False, False, False, False]
    assert "list" in rows[2]["error"]


def test_columns_of_later_rows_and_bytes_go_through_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    commands.write_rows(path, [{"text": "Lyon"}, {"text": "Paris", "more": 5}])
    assert [r["more"] for r in commands.read_rows(path, "text")] == [None, 5]
    parquet.write_table(arrow.table({"text": arrow.array([b"Lyon"], arrow.binary())}), path)
    assert commands.read_rows(path, "text") == [{"text": "Lyon"}]
    parquet.write_table(
        arrow.table({"text": ["Lyon"], "t": arrow.array([1], "timestamp[s]")}), path
    )
    commands.write_rows(tmp_path / "rows.jsonl", commands.read_rows(path, "text"))
    assert "1970" in commands.read_rows(tmp_path / "rows.jsonl", "text")[0]["t"]


def test_what_a_file_holds_is_never_written_over(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "_load", lambda run: Stub())
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    commands.write_rows(source, [{"text": "Lyon", "lat": "a", "geocoded_lat": "b"}])
    assert commands.batch(["run", str(source), str(target)]) == 0
    (row,) = commands.read_rows(target, "text")
    assert row["lat"] == "a" and row["geocoded_lat"] == "b" and row["lon"] == "4.84"


def test_a_region_of_no_mass_and_a_corpus_that_is_not_there_are_refused(tmp_path):
    for mass in ("0", "2", "nan"):
        with pytest.raises(errors.ConfigError, match="--region"):
            commands.text([str(tmp_path), "Lyon", "--region", mass])
    with pytest.raises(errors.DataError, match="not there"):
        commands.score([str(tmp_path), str(tmp_path / "none.jsonl")])


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A geocoder over the embedded cities that was never trained, as a run leaves it."""
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    start = train.prepare(config.SMOKE, task.load(config.SMOKE).corpus)
    made = start.geocoder(network.init(jax.random.key(0), start.net))
    store.save(made, tmp_path / "run" / "geocoder")
    return tmp_path / "run"


def content(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_evaluating_leaves_the_run_as_it_is_and_calibrating_does_not(saved, tmp_path, capsys):
    before = content(saved)
    assert commands.evaluate([str(saved), "--rows", "5", "--out", str(tmp_path / "out")]) == 0
    assert content(saved) == before
    assert (tmp_path / "out" / "report.md").read_text().strip() in capsys.readouterr().out
    assert commands.calibrate([str(saved)]) == 0
    assert "300 development items" in capsys.readouterr().out
    changed = [p.name for p, data in content(saved).items() if before[p] != data]
    assert changed == ["knowledge.safetensors"]
    made = store.load(saved / "geocoder").calibration
    assert (made.temperature != 1).any() and (np.diff(made.mass) >= 0).all()
    with pytest.raises(errors.ConfigError, match="rows"):
        commands.evaluate([str(saved), "--rows", "0"])
