"""Tables of agreements: sums of Bernoulli variables of two kinds."""

import numpy as np
import pytest

from privacy.shuffle import agreements


def test_a_row_is_the_law_of_a_sum():
    tables = agreements.tables(0.7, 0.25, 9)
    for c, guests in ((0, 0), (1, 1), (9, 0), (9, 4), (6, 6)):
        law = np.ones(1)
        for i in range(c):
            share = 0.25 if i < guests else 0.7
            law = np.convolve(law, [1 - share, share])
        assert tables[c][guests] == pytest.approx(law, rel=1e-13)
