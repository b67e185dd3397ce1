"""What parameters mean, and what is refused."""

import time

import pytest

from fl_jax.geocoding.area import Box
from fl_jax.geocoding.service import parameters


@pytest.mark.parametrize(
    ("corners", "box"),
    [("0,40,10,50", (0, 40, 10, 50)), ("10,50,0,40", (0, 40, 10, 50)),
     ("0,50,10,40", (0, 40, 10, 50)), ("170,-20,-170,-10", (170, -20, -170, -10)),
     ("-170,-20,170,-10", (-170, -20, 170, -10)), ("-180,-90,180,90", (-180, -90, 180, 90))],
)  # fmt: skip
def test_corners_of_a_viewbox_come_in_any_order(corners, box):
    assert parameters.corners({"viewbox": corners}, "viewbox") == Box(*box)
    assert parameters.corners({}, "viewbox") is None


def test_a_rectangle_has_four_edges():
    edges = {"r.min_lon": "170", "r.min_lat": "-20", "r.max_lon": "-170", "r.max_lat": "-10"}
    assert parameters.rectangle(edges, "r") == Box(170, -20, -170, -10)
    assert parameters.rectangle({}, "r") is None
    edges.pop("r.max_lat")
    with pytest.raises(parameters.Refused, match=r"lacks r\.max_lat"):
        parameters.rectangle(edges, "r")


@pytest.mark.parametrize(
    ("text", "point"),
    [("48.85,2.35", (48.85, 2.35)), ("48.85 2.35", (48.85, 2.35)), (" -18, +179.5 ", (-18, 179.5)),
     ("48.85", None), ("91,0", None), ("0,181", None), ("48.85,2.35,1", None), ("Paris", None),
     ("75001 2", None), (None, None)],
)  # fmt: skip
def test_a_text_that_is_a_point(text, point):
    assert parameters.coordinates(text) == point


def test_countries_are_known_ones():
    known = {"FR": "FR", "FRA": "FR", "JP": "JP"}
    assert parameters.countries({"c": "fra, jp,,"}, "c", known) == {"FR", "JP"}
    assert parameters.countries({}, "c", known) == frozenset()
    with pytest.raises(parameters.Refused, match="'XX'"):
        parameters.countries({"c": "fr,xx"}, "c", known)


def test_rows_of_a_batch_that_are_no_texts_are_answered_alone():
    body = '["Lyon", "", {"id": 7, "text": null}, "a\\u0000", "' + "a" * 10_001 + '"]'
    items, lines = parameters.batch(body.encode(), "application/json")
    assert not lines and [sorted(i) for i in items] == [["text"], ["error"], ["error", "id"],
                                                        ["error"], ["error"]]  # fmt: skip
    assert "item 1" in items[1]["error"] and "10001" in items[4]["error"]
    items, lines = parameters.batch(
        '"Lyon\u2028France"\r\n\n"Paris"'.encode(), "application/x-ndjson"
    )
    assert lines and [i["text"] for i in items] == ["Lyon\u2028France", "Paris"]


def test_a_line_that_is_no_json_is_named_and_a_byte_order_mark_read():
    body = '\ufeff"Lyon"\n\n"Paris"\n{"text": \n'
    with pytest.raises(parameters.Refused) as refused:
        parameters.batch(body.encode(), "application/x-ndjson")
    assert "line 4" in refused.value.detail
    items, _ = parameters.batch('\ufeff["Lyon"]'.encode(), "application/json")
    assert items == [{"text": "Lyon"}]


def test_a_long_space_after_a_number_is_read_in_one_way():
    start = time.process_time()
    assert parameters.coordinates("1" + " " * 60_000 + "x") is None
    assert parameters.coordinates("1" + " " * 60_000 + "2") == (1.0, 2.0)
    assert time.process_time() - start < 1.0
