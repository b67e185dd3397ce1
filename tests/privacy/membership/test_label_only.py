import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from privacy.membership import label_only, target


def test_far_from_the_boundary_is_more_robust(key):
    answer = lambda x: jax.nn.softmax(jnp.stack([x[:, 0], -x[:, 0]], 1))
    box = target.BlackBox(answer, classes=2)
    x = np.array([[0.1], [0.5], [3.0], [-1.0]], np.float32)
    labels = np.zeros(4, int)
    assert label_only.gap(box, x, labels).tolist() == [1, 1, 1, 0]
    found = label_only.robustness(box, x, labels, label_only.gaussian(0.5), key, copies=64)
    assert found[3] < found[0] < found[1] < found[2] == 1.0
    assert box.meter.count == 4 + 4 * 65


def test_flips_and_shifts(key):
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (50, 200)), jnp.uint8)
    turned = label_only.flips(0.1)(key, x)
    assert turned.dtype == x.dtype and 0.08 < float(jnp.mean(turned != x)) < 0.12
    image = jnp.zeros((20, 5, 5, 1)).at[:, 2, 2].set(1.0)
    moved = np.asarray(label_only.shifts(2)(key, image))
    assert moved.sum((1, 2, 3)).tolist() == [1.0] * 20  # a pixel in the middle stays inside
    places = {tuple(np.argwhere(m[..., 0])[0]) for m in moved}
    assert len(places) > 5


def test_bits_may_be_bool_and_labels_are_one_a_record():
    x = np.random.default_rng(0).random((6, 5)) < 0.5
    key = jax.random.key(0)
    turned = label_only.flips(0.5)(key, jnp.asarray(x))
    same = label_only.flips(0.5)(key, jnp.asarray(x, jnp.int32))
    assert turned.dtype == bool
    np.testing.assert_array_equal(turned, np.asarray(same, bool))
    box = target.BlackBox(lambda x: jnp.full((x.shape[0], 2), 0.5), classes=2)
    for labels in (np.zeros(5, int), np.zeros((6, 1), int)):
        with pytest.raises(errors.DataError, match="every record needs one label"):
            label_only.robustness(box, x, labels, label_only.flips(0.2), key, copies=1)
    assert box.meter.count == 0
    with pytest.raises(errors.DataError, match="floating-point records, but bool"):
        label_only.gaussian(0.1)(key, jnp.asarray(x))
