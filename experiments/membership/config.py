"""Settings of the membership experiment.

python -m experiments membership                    Location-30, 5 seeds; a stand-in without data
python -m experiments membership --preset smoke     digits, seconds
python -m experiments membership --preset paper     Location-30 with 60 shadows and 256 models
python -m experiments membership --preset adult|mnist|cifar10     other sets of the paper
"""

import dataclasses

from experiments import ranges
from fl_jax.core import errors

PARTS = (
    "attacks",
    "mitigations",
    "shadow_data",
    "overfitting",
    "shadow_count",
    "class_count",
    "online",
    "audit",
)


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked):
    """Train a target and its shadows, attack it in every way, defend it, audit private training.

    [spec]: the setup that published reference figures of a plain implementation belong to;
    [paper]: Shokri et al. 2017, from memory unless said otherwise.
    """

    dataset: str = "location30"  # or purchase100, texas100, adult, digits, mnist, cifar10 or 100
    seed: int = 0  # of everything: splits, weights, draws
    seeds: int = 5  # repetitions of the whole attack, from `seed` on
    parts: tuple[str, ...] = PARTS  # what is done

    target_train: int = 1200  # training records of the target [paper, Location]
    target_test: int = 1200  # records it does not see; some of them are RMIA's population
    population: int = 600  # of these; they are not evaluated [spec]
    shadows: int = 16  # [spec]; the paper has 60 for Location
    shadow_train: int = 1200  # records of each, and as many it does not see [paper: as the target]

    network: str = "mlp"  # mlp (one hidden layer) or cnn (two convolutions and pools)
    hidden: int = 128  # units of the dense hidden layer, tanh [paper]
    rate: float = 1e-3  # of Adam [paper: 0.001]
    batch: int = 100  # [released code]
    epochs: int = 40  # [spec]
    l2: float = 0.0  # sum of squares of the weights, in the loss

    attack_hidden: int = 64  # ReLU units of the per-class attack networks [paper]
    attack_rate: float = 3e-3  # of Adam
    attack_steps: int = 500  # of batches of 100
    attack_inputs: str = "answers"  # what they see [paper]; or "angles" (attack_model.angles)

    mitigation_l2: tuple[float, ...] = (1e-4, 1e-3, 1e-2)  # [paper, Purchase: 1e-4, 1e-3, 1e-2]
    noise: tuple[float, ...] = (0.1, 0.2)  # share of features flipped in shadow data [paper]
    effect_seeds: int = 3  # repetitions of the effects
    effect_shadows: int = 8  # shadows in the effects of overfitting and of the class count
    effect_epochs: tuple[int, ...] = (2, 5, 10, 20, 40, 80)
    effect_classes: tuple[int, ...] = (2, 10, 20, 50, 100)  # stand-ins of Purchase [paper]
    online_models: int = 64  # trained on random halves of the target's records, both kinds
    online_targets: int = 8  # of them, attacked one after the other
    budgets: tuple[int, ...] = (2, 4, 8, 16, 32)  # shadow models of the online attacks

    audit_canaries: int = 500  # each IN with probability 1/2
    audit_noise: tuple[float, ...] = (0.4, 1.0)  # noise multipliers
    audit_steps: int = 200  # of DP-SGD
    audit_rate: float = 0.1  # Poisson sampling rate of DP-SGD
    audit_rounds: int = 20  # of DP-FedAvg, everyone every round
    delta: float = 1e-5  # of the audits

    plan: str = "auto"  # how models run: auto (measured), scan, vmap, chunk:K
    stride: int = 17  # models in one call of the compiled program

    RANGES = ranges.Ranges(
        positive=(
            "seeds", "target_train", "target_test", "population", "shadows", "shadow_train",
            "hidden", "rate", "batch", "epochs", "attack_hidden", "attack_rate", "attack_steps",
            "effect_seeds", "effect_shadows", "effect_epochs", "effect_classes",
            "online_models", "online_targets", "budgets", "audit_canaries", "audit_noise",
            "audit_steps", "audit_rate", "audit_rounds", "delta", "stride",
        ),
        share=("noise", "audit_rate", "delta"),
    )  # fmt: skip

    def check(self) -> None:
        """Refuses numbers out of range, and what a part would refuse after training.

        Raises:
            ConfigError: then.
        """
        super().check()
        errors.one_of("network", self.network, ("mlp", "cnn"))
        errors.one_of("attack input", self.attack_inputs, ("answers", "angles"))
        if self.delta >= 1:
            raise errors.ConfigError(f"delta must be below 1, got {self.delta}.")
        if self.shadows < 2:
            raise errors.ConfigError(
                "a deviation per example takes two shadows or more, got shadows 1."
            )
        if "class_count" in self.parts and min(self.effect_classes, default=2) < 2:
            raise errors.ConfigError("effect_classes must be 2 or more, got 1.")
        if "online" in self.parts:
            self._check_online()
        if "audit" in self.parts and not 20 <= self.audit_canaries <= 2 * self.shadow_train:
            raise errors.ConfigError(
                f"audit_canaries must lie between 20, of which both halves have some IN and some"
                f" OUT, and 2 * shadow_train = {2 * self.shadow_train}, which are left for them,"
                f" got {self.audit_canaries}."
            )

    def _check_online(self) -> None:
        models = self.online_models
        if models % 2:
            raise errors.ConfigError(
                f"online_models must be even, every second one trains on what the one before it"
                f" does not, got {models}."
            )
        if self.online_targets > models:
            raise errors.ConfigError(
                f"online_targets are some of the {models} online_models, got {self.online_targets}."
            )
        for budget in self.budgets:
            if not 2 <= budget <= models - 2:
                raise errors.ConfigError(
                    f"budgets must lie between 2 and online_models - 2 = {models - 2}, the models"
                    f" beside the one attacked and its complement, got {budget}."
                )


