import pytest

from experiments.backdoor import config as configs
from experiments.backdoor import sweeps


def test_a_share_of_participants_is_rounded_up():
    assert [sweeps.round_up(v) for v in (0.2, 1.0, 1.4, 20.0)] == [1, 1, 2, 20]


@pytest.mark.slow
def test_all_sweeps_have_curves_for_every_cell():
    found = sweeps.run(configs.SMOKE, early=2)
    assert list(found) == ["gamma", "early and late", "repeated"]
    for labels, curves in found.values():
        shape = (len(labels), configs.SMOKE.seeds, configs.SMOKE.follow_rounds + 1)
        assert curves.main.shape == curves.backdoor.shape == shape
