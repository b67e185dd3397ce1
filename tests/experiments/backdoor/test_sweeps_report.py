import json

import numpy as np

from experiments.backdoor import sweeps_report
from experiments.backdoor.sweeps import Curves


def test_rows_are_means_over_seeds_with_their_range(tmp_path):
    backdoor = np.tile(np.array([0.0, 1.0, 0.8, 0.4, 0.1]), (1, 2, 1))
    backdoor[0, 1, 1] = 0.5
    found = {"gamma": (["full"], Curves(np.full((1, 2, 5), 0.9), backdoor))}
    text = sweeps_report.write(tmp_path, "sweeps", found, {"seconds": 1})
    row = json.loads((tmp_path / "sweeps.json").read_text())["sweeps"]["gamma"][0]
    assert row["backdoor after 1 round"] == [75.0, 50.0, 100.0, 317.7]
    assert row["half-life"] == 3
    assert "75.0 ± 317.7 (50-100)" in text
    assert (tmp_path / "sweeps.png").stat().st_size > 5_000
