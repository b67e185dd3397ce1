"""What the grid compares: its settings, and the names of the attacks."""

import dataclasses

from experiments.backdoor.config import SMALL, SMOKE, Config
from fl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Grid:
    """What is compared. Lengths are in units of the median norm of the last benign updates."""

    config: Config = SMALL  # data, network, pre-training
    cohort: int = 12  # m, participants a round
    attackers: int = 2  # k = f, compromised participants in every round of the attack
    attacked: int = 8  # rounds of the attack
    pretrained: bool = True  # False: the attack begins with the training itself
    after: int = 6  # honest rounds after it
    epochs: int = 2  # of the attackers
    examples: int = 320  # clean examples of the attackers
    rate: float = 0.02  # of the attackers
    clip: float = 1.5  # norm clipping, centred clipping and the bound of train-and-scale
    radius: float = 3.0  # of the ball of the projected attacker
    noise: float = 0.02  # weak DP and FLAME: noise of the aggregate per coordinate x sqrt(d)
    deviation: float = 0.1  # of the attack by noise, per coordinate
    # IBA's triggers: bound in training at first, in the end [a public benchmark, BackFed], and how
    # much of it an attack takes off (the authors' 0.001 is for 1,500 rounds).
    trigger_bounds: tuple[float, float, float] = (0.3, 0.06, 0.3)
    generator_steps: int = 1000  # of its generator, before the attack
    audible: float = 0.02  # of an indicator of 3DFed, what is not the others' updates
    ahead: int = 3  # global models that Anticipate foresees
    alpha: float = 0.8  # share of the class loss in constrain-and-scale
    alpha_adaptive: float = 0.7  # likewise of the adaptive attacker
    # Clean examples of the server, for FLTrust and FLARE: two batches. Seven, at the participants'
    # rate and momentum, are outside FLTrust's stable region: its own update is then noise.
    root: int = 28
    probes: int = 256  # random images of each of DeepSight's three sets; the paper's are 20,000
    longest: float = 1.25  # CRFL's bound of the model, in norms of the model at the start
    smoothing: float = 0.15  # its noise, likewise
    # What the Indicator plants, chosen on honest rounds of other seeds and on training digits.
    planted: int = 400  # crops; the authors' 800 take twice the time
    planting_epochs: int = 5
    planting_rate: float = 0.002
    window: int = 3  # rounds that FLDetector looks back, and waits before it starts
    defences: tuple[str, ...] = ()  # of `rules`; none named = all
    attacks: tuple[str, ...] = ()  # of ATTACKS; none named = all


SMALL_GRID = Grid()
SMOKE_GRID = Grid(
    dataclasses.replace(SMOKE, seeds=2),
    cohort=12,
    attacked=2,
    after=1,
    epochs=1,
    examples=32,
    planted=40,
)

UNTARGETED = (
    "label flip",
    "sign flip",
    "ALIE",
    "IPM",
    "Min-Max",
    "Min-Sum",
    "Fang Krum",
    "Fang trim",
    "noise",
)
ATTACKS = (
    "none",
    "data poisoning",
    "model replacement",
    "train-and-scale",
    "constrain-and-scale",
    "adaptive",
    "semantic PGD",
    "DBA",
    "Neurotoxin",
    "A3FL",
    "Chameleon",
    "Anticipate",
    "3DFed",
    "IBA",
    *UNTARGETED,
)
# The setting of the untargeted papers: a fifth is compromised, and attacks from the first round.
SCRATCH_GRID = Grid(
    pretrained=False, cohort=20, attackers=4, attacked=60, after=0, attacks=("none", *UNTARGETED)
)


def attacks_of(grid: Grid) -> tuple[str, ...]:
    """The attacks of this grid, in the order of ATTACKS.

    Without pre-training "none" is always among them: the others are held against it.

    Raises:
        ConfigError: one that there is not.
    """
    for name in grid.attacks:
        errors.one_of("attack", name, ATTACKS)
    wanted = grid.attacks or ATTACKS
    wanted = wanted if grid.pretrained else ("none", *wanted)
    return tuple(a for a in ATTACKS if a in wanted)
