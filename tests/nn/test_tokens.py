import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn.tokens import check_mask, check_tokens


@pytest.mark.parametrize("tokens", [jnp.zeros((1, 2)), jnp.zeros(2, int), jnp.zeros((1, 0), int)])
def test_tokens_of_another_form_are_refused(tokens):
    with pytest.raises(errors.DataError, match=r"integers of shape \(batch, time\)"):
        check_tokens(tokens, 10)


def test_lists_are_no_array_of_tokens():
    with pytest.raises(errors.DataError, match="got a list; pad lists of tokens to one length"):
        check_tokens([[1, 2], [3]], 10)


@pytest.mark.parametrize("bad", [-1, 10])
def test_ids_outside_the_vocabulary_are_named(bad):
    with pytest.raises(errors.DataError, match=f"ids from 0 to 9, but there is a {bad};"):
        check_tokens(np.array([[0, bad, 9]]), 10)
    check_tokens(np.array([[0, 9]]), 10)


def test_what_is_traced_passes_but_for_its_form():
    jax.jit(lambda tokens: check_tokens(tokens, 10))(jnp.array([[11]]))
    with pytest.raises(errors.DataError, match="got float32"):
        jax.jit(lambda tokens: check_tokens(tokens, 10))(jnp.array([[1.0]]))


def test_a_mask_has_a_value_for_every_token():
    tokens = jnp.array([[1, 2, 3]])
    for shape in [(1, 4), (2, 3), (3,)]:
        with pytest.raises(errors.DataError, match=r"every token, \(1, 3\), but"):
            check_mask(jnp.ones(shape), tokens)
    with pytest.raises(errors.DataError, match=r"an array \(batch, time\), got a list; give np"):
        check_mask([[1, 1, 1]], tokens)
    check_mask(jnp.ones((1, 3)), tokens)
    check_mask(None, tokens)
