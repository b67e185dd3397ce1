"""What can be asked of the accountant: checked arguments, the pair behind them, the label on top.

`amplification`, `renyi` and `events` answer different questions about the same settings; what they
accept, refuse and promise is written once, here.
"""

import math
from typing import Any

from privacy.accounting import errors
from privacy.accounting.bound import Adjacency, Status
from privacy.shuffle import pair
from privacy.shuffle.mechanisms import Mechanism
from privacy.shuffle.twolevel import TwoLevel

CLOSED = ("closed-standard", "closed-stronger")
BOUNDS = ("standard", "stronger", "conjecture", "blanket", "exact", *CLOSED)
STANDARD = "standard clone [Feldman, McMillan, Talwar, FOCS 2021, Theorem 3.2]"
STRONGER = "stronger clone [Feldman, McMillan, Talwar, SODA 2023, Theorem 3.1, with erratum]"
BLANKET = "privacy blanket [Balle, Bell, Gascon, Nissim, CRYPTO 2019, Lemma 5.3]"
EXACT = "largest loss over all bystanders, by search [privacy.shuffle.worst]"
HONEST = "n counts honest, shuffled reports; reports differ in nothing but their content"
MOST = 10**13  # users
LARGEST = 300.0  # eps0 to which blankets stay in double range
CONDITION = "every randomizer satisfies condition (*) of privacy.shuffle.condition"


def check(
    eps0: float,
    n: float,
    mechanism: Any,
    bound: str | None,
    delta0: float = 0.0,
    shuffling: str = "reports",
    missing: int = 0,
) -> tuple[float, int, str]:
    """Checked (eps0, honest reports, name of the bound); arguments as in `privacy.shuffle.epsilon`.

    Raises:
        PrivacyError, WrongAccountantError: what is asked has no answer here, and who has it; a
            mechanism whose kinds of output are no distribution.
    """
    if shuffling != "reports":
        right = {
            "minibatches": "no amplification theorem for shuffled minibatches is offered here;"
            " account the steps with privacy.accounting.events.SampledGaussian only if batches are"
            " really Poisson samples",
            "poisson": "use privacy.accounting.events.SampledGaussian",
        }
        known = errors.one_of("shuffling", shuffling, ("reports", *right))
        raise errors.WrongAccountantError(
            f"these theorems are about shuffled local reports, not about {known}: {right[known]}."
        )
    if delta0:
        raise errors.WrongAccountantError(
            f"these theorems are about pure eps0-LDP randomizers, got delta0 = {delta0:g}; for the"
            " clipped Gaussian use privacy.shuffle.continuous.ClippedGaussian, or in a ledger"
            " privacy.shuffle.events.GaussianReports."
        )
    if mechanism is not None and not isinstance(mechanism, Mechanism):
        raise errors.WrongAccountantError(
            f"mechanism must be one of privacy.shuffle.mechanisms, got {type(mechanism).__name__};"
            " central mechanisms are accounted by privacy.accounting.ledger, clipped Laplace and"
            " Gaussian by privacy.shuffle.continuous."
        )
    eps0 = errors.positive("eps0", eps0)
    if mechanism is not None and eps0 <= LARGEST:
        _check_level(mechanism, eps0)
    n = errors.count("n", n)
    missing = errors.count("colluders and dropouts", missing, 0)
    if n > MOST:
        raise errors.PrivacyError(
            f"n is at most {MOST:.0e}, to which the arithmetic is tested, got {n:.3g}; more users"
            f" never hurt, so the bound at {MOST:.0e} is valid."
        )
    if n - missing < 1:
        raise errors.PrivacyError(f"no honest report is left of n = {n} after {missing} are lost.")
    if bound is None:
        bound = "standard" if mechanism is None else "blanket"
    errors.one_of("bound", bound, BOUNDS)
    if bound == "blanket" and mechanism is None:
        raise errors.PrivacyError("the blanket bound is about one mechanism: give mechanism=.")
    if bound == "exact" and not (mechanism is not None and mechanism.searched):
        raise errors.WrongAccountantError(
            "the worst bystanders are searched for mechanism=RandomizedResponse(k) only; use"
            ' bound="blanket" for another mechanism.'
        )
    if bound.endswith("stronger") and mechanism is not None and not mechanism.condition:
        raise errors.WrongAccountantError(
            f"{type(mechanism).__name__} does not satisfy condition (*), so the stronger clone is"
            ' not proved for it; use bound="blanket" or bound="standard".'
        )
    return eps0, n - missing, bound


def _check_level(mechanism: Mechanism, eps0: float) -> None:
    """Refuses kinds of output that are no distribution: a bound would be certified of nothing."""
    level = mechanism.level(eps0)
    kinds = f"{type(mechanism).__name__}.level({eps0:g})"
    if not isinstance(level, TwoLevel) or level.eps0 != eps0:
        raise errors.PrivacyError(
            f"{kinds} should be a twolevel.TwoLevel of this eps0, got {level!r}."
        )
    shares = (level.only, level.both, level.neither)
    high = math.exp(eps0)
    total = (high + 1) * level.only + high * level.both + level.neither
    if not (min(shares) >= 0 and abs(total - 1) < 1e-6):
        raise errors.PrivacyError(
            f"{kinds} gives the kinds of output probabilities that add up to {total:.6g}; only,"
            " both and neither are theirs under the low density, so that (e^eps0 + 1) only + e^eps0"
            " both + neither = 1."
        )


def require_replace(adjacency: Adjacency) -> None:
    """Refuses add-or-remove neighbours: with n public reports there are none."""
    if adjacency != Adjacency.REPLACE:
        raise errors.WrongAccountantError(
            f"shuffled reports are accounted for replace-one neighbours, not for {adjacency}; the"
            " number of reports is public, so nobody can be added or removed."
        )


def label(bound: str, mechanism: Mechanism | None) -> dict:
    """Keywords of the `Bound` that say what it is worth."""
    if bound in ("blanket", "exact"):
        status, theorem = mechanism.status, BLANKET if bound == "blanket" else EXACT
        assumptions = (HONEST, *mechanism.assumptions)
    elif bound.endswith("standard"):
        status, theorem, assumptions = Status.UNIVERSAL, STANDARD, (HONEST,)
    elif bound == "conjecture":
        status, theorem = Status.CONJECTURE, STRONGER
        assumptions = (HONEST, "conjectured without condition (*); not a guarantee")
    else:
        status, theorem, assumptions = Status.CONDITIONAL, STRONGER, (HONEST, CONDITION)
        if mechanism is not None:  # (*) is known to hold
            assumptions = (HONEST, f"every randomizer is {mechanism}")
    return {
        "status": status,
        "theorem": theorem,
        "assumptions": assumptions,
        "adjacency": Adjacency.REPLACE,
    }


def clones(bound: str, eps0: float, n: int) -> pair.Pair:
    """The clone pair that a bound is about."""
    return pair.standard(eps0, n) if bound == "standard" else pair.stronger(eps0, n)
