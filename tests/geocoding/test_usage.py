import numpy as np

from fl_jax.geocoding import usage


def test_counts_by_hash():
    nice, of = usage.mark(usage.CAPITAL, "nice"), usage.mark(usage.SMALL, "of")
    found = usage.count([(nice, True), (nice, True), (nice, False), (of, False)])
    place, other = found.counts(np.array([of, nice, 5]))
    np.testing.assert_array_equal(place, [0, 2, 0])
    np.testing.assert_array_equal(other, [1, 1, 0])
    assert (np.diff(found.hashes) > 0).all()


def test_of_no_texts_nothing_is_known():
    for table in (usage.nothing(), usage.count([])):
        place, other = table.counts(np.array([1, 2]))
        assert not place.any() and not other.any()


def test_what_a_word_is_to_a_name_makes_another_entry():
    kinds = (usage.SMALL, usage.CAPITAL, usage.WORD, usage.BEFORE, usage.BEHIND)
    assert len({usage.mark(kind, "york") for kind in kinds}) == len(kinds)
    assert usage.mark(usage.SMALL, ["new", "york"]) != usage.mark(usage.SMALL, ["newyork"])
