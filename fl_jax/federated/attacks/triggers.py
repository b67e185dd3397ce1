"""What makes an input a backdoor input."""

import numpy as np

from fl_jax.core import errors

# -1 leaves the image's own pixel. From backdoors101 (Bagdasaryan & Shmatikov 2021).
CROSS = np.array(
    [[1, 0, 1], [-1, 1, -1], [-1, -1, 0], [-1, 1, -1], [1, 0, 1]],
    np.float32,
)


def stamp(
    images: np.ndarray,
    *,
    pattern: np.ndarray = CROSS,
    row: int = 3,
    column: int = 23,
    high: int = 255,
) -> np.ndarray:
    """The images with a pixel pattern on all channels.

    Args:
        images: (n, height, width, channels) uint8; they are not changed.
        pattern: (rows, columns): 1 = `high`, 0 = black, -1 = leave the pixel.
        row: where the pattern's top left corner lies.
        column: likewise.
        high: the value of a lit pixel.

    Raises:
        ConfigError: the pattern does not lie inside the image.
    """
    height, width = images.shape[1:3]
    bottom, right = row + pattern.shape[0], column + pattern.shape[1]
    if row < 0 or column < 0 or bottom > height or right > width:
        raise errors.ConfigError(
            f"the trigger covers rows {row}..{bottom - 1} and columns {column}..{right - 1}, but"
            f" the images are {height} x {width}; move it inside."
        )
    out = images.copy()
    place = out[:, row:bottom, column:right, :]
    lit = np.broadcast_to(pattern[None, :, :, None], place.shape)
    place[...] = np.where(lit < 0, place, (lit * high).astype(images.dtype))
    return out
