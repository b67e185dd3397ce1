"""Every test runs on eight virtual CPU devices, promotion strict, annotations checked."""

import beartype
import jax
import jaxtyping
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# From here on, importing the packages turns each annotation into an assertion. An int passes
# for a float, as in every type checker.
checked = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
jaxtyping.install_import_hook(["fl_jax", "algorithmic", "privacy"], f"{__name__}.checked")


@pytest.fixture
def key():
    """A key that is the same in every run."""
    return jax.random.key(20)


def pytest_runtest_setup(item):
    """Tests on real data join in where their folders are, and say which one is missing."""
    from fl_jax.data import sources

    for mark in item.iter_markers("data"):
        for name in mark.args:
            if sources.folder(name) is None:
                pytest.skip(f"needs $FL_JAX_DATA/{name}")
