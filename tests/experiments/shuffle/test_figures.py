"""The counterexample to the merged pair stands in the figures' numbers."""

from experiments.shuffle import figures
from privacy import shuffle
from privacy.accounting.bound import Adjacency
from privacy.accounting.ledger import Ledger
from privacy.shuffle import closed_form
from privacy.shuffle.events import ShuffledReports


def test_counterexample():
    rows = {(r["k"], r["eps/eps0"]): r["true/claimed"] for r in figures.counterexample()}
    assert rows[(5, 0.85)] > 3 and rows[(6, 0.85)] > 5
    assert abs(rows[(3, 0.85)] - 1) < 1e-6


def test_competitors_lie_where_they_should():
    """Published closed forms above the exact bounds; nothing where they do not exist."""
    for alpha in (2.0, 16.0):
        exact = shuffle.rdp(alpha, 1.0, 10_000).upper
        assert exact < figures.girgis(alpha, 1.0, 10_000) < 100 * exact
    assert figures.girgis(2.5, 1.0, 10_000) is None
    composed = figures.advanced(closed_form.standard, 1.0, 10_000, 1e-6, 100)
    event = ShuffledReports(1.0, 10_000)
    assert composed > Ledger(Adjacency.REPLACE).record(event, 100).epsilon(1e-6).upper
    assert figures.advanced(closed_form.standard, 9.0, 10_000, 1e-6, 100) is None
    claimed = figures.merged_profile(1.0, 10_000, 10).epsilon(1e-6)
    assert abs(claimed[1] / figures.variation_ratio(1.0, 10_000, 1e-6, 10) - 1) < 2e-3
