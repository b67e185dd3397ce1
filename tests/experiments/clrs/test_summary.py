"""Rows become means over seeds beside the published figures, and a table."""

import dataclasses

import pytest

from experiments.clrs import config, published, report, summary

ROWS = [
    {"stage": "train", "seed": 0, "round": 2, "n": 4, "bfs": 1.5, "minimum": 3.0},
    {"stage": "train", "seed": 0, "round": 4, "n": 4, "bfs": 1.0, "minimum": 2.0},
    *(
        {"stage": "test", "seed": s, "n": n, "task": task, "score": score, "samples": 8}
        for s, n, task, score in (
            (0, 16, "bfs", 1.0), (0, 64, "bfs", 0.9), (0, 64, "minimum", 0.7),
            (1, 16, "bfs", 1.0), (1, 64, "bfs", 0.8), (1, 64, "minimum", 0.5),
        )
    ),
]  # fmt: skip


def test_the_benchmark_size_stands_beside_what_was_published():
    settings = dataclasses.replace(config.SMOKE, seeds=2)
    found = summary.summarise(settings, ROWS, {"train": 1.0, "test": 0.5}, "smoke")
    bfs = found.metrics["bfs, n = 64"]
    assert (bfs.value, bfs.published) == (85.0, 99.73)
    assert found.metrics["bfs, n = 16"].published is None
    mean = found.metrics["mean of 2 algorithms, n = 64"]
    assert (mean.value, mean.published) == (72.5, pytest.approx((99.73 + 97.78) / 2, abs=0.01))
    assert found.headline["ours"] == "72.5 %"
    assert summary.losses(ROWS)[0]["bfs"] == [1.5, 1.0]


def test_the_table_has_a_row_per_algorithm_and_spreads_over_seeds():
    lines = report.table(summary.scores(ROWS)).splitlines()
    assert len(lines) == 6
    assert lines[4].startswith("| **mean of 2** | 100.00 ± 0.00 | 72.50 ± 10.61 | 65.1")
    assert lines[5].startswith("| **of families** | 100.00 ± 0.00 | 72.50 ± 10.61 |")
    assert lines[2].startswith("| bfs | 100.00 ± 0.00 | 85.00 ± 7.07 | 43.34 |")
    assert lines[3].startswith("| minimum |  | 60.00 ± 14.14 |")


def test_other_sizes_stand_beside_nothing(tmp_path):
    rows = [{**row, "n": 16} for row in ROWS if row["n"] != 16]
    found = summary.scores(rows)
    lines = report.table(found).splitlines()
    assert lines[0] == "| algorithm | ours, n = 16 |"
    assert lines[-1].startswith("| **of families** | 72.50") and lines[-1].count("|") == 3
    outcome = summary.summarise(dataclasses.replace(config.SMOKE, seeds=2), rows, {}, "smoke")
    assert outcome.metrics["mean of 2 algorithms, n = 16"].published is None
    assert outcome.headline["published"] == "none at this size"
    assert outcome.details["largest"] == 4
    text = report.notes(
        4, benchmark=False
    )  # said 16 nodes and spoke of columns that were not there
    assert text.endswith("trained on inputs of up to 4 nodes.\n") and "published" not in text
    assert "up to 16 nodes; 64 is the benchmark's" in report.notes(16, benchmark=True)
    report.draw_bars(found[16], 16, tmp_path / "scores.png")
    report.draw_dots({name: [50.0, 60.0] for name in published.SCORES}, tmp_path / "all.png")
    assert (tmp_path / "all.png").stat().st_size > 10_000
    assert (tmp_path / "scores.png").stat().st_size > 1000
    assert "Memnet, n = 64" in report.table(summary.scores(ROWS)).splitlines()[0]


def test_scores_that_accept_every_right_answer_are_a_second_column():
    rows = [{**row, "accepting": 1.0} if row.get("task") == "bfs" else row for row in ROWS]
    accepting = summary.scores(rows, "accepting")
    lines = report.table(summary.scores(rows), accepting).splitlines()
    assert lines[0].startswith("| algorithm | ours, n = 16 | any, n = 16 | ours, n = 64 | any,")
    assert lines[2].startswith("| bfs | 100.00 ± 0.00 | 100.00 ± 0.00 | 85.00 ± 7.07 | 100.00 ± 0.")
    settings = dataclasses.replace(config.SMOKE, seeds=2)
    found = summary.summarise(settings, rows, {"train": 1.0, "test": 0.5}, "smoke")
    assert found.metrics["bfs, n = 64, every right answer"].value == 100
    assert found.metrics["mean of algorithms, n = 64, every right answer"].value == 100
    assert found.metrics["mean of 2 algorithms, n = 64"].value == 72.5
