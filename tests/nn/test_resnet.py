import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import tree
from fl_jax.nn import network, resnet


def test_the_light_resnet18_has_the_papers_number_of_parameters():
    net = network.from_nnx(lambda rngs: resnet.ResNet(rngs=rngs))
    params, stats = jax.eval_shape(net.init, jax.random.key(0))
    assert tree.size(params) == 2_797_610
    assert stats  # running means and variances, which are federated too


def test_a_batch_filled_with_padding_gives_what_the_short_one_gives(key):
    net = network.from_nnx(
        lambda rngs: resnet.ResNet(channels=1, blocks=(1, 1), width=4, rngs=rngs)
    )
    params, stats = net.init(key)
    x = jax.random.normal(key, (5, 8, 8, 1))
    filled = jnp.concatenate([x, 100 * jnp.ones((3, 8, 8, 1))])
    mask = jnp.array([1.0] * 5 + [0.0] * 3)
    apply = jax.jit(net.apply, static_argnames="train")
    short, moved = apply(params, stats, x, train=True)
    long, padded = apply(params, stats, filled, train=True, mask=mask)
    np.testing.assert_allclose(long[:5], short, rtol=1e-3, atol=1e-4)
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(padded), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
