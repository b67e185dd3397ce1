"""What can happen to data in a round, as a ledger records it."""

import dataclasses
from typing import Protocol, runtime_checkable

from privacy.accounting import gaussian, pure, rdp, sampling
from privacy.accounting.bound import Adjacency
from privacy.accounting.errors import PrivacyError, fraction, positive
from privacy.accounting.profile import Profile


@runtime_checkable
class Event(Protocol):
    """One use of the data. `privacy.shuffle.events` has the shuffled rounds."""

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        """One profile per direction of the neighbour relation; `tail`: mass that may be cut."""


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A sum of vectors clipped to norm C, plus noise of standard deviation noise_multiplier C."""

    noise_multiplier: float

    def __post_init__(self):
        gaussian.noise(self.noise_multiplier)

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        del tail
        return [gaussian.profile(self.noise_multiplier, adjacency)]

    def rdp(self, alpha: float, adjacency: Adjacency) -> float:
        """Renyi divergence of order alpha."""
        return rdp.gaussian(alpha, gaussian.sensitivity(adjacency) / self.noise_multiplier)


@dataclasses.dataclass(frozen=True)
class SampledGaussian:
    """As `Gaussian`, over a random subset of the records: DP-SGD, DP-FedAvg.

    `poisson`: every record independently with probability `rate`. `fixed`: a uniform subset of
    that share of them; replace-one neighbours only. Batches taken in shuffled order are neither.
    """

    noise_multiplier: float
    rate: float
    sampling: str = "poisson"

    def __post_init__(self):
        gaussian.noise(self.noise_multiplier)
        fraction("sampling rate", self.rate)
        if self.sampling not in ("poisson", "fixed"):
            raise PrivacyError(
                f"sampling must be poisson or fixed, got {self.sampling!r}; there is no tight"
                " theorem for shuffled minibatches here."
            )

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        del tail
        if self.sampling == "poisson":
            return gaussian.sampled_profiles(self.noise_multiplier, self.rate, adjacency)
        self._replace_only(adjacency)
        return [sampling.fixed_size(gaussian.profile(self.noise_multiplier, adjacency), self.rate)]

    def rdp(self, alpha: float, adjacency: Adjacency) -> float:
        """Renyi divergence of order alpha; Poisson sampling and add-or-remove only."""
        if self.sampling != "poisson" or adjacency != Adjacency.ADD_REMOVE:
            raise PrivacyError(
                "the Renyi form of the sampled Gaussian is for Poisson sampling and"
                " add-or-remove-one neighbours; use the ledger's loss distributions."
            )
        return rdp.sampled_gaussian(alpha, self.noise_multiplier, self.rate)

    def _replace_only(self, adjacency):
        if adjacency != Adjacency.REPLACE:
            raise PrivacyError(
                "a subset of fixed size has no add-or-remove neighbours; use"
                " Adjacency.REPLACE or Poisson sampling."
            )


@dataclasses.dataclass(frozen=True)
class Laplace:
    """A sum of vectors clipped to L1 norm C, plus Laplace noise of scale noise_multiplier C."""

    noise_multiplier: float

    def __post_init__(self):
        positive("noise_multiplier", self.noise_multiplier)

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        del tail
        return [pure.laplace(self.noise_multiplier, adjacency)]

    def rdp(self, alpha: float, adjacency: Adjacency) -> float:
        """Renyi divergence of order alpha."""
        return rdp.laplace(alpha, gaussian.sensitivity(adjacency) / self.noise_multiplier)


@dataclasses.dataclass(frozen=True)
class Pure:
    """Anything that is known to be eps-DP, and of which nothing else is known.

    The guarantee must be for the neighbours of the ledger that records it.
    """

    eps: float

    def __post_init__(self):
        positive("eps", self.eps)

    def profiles(self, adjacency: Adjacency, tail: float = 1e-16) -> list[Profile]:
        del tail
        return [pure.randomized_response(self.eps, adjacency)]

    def rdp(self, alpha: float, adjacency: Adjacency) -> float:
        """Renyi divergence of order alpha; the same for all neighbours."""
        del adjacency
        return rdp.pure(alpha, self.eps)
