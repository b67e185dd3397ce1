"""Central privacy of n shuffled local reports: epsilon, delta and the inverse questions.

The setting: n honest users, each runs an eps0-LDP randomizer on its record, and a shuffler forwards
the reports in uniformly random order. Neighbouring data sets differ in one user's record
(replace-one). This is not the shuffling of minibatches, nor Poisson sampling.

    name         pair                     valid for                                  status
    standard     clone rate e^-eps0       any eps0-LDP randomizers, adaptive         universal
    stronger     clone rate 2/(e^eps0+1)  randomizers with condition (*)             conditional
    conjecture   the same pair            any eps0-LDP randomizers: no proof         conjecture
    blanket      two-level blanket        the named mechanism, one round             mechanism-exact
    exact        all bystanders, searched k-ary randomized response, one round       mechanism-exact
    closed-...   closed forms             see `closed_form`; raise outside a region
"""

import functools
import math
from typing import Any

import numpy as np

from privacy.accounting import errors
from privacy.accounting.bound import Bound
from privacy.shuffle import attained, closed_form, mixture, pair, question, twolevel, worst


def _attained(mechanism, eps0, n, delta):
    """Largest known lower bound on the loss at delta, for the mechanism or for all."""
    if mechanism is None:
        return attained.epsilon(eps0, n, delta)
    if eps0 > question.LARGEST:
        return 0.0
    values = [
        attained.merged_epsilon(eps0, n, delta, only, shown)
        for only, shown in mechanism.bystanders(eps0)
    ]
    if not values and mechanism.level(eps0).both == mechanism.level(eps0).neither == 0:
        values = [attained.binary_epsilon(eps0, n, delta)]
    return max(values) if values else None


def epsilon(
    eps0: float,
    n: int | float,
    delta: float,
    *,
    mechanism: Any = None,
    bound: str | None = None,
    rtol: float = 1e-3,
    delta0: float = 0.0,
    shuffling: str = "reports",
    missing: int = 0,
) -> Bound:
    """Smallest eps such that n shuffled eps0-LDP reports are (eps, delta)-DP.

    Args:
        eps0: local privacy loss (nats), > 0, pure.
        n: users whose reports are shuffled.
        delta: in (0, 1).
        mechanism: a randomizer of `privacy.shuffle.mechanisms`; None = any eps0-LDP ones.
        bound: a name from the table above; None = `standard` without a mechanism, else `blanket`;
            for randomized response `exact` where the search takes no more than a few seconds
            (asked for by name it may take minutes). Only `epsilon` and `delta` know `exact`.
        rtol: upper/lower - 1 that is worked for; the gap reached is `.gap`.
        delta0: refused unless 0.
        shuffling: refused unless "reports".
        missing: colluding or silent users; the theorems count n - missing.

    Returns:
        A `Bound`: replace-one adjacency; `.upper` is the guarantee, at most eps0. If
        delta >= delta(0) it is exactly 0.

    Raises:
        PrivacyError: bad arguments. RegionError: a closed form outside its region.
        WrongAccountantError: not a shuffled pure-LDP mechanism, or (*) is known to fail.

    Example:
        >>> b = epsilon(4.0, 100_000, 1e-6)
        >>> b.lower <= 0.16976975 <= b.upper, b.status.value
        (True, 'universal')
    """
    asked = bound
    eps0, n, bound = question.check(eps0, n, mechanism, bound, delta0, shuffling, missing)
    delta = errors.probability("delta", delta)
    rtol = errors.probability("rtol", rtol)
    notes: tuple[str, ...] = ()
    if bound.startswith("closed"):
        form = closed_form.standard if bound == "closed-standard" else closed_form.stronger
        upper = form(eps0, n, delta)
        part = question.clones(bound.removeprefix("closed-"), eps0, n)
        low = pair.epsilon(part, delta, rtol).lower
        notes = ("closed form: looser than the numerical bound, which is `lower`",)
        solution = mixture.Solution(low, min(upper, eps0), False)
    elif bound in ("blanket", "exact"):
        solution, notes = _blanket(mechanism, eps0, n, delta, rtol)
    else:
        solution = pair.epsilon(question.clones(bound, eps0, n), delta, rtol)
    reached = None
    if work := _searched(asked, mechanism, eps0):
        response = worst.Response(mechanism.k, eps0, n)
        low = _attained(mechanism, eps0, n, delta)
        ends = worst.epsilon(response, delta, low, solution.upper, rtol, work)
        reached = ends.lower
        if ends.upper < solution.upper or bound == "exact":
            bound, solution, notes = "exact", mixture.Solution(*ends, False), ()
    if solution.upper >= eps0:
        notes = (*notes, "no amplification at this delta: the local guarantee")
    if not bound.startswith("closed") and solution.upper > solution.lower * (1 + rtol):
        notes = (*notes, f"the bracket is wider than {rtol:g}; its upper end is valid all the same")
    who = mechanism
    return Bound(
        solution.lower,
        solution.upper,
        notes=notes,
        _attained=lambda: _attained(who, eps0, n, delta) if reached is None else reached,
        **question.label(bound, mechanism),
    )


