"""Copies that the attacker makes of its few images: turned, stretched, lit and coloured."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

TILT = 15.0  # degrees that a copy is turned by at most


class Spread(NamedTuple):
    """How far copies differ from their image; 0 = not at all."""

    zoom: float = 0.0  # |log| of the factors of height and width at most
    light: float = 0.0  # of the factors of brightness and of contrast, how far from 1 at most
    colour: float = 0.0  # of the factor of each channel, the same


def variants(
    rng: np.random.Generator, images: np.ndarray, count: int, spread: Spread = Spread()
) -> np.ndarray:
    """`count` copies (count, height, width, channels) of the images in turn; 0 = as they are.

    The turn is drawn uniformly up to TILT degrees, everything else uniformly within `spread`;
    pixels from outside repeat the edge.

    Args:
        images: (any, height, width, channels), uint8.
    """
    if not count:
        return images
    angles = np.deg2rad(rng.uniform(-TILT, TILT, count))
    (rng,) = rng.spawn(1)  # so that what is drawn after the copies does not depend on the spread
    copies = []
    for i, angle in enumerate(angles):
        zoom = np.exp(rng.uniform(-spread.zoom, spread.zoom, 2))
        copy = _warped(images[i % len(images)], angle, zoom)
        contrast, brightness = 1 + rng.uniform(-spread.light, spread.light, 2)
        channels = 1 + rng.uniform(-spread.colour, spread.colour, copy.shape[-1])
        middle = copy.mean()
        copies.append((middle + contrast * (copy - middle)) * brightness * channels)
    return np.clip(np.rint(copies), 0, 255).astype(images.dtype)


def _warped(image: np.ndarray, angle: float, zoom: np.ndarray) -> np.ndarray:
    """The image (height, width, channels) turned and stretched about its middle, float64."""
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.eye(3)  # from a place in the copy to one in the image; channels stay
    back[:2, :2] = np.array([[cos, sin], [-sin, cos]]) / zoom[:, None]
    middle = (np.array(image.shape) - 1) / 2
    shift = middle - back @ middle
    return ndimage.affine_transform(
        image.astype(np.float64), back, offset=shift, order=1, mode="nearest"
    )
