import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fl_jax.core import errors
from fl_jax.federated.attacks import a3fl
from fl_jax.nn import loss, network
from fl_jax.train.state import Variables


class Flat(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(16, 3, rngs=rngs)

    def __call__(self, x):
        return self.dense(x.reshape(x.shape[0], -1))


NET = network.from_nnx(lambda rngs: Flat(rngs))
LOSS = loss.classification(NET, train=False)


def test_the_trigger_is_learnt_within_its_mask(key):
    g = Variables(*NET.init(key))
    x = jax.random.uniform(key, (40, 4, 4, 1))
    examples = {"x": x, "y": jnp.zeros(40, jnp.int32)}
    mask = jnp.zeros((4, 4, 1)).at[:2, :3].set(1.0)
    trigger = a3fl.optimise_trigger(
        LOSS, g, examples, key, trigger=0.5 * mask, mask=mask, target=2, rounds=4, batch_size=16
    )
    assert float(trigger.min()) >= 0
    assert float(trigger.max()) <= 1
    np.testing.assert_array_equal(trigger[mask == 0], 0)
    value = lambda t: float(
        LOSS(g, {"x": x * (1 - mask[None]) + (t * mask)[None], "y": jnp.full(40, 2)}, key)[0]
    )
    assert value(trigger) < value(0.5 * mask)


def test_a_mask_of_another_shape_is_refused(key):
    with pytest.raises(errors.ConfigError, match="give both the shape of an image"):
        a3fl.optimise_trigger(
            LOSS,
            Variables({}, {}),
            {"x": jnp.zeros((1, 4, 4, 1)), "y": jnp.zeros(1, jnp.int32)},
            key,
            trigger=jnp.zeros((4, 4, 1)),
            mask=jnp.zeros((4, 4, 3)),
            target=0,
        )
