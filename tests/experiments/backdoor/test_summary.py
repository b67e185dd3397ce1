import numpy as np
import pytest
from scipy import stats

from experiments.backdoor import report, summary
from experiments.backdoor.config import SMOKE


def test_the_margin_is_students():
    values = np.array([91.0, 97.0, 100.0])
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert summary.margin(values) == pytest.approx((high - low) / 2)
    assert summary.margin(np.full(3, 7.0)) == 0
    assert summary.margin(np.array([1.0])) is None


def test_the_half_life_is_the_first_round_below_half_of_the_mean():
    assert summary.half_life(np.array([[0.0, 1.0, 0.9, 0.5], [0.0, 0.6, 0.4, 0.2]])) == 2
    assert summary.half_life(np.array([[0.0, 1.0, 0.9]])) is None


def test_an_attack_that_diverged_is_told():
    """JSON has no NaN: what was sent is null then, and the run ended in a traceback."""

    def row(number, seed, sent=None):
        cell = {"backdoor": "pixel pattern", "attack": "model replacement", "split": 0}
        told = {"attack_info": {"sent_norm": sent}} if number == 1 else {}
        scores = {"main": 0.9, "success": 0.1, "benign_norm": 2.0}
        return {"stage": "follow", "round": number, "seed": seed, **cell, **scores, **told}

    of = lambda *sent: [row(r, s, norm) for s, norm in enumerate(sent) for r in (0, 1, 2)]
    made = lambda *sent: summary.summarise(SMOKE, of(*sent), "here").details["table"][0]
    assert (made(4.0, None)["norm_ratio"], made(4.0, None)["left_out"]) == (2.0, 1)
    assert (made(None)["norm_ratio"], made(None)["left_out"]) == (None, 1)
    assert made(4.0, 8.0)["left_out"] == 0
    assert "| - (1 left out) |" in report.table([made(None)])
    assert "| 2.0x (1 left out) |" in report.table([made(4.0, None)])
