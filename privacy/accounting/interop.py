"""Loss distributions in dp_accounting's form, out and in; that package is not needed here.

dp_accounting keeps a distribution as probabilities at (lower_loss + i) * interval and a mass at
infinity (`pld_pmf.DensePLDPmf`), with the rounding direction beside it.
"""

from typing import Any

import numpy as np

from privacy.accounting.errors import PrivacyError
from privacy.accounting.pld import PLD


def export(distribution: PLD) -> dict[str, Any]:
    """Keyword arguments of `dp_accounting.pld.pld_pmf.DensePLDPmf`.

    Example:
        >>> import numpy as np
        >>> sorted(export(PLD(0.1, -1, np.array([0.2, 0.8]), 0.0, True)))
        ['discretization', 'infinity_mass', 'lower_loss', 'pessimistic_estimate', 'probs']
    """
    return {
        "discretization": distribution.step,
        "lower_loss": distribution.start,
        "probs": distribution.probs.copy(),
        "infinity_mass": distribution.infinity,
        "pessimistic_estimate": distribution.pessimistic,
    }


def load(pmf: Any) -> PLD:
    """The loss distribution in a `PLDPmf`, dense or sparse, or in a `PrivacyLossDistribution`.

    A `PrivacyLossDistribution` that is not symmetric has two; give one of its two parts.

    Raises:
        PrivacyError: it is not one of these, or its probabilities do not add up to at most 1.
    """
    if hasattr(pmf, "_pmf_remove"):
        if not getattr(pmf, "_symmetric", True):
            raise PrivacyError(
                "this distribution has a part for adding and one for removing; load its"
                " _pmf_remove and _pmf_add apart and take the larger eps."
            )
        pmf = pmf._pmf_remove
    if hasattr(pmf, "to_dense_pmf"):
        pmf = pmf.to_dense_pmf()
    try:
        step, start = float(pmf._discretization), int(pmf._lower_loss)
        probs, infinity = np.array(pmf._probs, float), float(pmf._infinity_mass)
        pessimistic = bool(pmf._pessimistic_estimate)
    except AttributeError as error:
        raise PrivacyError(
            f"expected a loss distribution of dp_accounting, got {type(pmf).__name__}."
        ) from error
    if (probs < 0).any() or probs.sum() + infinity > 1 + 1e-9:
        raise PrivacyError("the probabilities of this loss distribution do not add up.")
    return PLD(step, start, probs, infinity, pessimistic)
