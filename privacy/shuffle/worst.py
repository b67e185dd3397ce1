"""k-ary randomized response with its worst bystanders: the loss itself, from both sides.

A data set is described by how many bystanders hold each of the victim's two symbols and, by the
theorem of `many_symbols`, how many hold one third symbol. The lower end is the loss on the worst
data set that was met. The upper end must hold on all of them. Data sets that agree in all but w
bystanders are covered by the data set without these w: whoever attacks one of them could as well
have been shown w reports less, as he can draw these himself. So the data sets are cut into blocks,
and those into smaller ones, until every block is covered. Few are needed: the loss falls off
quickly once bystanders hold both of the victim's symbols.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

from privacy.accounting import errors
from privacy.shuffle import counts, many_symbols, two_symbols

PARTS = 8  # into which a block is cut, at most
QUICK = 1e10  # multiplications that may be spent: a few seconds
THOROUGH = 5e11  # the same when asked for: minutes
LEAST = 5e6  # what every data set costs, a few milliseconds
FEW = 6  # holders of the second symbol that are looked at first
TRIED = 100  # data sets below which a search is hopeless
ENOUGH = 4e-3  # from three symbols on a blanket this close to the attained loss is left alone


class Bystanders(NamedTuple):
    """How many hold the victim's first symbol, its second one, and a third."""

    ones: int
    twos: int
    rest: int


class Block(NamedTuple):
    """Data sets with `ones` and `twos` in these ranges, ends included."""

    ones: tuple[int, int]
    twos: tuple[int, int]


class Ends(NamedTuple):
    """(lower, upper) of the loss; `lower` is attained."""

    lower: float
    upper: float


class Budget:
    """Multiplications that one answer may still spend."""

    def __init__(self, work: float):
        self.left = work

    def pay(self, price: float) -> None:
        """Spends so much.

        Raises:
            PrivacyError: there is not as much left.
        """
        self.left -= price
        if self.left < 0:
            raise errors.PrivacyError("more work is needed to search the bystanders.")


class Response(NamedTuple):
    """k-ary randomized response among n users."""

    k: int
    eps0: float
    n: int

    def delta(self, eps: float, others: Bystanders, tail: float) -> tuple[float, float]:
        """Certified (lower, upper) of delta(eps) with these bystanders."""
        if self.k == 2:
            return two_symbols.delta(self.eps0, eps, others.ones, others.twos)
        return many_symbols.delta(self.k, self.eps0, eps, others, tail)

    @property
    def alone(self) -> Bystanders:
        """Nobody else holds one of the victim's symbols."""
        return Bystanders(0, 0, self.n - 1)

    def shown(self, others: Bystanders) -> list[Bystanders]:
        """Bystanders to look at, one after the other until a value is small enough.

        Holders of the second symbol cost much and leave so little of the loss that a few will do.
        """
        few = others._replace(twos=FEW)
        return [others] if self.k < 4 or others.twos <= FEW else [few, others]

    def cost(self, others: Bystanders, tail: float) -> float:
        """Multiplications that one data set takes."""
        if self.k == 2:
            return 0.2 * LEAST
        kept = counts.spans(self.k, self.eps0, others, many_symbols.exponent(self.eps0, tail))
        return LEAST + 60 * kept.work + 10 * kept.cells

    def blocks(self) -> Block:
        """All data sets."""
        most = self.n - 1
        return Block((0, most), (0, most if self.k > 2 else 0))

    def common(self, block: Block) -> Bystanders | None:
        """The bystanders that the block's data sets share; None where the block is empty."""
        (a, b), (c, d) = block
        most = self.n - 1
        if self.k == 2:
            return Bystanders(a, most - b, 0)
        return Bystanders(a, c, max(most - b - d, 0)) if a + c <= most else None


def uncovered(
    response: Response, value: Callable[[Bystanders], float], target: float
) -> Bystanders | None:
    """A data set of `response` whose value is above target, or None: all are at most target.

    value: an upper bound of delta with these bystanders.
    """
    todo, most = [response.blocks()], response.n - 1
    rate = -math.log(target) / max(most, 1)  # roughly what log delta gains by a bystander less
    while todo:
        block = todo.pop()
        others = response.common(block)
        if others is None:
            continue
        for shown in response.shown(others):
            found = value(shown)
            if found <= target:
                break
        if found <= target:
            continue
        missing = most - sum(others)
        if missing == 0:
            return others
        kept = missing - math.log(found / target) / rate
        todo += _parts(block, min(math.ceil(missing / max(kept, 1.0)), PARTS))
    return None


