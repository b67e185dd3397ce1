import dataclasses
import json

import numpy as np

from experiments.backdoor import grid_report
from experiments.backdoor.grid import Found
from experiments.backdoor.grid_config import ATTACKS, SMOKE_GRID

DEFENCES = ["mean", "median"]
SHAPE = (len(DEFENCES), len(ATTACKS), 2, SMOKE_GRID.attacked + SMOKE_GRID.after)


def found():
    draw = np.random.default_rng(0)
    malicious = np.zeros((*SHAPE, 12), bool)
    malicious[..., :2, :2] = True
    scores = {"norm": malicious + 0.1 * draw.random(malicious.shape)}
    scores["cosine"] = draw.random(malicious.shape)
    main = np.full(SHAPE, 0.9)
    main[0, ATTACKS.index("IPM")] = 0.2
    backdoor = np.zeros(SHAPE)
    backdoor[0, ATTACKS.index("DBA")] = 1.0
    before = {"main": np.full((len(ATTACKS), 2), 0.95), "backdoor": np.zeros((len(ATTACKS), 2))}
    return Found(ATTACKS, main, backdoor, malicious, scores, before, np.ones_like(malicious))


def test_damage_is_the_backdoor_or_what_the_main_task_lost(tmp_path):
    text = grid_report.write(tmp_path, SMOKE_GRID, DEFENCES, found(), {"preset": "made up"})
    backdoors, untargeted = text.split("\n\n")

    def column(part, name):
        head, _, *rows = ([c.strip() for c in row.split("|")] for row in part.splitlines())
        return {row[1]: row[head.index(name)] for row in rows}

    assert column(backdoors, "DBA") == {"mean": "100 / 90", "median": "0 / 90"}
    assert column(untargeted, "IPM") == {"mean": "75 / 20", "median": "5 / 90"}
    stored = json.loads((tmp_path / "grid.json").read_text())
    assert stored["detection"]["DBA"]["norm"] == 1.0
    assert 0.2 < stored["detection"]["DBA"]["cosine"] < 0.8
    for name in ("grid.png", "roc.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_detection_is_measured_against_the_mean_wherever_it_stands(tmp_path):
    turned = found()
    turned.scores["norm"][0] = 0.0  # of the first defence, on which nobody is found
    summary = grid_report.summarise(SMOKE_GRID, ["FLTrust", "mean"], turned)
    assert summary["detection"]["DBA"]["norm"] == 1.0
    grid_report.write(tmp_path, SMOKE_GRID, ["FLTrust", "median"], turned, {})
    assert "detection" not in json.loads((tmp_path / "grid.json").read_text())
    assert (tmp_path / "grid.png").is_file()
    assert not (tmp_path / "roc.png").exists()


def test_a_report_of_some_attacks(tmp_path):
    whole = found()
    keep = [ATTACKS.index(name) for name in ("DBA", "IPM")]
    cut = lambda a: a[:, keep]
    some = Found(
        ("DBA", "IPM"),
        cut(whole.main),
        cut(whole.backdoor),
        cut(whole.malicious),
        {name: cut(a) for name, a in whole.scores.items()},
        {name: a[keep] for name, a in whole.before.items()},
        cut(whole.finite),
    )
    text = grid_report.write(tmp_path, SMOKE_GRID, DEFENCES, some, {})
    assert text.split("\n\n") == [
        "| | DBA |\n|---|---|\n| mean | 100 / 90 |\n| median | 0 / 90 |",
        "| | IPM |\n|---|---|\n| mean | 75 / 20 |\n| median | 5 / 90 |",
    ]


def test_without_pretraining_the_loss_is_against_training_in_peace():
    scratch = dataclasses.replace(SMOKE_GRID, pretrained=False)
    summary = grid_report.summarise(scratch, DEFENCES, found())
    hurt = grid_report.damage(summary, DEFENCES)
    assert hurt[ATTACKS.index("IPM")].tolist() == [70.0, 0.0]  # 90 % without an attack, 20 with it


def test_rounds_of_a_diverged_model_have_no_scores(tmp_path):
    broken = found()
    dba, ipm = ATTACKS.index("DBA"), ATTACKS.index("IPM")
    broken.scores["norm"][0, dba, :, 1, 5] = np.nan  # the second of two rounds
    broken.scores["norm"][0, ipm] = np.nan
    broken.scores["norm"][0, ATTACKS.index("adaptive")] = np.nan  # one of those that are drawn
    grid_report.write(tmp_path, SMOKE_GRID, DEFENCES, broken, {})
    areas = json.loads((tmp_path / "grid.json").read_text())["detection"]
    assert areas["DBA"]["norm"] == 1.0
    assert "norm" not in areas["IPM"]
    assert "cosine" in areas["IPM"]


def test_attackers_who_sent_no_numbers_are_told():
    """The rule looked as if it held, though no rule had seen them."""
    broken = found()
    broken.finite[1, ATTACKS.index("DBA"), 0, 0, 0] = False  # one of two attackers, rounds, seeds
    broken.finite[0, :, :, :, 5] = False  # an honest one says nothing of the attack
    text = grid_report.tables(grid_report.summarise(SMOKE_GRID, DEFENCES, broken), DEFENCES)
    said = [part for part in text.split("\n\n") if "left out" in part]
    assert said == [
        "12.5 % of the updates of DBA under median were not finite and were left out, whatever the"
        " rule."
    ]
