"""Tables of disagreements: sums of Bernoulli variables of two kinds."""

import numpy as np
import pytest

from privacy.accounting.errors import PrivacyError
from privacy.shuffle import agreements


@pytest.mark.parametrize("least", [0, 1, 5, 9])
def test_an_entry_is_the_law_of_a_sum(least):
    tables = agreements.tables(0.7, 0.25, least, 9, 7, 6)
    for c, guests in ((0, 0), (1, 1), (9, 0), (9, 4), (6, 6), (5, 3)):
        if c < least:
            continue
        law = np.ones(1)
        for i in range(c):
            share = 0.25 if i < guests else 0.7
            law = np.convolve(law, [share, 1 - share])
        expected = np.pad(law, (0, 6))[:6]
        assert tables[c - least, guests] == pytest.approx(expected, rel=1e-12)
    if least <= 2:
        assert not tables[2 - least, 3].any()


def test_tables_out_of_reach_are_refused():
    with pytest.raises(PrivacyError, match="out of reach"):
        agreements.tables(0.7, 0.25, 0, 10**5, 100, 100)
