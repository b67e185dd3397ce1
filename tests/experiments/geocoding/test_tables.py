"""Files of texts: what is read is what is written, and nothing is lost in silence."""

import datetime

import pytest

from experiments.geocoding import tables
from fl_jax.core import errors

KINDS = [".csv", ".tsv", ".jsonl", ".parquet"]


def rows_of(path, column="text"):
    return tables.read(path, column).rows


def write(path, rows):
    tables.write(path, tables.Table(rows), [{} for _ in rows])


@pytest.mark.parametrize("kind", KINDS)
def test_rows_round_trip(tmp_path, kind):
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"rows{kind}"
    rows = [{"text": "東京", "note": "a,b\tc"}, {"text": 'Ly"on\nFrance', "note": "d"}]
    write(path, rows)
    assert rows_of(path) == rows and [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(errors.DataError, match="no column 'name' but 'text', 'note'"):
        rows_of(path, "name")
    large = path.with_suffix(kind.upper())
    path.rename(large)
    assert rows_of(large) == rows


def test_ends_of_lines_within_texts_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "Lyon\u2028France\u0085"}, {"text": "Paris"}]
    write(path, rows)
    assert rows_of(path) == rows
    for kind, body in ((".csv", "text,note\nLyon,a\n"), (".jsonl", '{"text": "Lyon"}\n')):
        path = tmp_path / f"marked{kind}"
        path.write_text(body, "utf-8-sig")
        assert [r["text"] for r in rows_of(path)] == ["Lyon"]


@pytest.mark.parametrize(
    ("body", "said"),
    [("text,a,a\nLyon,1,2\n", "two columns 'a'"), ("text,a\nLyon,1,2\n", "row 1"),
     ("text,a\n", "no rows"), ("", "no rows"), ('text,a\n"Lyon,1\nParis,2\n', "row 1.*quote"),
     ('text,a\nRome,1\n"Lyon"x,1\nParis,2\n', "row 2.*quote"),
     ("text\nS\xe3o Paulo\n", "not UTF-8")],
)  # fmt: skip
def test_tables_that_would_lose_something_are_refused(tmp_path, body, said):
    (tmp_path / "in.csv").write_text(body, "latin-1")
    with pytest.raises(errors.DataError, match=said):
        rows_of(tmp_path / "in.csv")


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match="not there"):
        rows_of(tmp_path / "x.csv")
    for body in ("{", '{"text": ' + "[" * 100_000):
        (tmp_path / "x.jsonl").write_text(body)
        with pytest.raises(errors.DataError, match="cannot be read"):
            rows_of(tmp_path / "x.jsonl")


def test_blank_lines_are_texts_where_there_is_one_column(tmp_path):
    (tmp_path / "in.csv").write_text("text\nLyon\n\nParis\n")
    assert [r["text"] for r in rows_of(tmp_path / "in.csv")] == ["Lyon", "", "Paris"]
    (tmp_path / "in.csv").write_text("text,a\nLyon,1\n\nParis\n")
    assert rows_of(tmp_path / "in.csv") == [
        {"text": "Lyon", "a": "1"},
        {"text": "Paris", "a": None},
    ]


def test_a_text_may_be_long(tmp_path):
    (tmp_path / "in.csv").write_text(f"text,a\n{'x' * 200_000},1\n")
    assert len(rows_of(tmp_path / "in.csv")[0]["text"]) == 200_000


def test_what_is_nested_is_json_in_a_cell(tmp_path):
    write(tmp_path / "out.csv", [{"text": "Lyon", "a": {"b": [1, None, True]}, "c": b"d"}])
    (row,) = rows_of(tmp_path / "out.csv")
    assert row == {"text": "Lyon", "a": '{"b": [1, null, true]}', "c": "d"}


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("before")
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="Circular"):
        write(path, [{"text": "Lyon"}, {"text": loop}])
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_columns_of_later_rows_and_bytes_go_through_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    write(path, [{"text": "Lyon"}, {"text": "Paris", "more": 5}])
    assert [r["more"] for r in rows_of(path)] == [None, 5]
    parquet.write_table(arrow.table({"text": arrow.array([b"Lyon"], arrow.binary())}), path)
    assert rows_of(path) == [{"text": "Lyon"}]
    write(path, [{"text": "Lyon", "large": 2**63}, {"text": "Paris", "large": -1}])
    assert [r["large"] for r in rows_of(path)] == [str(2**63), "-1"]


def test_parquet_keeps_its_types(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "text": arrow.array(["Lyon", None]),
        "i": arrow.array([1, None], "int32"),
        "at": arrow.array([1, None], "timestamp[ns]"),
        "clock": arrow.array([1, None], "time64[ns]"),
        "while": arrow.array([1, None], "duration[ns]"),
        "many": arrow.array([[("a", 1)], None], arrow.map_("string", "int32")),
        "kind": arrow.array(["u", "v"]).dictionary_encode(),
        "large": arrow.array([2**64 - 1, 0], "uint64"),
        "day": arrow.array([datetime.date(2020, 1, 1), None]),
    }
    table = arrow.table(columns).replace_schema_metadata({"by": "pandas"})
    parquet.write_table(table, tmp_path / "in.parquet")
    found = tables.read(tmp_path / "in.parquet", "text")
    tables.write(tmp_path / "out.parquet", found, [{"lat": 45.76}, {"lat": None}])
    out = parquet.read_table(tmp_path / "out.parquet")
    assert out.select(table.column_names).equals(table) and out["lat"].to_pylist() == [45.76, None]
    assert out.schema.metadata[b"by"] == b"pandas"
    tables.write(tmp_path / "out.jsonl", found, [{}, {}])
    first = rows_of(tmp_path / "out.jsonl")[0]
    assert first["at"].endswith(":00.000000001") and first["while"] == 1
    twice = arrow.table([arrow.array(["Lyon"])] * 2, names=["text", "text"])
    parquet.write_table(twice, tmp_path / "in.parquet")
    with pytest.raises(errors.DataError, match="two columns 'text'"):
        rows_of(tmp_path / "in.parquet")
