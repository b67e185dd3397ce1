"""The copies that the attacker makes of its images."""

import numpy as np
import pytest
from scipy import ndimage

from experiments.backdoor import variants


def images(count=3, side=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def test_variants_turn_every_image_and_keep_its_middle():
    draw = np.random.default_rng(0)
    turned = variants.variants(draw, images(), 7)
    assert turned.shape == (7, 8, 8, 3) and turned.dtype == np.uint8
    assert all((turned[i] != images()[i % 3]).any() for i in range(7))
    smooth = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None] * 20, (1, 8, 8, 3))
    assert abs(variants.variants(draw, smooth, 1)[0, 3:5, 3:5].mean() - 70) < 5
    given = images()
    assert variants.variants(draw, given, 0) is given


def test_without_a_spread_copies_are_only_rotated():
    """scipy's own rotation is the judge."""
    angle = np.random.default_rng(3).uniform(-variants.TILT, variants.TILT)
    wanted = ndimage.rotate(images()[0], angle, reshape=False, order=1, mode="nearest")
    found = variants.variants(np.random.default_rng(3), images(), 1)[0]
    np.testing.assert_array_equal(found, wanted)


def test_a_zoom_moves_a_column_away_from_the_middle(monkeypatch):
    """Column 5 of 8 stands 1.5 right of the middle: between 1.5 / e^0.3 and 1.5 e^0.3 after it."""
    monkeypatch.setattr(variants, "TILT", 0.0)
    column = np.zeros((1, 8, 8, 1), np.uint8)
    column[:, :, 5] = 200
    spread = variants.Spread(zoom=0.3)
    found = variants.variants(np.random.default_rng(0), column, 40, spread).astype(float)[..., 0]
    places = (found * (np.arange(8) - 3.5)).sum((1, 2)) / found.sum((1, 2))
    assert places.min() > 1.5 * np.exp(-0.3) - 0.3 and places.max() < 1.5 * np.exp(0.3) + 0.3
    assert np.ptp(places) > 0.4


@pytest.mark.parametrize(
    ("spread", "moves", "stays"),
    [
        (variants.Spread(light=0.2), lambda c: c.mean((1, 2, 3)), lambda c: c[..., 0] - c[..., 1]),
        (variants.Spread(colour=0.2), lambda c: c[:, 0, 0, 0] / c[:, 0, 0, 1], lambda c: c * 0),
    ],
    ids=["light", "colour"],
)
def test_light_and_colour_scale_what_they_name(spread, moves, stays):
    """On a plain grey image: brightness leaves it grey, the channels' factors do not."""
    grey = np.full((1, 4, 4, 3), 100, np.uint8)
    copies = variants.variants(np.random.default_rng(0), grey, 50, spread).astype(float)
    assert copies.min() >= 80 and copies.max() <= 120
    assert np.ptp(moves(copies)) > 0.2
    assert not stays(copies).any()


def test_contrast_scales_about_the_mean(monkeypatch):
    monkeypatch.setattr(variants, "TILT", 0.0)
    image = np.where(np.arange(4) < 2, 80, 120).astype(np.uint8)[None, None, :, None]
    image = np.broadcast_to(image, (1, 4, 4, 1))
    copies = variants.variants(np.random.default_rng(0), image, 50, variants.Spread(light=0.2))
    ratio = copies[:, 0, 0, 0] / copies[:, 0, 3, 0]  # brightness cancels; 2/3 as it is
    assert (ratio > 76 / 124 - 0.02).all() and (ratio < 84 / 116 + 0.02).all()
    assert ratio.min() < 0.64 and ratio.max() > 0.69


def test_what_is_drawn_after_the_copies_does_not_depend_on_the_spread():
    after = []
    for spread in (variants.Spread(), variants.Spread(0.1, 0.1, 0.1)):
        draw = np.random.default_rng(4)
        variants.variants(draw, images(), 5, spread)
        after.append(draw.random())
    assert after[0] == after[1]
