"""Many questions at once: a batch of (eps0, n, delta) as one array computation.

Every point gets its own blocks; the roots of all points are then found together, each evaluation
one call of `option.log_call` over (points still open, blocks).
"""

import math

import numpy as np

from privacy.accounting import errors
from privacy.shuffle import amplification, mixture, option, pair

ROUNDS = 60


def epsilons(
    eps0, n, delta, *, bound: str | None = None, rtol: float = 1e-3, blocks: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Certified (lower, upper) eps for arrays of eps0, n and delta, broadcast together.

    `bound` is `standard` (default), `stronger` or `conjecture`, with the status and the
    assumptions that it has in `privacy.shuffle.epsilon`. Points whose blocks are too wide for
    `rtol` (at best about 1e-4) are done again with four times as many.

    Example:
        >>> low, high = epsilons([1.0, 4.0], 100_000, 1e-6)
        >>> bool(np.all((low <= [0.015282, 0.169770]) & (high >= [0.015281, 0.169769])))
        True
    """
    arrays = np.broadcast_arrays(*(np.asarray(a, float) for a in (eps0, n, delta)))
    shape = arrays[0].shape
    points = list(zip(*(a.ravel() for a in arrays), strict=True))
    name = errors.one_of("bound", bound or "standard", ("standard", "stronger", "conjecture"))
    pairs, deltas = [], []
    for e, k, d in points:
        e, k, name = amplification._arguments(e, k, None, name, 0.0, "reports", 0)
        pairs.append(amplification._pair(name, e, k))
        deltas.append(errors.probability("delta", d))
    table = _Table(pairs, deltas, blocks)
    upper = table.roots("upper")
    lower = table.roots("lower", upper)
    wide = np.flatnonzero((upper > lower * (1 + rtol)) & ~table.exact)
    if wide.size and blocks < 2048:
        again = [arrays[j].ravel()[wide] for j in range(3)]
        lower[wide], upper[wide] = epsilons(*again, bound=bound, rtol=rtol, blocks=4 * blocks)
    return lower.reshape(shape), upper.reshape(shape)


class _Table:
    """The blocks of all points, padded to one width with weight 0."""

    def __init__(self, pairs, deltas, blocks):
        self.eps0 = np.array([p.eps0 for p in pairs])
        self.deltas = np.array(deltas)
        self.slack = np.array([mixture.budget(p.n) for p in pairs])
        parts = []
        self.guess = np.empty(len(pairs))
        for i, (part, delta) in enumerate(zip(pairs, deltas, strict=True)):
            self.guess[i] = pair.guess(part, delta)
            tilt = (math.tanh(self.guess[i] / 2) / math.tanh(part.eps0 / 2)) ** 2 / 2
            parts.append(pair.make(part, blocks, 25.0 - math.log(delta), tilt))
        width = max(m.upper.weight.size for m in parts)
        self.weight = np.zeros((len(parts), width))
        self.size = {side: np.ones((len(parts), width)) for side in ("upper", "lower")}
        for i, m in enumerate(parts):
            k = m.upper.weight.size
            self.weight[i, :k] = m.upper.weight
            for side, terms in (("upper", m.upper), ("lower", m.lower)):
                self.size[side][i, :k] = terms.size
                self.size[side][i, k:] = terms.size[-1]
        self.front = np.log([m.front for m in parts])
        self.outside = np.array([m.left + m.right for m in parts])
        self.exact = np.array([m.exact for m in parts])

    def excess(self, eps, which, side):
        """log bound of delta at eps, less log delta, for some of the points."""
        y, z = _strikes(eps, self.eps0[which])
        # 1e-9 of delta is far below any rtol this entry is for, and it is allowed for
        logs = option.log_call(self.size[side][which], y[:, None], z[:, None], coarse=True)
        peak = logs.max(axis=1, keepdims=True)
        total = np.log(np.einsum("ij,ij->i", np.exp(logs - peak), self.weight[which])) + peak[:, 0]
        slack = self.slack[which] + option.COARSE_ERROR
        if side == "upper":
            with np.errstate(divide="ignore"):
                total = np.logaddexp(total, np.log(self.outside[which] * z / 2))
        else:
            slack = -slack
        scale = self.front[which] + np.logaddexp(0.0, eps)
        return total + scale + slack - np.log(self.deltas[which])

    def roots(self, side, known=None):
        """The safe end of the root of every point."""
        count = self.eps0.size
        every = np.arange(count)
        last = np.minimum(self.eps0 * (1 - 1e-12), 600.0)
        lo, hi = np.zeros(count), last.copy()
        f_lo, f_hi = self.excess(lo, every, side), self.excess(hi, every, side)
        none, beyond = f_lo <= 0, f_hi > 0
        x = np.clip(self.guess if known is None else known * (1 - 1e-4), 1e-9 * last, 0.999 * last)
        open_ = np.flatnonzero(~none & ~beyond)
        tol = 5e-5
        for step in range(ROUNDS):
            if not open_.size:
                break
            f = self.excess(x[open_], open_, side)
            up = f > 0
            a, b = open_[up], open_[~up]
            lo[a], f_lo[a] = x[a], f[up]
            hi[b], f_hi[b] = x[b], f[~up]
            open_ = open_[hi[open_] - lo[open_] > tol * hi[open_]]
            width = hi[open_] - lo[open_]
            moved_low = x[open_] == lo[open_]
            secant = lo[open_] + width * f_lo[open_] / (f_lo[open_] - f_hi[open_])
            secant = secant + np.where(moved_low, 0.4, -0.4) * tol * hi[open_]
            inside = (secant > lo[open_]) & (secant < hi[open_]) & (step % 4 != 3)
            x[open_] = np.where(inside, secant, lo[open_] + width / 2)
        if side == "upper":
            return np.where(none, 0.0, np.where(beyond, self.eps0, hi))
        return np.where(none, 0.0, np.where(beyond, last, lo))


def _strikes(eps, eps0):
    """`mixture.strike` for vectors of both."""
    y = np.tanh(eps / 2) / np.tanh(eps0 / 2)
    z = 2 * np.exp(-eps) * -np.expm1(eps - eps0) / ((1 + np.exp(-eps)) * -np.expm1(-eps0))
    return y, np.where(y < 0.5, 1 - y, z)