SMALL = Config()
PAPER = dataclasses.replace(SMALL, shadows=60, online_models=256, budgets=(2, 8, 32, 128, 254))
SMOKE = dataclasses.replace(
    SMALL,
    dataset="digits",
    seeds=1,
    target_train=200,
    target_test=300,
    population=100,
    shadows=3,
    shadow_train=200,
    hidden=32,
    epochs=80,
    attack_steps=60,
    mitigation_l2=(1e-2,),
    noise=(),
    effect_seeds=1,
    effect_shadows=2,
    effect_epochs=(2, 80),
    effect_classes=(2, 10),
    online_models=6,
    online_targets=2,
    budgets=(2, 4),
    audit_canaries=60,
    audit_noise=(1.0,),
    audit_steps=10,
    audit_rounds=3,
    plan="scan",
    stride=4,
)
ADULT = dataclasses.replace(
    SMALL,
    dataset="adult",
    parts=("attacks",),
    target_train=5_000,
    target_test=5_000,
    population=2_000,
    shadow_train=5_000,
    shadows=20,
    epochs=50,
)
MNIST = dataclasses.replace(
    SMALL,
    dataset="mnist",
    parts=("attacks",),
    seeds=3,
    # The paper has 10,000; the folder of a checkout holds 27,435 images, and four roles need four
    # times as many.
    target_train=6_000,
    target_test=6_000,
    population=2_400,
    shadow_train=6_000,
    shadows=10,
    epochs=30,
)
CIFAR10 = dataclasses.replace(
    SMALL,
    dataset="cifar10",
    parts=("attacks",),
    network="cnn",
    seeds=1,
    target_train=2_500,
    target_test=2_500,
    population=1_000,
    shadow_train=2_500,
    shadows=10,
    epochs=25,
)
PRESETS = {
    "smoke": SMOKE,
    "small": SMALL,
    "paper": PAPER,
    "adult": ADULT,
    "mnist": MNIST,
    "cifar10": CIFAR10,
}
