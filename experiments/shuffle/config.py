"""Settings of the shuffle experiment.

python -m experiments shuffle               the bounds' figures; federated learning on digits
python -m experiments shuffle --preset paper   the same on MNIST, 17,435 one-image clients
python -m experiments shuffle --eps 1 --delta 1e-5 --rounds 10 --clients 17435   what a budget
                                            allows, and nothing else
"""

import dataclasses

from experiments import ranges
from fl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked):
    """Plan a privacy budget, or draw the bounds and train through a shuffler.

    T and eps0 of the training are fixed here, before any data is seen.
    """

    eps: float = 0.0  # central budget: plan for it, no more; 0 = everything, planned for 1
    delta: float = 1e-5  # of the plan and of the training
    rounds: int = 10  # T of the plan
    clients: int = 17_435  # n of the plan
    parts: tuple[str, ...] = ("plan", "figures", "audit", "training")  # what is done without --eps

    figure_delta: float = 1e-6  # of the figures [paper: Figures 1-3]
    figure_eps0: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    figure_clients: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    figure_orders: tuple[float, ...] = (1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
    figure_rounds: tuple[int, ...] = (1, 3, 10, 30, 100, 300, 1000)

    audit_trials: int = 6_000  # shuffled rounds per record that the membership attack sees
    audit_clients: int = 20  # n of the audit: few, so that there is something to find

    dataset: str = "mnist"  # mnist ($FL_JAX_DATA) or digits (embedded)
    seed: int = 0  # of everything drawn in the training
    seeds: int = 5  # runs, from `seed` on
    eps0: tuple[float, ...] = (1.5, 2.5, 3.5)  # local budgets trained at; the last is the headline
    randomizers: tuple[str, ...] = ("privunit", "gaussian", "cldp")  # the first is the headline
    unamplified: tuple[float, ...] = (4.0, 16.0)  # further central eps at which gaussian is trained
    spread: float = 1.0  # cldp: coordinates are clipped to spread/sqrt(d) in a random basis
    train_rounds: int = 10  # T of the training
    cells: int = 4  # features: oriented gradients in cells x cells fields
    bins: int = 4  # and so many orientations
    rate: float = 30.0  # server learning rate, on means of unit vectors
    plan: str = "chunk:512"  # how clients run (fl_jax.train.cohort)

    RANGES = ranges.Ranges(
        positive=(
            "delta", "rounds", "clients", "figure_delta", "figure_eps0", "figure_clients",
            "figure_orders", "figure_rounds", "audit_trials", "audit_clients", "seeds", "eps0",
            "unamplified", "spread", "train_rounds", "cells", "bins", "rate",
        ),
        share=("delta", "figure_delta"),
        filled=(
            "eps0", "randomizers", "figure_eps0", "figure_clients", "figure_orders",
            "figure_rounds",
        ),
    )  # fmt: skip

    def check(self) -> None:
        """Refuses numbers out of range, and what a part would refuse when others are done.

        Raises:
            ConfigError: then.
        """
        super().check()
        for name in ("delta", "figure_delta"):
            if getattr(self, name) >= 1:
                raise errors.ConfigError(f"{name} must be below 1, got {getattr(self, name)}.")
        if min(self.figure_orders) <= 1:
            raise errors.ConfigError(f"figure_orders are above 1, got {min(self.figure_orders)}.")
        if self.audit_trials < 4:
            raise errors.ConfigError(f"audit_trials are at least 4, got {self.audit_trials}.")


PAPER = Config()
SMALL = Config(dataset="digits", seeds=2, eps0=(2.0, 3.5))
SMOKE = Config(
    dataset="digits",
    seeds=1,
    eps0=(3.5,),
    unamplified=(),
    train_rounds=2,
    audit_trials=400,
    figure_eps0=(1.0, 4.0),
    figure_clients=(1_000, 10_000),
    figure_orders=(2.0, 8.0),
    figure_rounds=(1, 10),
)
PRESETS = {"smoke": SMOKE, "small": SMALL, "paper": PAPER}
