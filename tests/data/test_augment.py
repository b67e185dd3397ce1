import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.data import augment


def test_every_result_is_a_crop_of_the_padded_image_or_its_mirror(key):
    image = jnp.arange(1.0, 21.0).reshape(1, 4, 5, 1)
    many = jnp.broadcast_to(image, (400, 4, 5, 1))
    out = np.asarray(augment.crop_and_flip(key, many, pad=1))[..., 0]
    padded = np.pad(np.asarray(image)[0, :, :, 0], 1)
    crops = {
        padded[r : r + 4, c : c + 5][:, ::turn].tobytes()
        for r in range(3)
        for c in range(3)
        for turn in (1, -1)
    }
    seen = {o.tobytes() for o in np.ascontiguousarray(out)}
    assert seen == crops  # nothing else, and all of them


def test_without_padding_or_mirror_nothing_changes(key):
    image = jax.random.normal(key, (3, 4, 4, 2))
    np.testing.assert_array_equal(augment.crop_and_flip(key, image, pad=0, flip=False), image)
