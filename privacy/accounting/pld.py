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

from privacy.accounting import roots
from privacy.accounting.errors import PrivacyError
from privacy.accounting.profile import Profile

NOISE = 1e-8  # relative, by which the lower curve is lowered before its chords are


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
    infinity = float(tables[0][1][-1])
    highs = [_masses(high, step) for _, high in tables]
    return _optimistic(_dent(tables, step), step), _assemble(*highs, infinity, step, True)


def _table(curve, reach, step, tail, most):
    """(lower, upper) at 0, step, 2 step, .. to where upper <= tail or delta is 0."""
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
    size = max(math.ceil(end / step), 2)
    low, high = curve(np.arange(size + 1) * step)
    return low, np.minimum.accumulate(high)


def _masses(values, step):
    """P-probabilities at step, 2 step, .. of the curve that is linear in e^eps between grid points.

    The curve is flat after its last point. Its slope on [i, i+1] is (v_i+1 - v_i) over
    e^(i step) (e^step - 1); P's probability at i is e^(i step) times the change of slope there.
    """
    rise = np.append(np.diff(values), 0.0) / math.expm1(step)
    return np.maximum(rise[1:] - rise[:-1] * math.exp(step), 0.0)


def _optimistic(lows, step):
    """The distribution of the lower curves.

    Each direction's hull is convex; together they are if what is left for a loss of 0 is not
    negative, and it grows as their common value at 0 falls.
    """

    def masses(shared):
        curves = [_hull(np.append(shared, low[1:]), step) for low in lows]
        return [_masses(curve, step) for curve in curves]

    def left(parts):
        return 1 - parts[0].sum() - _mirrored(parts[1], step).sum()

    high = float(min(low[0] for low in lows))
    found = masses(high)
    if left(found) < 0:
        low = 0.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if left(masses(middle)) >= 0 else (low, middle)
        found = masses(low)
    return _assemble(*found, 0.0, step, False)


def _mirrored(backward, step):
    """P-probabilities at -step, -2 step, .. from Q's of the other direction."""
    return backward * np.exp(-step * np.arange(1, backward.size + 1))


def _assemble(forward, backward, infinity, step, pessimistic):
    """P-probabilities: those above 0, the other direction's below 0, what is left at 0."""
    mirrored = _mirrored(backward, step)
    total = 1 - infinity - forward.sum()
    centre = total - mirrored.sum()
    if centre < 0:  # by rounding: the directions' hulls meet in a convex curve
        mirrored = mirrored * (max(total, 0.0) / max(mirrored.sum(), 1e-300))
        centre = 0.0
    probs = np.concatenate([mirrored[::-1], [centre], forward])
    return PLD(step, -backward.size, probs, infinity, pessimistic)


def _dent(tables, step):
    """The lower curves of both directions, lowered so that their chords stay below the truth."""
    grow, width = math.exp(step), math.expm1(step)
    dented = []
    for (low, _), (other, _) in zip(tables, tables[::-1], strict=True):
        # slopes times e^eps at the left end of each interval, one interval more on either side
        before = (low[0] - (1 - 1 / grow + other[1] / grow)) / width  # [e^-step, 1]
        rise = np.concatenate([[before], np.diff(low) / width, [0.0]])
        left = np.maximum(rise[1:-1] - rise[:-2] * grow, 0.0)
        right = np.maximum(rise[2:] / grow - rise[1:-1], 0.0)
        excess = width * left * right / np.maximum(left + right, 1e-300)
        worst = np.maximum(np.append(excess, 0.0), np.insert(excess, 0, excess[0]))
        # the curve itself is known to a billionth or so: its slopes may be off by that
        value = np.maximum(low * (1 - NOISE) - worst, 0.0)
        # delta may be 0 from anywhere in the last interval on
        value[-1 if low[-1] > 0 else -2 :] = 0.0
        dented.append(value)
    return dented


