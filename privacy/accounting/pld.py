"""Privacy loss distributions on a grid, rounded up or down, and their composition.

Connect the dots [Doroshenko, Ghazi, Kamath, Kumar, Manurangsi, PoPETs 2022]: the distribution on
the grid whose hockey-stick curve interpolates delta linearly in e^eps between grid points lies
above the true, convex curve: pessimistic. The optimistic one takes at each grid point delta less
the largest amount by which a chord beside it can exceed the curve (no more than at the crossing of
the neighbouring chords' continuations), and the lower convex hull of that: below the true curve
everywhere, with an error of the same second order in the step.

T-fold composition is one FFT power of the exponentially tilted distribution. The tilt puts the
digits where delta is made, so that a delta of 1e-30 is as accurate as one of 1e-3. Mass outside
the window (Chernoff) and the FFT's rounding are added to the upper end, taken from the lower.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from privacy.accounting.errors import PrivacyError
from privacy.accounting.profile import Profile


class PLD(NamedTuple):
    """Law of log P/Q under P: probs[i] at (start + i) * step, the rest at infinity."""

    step: float
    start: int
    probs: np.ndarray
    infinity: float
    pessimistic: bool

    @property
    def losses(self) -> np.ndarray:
        return (self.start + np.arange(self.probs.size)) * self.step


def from_profile(
    profile: Profile, step: float, *, tail: float = 1e-14, most: int = 200_000
) -> tuple[PLD, PLD]:
    """(optimistic, pessimistic) distributions of a profile.

    Args:
        profile: what to discretise.
        step: grid step in nats.
        tail: a delta at which the grid may end; the pessimistic end puts that much at infinity.
        most: grid points per direction that are allowed.

    Raises:
        PrivacyError: the grid would be longer than `most`.
    """
    curves = [profile.forward] + ([profile.backward] if profile.backward else [])
    tables = [_table(curve, profile.reach, step, tail, most) for curve in curves]
    if len(tables) == 1:
        tables = tables * 2
    highs = [_increments(eps, high) for eps, _, high in tables]
    dented = _dent(tables)
    lows = [_increments(eps, low) for (eps, _, _), low in zip(tables, dented, strict=True)]
    return (
        _assemble(*lows, 0.0, step, False),
        _assemble(*highs, float(tables[0][2][-1]), step, True),
    )


def _table(curve, reach, step, tail, most):
    """(eps grid, lower, upper) up to the first point where upper <= tail or delta is 0."""
    top = min(reach, most * step)
    probe = np.concatenate([[0.0], np.geomspace(step, max(top, step), 48)])
    high = curve(probe)[1]
    below = np.flatnonzero(high <= tail)
    end = float(probe[below[0]]) if below.size else top
    if below.size and below[0] > 0:  # the geometric probe is coarse: look again between
        fine = np.linspace(probe[below[0] - 1], end, 16)
        end = float(fine[np.flatnonzero(curve(fine)[1] <= tail)[0]])
    if end >= most * step:
        raise PrivacyError(
            f"a loss distribution to eps = {end:.3g} in steps of {step:.3g} needs more than {most}"
            " points; use a larger step or the Renyi accountant."
        )
    size = max(math.ceil(end / step - 1e-9), 2)
    eps = np.arange(size + 1) * step
    low, high = curve(eps)
    return eps, low, np.minimum.accumulate(high)


def _slopes(eps, values):
    return np.diff(values) / np.diff(np.expm1(eps))


def _increments(eps, values):
    """Q-probabilities at eps_1.. of the piecewise linear curve, flat after its last point."""
    slopes = np.append(_slopes(eps, values), 0.0)
    return np.maximum(np.diff(slopes), 0.0)


def _assemble(forward, backward, infinity, step, pessimistic):
    """P-probabilities: e^eps Q above 0, the mirrored Q below, what is left at 0."""
    up = forward * np.exp(step * np.arange(1, forward.size + 1))
    centre = 1 - infinity - up.sum() - backward.sum()
    if centre < 0:  # rounding; the curve may only go up by it where it should
        scale = (1 - infinity - up.sum()) / max(backward.sum(), 1e-300)
        backward, centre = backward * max(scale, 0.0), 0.0
    probs = np.concatenate([backward[::-1], [centre], up])
    return PLD(step, -backward.size, probs, infinity, pessimistic)


def _dent(tables):
    """The lower curves of both directions, lowered so that their chords stay below the truth."""
    dented = []
    for (eps, low, _), (_, other, _) in zip(tables, tables[::-1], strict=True):
        slopes = _slopes(eps, low)
        e1 = math.exp(eps[1])
        before = (low[0] - (1 - 1 / e1 + other[1] / e1)) / (1 - 1 / e1)  # chord on [1/e1, 1]
        all_ = np.concatenate([[before], slopes, [0.0]])
        left, right = np.diff(all_)[:-1], np.diff(all_)[1:]
        left, right = np.maximum(left, 0.0), np.maximum(right, 0.0)
        excess = np.diff(np.expm1(eps)) * left * right / np.maximum(left + right, 1e-300)
        worst = np.maximum(np.append(excess, 0.0), np.insert(excess, 0, excess[0]))
        value = np.maximum(low - worst, 0.0)
        value[-1] = 0.0
        dented.append(value)
    shared = min(dented[0][0], dented[1][0])
    out = []
    for (eps, _, _), value in zip(tables, dented, strict=True):
        value[0] = shared
        out.append(_hull(np.expm1(eps), value))
    return out


def _hull(x, y):
    """Values at x of the lower convex hull of the points (x, y)."""
    keep = [0]
    for i in range(1, x.size):
        while len(keep) > 1:
            a, b = keep[-2], keep[-1]
            if (y[b] - y[a]) * (x[i] - x[b]) <= (y[i] - y[b]) * (x[b] - x[a]):
                break
            keep.pop()
        keep.append(i)
    return np.interp(x, x[keep], y[keep])


class Composed(NamedTuple):
    """The composition of loss distributions, exponentially tilted by e^(tilt loss)."""

    losses: np.ndarray
    weights: np.ndarray  # tilted probabilities, clipped or not by the direction
    tilt: float
    log_scale: float  # log of the untilted total: prob = weight e^(log_scale - tilt loss)
    infinity: float
    error: float  # tilted mass outside the window plus FFT rounding
    pessimistic: bool

    def delta(self, eps: np.ndarray | float) -> np.ndarray:
        """delta at a vector of eps: an upper or a lower bound, as the parts were."""
        eps = np.atleast_1d(np.asarray(eps, float))
        out = np.empty(eps.shape)
        for i, e in enumerate(eps):
            first = int(np.searchsorted(self.losses, e, side="right"))
            gap = e - self.losses[first:]
            logs = self.log_scale - self.tilt * e
            if self.pessimistic and logs > 690:
                out[i] = 1.0
                continue
            made = float(self.weights[first:] @ (np.exp(self.tilt * gap) * -np.expm1(gap)))
            scale = math.exp(min(logs, 690.0))
            if self.pessimistic:
                out[i] = min((made + self.error) * scale + self.infinity, 1.0)
            else:
                out[i] = max((made - self.error) * scale, 0.0)
        return out

    def epsilon(self, delta: float) -> float:
        """The safe end: smallest eps >= 0 on this side of which delta(eps) <= delta.

        Infinite if the mass at infinity exceeds delta.
        """
        if self.pessimistic and self.infinity >= delta:
            return math.inf
        low, high = 0.0, max(float(self.losses[-1]), 1e-9)
        if not self.pessimistic:
            # far from the eps that the tilt is for, the error term hides the lower bound
            probes = np.linspace(0.0, high, 129)
            above = np.flatnonzero(self.delta(probes) > delta)
            if not above.size:
                return 0.0
            low = float(probes[above[-1]])
            high = float(probes[min(above[-1] + 1, 128)])
        elif self.delta(0.0)[0] <= delta:
            return 0.0
        if self.pessimistic and self.delta(high)[0] > delta:
            return math.inf
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.delta(middle)[0] > delta else (low, middle)
            if high - low <= 1e-9 * high:
                break
        return high if self.pessimistic else low


def _log_moments(parts, thetas):
    """sum_i T_i log E[e^(theta loss_i)] for a vector of thetas."""
    total = np.zeros(len(thetas))
    for part, times in parts:
        kept = np.flatnonzero(part.probs)
        logs, losses = np.log(part.probs[kept]), part.losses[kept]
        for i, theta in enumerate(thetas):
            terms = logs + theta * losses
            peak = terms.max()
            total[i] += times * (peak + math.log(np.exp(terms - peak).sum()))
    return total


def compose(parts: Sequence[tuple[PLD, int]], delta: float, *, most: int = 1 << 24) -> Composed:
    """The composition of T_i copies of each part, accurate around the eps of `delta`.

    Args:
        parts: (distribution, copies); one step and one direction for all.
        delta: where the digits are put; the result is valid at every eps.
        most: grid points that are allowed.

    Raises:
        PrivacyError: steps or directions differ, or the window is too long.
    """
    steps, kinds = {p.step for p, _ in parts}, {p.pessimistic for p, _ in parts}
    if len(steps) != 1 or len(kinds) != 1:
        raise PrivacyError("composed distributions need one step and one rounding direction.")
    step = steps.pop()
    # one pass of Chernoff for the tilt, then one for the window under the tilted law
    spread = math.sqrt(max(sum(t * _variance(p) for p, t in parts), 1e-300))
    # (no further out than a Gaussian loss would need: a bounded loss would pull it to its edge)
    farthest = math.sqrt(2 * math.log(1 / delta)) + 0.5
    thetas = np.geomspace(0.05 / spread, farthest / spread, 24)
    logs = _log_moments(parts, thetas)
    tilt = float(thetas[int(np.argmin((logs - math.log(delta)) / thetas))])
    log_scale = float(_log_moments(parts, [tilt])[0])
    needed = 36.0  # the tilted law is followed to e^-36 on both sides
    up = np.geomspace(0.5 / spread, 40 / spread, 12)
    high = np.min((_log_moments(parts, tilt + up) - log_scale + needed) / up)
    low = -np.min((_log_moments(parts, tilt - up) - log_scale + needed) / up)
    first = sum(p.start * t for p, t in parts)
    final = sum((p.start + p.probs.size - 1) * t for p, t in parts)
    lo = max(math.floor(low / step), first)
    hi = min(math.ceil(high / step), final)
    size = 1 << max(int(hi - lo + 1), 2).bit_length()
    if size > most:
        raise PrivacyError(
            f"this composition needs {size} grid points of {step:.3g}; use a larger step or the"
            " Renyi accountant."
        )
    spectrum = np.ones(size // 2 + 1, complex)
    copies, missing = 0, 1.0
    for part, times in parts:
        with np.errstate(divide="ignore"):
            weights = np.log(part.probs) + tilt * part.losses
        weights = np.exp(weights - np.logaddexp.reduce(weights))
        folded = np.zeros(size)
        np.add.at(folded, (part.start + np.arange(weights.size)) % size, weights)
        spectrum *= np.fft.rfft(folded) ** times
        copies += times
        missing *= (1 - part.infinity) ** times
    weights = np.fft.irfft(spectrum, size)
    weights = np.roll(weights, -(lo % size))
    losses = (lo + np.arange(size)) * step
    pessimistic = kinds.pop()
    rounding = 4e-16 * (copies + 4 * math.log2(size)) * math.sqrt(min(size, 2 / (tilt * step) + 2))
    return Composed(
        losses,
        np.maximum(weights, 0.0) if pessimistic else weights,
        tilt,
        log_scale,
        1 - missing,
        2 * math.exp(-needed) + rounding,
        pessimistic,
    )


def _variance(part):
    mean = float(part.probs @ part.losses)
    return float(part.probs @ (part.losses - mean) ** 2)


def bracket(
    rounds: Sequence[tuple[Profile, int]],
    delta: float,
    *,
    resolution: float = 0.05,
    rtol: float = 1e-3,
) -> tuple[Composed, Composed]:
    """(optimistic, pessimistic) composition of T_i copies of each profile.

    Args:
        rounds: (profile, copies).
        delta: where eps will be asked for.
        resolution: first step, in standard deviations of one round's loss; halved until the two
            eps agree to `rtol` or the grid is full.
        rtol: upper/lower - 1 of eps that is worked for.
    """
    copies = sum(t for _, t in rounds)
    scale = math.sqrt(sum(t * p.scale() ** 2 for p, t in rounds) / copies)
    tail = delta * 1e-5 / copies
    best, reached = None, math.inf
    for _ in range(4):
        step = resolution * scale
        try:
            pairs = [(from_profile(p, step, tail=tail), t) for p, t in rounds]
            found = tuple(compose([(p[i], t) for p, t in pairs], delta) for i in (0, 1))
        except PrivacyError:
            if best is None:
                resolution *= 8  # a long tail: start coarser
                continue
            break
        best = found
        low, high = found[0].epsilon(delta), found[1].epsilon(delta)
        if high <= low * (1 + rtol) or not math.isfinite(high):
            break
        gap = high / low - 1 if low > 0 else 1.0
        if gap > 0.6 * reached:  # what is left is not the grid's
            break
        reached = gap
        # both ends err with the square of the step
        resolution *= max(min(math.sqrt(rtol / gap) * 0.85, 0.7), 0.05)
    if best is None:
        raise PrivacyError("the loss distribution of these rounds is too long for a grid.")
    return best
