import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.federated.statistics import lbfgs
from tests.federated.aggregators import reference

D, PAIRS = 9, 3
find = jax.jit(lambda gram, along: lbfgs.products(gram, along, PAIRS))


def product(moves, turns, along):
    basis = np.concatenate([moves, turns]).astype(np.float32)
    return np.asarray(find(jnp.asarray(basis @ basis.T), jnp.asarray(along))) @ basis


def material(seed):
    draw = np.random.default_rng(seed)
    half = draw.normal(size=(D, D))
    hessian = half @ half.T + np.eye(D)
    moves = draw.normal(size=(PAIRS + 1, D)) * np.array([1, 0.01, 30, 1])[:, None]
    return hessian, moves, moves[:PAIRS] @ hessian


def test_it_is_the_bfgs_matrix_built_up_pair_by_pair():
    along = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], np.float32)
    for seed in range(5):
        _, moves, turns = material(seed)
        expected = (along @ moves) @ reference.bfgs(moves[:PAIRS], turns)
        found = product(moves, turns, along)
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3 * np.abs(expected).max())


def test_the_newest_pair_is_met_exactly():
    _, moves, turns = material(7)
    found = product(moves, turns, np.array([[0, 0, 1, 0]], np.float32))
    np.testing.assert_allclose(found[0], turns[-1], rtol=1e-3, atol=1e-3 * np.abs(turns[-1]).max())


def test_pairs_without_curvature_are_left_out():
    _, moves, turns = material(8)
    turns[-1] *= -1  # bends down
    moves[0] = turns[0] = 0  # not there yet
    along = np.array([[0, 0, 1, 1]], np.float32)
    expected = (along @ moves) @ reference.bfgs(moves[1:2], turns[1:2])
    found = product(moves, turns, along)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3 * np.abs(expected).max())
    assert not product(moves, -np.abs(turns) * np.sign(moves[:PAIRS]), along).any()