def _hull(values, step):
    """Values of the lower convex hull over e^eps: what lies above its neighbours' chord goes."""
    size = values.size
    # tangents from the two ends, which a curve that is convex but for them needs and no more
    index = np.arange(1, size)
    last = int(np.argmax(values <= 0)) or size - 1
    if values[last] <= 0:  # a hull that reached 0 stays there
        values = np.append(values[:last], np.zeros(size - last))
    # the steepest chord, by logarithms: e^eps itself overflows
    width = step * index[:last]
    with np.errstate(divide="ignore"):
        drop = np.log(np.maximum(values[0] - values[1 : last + 1], 0.0))
    first = 1 + int(np.argmax(drop - width - np.log(-np.expm1(-width))))
    if first < last:
        part = np.arange(first, last)
        slopes = (values[part] - values[last]) / -np.expm1(step * (part - last))
        turn = first + int(np.argmin(slopes))
    else:
        turn = last
    kept = np.concatenate([[0], np.arange(first, turn + 1), np.arange(last, size)])
    kept = np.unique(kept)
    with np.errstate(over="ignore"):
        while kept.size > 2:
            y, i = values[kept], kept
            ahead = np.expm1(step * (i[2:] - i[1:-1]))
            behind = -np.expm1(step * (i[:-2] - i[1:-1]))
            convex = (y[1:-1] - y[:-2]) * ahead < (y[2:] - y[1:-1]) * behind
            if convex.all():
                break
            kept = kept[np.concatenate([[True], convex, [True]])]
    if kept.size == size:
        return values
    index = np.arange(size)
    at = np.clip(np.searchsorted(kept, index, side="right") - 1, 0, kept.size - 2)
    a, b = kept[at], kept[at + 1]
    share = np.exp(step * (index - b)) * np.expm1(step * (a - index)) / np.expm1(step * (a - b))
    return values[a] + (values[b] - values[a]) * np.clip(share, 0.0, 1.0)


class Composed(NamedTuple):
    """The composition of loss distributions, exponentially tilted by e^(tilt loss)."""

    losses: np.ndarray
    weights: np.ndarray  # tilted probabilities, clipped or not by the direction
    tilt: float
    log_scale: float  # log of the untilted total: prob = weight e^(log_scale - tilt loss)
    infinity: float
    error: float  # tilted mass outside the window plus FFT rounding
    relative: float  # rounding of the total mass
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
                made = (made + self.error) * (1 + self.relative)
                out[i] = min(made * scale + self.infinity, 1.0)
            else:
                out[i] = max((made - self.error) * (1 - self.relative) * scale, 0.0)
        return out

    def epsilon(self, delta: float, guess: float | None = None) -> float:
        """The safe end: smallest eps >= 0 on this side of which delta(eps) <= delta.

        Args:
            delta: in (0, 1).
            guess: where to look, for an optimistic composition the pessimistic one's eps: far
                from the eps that the tilt is for, rounding hides the lower bound.

        Infinite if the mass at infinity exceeds delta.
        """
        if self.pessimistic and self.infinity >= delta:
            return math.inf
        excess = lambda eps: math.log(max(float(self.delta(eps)[0]), 1e-320) / delta)
        top = max(float(self.losses[-1]), 1e-9)
        if self.pessimistic:
            likely = float(self.losses @ self.weights)  # Chernoff's eps, if the tilt is for delta
            return roots.bracket(excess, 0.0, top, 1e-7, guess or likely)[1]
        high = min(top, guess) if guess else top
        for share in (1e-4, 1e-3, 5e-3, 0.02, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0):
            low = high * (1 - share)
            if excess(low) > 0:
                return roots.bracket(excess, low, high, 1e-7, low + 0.1 * (high - low))[0]
        return 0.0


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
    spread = max(math.sqrt(sum(t * _variance(p) for p, t in parts)), step)
    # (no further out than a Gaussian loss would need: a bounded loss would pull it to its edge;
    # as far in as the largest loss asks for, which a rare one makes far larger than the spread)
    farthest = math.sqrt(2 * math.log(1 / delta)) + 0.5
    widest = max(spread, *(float(p.losses[np.flatnonzero(p.probs)[-1]]) for p, _ in parts))
    count = 24 + math.ceil(4 * math.log(widest / spread))
    thetas = np.geomspace(0.05 / widest, farthest / spread, count)
    logs = _log_moments(parts, thetas)
    tilt = float(thetas[int(np.argmin((logs - math.log(delta)) / thetas))])
    log_scale = float(_log_moments(parts, [tilt])[0])
    needed = 36.0  # the tilted law is followed to e^-36 on both sides
    up = np.geomspace(0.5 / widest, 40 / spread, count // 2)
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
    copies, kept = 0, 0.0
    for part, times in parts:
        with np.errstate(divide="ignore"):
            weights = np.log(part.probs) + tilt * part.losses
        weights = np.exp(weights - np.logaddexp.reduce(weights))
        folded = np.zeros(size)
        np.add.at(folded, (part.start + np.arange(weights.size)) % size, weights)
        spectrum *= np.fft.rfft(folded) ** times
        copies += times
        kept += times * math.log1p(-part.infinity)  # 1 - infinity would round to 1
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
        -math.expm1(kept),
        2 * math.exp(-needed) + rounding,
        1e-12 + 2e-15 * copies + 1e-15 * tilt * sum(t * np.abs(p.losses).max() for p, t in parts),
        pessimistic,
    )


