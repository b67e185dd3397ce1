"""Pieces keep memory between steps, and are left out where they would harm."""

import importlib.metadata
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.train import allocator, pieces
from tests.train.test_allocator import large_pages

PROGRAM = """
import resource
import statistics
from fl_jax.train import allocator
allocator.keep_memory()
import jax, jax.numpy as jnp
from fl_jax.train import pieces

def program(x):  # twelve arrays of 8 MB, all needed up to the end
    first = [jnp.cumsum(x + i) for i in range(12)]
    total = first[-1]
    for other in first:
        total = jnp.cumsum(total * other)
    return total[-1]

x = jnp.ones(2_000_000)
run = jax.jit(program, compiler_options=pieces.compiler_options(x))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
seen = []
for _ in range(11):
    before = faults()
    for _ in range(6):
        run(x).block_until_ready()
    seen.append(faults() - before)
# each heap that XLA's threads take up fetches its memory once, and when it does so is luck
print(statistics.median(seen))
"""
TRIED = importlib.metadata.version("jaxlib").startswith(pieces.TRIED)
SMALL = {"kernel": jax.ShapeDtypeStruct((8, 8), jnp.float32)}


@pytest.fixture(autouse=True)
def nothing_stored(monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.skipif(not TRIED, reason=f"jaxlib is given pieces in versions {pieces.TRIED}")
@pytest.mark.skipif(not large_pages(), reason="takes glibc 2.35 and a kernel with large pages")
def test_temporary_arrays_are_kept():
    names = {*allocator.settings({}), "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR"}
    environment = {k: v for k, v in os.environ.items() if k not in names}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        env=environment | {"JAX_PLATFORMS": "cpu"},
    )
    assert float(done.stdout) < 50  # 96 MB in pages of 2 MB, six times, are 300


def test_results_do_not_change():
    x = jnp.arange(64.0).reshape(8, 8)
    run = lambda options: jax.jit(lambda a: a @ a.T, compiler_options=options)(x)
    np.testing.assert_array_equal(run(pieces.compiler_options(SMALL)), run({}))


def test_no_pieces_where_a_parameter_is_larger(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.10.2")
    of = lambda n: {"table": jax.ShapeDtypeStruct((n, 2**18), jnp.float32)}
    assert pieces.compiler_options(of(60))
    assert pieces.compiler_options(of(61)) == {}


def test_no_pieces_where_programs_are_stored(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    assert pieces.compiler_options(SMALL) == {}


def test_no_pieces_for_an_unknown_compiler(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.11.0")
    assert pieces.compiler_options(SMALL) == {}


def test_no_pieces_on_accelerators(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert pieces.compiler_options(SMALL) == {}
