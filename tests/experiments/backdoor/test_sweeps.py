import pytest

from experiments.backdoor import config as configs
from experiments.backdoor import sweeps
from experiments.backdoor import task as tasks


def test_a_share_of_participants_is_rounded_up():
    assert [sweeps.round_up(v) for v in (0.2, 1.0, 1.4, 20.0)] == [1, 1, 2, 20]


@pytest.mark.slow
def test_all_sweeps_have_curves_for_every_cell():
    found = sweeps.run(sweeps.SMOKE_SWEEPS)
    assert list(found) == [
        "gamma",
        "durability",
        "early and late",
        "early and late, plain mean",
        "repeated",
    ]
    for labels, curves in found.values():
        shape = (len(labels), configs.SMOKE.seeds, configs.SMOKE.follow_rounds + 1)
        assert curves.main.shape == curves.backdoor.shape == shape


@pytest.mark.parametrize("chosen", [sweeps.DIGITS, sweeps.SMOKE_SWEEPS])
def test_the_backdoors_of_the_sweeps_exist(chosen):
    known = tasks.make(chosen.config).backdoors
    assert {chosen.backdoor, *chosen.features} <= set(known)


@pytest.mark.data("cifar10")
def test_the_backdoors_of_the_sweep_on_cifar10_exist():
    known = tasks.make(sweeps.CIFAR10_SWEEPS.config).backdoors
    assert {sweeps.CIFAR10_SWEEPS.backdoor, *sweeps.CIFAR10_SWEEPS.features} <= set(known)