def _variance(part):
    mean = float(part.probs @ part.losses)
    return float(part.probs @ (part.losses - mean) ** 2)


def bracket(
    rounds: Sequence[tuple[Profile, int]], delta: float, *, rtol: float = 1e-3
) -> tuple[Composed, Composed]:
    """(optimistic, pessimistic) composition of T_i copies of each profile.

    The step is refined until the two eps agree to `rtol` or the grid is full.

    Args:
        rounds: (profile, copies).
        delta: where eps will be asked for.
        rtol: upper/lower - 1 of eps that is worked for.

    Raises:
        PrivacyError: no step leads to a grid that is short enough.
    """
    copies = sum(t for _, t in rounds)
    tail = delta * 1e-5 / copies
    best, before, reached, coarser = None, math.inf, math.inf, 0
    reach = max(p.reach for p, _ in rounds)
    step = _first_step(rounds, delta)
    for _ in range(10):
        if reach < 1e5 * step:  # end on the grid, a rounding beyond where delta becomes 0
            step = reach / math.ceil(reach / step) * (1 + 1e-14)
        try:
            pairs = [(from_profile(p, step, tail=tail), t) for p, t in rounds]
            found = tuple(compose([(p[i], t) for p, t in pairs], delta) for i in (0, 1))
        except PrivacyError:
            if best is None and coarser < 4:  # a long tail: start coarser
                step, coarser = step * 8, coarser + 1
                continue
            break
        best = found
        high = found[1].epsilon(delta)
        low = found[0].epsilon(delta, high) if math.isfinite(high) else 0.0
        if high <= low * (1 + rtol) or not math.isfinite(high):
            break
        gap = high / low - 1 if low > 0 else 1.0
        if gap > 0.8 * reached and before <= high * (1 + rtol):  # what is left is not the grid's
            break
        before, reached = high, gap
        # both ends err with the square of the step
        step *= max(min(math.sqrt(rtol / gap) * 0.85, 0.7), 0.05)
    if best is None:
        raise PrivacyError("the loss distribution of these rounds is too long for a grid.")
    return best


def _first_step(rounds, delta):
    """A twentieth of one round's loss, or less of one round's eps where rare losses make delta.

    A round in which a record seldom takes part has a loss that is mostly near 0, and a delta made
    of the few that are not: those are what the grid is for.
    """
    copies = sum(t for _, t in rounds)
    scale = math.sqrt(sum(t * p.scale() ** 2 for p, t in rounds) / copies)
    rare = max(p.epsilon(delta / copies, rtol=0.1)[1] for p, _ in rounds)
    return max(scale / 20, rare / 3000)
