"""Readers of Wikidata: rows, and a dump that is streamed, checked and gone on with."""

import bz2
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
    real = wikidata.dump
    cut = lambda *a, **k: itertools.chain(itertools.islice(real(*a, **k), 2), _fail())

    def _fail():
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(wikidata, "dump", cut)
    with pytest.raises(KeyboardInterrupt):
        wikidata.extract(source, target, save_every=1)
    monkeypatch.setattr(wikidata, "dump", real)
    wikidata.extract(source, target, save_every=1)
    assert target.read_bytes() == whole.read_bytes()
    assert [i.qid for i in wikidata.read(whole)] == ["Q1", "Q4", "Q5"]
    with pytest.raises(errors.ConfigError, match="already"):
        wikidata.extract(source, target)


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
