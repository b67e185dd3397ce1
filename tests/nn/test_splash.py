"""The TPU's kernel: values and derivatives interpreted, and what is compiled for TPUs from here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from fl_jax.nn import attention, splash
from fl_jax.train import mesh as meshes
from fl_jax.train.mesh import MeshConfig


def make(batch=1, time=37, heads=2, width=24, dtype="float32"):
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(k, (batch, time, heads, width)).astype(dtype) for k in keys]


def ours(interpret, q, k, v, segments=None):
    """The output, and derivatives of a sum over it that no place enters as another does."""

    def loss(q, k, v):
        scaled = q * (1 / np.sqrt(q.shape[-1]).item())
        out = splash.attention(scaled, k, v, segments, interpret=interpret)
        return weigh(out), out

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        (_, out), grads = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(q, k, v)
    return out, *grads


def theirs(q, k, v, segments=None):
    def loss(q, k, v):
        out = attention.attention(
            q, k, v, slopes=np.zeros(q.shape[2]), segments=segments, implementation="einsum"
        )
        return weigh(out), out

    (_, out), grads = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(q, k, v)
    return out, *grads


def weigh(out):
    return jnp.sum(out.astype(jnp.float32) * jnp.sin(jnp.arange(out.size)).reshape(out.shape))


def close(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


@pytest.mark.parametrize(
    "time", [37, *(pytest.param(t, marks=pytest.mark.slow) for t in (1, 128, 130))]
)
@pytest.mark.parametrize("segmented", [False, True])
def test_interpreted_it_equals_the_definition_at_any_length(time, segmented):
    given = make(time=time)
    ids = jnp.arange(time)[None] // 20 if segmented else None
    close(jax.jit(ours, static_argnums=0)(True, *given, ids), jax.jit(theirs)(*given, ids))


@pytest.mark.parametrize("rows", [4, pytest.param(3, marks=pytest.mark.slow)])
def test_a_mesh_changes_nothing(rows):
    """Also where it does not divide the examples, which every device then computes."""
    given = make(batch=rows)
    ids = jnp.broadcast_to(jnp.arange(37) // 20, (rows, 37))
    mesh = MeshConfig(data=2, fsdp=2, tensor=2).make()
    with meshes.use(mesh):
        found = jax.jit(ours, static_argnums=0)(True, *given, ids)
    close(found, jax.jit(theirs)(*given, ids))


@pytest.mark.parametrize("time", [16, 100, 256])
@pytest.mark.parametrize("sizes", [{}, {"data": 4, "tensor": 2}, {"data": 8}], ids=str)
def test_it_compiles_for_a_tpu(time, sizes):
    shapes = jax.eval_shape(lambda: make(4, time, 4, 72, "bfloat16"))
    ids = jax.ShapeDtypeStruct((4, time), jnp.int32)

    def lowered():
        traced = jax.jit(ours, static_argnums=0).trace(False, *shapes, ids)
        return traced.lower(lowering_platforms=("tpu",)).as_text()

    if not sizes:
        assert lowered().count("tpu_custom_call") == 3  # forward, and two ways back
        return
    with meshes.use(MeshConfig(**sizes).make()):
        text = lowered()
    rows = 1 if sizes["data"] == 4 else 4  # 8 devices do not divide 4 examples
    heads = 4 // sizes.get("tensor", 1)
    assert f"tensor<{rows}x{heads}x{-(-time // 128) * 128}x128xbf16>" in text


def test_it_compiles_for_models_that_a_mesh_deals_out():
    """Each is split further by the compiler, except within the kernel."""
    mesh = MeshConfig(clients=2, fsdp=2, tensor=2).make()
    shapes = jax.eval_shape(lambda: make(4, 100, 4, 72))
    split = PartitionSpec("clients")
    many = meshes.shard_map(
        lambda *given: ours(False, *given), mesh, split, split, over="clients", check=False
    )
    with meshes.use(mesh):
        text = jax.jit(many).trace(*shapes).lower(lowering_platforms=("tpu",)).as_text()
    assert "tensor<1x2x128x128xf32>" in text
