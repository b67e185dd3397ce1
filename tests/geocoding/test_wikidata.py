"""Readers of Wikidata: rows, and a dump that is streamed, checked and gone on with."""

import bz2
import gzip
import itertools
import json

import pytest

from fl_jax.core import errors
from fl_jax.geocoding import wikidata


def entity(n, globe="Q2", **more):
    value = {"latitude": n / 10, "longitude": -n / 10, "globe": wikidata.EARTH[:-2] + globe}
    claims = {"P625": [{"mainsnak": {"datavalue": {"value": value}}}]}
    labels = {"en": {"value": f"place {n}"}}
    return json.dumps({"id": f"Q{n}", "claims": claims, "labels": labels, **more}).encode() + b","


LINES = [b"[", entity(1), entity(2, "Q405"), b'{"P625": broken', entity(3, labels={}),
         entity(4, descriptions={"en": {"value": "a\ttown"}}), entity(5), b"]"]  # fmt: skip


def test_a_dump_is_read_and_the_moon_left_out(tmp_path):
    path = tmp_path / "dump.json.bz2"
    path.write_bytes(bz2.compress(b"\n".join(LINES)))
    found = [item for _, item in wikidata.dump(path)]
    assert [item.qid for item in found] == ["Q1", "Q4", "Q5"]
    assert found[1].text == "place 4, a town"
    assert [i.qid for _, i in wikidata.dump(path, skip=2)] == ["Q4", "Q5"]


def test_an_interrupted_extraction_goes_on(tmp_path, monkeypatch):
    source, whole, target = (tmp_path / n for n in ("dump.json", "whole.tsv", "part.tsv"))
    source.write_bytes(b"\n".join(LINES))
    wikidata.extract(source, whole)
    read = wikidata.entity
    for stop in (4, 3):  # before anything was saved, and later
        seen = itertools.count(1)

        def cut(*arguments, seen=seen, stop=stop):
            if next(seen) == stop:
                raise KeyboardInterrupt
            return read(*arguments)

        monkeypatch.setattr(wikidata, "entity", cut)
        with pytest.raises(KeyboardInterrupt):
            wikidata.extract(source, target)
        with pytest.raises(errors.ConfigError, match=r"in en, not dump\.json in fr"):
            wikidata.extract(source, target, language="fr")
    monkeypatch.setattr(wikidata, "entity", read)
    assert wikidata.extract(source, target, save_every=1) == len(LINES)
    assert target.read_bytes() == whole.read_bytes()
    assert [i.qid for i in wikidata.read(whole)] == ["Q1", "Q4", "Q5"]
    with pytest.raises(errors.ConfigError, match="already"):
        wikidata.extract(source, target)


def test_a_dump_that_is_cut_short_is_gone_on_with_when_it_is_whole(tmp_path):
    source, whole, target = (tmp_path / n for n in ("dump.json.bz2", "whole.tsv", "part.tsv"))
    packed = [bz2.compress(b"\n".join(LINES[:5]) + b"\n"), bz2.compress(b"\n".join(LINES[5:]))]
    source.write_bytes(b"".join(packed))
    assert wikidata.extract(source, whole) == len(LINES)
    source.write_bytes(packed[0] + packed[1][:-4])
    with pytest.raises(errors.DataError, match="cut short"):
        wikidata.extract(source, target)
    source.write_bytes(b"".join(packed))
    wikidata.extract(source, target)
    assert target.read_bytes() == whole.read_bytes()


def test_progress_of_a_file_that_is_gone_is_refused(tmp_path):
    source, target = tmp_path / "dump.json", tmp_path / "part.tsv"
    source.write_bytes(b"\n".join(LINES))
    for said in ('[3, 60, "dump.json", "en"]', "", "[]"):
        (tmp_path / "part.tsv.progress").write_text(said)
        with pytest.raises(errors.ConfigError, match=r"does not fit part\.tsv"):
            wikidata.extract(source, target)
        assert not target.exists()


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [("none.json", None, "not there"), ("d.bz2", b"nothing", "cannot be read"),
     ("d.gz", b"nothing", "cannot be read"), ("d.json.zst", b"\x28\xb5\x2f\xfd", "no dump")],
)  # fmt: skip
def test_what_is_no_dump_is_refused_and_leaves_nothing(tmp_path, name, body, said):
    if body is not None:
        (tmp_path / name).write_bytes(body)
    with pytest.raises(errors.DataError, match=said):
        wikidata.extract(tmp_path / name, tmp_path / "out.tsv")
    assert [p.name for p in tmp_path.iterdir()] == ([name] if body else [])


def test_halves_of_characters_cannot_be_written(tmp_path):
    assert wikidata.entity(entity(1, labels={"en": {"value": "half \ud83d"}})) is None


def test_rows_that_are_no_text_or_say_nothing_are_refused(tmp_path):
    path, packed = tmp_path / "rows.tsv", tmp_path / "rows.tsv.gz"
    path.write_text("qid\tlabel\tdescription\tlat\tlon\nQ1\ta\tb\t1\t2\n", "utf-8-sig")
    assert [i.qid for i in wikidata.read(path)] == ["Q1"]
    for body, said in ((b"Q1\t\xe9\tb\t1\t2\n", "not UTF-8"), (b"Q1\t\t\t1\t2\n", "neither")):
        path.write_bytes(body)
        with pytest.raises(errors.DataError, match=said):
            list(wikidata.read(path))
    for body, said in ((b"Q1", "cannot be read"), (gzip.compress(b"Q1\ta")[:-4], "cut short")):
        packed.write_bytes(body)
        with pytest.raises(errors.DataError, match=said):
            list(wikidata.read(packed))


def test_bad_rows_are_named(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("Q1\ta\tb\t1\t2\nQ2\ta\t1\n")
    with pytest.raises(errors.DataError, match="line 2"):
        list(wikidata.read(path))
    path.write_text("Q1\ta\tb\t91\t2\n")
    with pytest.raises(errors.DataError, match="no place on Earth"):
        list(wikidata.read(path))


def test_other_globes_and_shares():
    item = lambda d: wikidata.Item("Q1", "x", d, 0.0, 0.0)
    assert wikidata.elsewhere(item("lunar crater")) and wikidata.elsewhere(item("mountain on Mars"))
    assert not wikidata.elsewhere(item("crater lake in Oregon"))
    shares = [wikidata.share(f"Q{n}") for n in range(2000)]
    assert 0.45 < sum(shares) / 2000 < 0.55
