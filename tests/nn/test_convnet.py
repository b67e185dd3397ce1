import jax
import jax.numpy as jnp

from fl_jax.nn import convnet, network


def test_it_halves_the_image_at_every_layer_but_the_first(key):
    net = network.from_nnx(
        lambda rngs: convnet.ConvNet(side=9, channels=2, classes=7, features=(3, 4, 5), rngs=rngs)
    )
    params, stats = net.init(key)
    assert params["dense"]["kernel"].shape == (3 * 3 * 5, 64)
    assert stats == {}
    x = jnp.ones((6, 9, 9, 2))
    assert jax.eval_shape(net.apply, params, stats, x)[0].shape == (6, 7)
    grads = jax.jit(jax.grad(lambda p: jnp.sum(net.apply(p, {}, x)[0] ** 2)))(params)
    assert all(bool(jnp.any(g != 0)) for g in jax.tree.leaves(grads))
