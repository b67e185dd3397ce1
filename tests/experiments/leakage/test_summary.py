import dataclasses

from experiments.leakage import config, report, summary


def test_noise_too_small_for_any_privacy_is_said_and_does_not_end_the_run():
    asked = dataclasses.replace(config.SMOKE, rounds=300, noises=(0.01, 1.0))
    little, much = summary.privacy(asked)
    assert little["eps"] is None
    assert 100 < much["eps"] < 300
    assert "noise 0.01: eps above 1e6, noise 1: eps" in report.privacy_text([little, much], asked)
    for noise in (0.0, 1e-9, 6e-4):  # clipping alone, and two that the accountant need not see
        assert summary.privacy(dataclasses.replace(asked, noises=(noise,)))[0]["eps"] is None


def test_a_correlation_that_is_undefined_does_not_end_the_run():
    row = {
        "part": "fraction", "name": "K = 2", "seed": 0, "auc": 0.5, "accuracy": 0.5,
        "spearman": None, "shares": {"1": 0.5},
    }  # fmt: skip
    line = summary.summarise(config.SMOKE, [row], {}, "smoke").details["table"][0]
    assert line["spearman"] is None and "all equal" in report.share_table(line)
