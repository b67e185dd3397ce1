import dataclasses

from experiments.leakage import config, report, summary


def test_noise_too_small_for_any_privacy_is_said_and_does_not_end_the_run():
    asked = dataclasses.replace(config.SMOKE, rounds=300, noises=(0.01, 1.0))
    little, much = summary.privacy(asked)
    assert little["eps"] is None
    assert 100 < much["eps"] < 300
    assert "noise 0.01: eps above 1e6, noise 1: eps" in report.privacy_text([little, much], asked)
