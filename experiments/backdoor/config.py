"""Settings of the backdoor experiment.

python -m experiments backdoor                     digits, about 2 minutes on two cores
python -m experiments backdoor --preset cifar10    real CIFAR-10, small network; README.md
python -m experiments backdoor --preset paper      the published setting; an accelerator
python -m experiments backdoor grid                every attack against every defence
python -m experiments backdoor sweeps              gamma, early and late, repeated attacks
python -m experiments backdoor words               word prediction, Shakespeare by speaker
python -m experiments backdoor private             DP-FedAvg and its epsilon, DP-FTRL
python -m experiments backdoor noise               independent and correlated noise, one epsilon
python -m experiments backdoor certified           CRFL's votes with their certificate
"""

import dataclasses

from experiments import ranges
from fl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked):
    """Pre-train a federated model, backdoor it in one round, follow it afterwards.

    The numbers of the paper are from memory, those of its repository were read there.
    """

    dataset: str = "cifar10"  # digits (embedded), mnist or cifar10 ($FL_JAX_DATA)
    seed: int = 0  # of everything: split, weights, draws
    seeds: int = 1  # runs side by side, from `seed` on

    participants: int = 100  # n [paper, repository]
    cohort: int = 10  # m, participants a round [paper, repository]
    eta: float = 1.0  # global learning rate; n/m would be the plain mean [paper, repository]
    dirichlet: float = 0.9  # concentration of the non-iid split [repository]

    network: str = "resnet"  # resnet, or convnet: no batch norm, for very small shares
    blocks: tuple[int, ...] = (2, 2, 2, 2)  # residual blocks a stage [repository]; convnet: layers
    width: int = 32  # channels of the first stage, doubled at each next [repository]
    crop: int = 4  # pixels of padding before the random crop [repository]
    flip: bool = True  # mirror half of the images [repository]

    epochs: int = 2  # local epochs [paper, repository]
    batch: int = 64  # local batch size [paper, repository]
    rate: float = 0.1  # local learning rate [paper, repository]
    momentum: float = 0.9  # of the local SGD, which starts afresh each round [repository]
    weight_decay: float = 5e-4  # L2, on all parameters [repository]

    pretrain_rounds: int = 10_000  # before the attack [paper]
    pretrain_eta: float = 1.0  # global learning rate then; falls to a tenth along a cosine
    follow_rounds: int = 100  # after the attack; the paper's durability plot shows about as many

    # Attacks that are run, each on every backdoor.
    attacks: tuple[str, ...] = ("data poisoning", "model replacement", "constrain-and-scale")
    attacker_epochs: int = 6  # at most [paper]
    attacker_rate: float = 0.05  # [paper, repository]
    attacker_drop_every: int = 2  # epochs between divisions of the rate by 10 [paper]
    attacker_examples: int = 0  # clean examples; 0 = its own share [paper]; 12,800 [repository]
    backdoor_per_batch: int = 20  # of `batch` [paper]
    pixel_per_batch: int = 0  # the same for the pixel pattern; 0 = backdoor_per_batch
    backdoor_variants: int = 1000  # rotated copies it makes of its images [first author]; 0 = none
    backdoor_zoom: float = 0.0  # log of what copies are stretched by at most, each side on its own
    backdoor_light: float = 0.0  # how far a copy's brightness and contrast are from 1 at most
    backdoor_colour: float = 0.0  # how far the factor of each colour is from 1 at most
    stop: float = 1e-4  # backdoor loss at which the attacker stops [repository]
    gamma: float = 0.0  # scale of the malicious update; 0 = n/eta [paper, repository]
    alpha: float = 0.7  # share of the class loss in constrain-and-scale; the paper sweeps it
    anomaly: str = "l2"  # l2, squared_l2, cosine or layer_norms; l2 is the repository's
    backdoor_draws: int = 1000  # test draws with replacement [repository]
    splits: int = 1  # choices of the semantic images that are held out, each attacked on its own
    test_examples: int = 0  # of the main task, evaluated every round; 0 = all

    plan: str = "auto"  # how clients run: auto (measured), scan, vmap, chunk:K
    rounds_per_dispatch: int = 10  # rounds in one call of the compiled program
    save_every: int = 50  # rounds between checkpoints

    RANGES = ranges.Ranges(
        positive=(
            "seeds", "participants", "cohort", "eta", "dirichlet", "blocks", "width", "epochs",
            "batch", "rate", "pretrain_rounds", "pretrain_eta", "follow_rounds",
            "attacker_rate", "attacker_drop_every", "backdoor_draws", "splits",
            "rounds_per_dispatch", "save_every",
        ),
        share=("alpha",),
        filled=("blocks", "attacks"),
    )  # fmt: skip

    def check(self) -> None:
        """Refuses numbers out of range, and more backdoor examples than a batch has places, of
        which the attacker would train on backdoors alone.

        Raises:
            ConfigError: then.
        """
        super().check()
        for name in ("backdoor_per_batch", "pixel_per_batch"):
            if getattr(self, name) > self.batch:
                raise errors.ConfigError(
                    f"{name} of {getattr(self, name)} does not fit in a batch of {self.batch};"
                    " change one."
                )

    def per_batch(self, backdoor: str) -> int:
        """Examples of a backdoor in every batch of the attacker."""
        if backdoor == "pixel pattern" and self.pixel_per_batch:
            return self.pixel_per_batch
        return self.backdoor_per_batch


