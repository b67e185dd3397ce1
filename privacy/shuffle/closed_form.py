"""The published closed forms, each with the region in which its theorem holds.

They are looser than the numerical bounds by a factor of three or so and are kept because papers
quote them. Outside its region a closed form raises; it never returns something else instead.
"""

import math

from privacy.accounting.errors import RegionError


def _require(name: str, eps0: float, limit: float) -> None:
    if limit <= 0:
        raise RegionError(
            f"{name} holds at no eps0 at this n and delta; use privacy.shuffle.epsilon, which is"
            " valid everywhere."
        )
    if not eps0 <= limit:
        raise RegionError(
            f"{name} holds for eps0 <= {limit:.4g} at this n and delta, got eps0 = {eps0:g}; use"
            " privacy.shuffle.epsilon, which is valid everywhere."
        )


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def standard(eps0: float, n: int, delta: float) -> float:
    """Feldman, McMillan, Talwar, FOCS 2021, Theorem 3.1: any adaptive eps0-LDP randomizers.

    eps <= ln(1 + (e^eps0-1)/(e^eps0+1) (8 sqrt(e^eps0 ln(4/delta)/n) + 8 e^eps0/n)) for
    eps0 <= ln(n / (16 ln(2/delta))). Replace adjacency. Status: universal.

    Raises:
        RegionError: eps0 above that.
    """
    _require("the closed form of FOCS 2021", eps0, _log(n / (16 * math.log(2 / delta))))
    e0 = math.exp(eps0)
    amount = 8 * math.sqrt(e0 * math.log(4 / delta) / n) + 8 * e0 / n
    return math.log1p(math.tanh(eps0 / 2) * amount)


def stronger(eps0: float, n: int, delta: float) -> float:
    """Feldman, McMillan, Talwar, SODA 2023, Theorem 3.1: randomizers with condition (*).

    eps <= ln(1 + (e^eps0-1) (4 sqrt(2 ln(4/delta)/((e^eps0+1) n)) + 4/n)) for
    eps0 <= ln(n / (8 ln(2/delta)) - 1). Replace adjacency. Status: conditional; the erratum of
    the paper withdraws the proof for all eps0-LDP randomizers.

    Raises:
        RegionError: eps0 above that.
    """
    _require("the closed form of SODA 2023", eps0, _log(n / (8 * math.log(2 / delta)) - 1))
    amount = 4 * math.sqrt(2 * math.log(4 / delta) / ((math.exp(eps0) + 1) * n)) + 4 / n
    return math.log1p(math.expm1(eps0) * amount)


def first(eps0: float, n: int, delta: float) -> float:
    """Erlingsson et al., SODA 2019, Theorem 7: eps <= 12 eps0 sqrt(ln(1/delta)/n).

    For eps0 < 1/2, n >= 1000, delta < 1/100. Replace adjacency. Status: universal.

    Raises:
        RegionError: outside that.
    """
    if not (eps0 < 0.5 and n >= 1000 and delta < 0.01):
        raise RegionError(
            "the bound of SODA 2019 holds for eps0 < 1/2, n >= 1000 and delta < 1/100, got"
            f" eps0 = {eps0:g}, n = {n} and delta = {delta:g}; use privacy.shuffle.epsilon."
        )
    return 12 * eps0 * math.sqrt(math.log(1 / delta) / n)
