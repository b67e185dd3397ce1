"""Bounds compute what is attained once, when asked."""

from privacy.accounting.bound import Adjacency, Bound, Status


def test_attained_is_lazy():
    calls = []
    b = Bound(
        1.0,
        2.0,
        Status.UNIVERSAL,
        Adjacency.REPLACE,
        "t",
        _attained=lambda: calls.append(1) or 0.5,
    )
    assert not calls and b.gap == 1.0
    assert b.attained == b.attained == 0.5 and len(calls) == 1
