import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.train import mesh


def test_takes_all_devices():
    made = mesh.MeshConfig(clients=2, data=2, tensor=-1).make()
    assert dict(made.shape) == {"clients": 2, "data": 2, "fsdp": 1, "tensor": 2}
    assert {t.name for t in made.axis_types} == {"Auto"}
    assert sorted(d.id for d in made.devices.flat) == list(range(8))


def test_one_device_is_a_mesh():
    made = mesh.MeshConfig().make(jax.devices()[:1])
    assert made.size == 1


def test_further_axes_stand_outside():
    made = mesh.MeshConfig(further=(("expert", 4),), tensor=2).make()
    assert made.axis_names == ("expert", "clients", "data", "fsdp", "tensor")
    assert made.shape["expert"] == 4


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (mesh.MeshConfig(clients=3), "takes 3 devices and there are 8"),
        (mesh.MeshConfig(clients=-1, data=3), "takes a multiple of 3 devices and there are 8"),
        (mesh.MeshConfig(clients=-1, data=-1), "one of them may be -1"),
        (mesh.MeshConfig(clients=0), "sizes are above 0"),
        (mesh.MeshConfig(clients=-2), "sizes are above 0"),
    ],
)
def test_misfits_are_sentences(config, told):
    with pytest.raises(errors.ConfigError, match=told):
        config.make()


def test_a_mesh_axis_serves_one_axis_of_an_array():
    assert tuple(mesh.spec("batch", None, "embed")) == (("data", "fsdp"), None, None)
    assert tuple(mesh.spec("vocab", "embed")) == ("tensor", "fsdp")
    assert tuple(mesh.spec("heads", "mlp")) == ("tensor", None)
    with pytest.raises(errors.ConfigError, match="did you mean 'embed'"):
        mesh.spec("embeds")


def test_another_table():
    table = {**mesh.AXES, "expert": ("expert",)}
    assert tuple(mesh.spec("expert", "mlp", axes=table)) == ("expert", "tensor")


def test_axes_that_a_mesh_has_not_do_not_count():
    own = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    assert tuple(mesh.sharding(own, "batch", "embed").spec) == ("data", None)


def test_sharding_places_shards():
    made = mesh.MeshConfig(clients=4, tensor=2).make()
    placed = jax.device_put(jnp.ones((8, 3, 4)), mesh.sharding(made, "clients", None, "mlp"))
    assert {s.data.shape for s in placed.addressable_shards} == {(2, 3, 2)}
    copied = jax.device_put(jnp.ones(3), mesh.sharding(made))
    assert copied.is_fully_replicated and len(copied.addressable_shards) == 8


def test_shard_map_sums_over_devices():
    made = mesh.MeshConfig(clients=8).make()
    total = mesh.shard_map(
        lambda x: jax.lax.psum(jnp.sum(x), "clients"), made, mesh.spec("clients"), mesh.spec()
    )
    assert float(jax.jit(total)(jnp.arange(16.0))) == 120


def test_use_makes_bare_specs_mean_the_mesh():
    made = mesh.MeshConfig(clients=8).make()
    with mesh.use(made):
        placed = jax.device_put(jnp.arange(8.0), mesh.spec("clients"))
    assert placed.sharding == mesh.sharding(made, "clients")
    np.testing.assert_array_equal(placed, np.arange(8))
