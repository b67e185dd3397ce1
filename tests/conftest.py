"""Every test runs on eight virtual CPU devices, promotion strict, annotations checked."""

import gc
import pathlib

import beartype
import jax
import jaxtyping
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Thousands of programs are lowered: where in the source each operation stands is not asked for,
# and looking for garbage among what JAX keeps anyway is rare.
jax.config.update("jax_traceback_in_locations_limit", 0)
gc.set_threshold(100_000, 20, 100)

# From here on, importing the packages turns each annotation into an assertion. An int passes
# for a float, as in every type checker.
checked = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
jaxtyping.install_import_hook(["fl_jax", "algorithmic", "privacy"], f"{__name__}.checked")


MAPS = 30_000  # of the 65,530 pieces of memory that Linux gives a process; then XLA crashes


@pytest.fixture(scope="module", autouse=True)
def _programs_are_let_go():
    """A worker compiles thousands of programs, each some pieces of memory, and keeps them all."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPS:
        jax.clear_caches()
        gc.collect()


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
