"""L-BFGS in its compact form: what an estimated Hessian makes of steps, by inner products alone."""

import jax.numpy as jnp

from fl_jax.core.types import Array, Float

CURVED = 1e-6  # the least cosine of a step and the change of its gradient that counts as curvature


def products(
    gram: Float[Array, "all all"], along: Float[Array, "many steps"], pairs: int
) -> Float[Array, "many all"]:
    """B v of steps v = sum_k along_k m_k, as coefficients of the vectors in `gram`.

    B = sigma I - [sigma S, Y] [[sigma S'S, L], [L', -D]]^-1 [sigma S, Y]', with L the strict lower
    triangle of S'Y, D its diagonal, and sigma = s'y / s's of the newest pair. Pairs without
    positive curvature are left out, so that B is positive definite (the authors of FLDetector keep
    them); where none has it, B = 0. Every pair is divided by ||s||, which leaves B as it is.

    Args:
        gram: inner products of the moves m_1..m_r and the changes of gradient y_1..y_p, in this
            order, each oldest first; zeros stand for what there is not.
        along: coefficients of the steps over the moves.
        pairs: p < r; the pairs are (m_k, y_k) for k <= p.

    References:
        Byrd, Nocedal, Schnabel 1994, "Representations of quasi-Newton matrices and their use in
        limited memory methods", theorem 2.3.
    """
    moves = gram.shape[0] - pairs
    s, y = slice(0, pairs), slice(moves, None)
    lengths = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0.0))
    curvature = jnp.diagonal(gram[s, y])
    curved = curvature > CURVED * lengths[s] * lengths[y]
    unit = jnp.where(curved, 1 / jnp.where(curved, lengths[s], 1.0), 0.0)  # 0: left out
    both = unit[:, None] * unit[None, :]
    steps, mixed = gram[s, s] * both, gram[s, y] * both
    # The newest that is left; 0 where none is.
    newest = jnp.argmax(jnp.where(curved, jnp.arange(1, pairs + 1), 0))
    sigma = mixed[newest, newest]
    gone = jnp.diag((~curved).astype(gram.dtype))
    lower = jnp.tril(mixed, -1)
    middle = jnp.block(
        [[sigma * steps + gone, lower], [lower.T, -jnp.diag(jnp.diagonal(mixed)) + gone]]
    )
    right = jnp.concatenate(
        [
            sigma * unit[:, None] * (gram[s, :moves] @ along.T),
            unit[:, None] * (gram[y, :moves] @ along.T),
        ]
    )
    solved = jnp.linalg.solve(middle, right)
    spare = ((0, moves - pairs), (0, 0))
    out = jnp.concatenate(
        [
            sigma * (along.T - jnp.pad(unit[:, None] * solved[:pairs], spare)),
            -unit[:, None] * solved[pairs:],
        ]
    ).T
    usable = jnp.all(jnp.isfinite(out), axis=1, keepdims=True)
    return jnp.where(usable, out, 0.0)
