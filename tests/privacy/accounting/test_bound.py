"""Bounds compute what is attained once, when asked."""

import pytest

from privacy.accounting.bound import Adjacency, Bound, Status, adjacent
from privacy.accounting.errors import PrivacyError


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


def test_an_adjacency_has_a_name():
    assert adjacent("add-or-remove-one") is adjacent(Adjacency.ADD_REMOVE) is Adjacency.ADD_REMOVE
    with pytest.raises(PrivacyError, match="unknown adjacency 'replace'"):
        adjacent("replace")
