"""The layer and the decoders of rebuilt hints are what their equations say."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.clrs import layout, processors, rebuild

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import direct

H, N, C = 4, 3, 2


def test_encodings_and_logits_are_those_of_the_equations():
    keys = jax.random.split(jax.random.key(1), 5)
    counts = layout.Counts(node=2, edge=1, graph=1, pointer=1, edge_pointer=0)
    params = rebuild.init(keys[0], counts, H)
    normal = lambda i, *shape: jax.random.normal(keys[i], shape)
    node, x, graph, w = normal(1, H, N), normal(2, C, N, N), normal(3, H), normal(4, C, H)
    batch = lambda v: jnp.stack([v, 2 * v], axis=-1)

    @jax.jit
    def ours():
        ready = rebuild.prepare(params, processors.Edges(w, jnp.ones(H)), jnp.float32)
        mask = jnp.ones((N, 2))
        encoded = rebuild.encode(ready, batch(node), batch(x), batch(graph), mask > 0)
        return encoded, rebuild.logits(ready, encoded, batch(x), batch(graph), mask)

    @jax.jit
    def equations():
        edge = jnp.einsum("ch,cij->ijh", w, x) + 1
        expected = direct.hear(params["layer"], node.T, edge, graph)
        return expected, direct.decode(params["hints"], expected, edge, graph)

    encoded, logits = ours()
    with jax.numpy_rank_promotion("allow"):
        expected, said = equations()
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    close(encoded[..., 0], expected.T)
    close(jnp.moveaxis(logits.node[..., 0], 0, -1), said["node"])
    close(logits.edge[..., 0].T.reshape(N, N, -1), said["edge"])
    close(logits.graph[..., 0], said["graph"])
    close(logits.pointer[0, ..., 0], said["pointer"][0])
