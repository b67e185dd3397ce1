"""Texts and where they are make a geocoder; what is mixed in a batch; what is refused."""

import dataclasses

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import embedded, gazetteer, s2, sphere, texts, train
from fl_jax.geocoding.settings import Settings
from fl_jax.train import metrics

SETTINGS = Settings(
    threshold=60, max_level=5, vocab=400, width=32, heads=2, hidden=64, encoder_layers=1,
    decoder_layers=1, length=24, batch=16, steps=20, warmup=2, generated=100, save_every=10,
)  # fmt: skip


@pytest.fixture(scope="module")
def made():
    """(texts, latitudes, longitudes, gazetteer)."""
    places = gazetteer.from_rows(embedded.places(), embedded.countries(), {}, (), "embedded")
    rows = np.arange(len(places.names))
    found = texts.generate(places, rows, 120, np.random.default_rng(0))
    where = np.array([[t.lat, t.lon] for t in found])
    return [t.text for t in found], where[:, 0], where[:, 1], places


def test_texts_and_places_make_a_geocoder(made, tmp_path):
    asked, lat, lon, places = made
    found = train.train(asked, lat, lon, places=places, settings=SETTINGS, folder=tmp_path)
    answers = found.geocode(asked[:48], abstain=False)
    points = s2.xyz(np.array([a.lat for a in answers]), np.array([a.lon for a in answers]))
    assert np.mean(sphere.chord_km(points, s2.xyz(lat[:48], lon[:48])) < 161) > 0.7
    rows = metrics.read(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in rows] == [10, 20] and rows[1]["path"] < rows[0]["path"]


def test_what_a_batch_holds(made):
    asked, lat, lon, places = (column if n == 3 else column[:40] for n, column in enumerate(made))
    parts = [("", t) for t in asked]
    start = train.prepare(SETTINGS, train.check(asked, lat, lon, parts, places))
    for given, settings, shares in (
        (parts, SETTINGS, (0.5, 0.25, 0.25)),
        ((), SETTINGS, (0.75, 0.25)),
        (parts, dataclasses.replace(SETTINGS, generated=0), (0.75, 0.25)),
        ((), dataclasses.replace(SETTINGS, generated=0), (1,)),
    ):
        corpus = train.check(asked, lat, lon, given, places)
        data = train.encode(settings, corpus, start)
        assert data.shares == shares
        batch = data.batch(3)
        own = sum(size for size, flag in zip(data.shares, data.parts, strict=True)
                  if flag.held_out.all())  # fmt: skip
        assert float(batch["held_out"].mean()) == own
        np.testing.assert_array_equal(batch["tokens"], data.batch(3)["tokens"])
        assert (np.asarray(batch["tokens"]) != np.asarray(data.batch(4)["tokens"])).any()


def test_refusals(made):
    asked, lat, lon, _ = made
    with pytest.raises(errors.DataError, match="a latitude and a longitude for each"):
        train.train(asked, lat[1:], lon)
    with pytest.raises(errors.DataError, match="a latitude and a longitude for each"):
        train.train([], lat[:0], lon[:0])
    with pytest.raises(errors.DataError, match="but text 1 is float"):
        train.check.__wrapped__(["a", np.nan], lat[:2], lon[:2])
    with pytest.raises(errors.DataError, match="text 0 lies at"):
        train.train(["a", "b"], np.array([np.nan, 1.0]), lon[:2])
    with pytest.raises(errors.DataError, match="parts of 1"):
        train.train(["a", "b"], lat[:2], lon[:2], parts=[("a", "")])


def test_a_training_that_ends_within_its_warmup_is_refused():
    with pytest.raises(errors.ConfigError, match="30 steps is over before its warmup of 50; take"):
        train.train(["Lyon"], np.array([45.8]), np.array([4.8]), settings=Settings(steps=30))
