"""The counterexample to the merged pair stands in the figures' numbers."""

from experiments.shuffle import figures


def test_counterexample():
    rows = {(r["k"], r["eps/eps0"]): r["true/claimed"] for r in figures.counterexample()}
    assert rows[(5, 0.85)] > 3 and rows[(6, 0.85)] > 5
    assert abs(rows[(3, 0.85)] - 1) < 1e-6
