"""The backdoors of the main job's task."""

import dataclasses

import numpy as np
import pytest

from experiments.backdoor import task as tasks
from experiments.backdoor.config import CIFAR10, SMOKE
from fl_jax.core import errors


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


@pytest.mark.data("cifar10")
def test_every_further_split_holds_out_others_of_the_same_number():
    config = dataclasses.replace(CIFAR10, width=4, backdoor_variants=0, splits=3)
    task = tasks.make(config)
    first, *further = task.splits
    assert set(first) == {"pixel pattern", *further[0]}
    for name in further[0]:
        drawn = [{i.tobytes() for i in found[name].test["x"]} for found in task.splits]
        trained = [{i.tobytes() for i in found[name].train["x"]} for found in task.splits]
        assert len({len(d) for d in drawn}) == len({len(t) for t in trained}) == 1
        assert all(not d & t for d, t in zip(drawn, trained, strict=True))
        assert len({frozenset(d) for d in drawn}) == 3
    with pytest.raises(errors.ConfigError, match="splits"):
        tasks.make(dataclasses.replace(config, splits=0))


def test_backdoors_are_repeated_to_the_largest():
    few, many = (
        tasks.Backdoor({"x": np.arange(2 * n).reshape(n, 2), "y": np.arange(n)}, {}) for n in (2, 5)
    )
    found = tasks.repeated(few.train, (few, many))
    assert found["y"].tolist() == [0, 1, 0, 1, 0]
    assert found["x"].tolist() == [[0, 1], [2, 3], [0, 1], [2, 3], [0, 1]]
    np.testing.assert_array_equal(tasks.repeated(many.train, (few, many))["y"], np.arange(5))
