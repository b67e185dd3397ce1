"""Labels in the paper's strings and in eleven symbols."""

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import cells, labels

PAPER = ["2", "12", "431", "20302303", "20331122", "41023", "123331", "21002321"]  # [poster]


def test_strings_of_the_paper_round_trip():
    symbols = labels.encode(PAPER)
    assert symbols.shape == (8, 9) and symbols.max() == labels.SYMBOLS - 1
    assert labels.decode(symbols) == PAPER
    assert labels.decode(labels.encode(["2/0302303", "431\0", " 12 "])) == ["20302303", "431", "12"]
    assert (np.sum(symbols == labels.END, axis=1) == 1).all()
    assert labels.encode([]).shape == (0, 1)


@pytest.mark.parametrize("bad", ["", "6", "24", "2x", "-1", "2" + "0" * 31])
def test_other_strings_are_refused(bad):
    with pytest.raises(errors.DataError, match="no path of an S2 cell"):
        labels.encode([bad])


@pytest.mark.parametrize("bad", [[10, -1], [2, 6, 9], [6, 10, -1], [2, 3, 10], [2, 6, -1]])
def test_other_symbols_are_refused(bad):
    with pytest.raises(errors.DataError, match="row 0 is no label"):
        labels.decode(np.array([bad]))


def test_every_node_has_its_label_back():
    draws = np.random.default_rng(0)
    lat, lon = draws.uniform(-80, 80, 500), draws.uniform(-180, 180, 500)
    partition = cells.build(lat, lon, threshold=20, max_level=5)
    names = [partition.label(n) for n in range(1, len(partition.level))]
    assert [labels.node(partition, name) for name in names] == list(range(1, len(names) + 1))
    assert labels.decode(labels.encode(names)) == names
    leaf = partition.label(partition.leaves[0])
    assert labels.nearest(partition, leaf + "3210") == partition.leaves[0]
    with pytest.raises(errors.DataError, match="the deepest one on its way"):
        labels.node(partition, leaf + "3")
