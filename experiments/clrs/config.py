"""Settings of the CLRS experiment: one multi-task model, tested on larger inputs than it saw.

python -m experiments clrs                     six algorithms, one model, two cores; README.md
python -m experiments clrs --preset thirty     all thirty, one model as wide, likewise
python -m experiments clrs --preset paper      all thirty, the published settings; an accelerator
python -m experiments clrs single              a model for every algorithm, minutes each
"""

import dataclasses

from experiments import ranges

SHORT = (
    "bfs",
    "bellman_ford",
    "minimum",
    "segments_intersect",
    "binary_search",
    "activity_selector",
)


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked):
    """Train on random inputs of sizes up to 16, test at 64.

    The defaults are the paper's multi-task model; "repository" is google-deepmind/clrs. README.md
    says where the training itself departs.
    """

    tasks: tuple[str, ...] = ()  # algorithms; () = all thirty
    seed: int = 0  # of everything: parameters, data, tests
    seeds: int = 1  # models, from `seed` on; the paper has 10
    plan: str = "alone"  # how they train: one after another, or together: vmap, scan or chunk:K
    data: int = 1  # devices that share the batch of a model that trains alone

    processor: str = "triplet_mpnn"  # the paper's multi-task model has no gate [3.2.3]
    hidden: int = 128  # h [paper]
    triplets: int = 8  # features of a triplet [paper]
    bfloat16: bool = False  # operands of the products over pairs; sums stay float32

    # Beyond the paper, all off by default; RESULTS.md says what each did.
    aggregator: str = "max"  # of messages; lstm = in the order of the nodes [RNAR]
    history: str = "kept"  # hidden state between steps: kept, none or gated [G-ForgetNet]
    forget: float = 0.0  # weight of the loss that closes the gates of a gated history
    rebuild: float = 0.0  # weight of the loss of rebuilding the present hints; 0.1 [ReNAR]
    stop: bool = False  # learn when to end; tested that way too, beside the true number of steps

    rounds: int = 10_000  # each is one update per task [repository]
    batch: int = 32  # trajectories, or chunks of them, per task and round [repository]
    even: bool = False  # more of them where graphs are smaller: all see as many pairs of nodes
    chunk: int = 16  # hints per chunk of a long trajectory [paper, 3.3]
    lengths: tuple[int, ...] = (4, 7, 11, 13, 16)  # n, one a round in turn [repository]
    close: float = 0.0  # share of samples with positions, and with keys, drawn close together
    small: int = 0  # rounds of up to so many nodes have a program of that size; 0 = one for all
    update: str = "cyclic"  # of the processor: after each task [paper], or the mean of all
    grouping: str = "shared"  # tasks that share a trace: as many as can, or those alike (CPU)
    rate: float = 1e-3  # Adam [repository]
    warmup: int = 0  # rounds of linear rise
    final: float = 1.0  # last rate as a share of the first, along a cosine; 1 = constant [repo]
    clip: float = 1.0  # bound on the norm of each task's gradient [repository]

    test_lengths: tuple[int, ...] = (16, 64)  # n of the tests; 64 is the benchmark's
    test_samples: int = 0  # at most, per task and length; 0 = the benchmark's, 32 to 2,048
    test_batch: int = 32  # at once
    log_every: int = 50  # rounds between rows of losses
    save_every: int = 500  # rounds between checkpoints
    # Rounds between validations at the largest training size, whose best parameters are tested;
    # 0 = none, the last ones are. The repository: 50.
    validate_every: int = 0

    RANGES = ranges.Ranges(
        positive=(
            "seeds", "data", "hidden", "triplets", "rounds", "batch", "chunk", "lengths",
            "rate", "final", "clip", "test_lengths", "test_batch", "log_every", "save_every",
        ),
        share=("close",),
        filled=("lengths", "test_lengths"),
    )  # fmt: skip


PAPER = Config(validate_every=50)

SMALL = Config(
    tasks=SHORT,
    hidden=64,
    bfloat16=True,
    rounds=3000,
    batch=16,
    even=True,
    lengths=(4, 7, 16, 6, 13),
    close=0.5,
    small=7,
    grouping="alike",
    rate=1.5e-3,
    warmup=50,
    final=0.02,
    test_samples=256,
    save_every=250,
)

SMOKE = dataclasses.replace(
    SMALL,
    tasks=("bfs", "minimum"),
    hidden=8,
    triplets=4,
    rounds=4,
    batch=4,
    lengths=(4,),
    small=0,
    warmup=0,
    test_lengths=(4, 8),
    test_samples=8,
    test_batch=8,
    log_every=2,
    save_every=2,
)

# What goes beyond the paper is compared on: about a minute per network on two free cores.
BRIEF = dataclasses.replace(
    SMALL,
    tasks=("bellman_ford", "minimum"),
    hidden=32,
    rounds=400,
    lengths=(4, 7, 16),
    small=0,
    grouping="shared",
    test_samples=128,
    save_every=200,
)

# All thirty in one model as wide as the small one: two hours on two cores.
THIRTY = dataclasses.replace(SMALL, tasks=(), rounds=1000, test_samples=32, save_every=100)

PRESETS = {"smoke": SMOKE, "brief": BRIEF, "small": SMALL, "thirty": THIRTY, "paper": PAPER}

COMMANDS = {
    "single": "a model for every algorithm, as the published figures have it",
    "test": "scores the newest checkpoint of a run, finished or not, at any sizes",
    "options": "the plain network and every option beyond the paper at equal settings, briefly",
    "draw": "a random run drawn step by step",
    "text": "random runs as text for language models",
    "salsa": "six algorithms on sparse graphs, trained on 16 nodes, tested up to 1,600",
}
