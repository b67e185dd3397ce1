"""Settings of the leakage experiment.

python -m experiments leakage                    digits, minutes on two cores, no data folder
python -m experiments leakage --preset mnist     real MNIST; also cifar10, adult ($FL_JAX_DATA)
python -m experiments leakage --preset paper     the published setting on LFW; an accelerator
"""

import dataclasses

from experiments import ranges
from fl_jax.core import errors

PARTS = (
    "two-party",
    "fraction",
    "parties",
    "active",
    "timeline",
    "fedavg",
    "defences",
    "record",
    "words",
    "inversion",
)


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked):
    """Train together, infer a property of one participant's batches; what helps against it.

    [authors] marks what was read in the authors' code, [paper] what is from memory of the paper.
    """

    dataset: str = "lfw"  # digits (embedded), mnist, cifar10, adult, lfw or cifar100
    balanced: bool = False  # leave property records out until label and property are independent
    seed: int = 0  # of everything: split, draws, weights
    seeds: int = 5  # runs of each arm, from `seed` on
    parts: tuple[str, ...] = PARTS  # what is done

    channels: tuple[int, ...] = (32, 64, 128)  # of the convolutions [authors]
    hidden: int = 256  # units of the hidden layer [authors]
    method: str = "auto"  # of the convolutions (fl_jax.nn.conv)
    plan: str = "auto"  # how batches run: auto (measured), scan, vmap, chunk:K
    batch: int = 32  # records of a batch [authors]
    rate: float = 0.01  # learning rate, on the sum of gradients [authors]
    dispatch: int = 50  # rounds in one call of the compiled program

    two_rounds: int = 3000  # of two parties [authors: entry point]
    two_period: int = 1  # rounds between recorded ones, there [authors]
    rounds: int = 3000  # of more parties
    period: int = 1  # rounds between recorded ones, there [authors]
    warm: int = 100  # rounds before anything is recorded [authors]
    every: int = 5  # the victim's batch has the property each so many rounds [authors]
    pool: int = 32  # innocent updates a recorded round; 0 = fresh ones [authors]
    classifiers: tuple[str, ...] = ("random forest", "logistic", "mlp")  # the first is the main one
    permutations: int = 5  # of the property labels: what is learnt from none

    shares: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of property records in a batch
    participants: tuple[int, ...] = (2, 5, 10, 20, 30)  # K
    share: float = 1.0  # of property records in the victim's batches, with more parties
    active_participants: int = 5  # K of the active attack
    active_share: float = 1.0  # as `share`, there
    active_seeds: int = 8  # paired runs of it
    alphas: tuple[float, ...] = (0.0, 0.3, 0.5, 0.7)  # weight of the property loss [paper]
    mixed: float = 0.2  # property share of the adversary's own batches [authors]
    timeline: tuple[int, int] = (1000, 2000)  # rounds in which the property appears and leaves
    timeline_participants: int = 2  # K there
    local_steps: int = 5  # of a round of federated averaging
    averaging_participants: tuple[int, ...] = (2, 5)  # K there
    averaging_rate: float = 0.05  # of local SGD
    defence_participants: int = 2  # K of the runs with a defence
    dropouts: tuple[float, ...] = (0.5,)  # rates; the paper goes from 0.1 to 0.9
    portions: tuple[float, ...] = (0.1, 0.5)  # of the gradient that is shared [paper]
    views: tuple[str, ...] = ("server", "secure aggregation")  # threat models, K = 5
    clip: float = 1.0  # participant-level DP: bound on an update's norm
    noises: tuple[float, ...] = (0.01, 1.0)  # and noise on the sum, in units of it
    delta: float = 1e-5  # of the privacy loss that is reported
    record_rounds: int = 300  # of the search for one record in a batch
    record_batch: int = 8  # records in a batch there

    texts: str = "yelp"  # shakespeare ($FL_JAX_DATA), yelp (TFDS) or zipf (drawn)
    vocabulary: int = 5000  # words [paper: Yelp-health]
    truncated: tuple[int, ...] = (2000, 1000, 500)  # words that the defence keeps
    length: int = 40  # distinct words kept of a text
    word_batches: tuple[int, ...] = (32, 64, 128, 256, 512)  # texts in a batch [paper]
    word_rounds: int = 300  # of training

    inversion_steps: int = 4000  # of the search for an image
    inversion_batch: int = 4  # images behind one update, besides single ones
    inversion_method: str = "patches"  # of the convolutions there: each step is a scan's
    inversion_variation: float = 0.02  # weight of total variation; 0.2 is breaching's

    RANGES = ranges.Ranges(
        positive=(
            "seeds", "channels", "hidden", "batch", "rate", "dispatch", "two_rounds",
            "two_period", "rounds", "period", "every", "permutations", "shares", "participants",
            "active_participants", "active_seeds", "timeline", "timeline_participants",
            "local_steps", "averaging_participants", "averaging_rate", "defence_participants",
            "portions", "clip", "delta", "record_rounds", "record_batch", "vocabulary",
            "truncated", "length", "word_batches", "word_rounds", "inversion_steps",
            "inversion_batch",
        ),
        share=(
            "shares", "share", "active_share", "alphas", "mixed", "dropouts", "portions",
            "delta",
        ),
        filled=("classifiers", "word_batches"),
    )  # fmt: skip

    def check(self) -> None:
        """Refuses numbers out of range, a timeline that ends before it begins, more paired runs
        than the exact test counts out, and words that the vocabulary does not have.

        Raises:
            ConfigError: then.
        """
        super().check()
        if self.delta >= 1:
            raise errors.ConfigError(f"delta must be below 1, got {self.delta}.")
        if self.active_seeds > 20:
            raise errors.ConfigError(
                f"active_seeds are at most 20, all of whose signs are tried, got"
                f" {self.active_seeds}."
            )
        if max(self.truncated, default=0) > self.vocabulary:
            raise errors.ConfigError(
                f"truncated keeps some of the {self.vocabulary} words of the vocabulary, got"
                f" {max(self.truncated)}."
            )
        began, ended = self.timeline
        if began >= ended:
            raise errors.ConfigError(
                f"the property must appear before it leaves, got timeline {began} {ended}."
            )


