"""The backdoors of the main job's task."""

import dataclasses

import numpy as np
import pytest

from experiments.backdoor import task as tasks
from experiments.backdoor.config import CIFAR10, SMOKE


def test_a_style_is_in_no_share_and_its_test_images_are_not_trained_on():
    task = tasks.make(SMOKE)
    style = task.backdoors["one style of 1"]
    flat = lambda x: {image.tobytes() for image in np.asarray(x)}
    assert not flat(style.train["x"]) & flat(style.test["x"])
    assert not (flat(style.train["x"]) | flat(style.test["x"])) & flat(task.pool["x"])


@pytest.mark.data("cifar10")
def test_features_of_cars_are_split_as_the_authors_did():
    """Three images held out of 22 and 30, of the wall's 12 the five that they list."""
    config = dataclasses.replace(CIFAR10, width=4, backdoor_variants=0)
    backdoors = tasks.make(config).backdoors
    for name, trained, tested in (
        ("racing stripes", 19, 3),
        ("green cars", 27, 3),
        ("striped wall", 7, 5),
    ):
        train, test = backdoors[name].train["x"], backdoors[name].test["x"]
        assert len(train) == trained
        drawn = {image.tobytes() for image in test}
        assert len(drawn) == tested
        assert not drawn & {image.tobytes() for image in train}
        assert set(backdoors[name].train["y"].tolist()) == {tasks.BIRD}


def test_variants_turn_every_image_and_keep_its_middle():
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    turned = tasks._variants(draw, images, 7)
    assert turned.shape == (7, 8, 8, 3) and turned.dtype == np.uint8
    assert all((turned[i] != images[i % 3]).any() for i in range(7))
    smooth = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None] * 20, (1, 8, 8, 3))
    assert abs(tasks._variants(draw, smooth, 1)[0, 3:5, 3:5].mean() - 70) < 5
    assert tasks._variants(draw, images, 0) is images
