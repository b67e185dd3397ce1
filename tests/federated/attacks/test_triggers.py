import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.attacks import triggers

IMAGES = np.full((2, 8, 9, 3), 77, np.uint8)


def test_the_pattern_covers_its_pixels_and_no_others():
    out = triggers.stamp(IMAGES, row=2, column=5)
    expected = np.full((8, 9), 77, np.uint8)
    expected[2:7, 5:8] = [
        [255, 0, 255],
        [77, 255, 77],
        [77, 77, 0],
        [77, 255, 77],
        [255, 0, 255],
    ]
    np.testing.assert_array_equal(out, np.broadcast_to(expected[None, :, :, None], out.shape))
    assert (IMAGES == 77).all()


@pytest.mark.parametrize(("row", "column"), [(4, 0), (0, 7), (-1, 0)])
def test_a_trigger_outside_the_image_is_refused(row, column):
    with pytest.raises(errors.ConfigError, match="but the images are 8 x 9"):
        triggers.stamp(IMAGES, row=row, column=column)