PAPER = Config()

_NATURAL = Config(
    balanced=True,
    channels=(8, 16, 32),
    hidden=64,
    method="patches",
    plan="scan",
    two_period=10,
    rounds=300,
    period=5,
    warm=20,
    active_seeds=6,
    timeline=(100, 200),
    texts="shakespeare",
    averaging_rate=0.01,
    inversion_steps=2000,
)
MNIST = dataclasses.replace(
    _NATURAL,
    dataset="mnist",
    active_seeds=8,
    active_participants=10,
    active_share=0.2,
)
CIFAR10 = dataclasses.replace(
    _NATURAL,
    dataset="cifar10",
    seeds=3,
    # A third pooling would leave 2 x 2 positions: fewer features than on the paper's images.
    channels=(16, 32),
    participants=(2, 5, 10, 20),
    alphas=(0.0, 0.7),
    active_seeds=5,
    dropouts=(),
    portions=(0.1,),
    noises=(1.0,),
    parts=("two-party", "fraction", "parties", "active", "defences", "inversion"),
)
ADULT = dataclasses.replace(
    _NATURAL,
    dataset="adult",
    plan="vmap",
    seeds=5,
    active_seeds=10,
    rounds=600,
    period=2,
    parts=tuple(part for part in PARTS if part not in ("words", "inversion")),
)
SMALL = dataclasses.replace(
    _NATURAL,
    dataset="digits",
    seeds=3,
    channels=(16,),
    texts="zipf",
    two_rounds=600,
    two_period=5,
    participants=(2, 5, 10, 20),
    active_seeds=5,
    record_rounds=200,
    inversion_steps=1000,
)
SMOKE = dataclasses.replace(
    SMALL,
    seeds=1,
    channels=(4,),
    hidden=16,
    dispatch=20,
    two_rounds=60,
    rounds=40,
    warm=10,
    period=2,
    classifiers=("random forest",),
    participants=(2, 5),
    active_seeds=2,
    alphas=(0.0, 0.7),
    timeline=(10, 30),
    averaging_participants=(2,),
    dropouts=(),
    portions=(0.1,),
    noises=(1.0,),
    record_rounds=20,
    vocabulary=500,
    truncated=(100,),
    word_batches=(8, 64),
    word_rounds=10,
    inversion_steps=20,
    inversion_method="library",  # the quickest to compile
    inversion_batch=2,
)
PRESETS = {
    "smoke": SMOKE,
    "small": SMALL,
    "mnist": MNIST,
    "cifar10": CIFAR10,
    "adult": ADULT,
    "paper": PAPER,
}
