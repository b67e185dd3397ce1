import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import tree
from fl_jax.nn import lenet, network


def test_blocks_and_patches_are_one_network(key):
    fast = network.from_nnx(lambda rngs: lenet.LeNet(rngs=rngs))
    slow = network.from_nnx(lambda rngs: lenet.LeNet(method="patches", rngs=rngs))
    params, _ = fast.init(key)
    assert tree.size(params) == 62_006
    x = jax.random.normal(jax.random.fold_in(key, 1), (2, 32, 32, 3))

    def of(net):
        loss = lambda params: jnp.sum(jnp.square(net.apply(params, {}, x)[0]))
        return jax.jit(jax.value_and_grad(loss))(params)

    (value, gradient), (expected, wanted) = of(fast), of(slow)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for found, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(wanted), strict=True):
        assert float(jnp.linalg.norm(found - other)) <= 1e-5 * float(jnp.linalg.norm(other))