def _attained_delta(response, eps0, n, eps):
    """delta(eps) of randomized response with unanimous bystanders, from below."""
    if response.k == 2:
        return attained.binary_delta(eps0, n, eps)
    only, shown = response.bystanders(eps0)[0]
    part = twolevel.merged(eps0, n, only, shown, 512, 60.0)
    return float(mixture.bracket(part, np.array([eps]), n)[0][0])


def _searched(bound, mechanism, eps0):
    """How much work the search for the worst bystanders may take; 0 = none is asked for."""
    if mechanism is None or not mechanism.searched or eps0 > question.LARGEST:
        return 0.0
    return {None: worst.QUICK, "exact": worst.THOROUGH}.get(bound, 0.0)


def _blanket(mechanism, eps0, n, delta, rtol):
    """The blanket's bracket, or the standard clone's upper end where that is smaller."""
    if eps0 > question.LARGEST or mechanism.level(eps0).only <= 0:
        universal = pair.epsilon(pair.standard(eps0, n), delta, rtol).upper
        note = "the blanket leaves double range: the universal bound"
        return mixture.Solution(0.0, universal, False), (note,)
    solution = twolevel.epsilon(mechanism.level(eps0), n, delta, rtol)
    universal = pair.epsilon(pair.standard(eps0, n), delta, rtol)
    if universal.upper < solution.upper:
        lower = min(solution.lower, universal.upper)
        return mixture.Solution(lower, universal.upper, False), ("the universal bound is smaller",)
    return solution, ()


def delta(
    eps: float,
    eps0: float,
    n: int | float,
    *,
    mechanism: Any = None,
    bound: str | None = None,
    rtol: float = 1e-3,
    delta0: float = 0.0,
    shuffling: str = "reports",
    missing: int = 0,
) -> Bound:
    """Smallest delta such that n shuffled eps0-LDP reports are (eps, delta)-DP.

    Arguments, labels and errors as in `epsilon`; closed forms have no delta. Exactly 0 for
    eps >= eps0.

    Example:
        >>> b = delta(0.16976975, 4.0, 100_000)
        >>> abs(b.upper / 1e-6 - 1) < 2e-3
        True
    """
    asked = bound
    eps0, n, bound = question.check(eps0, n, mechanism, bound, delta0, shuffling, missing)
    eps = errors.non_negative("eps", eps)
    rtol = errors.probability("rtol", rtol)
    if bound.startswith("closed"):
        raise errors.PrivacyError(f"{bound} gives eps for a delta; use privacy.shuffle.epsilon.")
    if bound in ("blanket", "exact"):
        if eps0 > question.LARGEST or mechanism.level(eps0).only <= 0:
            low, high = 0.0, 1.0
        else:
            low, high = twolevel.delta(mechanism.level(eps0), n, eps, rtol)
        high = min(high, pair.delta(pair.standard(eps0, n), eps, rtol)[1])
        low = min(low, high)
    else:
        low, high = pair.delta(question.clones(bound, eps0, n), eps, rtol)
    reach = lambda: attained.delta(eps0, n, eps) if mechanism is None else None
    if eps < eps0 and (work := _searched(asked, mechanism, eps0)):
        reached = _attained_delta(mechanism, eps0, n, eps)
        ends = worst.delta(worst.Response(mechanism.k, eps0, n), eps, reached, high, rtol, work)
        reach = lambda: ends.lower
        if ends.upper < high or bound == "exact":
            bound, (low, high) = "exact", ends
    return Bound(low, high, quantity="delta", _attained=reach, **question.label(bound, mechanism))