PAPER = Config()

SMALL = Config(
    dataset="digits",
    seeds=3,
    network="convnet",
    blocks=(1, 1),
    width=16,
    crop=0,
    flip=False,
    batch=16,
    pretrain_rounds=120,
    pretrain_eta=10.0,
    follow_rounds=60,
    attacker_epochs=10,
    attacker_rate=0.005,
    attacker_drop_every=4,
    attacker_examples=1400,
    backdoor_per_batch=5,
    backdoor_variants=0,
    alpha=0.9,
    backdoor_draws=200,
    rounds_per_dispatch=20,
    save_every=20,
)

CIFAR10 = dataclasses.replace(
    PAPER,
    network="convnet",
    blocks=(1, 1, 1),
    width=32,
    batch=32,
    rate=0.03,
    pretrain_rounds=300,
    pretrain_eta=10.0,
    follow_rounds=20,
    attacker_rate=0.01,
    attacker_examples=12_800,
    splits=4,
    backdoor_per_batch=16,
    pixel_per_batch=8,
    backdoor_variants=2000,
    backdoor_zoom=0.2,
    backdoor_light=0.3,
    backdoor_colour=0.15,
    stop=0.0,
    alpha=0.9,
    test_examples=1000,
    backdoor_draws=300,
    save_every=10,
    rounds_per_dispatch=5,
)

SMOKE = dataclasses.replace(
    SMALL,
    seeds=1,
    participants=20,
    cohort=4,
    width=4,
    pretrain_rounds=4,
    pretrain_eta=5.0,
    follow_rounds=4,
    attacker_epochs=2,
    attacker_rate=0.05,
    attacker_examples=40,
    plan="scan",
    rounds_per_dispatch=2,
    save_every=2,
)

PRESETS = {"smoke": SMOKE, "small": SMALL, "cifar10": CIFAR10, "paper": PAPER}

COMMANDS = {
    "grid": "every attack against every defence, in one compiled program",
    "sweeps": "the paper's sweeps: gamma, early and late, repeated attacks",
    "words": "trigger sentences in the speech of Shakespeare's characters",
    "private": "DP-FedAvg with its epsilon, attacked and through secure sums; DP-FTRL",
    "noise": "what independent and correlated noise leave in a model at the same epsilon",
    "certified": "CRFL's votes: how many participants of a round cannot change them",
    "adapted": "whether a backdoor outlives the participants' own fine-tuning",
    "compressed": "what updates in few bits cost, and whether a backdoor gets through",
    "asynchronous": "late updates (FedBuff, FedAsync): what they cost, and a backdoor through them",
}
