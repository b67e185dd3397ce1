"""Settings of the disk-chemistry experiment.

FL_JAX_DATA=... python -m experiments disks                    12 disks, RATE22 with ices
python -m experiments disks                                    the same with 33 hand-typed reactions
FL_JAX_DATA=... python -m experiments disks --disks 100        100 disks
FL_JAX_DATA=... python -m experiments disks --family published disks that differ as the paper's do
FL_JAX_DATA=... python -m experiments disks --preset paper     540 disks of 2,208 cells; accelerator
"""

import dataclasses

from experiments import ranges
from fl_jax.core import errors

FEATURES = ("numberdens", "temperature", "uv", "ionization", "av_up", "column_up", "column_star",
            "radius", "z/r")  # fmt: skip
DATA = ("spectrum", "visibilities")


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked):
    """A population of disks, an emulator of their chemistry, lines, and a retrieval.

    "notebook" is the authors' supplementary notebook, "package" their fitting package.
    """

    seed: int = 100  # of draws and splits [notebook]
    disks: int = 540  # of the population [notebook]
    family: str = "wide"  # of disks: wide (ours, 12 parameters) or published (3, from memory)
    radii: int = 48  # of the grid; 48 x 46 cells are about the notebook's 2,191 a disk
    layers: int = 46  # of the grid
    network: str = "S2"  # S2: RATE22 with at most two heavy atoms, and ices; hand: 33 reactions
    years: float = 1e6  # age of the chemistry [yr; from memory]
    rtol: float = 1e-4  # of the integration
    workers: int = 0  # disks at a time; 0 = one a core, or one a device

    test_folds: int = 5  # the first of these folds over disks is the test [notebook]
    folds: int = 10  # of the grouped cross-validation [notebook]
    largest_k: int = 100  # of its grid, 34 values from 1 [notebook]
    features: tuple[str, ...] = ("numberdens", "temperature", "ionization")  # [notebook]
    fit_features: tuple[str, ...] = ("numberdens", "temperature", "uv", "ionization")  # [package]
    level: float = 0.9  # of the conformal intervals
    epochs: int = 200  # of the perceptron

    line: str = "2-1"  # of 13CO, for the retrieval [package]
    data: str = "visibilities"  # what is measured of it, or "spectrum" [package: visibilities]
    channels: int = 21  # of the line [package]
    chains: int = 2  # of NUTS
    chains_samples: int = 300  # draws of each after as many of warm-up; 0 = no retrieval
    live: int = 100  # live points of the nested sampling; 0 = none [package: 400]
    calibration: int = 200  # simulations of the simulation-based calibration; 0 = none
    calibration_batch: int = 50  # of them side by side
    coverage: bool = False  # how often linearised retrievals of every disk hold the truth

    RANGES = ranges.Ranges(
        positive=(
            "disks", "radii", "layers", "years", "rtol", "test_folds", "folds", "largest_k",
            "level", "epochs", "channels", "chains", "calibration_batch",
        ),
        share=("level",),
        filled=("features", "fit_features"),
    )  # fmt: skip

    def check(self) -> None:
        """Refuses numbers out of range, and what would end the run when its disks are solved.

        Raises:
            ConfigError: fewer disks than the splits take; an unknown feature or kind of data; one
                chain, which cannot be compared; coverage of a family without its parameters.
        """
        super().check()
        errors.one_of("kind of data", self.data, DATA)
        for feature in (*self.features, *self.fit_features):
            errors.one_of("feature", feature, FEATURES)
        errors.below_one("rtol", self.rtol)
        errors.one_of("network", self.network, ("S2", "S3", "hand"))
        for name in ("test_folds", "folds"):
            errors.whole(name, getattr(self, name), 2)
        if self.disks < self.test_folds:
            raise errors.ConfigError(
                f"{self.test_folds} test_folds need as many disks, got {self.disks}; change one."
            )
        training = self.disks - -(-self.disks // self.test_folds)
        if training < self.folds:
            raise errors.ConfigError(
                f"{self.folds} folds need as many disks to train on, but of {self.disks} disks in"
                f" {self.test_folds} test_folds {training} remain; change one."
            )
        if self.coverage and self.family != "wide":
            raise errors.ConfigError(
                f"coverage gets back parameters that the family {self.family} does not draw; set"
                " family to wide, or coverage to False."
            )
        if self.chains_samples and self.chains < 2:
            raise errors.ConfigError(
                "convergence compares two chains or more, got chains 1; or set chains_samples to 0"
                " for no retrieval."
            )


PAPER = Config()
SMALL = Config(disks=12, radii=16, layers=16, folds=8, chains_samples=100, live=0, calibration=0)
SMOKE = Config(
    disks=6,
    radii=6,
    layers=6,
    network="hand",
    test_folds=3,
    folds=2,
    largest_k=10,
    level=0.6,
    epochs=5,
    channels=9,
    chains_samples=0,
    live=0,
    calibration=0,
)

PRESETS = {"smoke": SMOKE, "small": SMALL, "paper": PAPER}
