"""The published columns are those whose means the papers print."""

import pytest

from algorithmic.clrs import ALGORITHMS, evaluate
from experiments.clrs import published

# Means of all thirty and of the eight families [Ibarz et al. 2022, table 1; later papers].
PRINTED = {
    "Memnet": (38.03, 38.88),
    "MPNN": (51.02, 44.99),
    "PGN": (52.31, 50.84),
    "Triplet-GMPNN": (75.98, 74.14),
    "G-ForgetNet": (82.89, 79.75),
}


@pytest.mark.parametrize("column", published.COLUMNS)
def test_the_means_of_a_column_are_the_printed_ones(column):
    scores = {name: row[column] for name, row in published.SCORES.items()}
    assert set(scores) == set(ALGORITHMS)
    found = evaluate.means(scores)
    assert (found["algorithms"], found["families"]) == pytest.approx(PRINTED[column], abs=0.011)