def local_epsilon(
    eps: float,
    n: int | float,
    delta: float,
    *,
    mechanism: Any = None,
    bound: str | None = None,
    rtol: float = 1e-3,
    delta0: float = 0.0,
    shuffling: str = "reports",
    missing: int = 0,
    most: float = 50.0,
) -> Bound:
    """Largest eps0 that may be used locally so that the shuffled reports are (eps, delta)-DP.

    `.lower` is the safe end: its certified upper bound is at most eps. `.upper` is an eps0 at
    which the pair's own eps is certified to exceed eps (or `most`). Arguments as in `epsilon`. A
    closed form counts as not safe outside its region.

    Raises:
        RegionError: a closed form whose region does not reach up to eps0 = eps.

    Example:
        >>> b = local_epsilon(0.16976975, 100_000, 1e-6)
        >>> abs(b.lower / 4.0 - 1) < 2e-3
        True
    """
    eps, most = errors.positive("eps", eps), errors.positive("most", most)
    ask = _asking(mechanism, bound, rtol, delta0, shuffling)
    value = lambda e: ask(e, n, delta, missing=missing)
    safe = lambda e: _ends(value, e)[1] <= eps
    low, high = min(eps, most), most  # eps0 <= eps is always safe
    meta = _meta(value(low))
    if safe(most):
        return Bound(most, most, quantity="eps0", **meta)
    for _ in range(200):
        if high - low <= rtol * high / 4:
            break
        middle = 0.5 * (low + high) if high < 4 * low or high < 2 else math.sqrt(low * high)
        low, high = (middle, high) if safe(middle) else (low, middle)
    above, stride = high, rtol
    while above < most and _ends(value, above)[0] <= eps:
        above, stride = min(above * (1 + stride), most), 2 * stride
    return Bound(low, above, quantity="eps0", **meta)


def clients(
    eps: float,
    eps0: float,
    delta: float,
    *,
    mechanism: Any = None,
    bound: str | None = None,
    rtol: float = 1e-3,
    delta0: float = 0.0,
    shuffling: str = "reports",
    missing: int = 0,
    most: int = 10**13,
) -> Bound:
    """Fewest users with which shuffled eps0-LDP reports are (eps, delta)-DP.

    `.upper` is the safe end: a whole number of users that is certified to be enough, with `missing`
    of them colluding or silent; fewer than `.lower` are certified not to be (for the pair that the
    bound is about). Other arguments as in `epsilon`.

    Raises:
        PrivacyError: not even `most` users are enough. A closed form counts as not enough outside
            its region.
    """
    eps, eps0 = errors.positive("eps", eps), errors.positive("eps0", eps0)
    lost = errors.count("colluders and dropouts", missing, 0)
    ask = _asking(mechanism, bound, rtol, delta0, shuffling)
    most = errors.count("most", most)
    value = lambda n: ask(eps0, n, delta)
    safe = lambda n: _ends(value, n)[1] <= eps
    if eps >= eps0:
        return Bound(1 + lost, 1 + lost, quantity="n", **_meta(value(most)))
    low, high = 1, min(2, most)
    while not safe(high):
        if high == most:
            raise errors.PrivacyError(
                f"not even {most} users bring eps0 = {eps0:g} down to eps = {eps:g} at"
                f" delta = {delta:g}."
            )
        low, high = high, min(8 * high, most)
    while high - low > 1 and high / low > 1 + rtol / 4:
        middle = (low + high) // 2
        low, high = (low, middle) if safe(middle) else (middle, high)
    below, stride = low, rtol
    while below > 1 and _ends(value, below)[0] <= eps:
        below, stride = int(below / (1 + stride)), 2 * stride
    return Bound(max(below, 1) + lost, high + lost, quantity="n", **_meta(value(high)))


def _ends(value, at):
    """(lower, upper) of a bound; nothing is known outside a closed form's region."""
    try:
        found = value(at)
    except errors.RegionError:
        return 0.0, math.inf
    return found.lower, found.upper


def _asking(mechanism, bound, rtol, delta0, shuffling):
    """`epsilon` as an inverse question asks it: twice as sharp; None means a bound at once."""
    if bound is None and mechanism is not None:
        bound = "blanket"
    return functools.partial(
        epsilon,
        mechanism=mechanism,
        bound=bound,
        rtol=rtol / 2,
        delta0=delta0,
        shuffling=shuffling,
    )


def _meta(bound: Bound) -> dict:
    return {
        "status": bound.status,
        "theorem": bound.theorem,
        "assumptions": bound.assumptions,
        "adjacency": bound.adjacency,
    }
