"""What is found in a text."""

import time

import numpy as np
import pytest

from fl_jax.geocoding import evidence

COLUMN = {name: n for n, name in enumerate(evidence.FEATURES)}


def found(pieces, text):
    _, known, _, _ = pieces
    rows = evidence.look_up(known, text)
    places = known.gazetteer
    name = lambda r: places.display(r.place) if r.place >= 0 else places.regions[r.index].name
    return [(r.kind, name(r) if r.kind != "phrase" else text[r.start : r.end], r) for r in rows]


def test_regions_decide_between_homonyms(pieces):
    rows = found(pieces, "Paris, United States")
    spots = [(name, row) for kind, name, row in rows if kind == "spot"]
    assert spots[0][0] == "Paris, United States"
    agree = {name: row.features[COLUMN["country_agrees"]] for name, row in spots}
    assert agree["Paris, United States"] == 1 and agree["Paris, France"] == 0
    assert ("region", "United States") in {(kind, name) for kind, name, _ in rows}


def test_the_name_that_tells_another_is_marked_and_tells_not_itself(pieces):
    rows = found(pieces, "Panama City, Panama")
    of = lambda kind: {name: row.features for k, name, row in rows if k == kind}
    tells = [r.features[COLUMN["tells_another"]] for kind, _, r in rows if kind == "region"]
    assert sorted(tells) == [0, 1]
    assert of("spot")["Panama City, Panama"][COLUMN["country_agrees"]] == 1
    alone = found(pieces, "Panama City")  # a region's name within a longer name is none
    (spot,) = [row for kind, _, row in alone if kind == "spot"]
    assert not spot.features[COLUMN["country_agrees"]] and spot.features[COLUMN["share_there"]] == 1


def test_unknown_names_are_counted(pieces):
    rows = found(pieces, "Paris Xyzzyk")
    assert rows[0][2].features[COLUMN["unknown"]] == 0.5


def test_a_displacement_becomes_a_place_of_its_own(pieces):
    rows = found(pieces, "50 km north of Lyon")
    moved = [row for _, _, row in rows if row.features[COLUMN["moved"]]]
    lat = np.rad2deg(np.arcsin(moved[0].point[2]))
    assert abs(lat - (45.75 + 50 / 111.2)) < 0.01


@pytest.mark.parametrize("name", ["Paris, United States ", "20 km north of Paris ", "東京大阪"])
def test_time_grows_as_the_text_does(pieces, name):
    known, start = pieces[1], time.process_time()
    rows = evidence.look_up(known, (name * 4000)[:10_000])
    assert time.process_time() - start < 3
    assert len(rows) > evidence.SPOTS


def test_the_foremost_names_of_many_are_weighed(pieces, monkeypatch):
    text = "Lyon Paris Lyon Toronto Lyon, 20 km north of Graz"
    kept = lambda: {(r.kind, text[r.start : r.end]) for _, _, r in found(pieces, text)}
    every = kept()
    monkeypatch.setattr(evidence, "NAMES", 3)
    names = {name for kind, name in kept() if kind == "spot"}
    assert names == {"Paris", "Toronto", "Graz", "20 km north of Graz"} and kept() < every


def test_arrays_hold_the_rows(pieces):
    _, known, _, _ = pieces
    texts = ["Paris", "", "東京 Japan"]
    rows = [evidence.look_up(known, t) for t in texts]
    out = evidence.arrays(rows, known)
    assert out.there.sum(1).tolist() == [len(r) for r in rows]
    assert not out.there[1].any()
    assert known.gazetteer.names[out.place[2, 0]] == "Tokyo"
    np.testing.assert_allclose(known.table.sum(1), 1, atol=1e-5)
    assert evidence.candidates(out.there).shape == (3, evidence.CANDIDATES)


def test_places_of_weight_0_are_left_out_before_the_most_are_kept(pieces, monkeypatch):
    _, known, _, _ = pieces
    places = known.gazetteer
    monkeypatch.setattr(evidence, "PER_NAME", 1)
    first = lambda weights: [
        (places.country_code(r.place), r.features[COLUMN["share"]])
        for r in evidence.look_up(known, "Paris", weights=weights)
        if r.kind == "spot"
    ]
    assert first(None)[0][0] == "FR" and first(None)[0][1] < 1
    america = np.array([places.country_code(n) == "US" for n in range(len(places.names))], float)
    assert first(america) == [("US", 1)]
    assert first(0 * america) == []
    assert first(1 + 1000 * america)[0][0] == "US"
    assert first(np.ones(len(places.names))) == first(None)
