import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn.tokens import check_tokens


@pytest.mark.parametrize("tokens", [jnp.zeros((1, 2)), jnp.zeros(2, int), jnp.zeros((1, 0), int)])
def test_tokens_of_another_form_are_refused(tokens):
    with pytest.raises(errors.DataError, match=r"integers of shape \(batch, time\)"):
        check_tokens(tokens, 10)


@pytest.mark.parametrize("bad", [-1, 10])
def test_ids_outside_the_vocabulary_are_named(bad):
    with pytest.raises(errors.DataError, match=f"ids from 0 to 9, but there is a {bad};"):
        check_tokens(np.array([[0, bad, 9]]), 10)
    check_tokens(np.array([[0, 9]]), 10)


def test_what_is_traced_passes_but_for_its_form():
    jax.jit(lambda tokens: check_tokens(tokens, 10))(jnp.array([[11]]))
    with pytest.raises(errors.DataError, match="got float32"):
        jax.jit(lambda tokens: check_tokens(tokens, 10))(jnp.array([[1.0]]))
