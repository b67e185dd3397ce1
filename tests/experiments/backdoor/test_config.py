"""Settings that depend on the backdoor."""

import dataclasses

from experiments.backdoor.config import CIFAR10, PAPER, SMALL


def test_the_pixel_pattern_may_take_another_share_of_a_batch():
    assert CIFAR10.per_batch("pixel pattern") == CIFAR10.pixel_per_batch
    assert CIFAR10.per_batch("green cars") == CIFAR10.backdoor_per_batch
    without = dataclasses.replace(CIFAR10, pixel_per_batch=0)
    assert without.per_batch("pixel pattern") == CIFAR10.backdoor_per_batch


def test_published_copies_are_only_rotated():
    for config in (PAPER, SMALL):
        assert not (config.backdoor_zoom or config.backdoor_light or config.backdoor_colour)
        assert config.per_batch("pixel pattern") == config.backdoor_per_batch
