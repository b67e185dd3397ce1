"""Items of a file, and how they are split."""

import dataclasses
import gzip

import numpy as np
import pytest

from experiments.geocoding import config, task
from fl_jax.core import errors
from fl_jax.geocoding import wikidata


def rows(count):
    draws = np.random.default_rng(0)
    where = zip(draws.uniform(-60, 60, count), draws.uniform(-180, 180, count), strict=True)
    return "".join(f"Q{n}\tplace {n}\ttown\t{a}\t{b}\n" for n, (a, b) in enumerate(where))


@pytest.mark.parametrize("kind", ["tsv", "tsv.gz"])
def test_items_of_a_file(tmp_path, monkeypatch, kind):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    path = tmp_path / f"items.{kind}"
    moon = "Q9999\tTycho\tlunar crater\t1\t2\n"
    body = (rows(200) + moon).encode()
    path.write_bytes(gzip.compress(body) if kind.endswith("gz") else body)
    settings = dataclasses.replace(config.SMOKE, items=str(path), rows=0)
    found = task.load(settings)
    parts = found.train, found.dev, found.test
    assert sum(len(part.lat) for part in parts) == 200
    assert found.origin.endswith(path.name)
    for part, (low, high) in zip(parts, [(0, 0.8), (0.8, 0.9), (0.9, 1)], strict=True):
        shares = [wikidata.share("Q" + label.removeprefix("place ")) for label in part.label]
        assert len(shares) > 5 and low <= min(shares) and max(shares) < high
    assert found.train.text[0].endswith(", town")
    few = task.load(dataclasses.replace(settings, rows=100))
    assert sum(len(part.lat) for part in (few.train, few.dev, few.test)) == 100


def test_a_file_that_cannot_be_trained_on(tmp_path, monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    path = tmp_path / "items.tsv"
    settings = dataclasses.replace(config.SMOKE, items=str(path))
    with pytest.raises(errors.DataError, match="is not there"):
        task.load(settings)
    path.write_text(rows(2))
    with pytest.raises(errors.DataError, match="2 items, too few"):
        task.load(settings)
    path.write_text("".join(f"Q1\tplace {n}\ttown\t1\t2\n" for n in range(200)))
    with pytest.raises(errors.DataError, match="200 items, whose ids"):
        task.load(dataclasses.replace(settings, rows=0))
