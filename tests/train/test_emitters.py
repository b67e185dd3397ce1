import functools

import jax
import jax.numpy as jnp
import pytest

from fl_jax.train import emitters


@functools.partial(emitters.jit_without, static_argnames="power")
def raised(x, power=2):
    return jnp.sum(jnp.sin(x) ** power)


def test_it_is_the_function_alone_and_inside_every_transformation():
    x = jnp.arange(3.0)
    expected = float(jnp.sum(jnp.sin(x) ** 2))
    assert float(raised(x)) == pytest.approx(expected)
    assert float(raised(x, power=4)) == pytest.approx(float(jnp.sum(jnp.sin(x) ** 4)))
    assert float(jax.jit(raised)(x)) == pytest.approx(expected)
    assert float(jax.jit(lambda: raised(x))()) == pytest.approx(expected)  # nothing traced given
    assert jax.vmap(raised)(x[:, None]).shape == (3,)
    assert jax.grad(raised)(x).tolist() == pytest.approx(jnp.sin(2 * x).tolist(), abs=1e-6)


def test_the_option_reaches_a_compiler_that_has_it(monkeypatch):
    expected = [{}, {"compiler_options": emitters.OPTION}] if emitters.optional() else [{}]
    asked, plain = [], jax.jit

    def jit(f, **options):
        asked.append(options)
        return plain(f, **options)

    monkeypatch.setattr(jax, "jit", jit)
    emitters.jit_without(lambda x: x + 1)(jnp.zeros(()))
    assert asked == expected


def test_a_compiler_without_the_option_is_left_alone(monkeypatch):
    monkeypatch.setattr(emitters, "OPTION", {"xla_cpu_there_is_no_such_thing": False})
    emitters.optional.cache_clear()
    try:
        assert not emitters.optional()
        assert float(emitters.jit_without(lambda x: x + 1)(jnp.zeros(()))) == 1
    finally:
        emitters.optional.cache_clear()
