import json

import numpy as np
import pytest

from experiments.backdoor import certified

CHOSEN = certified.Certified(attackers=(1, 3), draws=1000)


def _polled(votes):
    """One seed; two test images of class 0, and as a stamped one wanted as 1 the first of them."""
    votes = np.array([votes])
    labels = np.array([0, 0])
    return {
        "main": (votes.argmax(-1), votes, labels),
        "backdoor": (votes[:, :1].argmax(-1), votes[:, :1], np.array([1])),
    }


def _row(attacked):
    polled = {0: _polled([[990, 10], [520, 480]]), 1: _polled(attacked), 3: _polled(attacked)}
    found = certified._compare(CHOSEN, polled, noise=0.1, moved=0.1)
    return {"clip": 1.0, "noise": 0.2, **found}


def test_a_row_counts_what_is_certified_and_what_was_changed():
    row = _row([[990, 10], [10, 990]])
    assert row["main"]["vote"].tolist() == [100]
    far = row["main"]["certified"][0]
    assert 1 < far[0] < 3
    assert far[1] == 0
    assert [certified.share(row, "main", a)[0] for a in (0, 1, 3)] == [50, 50, 0]
    assert certified.share(row, "backdoor", 1)[0] == 100
    assert row["attacked"][1]["main"]["vote"].tolist() == [50]
    assert row["attacked"][1]["main"]["changed"] == 0  # the second was not certified
    broken = _row([[10, 990], [520, 480]])
    assert broken["attacked"][1]["main"]["changed"] == 1
    assert broken["attacked"][1]["backdoor"]["vote"].tolist() == [100]
    assert broken["attacked"][3]["main"]["changed"] == 0  # beyond its radius


def test_the_table_the_picture_and_the_file_are_written(tmp_path):
    rows = [_row([[990, 10], [10, 990]])]
    text = certified.write(tmp_path, CHOSEN, rows, {"draws": 1000})
    assert (
        "| 1 | 0.2 | 100.0 | 100.0 | 50.0 / 0.0 | 100.0 / 0.0 | 0.0 / 0.0 | 50.0 / 50.0 | 0 |"
        in text
    )
    stored = json.loads((tmp_path / "certified.json").read_text())
    assert stored["rows"][0]["main"]["vote"] == [100.0]
    assert (tmp_path / "certified.png").stat().st_size > 5_000


@pytest.mark.slow
def test_a_run_gives_radii_and_changes_nothing_that_is_certified():
    (row,) = certified.run(certified.SMOKE_CERTIFIED)
    assert row["main"]["certified"].max() > 0
    assert np.abs(row["main"]["vote"] - row["main"]["model"]).max() < 30
    assert all(t[kind]["changed"] == 0 for t in row["attacked"].values() for kind in t)