def _parts(block: Block, count: int) -> list[Block]:
    """The block cut into at least two, at most `count`, along its longer side."""
    sides = list(block)
    longer = 0 if block.ones[1] - block.ones[0] >= block.twos[1] - block.twos[0] else 1
    lo, hi = sides[longer]
    count = min(max(count, 2), hi - lo + 1)
    ends = [lo + (hi - lo + 1) * i // count for i in range(count + 1)]
    cut = []
    for first, last in itertools.pairwise(ends):
        sides[longer] = (first, last - 1)
        cut.append(Block(*sides))
    return cut


def epsilon(
    response: Response,
    delta: float,
    attained: float,
    upper: float,
    rtol: float,
    work: float = QUICK,
) -> Ends:
    """Both ends of the largest eps over all bystanders.

    Args:
        delta: in (0, 1).
        attained: eps of one data set.
        upper: a valid bound; it comes back where none better is found with the work allowed.
        rtol: upper/lower - 1 that is worked for.
        work: multiplications that may be spent.
    """
    if response.n < 2 or upper <= attained * (1 + (rtol if response.k == 2 else ENOUGH)):
        return Ends(attained, upper)
    tail = min(0.1 * rtol, 1e-4) * delta
    paid = _paid(response, tail, work)
    worse_at = lambda eps: uncovered(response, lambda others: paid(others, eps)[1], delta)
    raised = lambda others, low: _attained(paid, others, delta, low, upper)
    try:
        if response.k > 2:
            attained = raised(response.alone, attained)
        if attained <= 0 and worse_at(0.0) is None:
            return Ends(0.0, 0.0)
    except errors.PrivacyError:
        return Ends(attained, upper)
    ends = Ends(attained, upper)
    steps = {2: (rtol,), 3: (ENOUGH, rtol)}.get(response.k, (ENOUGH,))
    for step in steps:
        ends = _narrowed(worse_at, raised, ends, 0.9 * step, rtol)
    return ends


def _narrowed(worse_at, raised, ends, step, rtol):
    """The ends between which the worst bystanders lie; what was won stays when the budget ends.

    An end is tried a step above the attained loss. The data set that exceeds it raises the attained
    loss, or else the step is doubled.
    """
    attained, upper = ends
    try:
        while 0 < attained * (1 + step) < upper:
            end = attained * (1 + step)
            worse = worse_at(end)
            if worse is None:
                return Ends(attained, end)
            better = raised(worse, attained)
            if better <= attained * (1 + 0.1 * rtol):
                step *= 2
            attained = better
    except errors.PrivacyError:
        pass
    return Ends(attained, upper)


def _paid(response, tail, work):
    """(bystanders, eps) -> certified (lower, upper) of delta, as long as the work lasts."""
    budget = Budget(work if TRIED * response.cost(response.alone, tail) <= work else 0.0)
    last = None

    def value(others, eps):
        nonlocal last
        price = response.cost(others, tail)
        budget.pay(price if others != last else min(price, LEAST))  # their law is kept
        last = others
        return response.delta(eps, others, tail)

    return value


def _attained(value, others, delta, low, high):
    """The eps in [low, high] that these bystanders attain, and `low` where they attain less."""
    while high - low > 1e-5 * high:
        middle = 0.5 * (low + high)
        enough = value(others, middle)[0] >= delta
        low, high = (middle, high) if enough else (low, middle)
    return low


def delta(
    response: Response,
    eps: float,
    attained: float,
    upper: float,
    rtol: float,
    work: float = QUICK,
) -> Ends:
    """Both ends of the largest delta(eps) over all bystanders; arguments as in `epsilon`."""
    close = 10 * (rtol if response.k == 2 else ENOUGH)  # a little eps is much delta
    if response.n < 2 or upper <= attained * (1 + close):
        return Ends(attained, upper)
    tail = min(0.1 * rtol, 1e-4) * attained
    paid = _paid(response, tail, work)
    worse_at = lambda end: uncovered(response, lambda others: paid(others, eps)[1], end)
    raised = lambda others, low: max(low, paid(others, eps)[0])
    try:
        if response.k > 2:
            attained = raised(response.alone, attained)
    except errors.PrivacyError:
        return Ends(attained, upper)
    return _narrowed(worse_at, raised, Ends(attained, upper), 0.5 * close, 0.5 * close)
