"""Every attack against every defence, in one compiled program.

The program holds all attacks and all rules as branches; a cell of the grid is a pair of numbers.
Seeds run side by side (`vmap`), cells one after another. Each cell starts from the converged model
of the main experiment, or (preset scratch) from an untrained one: in the first rounds the same
participants attack together, then only honest ones train.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.backdoor import stages
from experiments.backdoor import task as tasks
from experiments.backdoor.config import SMALL, SMOKE, Config
from fl_jax.core import errors, rng, tree
from fl_jax.federated import detection, round, sampling
from fl_jax.federated.aggregators import (
    alignins,
    centred_clip,
    choice,
    clipped_clustering,
    crfl,
    deepsight,
    dnc,
    flame,
    flare,
    fldetector,
    fltrust,
    foolsgold,
    geometric_median,
    krum,
    mean,
    median,
    multi_metrics,
    restart,
    rflbat,
    robust_rate,
    signguard,
    snowball,
)
from fl_jax.federated.attacks import (
    a3fl,
    anticipate,
    chameleon,
    directed,
    distributed,
    iba,
    neurotoxin,
    three_d_fed,
    triggers,
    untargeted,
)
from fl_jax.federated.attacks import choice as attack_choice
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.defences import norm_clip
from fl_jax.nn import network, perturbation
from fl_jax.train import cohort, optimizer
from fl_jax.train.state import Variables


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
    window: int = 3  # rounds that FLDetector looks back, and waits before it starts
    defences: tuple[str, ...] = ()  # of `rules`; none named = all
    attacks: tuple[str, ...] = ()  # of ATTACKS; none named = all


SMALL_GRID = Grid()
SMOKE_GRID = Grid(
    dataclasses.replace(SMOKE, seeds=2), cohort=12, attacked=2, after=1, epochs=1, examples=32
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
# What each attack is made of: a program, of which several attacks are settings.
PROGRAMS = {
    "data poisoning": "train",
    "model replacement": "train",
    "train-and-scale": "train",
    "constrain-and-scale": "train",
    "A3FL": "train",
}


class Material(NamedTuple):
    """Arrays that depend on the seed, stacked over seeds."""

    models: Variables
    keys: jax.Array
    trigger: jax.Array  # A3FL's
    generator: Any  # IBA's


class Found(NamedTuple):
    """What the grid gives: leaves (defences, attacks, seeds, rounds, ...)."""

    attacks: tuple[str, ...]  # their names
    main: np.ndarray  # accuracy on the main task after each round
    backdoor: np.ndarray  # accuracy on the backdoor of the attack
    malicious: np.ndarray  # (..., cohort)
    scores: dict[str, np.ndarray]  # of each detector, (..., cohort)
    before: dict[str, np.ndarray]  # main (seeds,), backdoor (attacks, seeds)


def rules(
    grid: Grid, task: tasks.Task, unit: float, dimension: int, length: float
) -> dict[str, Any]:
    """The defences by name; `unit` is the norm of a benign update, `length` of a model."""
    f, bound = grid.attackers, grid.clip * unit
    plain = mean.mean(weight="uniform")
    deviation = grid.noise * unit / dimension**0.5
    root = {k: v[: grid.root] for k, v in task.pool.items()}
    participants = grid.config.participants
    history = fldetector.fldetector(participants=participants, window=grid.window)
    return {
        "mean": plain,
        "norm clip": choice.guarded(plain, norm_clip.norm_clip(bound=bound)),
        "weak DP": choice.guarded(plain, norm_clip.norm_clip(bound=bound, noise=deviation)),
        "trimmed mean": median.trimmed_mean(trim=f),
        "median": median.median(),
        "Krum": krum.krum(attackers=f),
        "multi-Krum": krum.multi_krum(attackers=f),
        "Bulyan": krum.bulyan(attackers=f),
        "RFA": geometric_median.geometric_median(weight="uniform"),
        "centred clip": centred_clip.centred_clip(radius=bound),
        "FLTrust": fltrust.fltrust(client=stages.client_of(grid.config, task), root=root),
        "FoolsGold": foolsgold.foolsgold(participants=participants, select=last_layer),
        "FLAME": flame.flame(noise=grid.noise / dimension**0.5),
        "robust rate": robust_rate.robust_rate(threshold=grid.cohort / 3),
        "CRFL": crfl.crfl(
            plain, bound=grid.longest * length, noise=grid.smoothing * length / dimension**0.5
        ),
        "DnC": dnc.dnc(attackers=f),
        "SignGuard": signguard.signguard(),
        "SignGuard-Sim": signguard.signguard(similarity="cosine"),
        "SignGuard-Dist": signguard.signguard(similarity="distance"),
        "RFLBAT": rflbat.rflbat(),
        "DeepSight": deepsight.deepsight(
            apply=lambda v, x: task.network.apply(v.params, v.batch_stats, x)[0],
            inputs=lambda key: probes(grid, task, key),
            select=lambda update: deepsight.Layer(**last_layer(update)),
        ),
        "ClippedClustering": clipped_clustering.clipped_clustering(),
        "MultiMetrics": multi_metrics.multi_metrics(),
        "AlignIns": alignins.alignins(),
        "FLARE": flare.flare(features=task.features, root=root["x"]),
        # The widths and epochs are a public benchmark's (BackFed); the authors' are for 50 clients.
        "Snowball": snowball.snowball(
            select=ends, suspects=grid.cohort // 5, hidden=64, latent=32, initial=50, tuning=10
        ),
        "FLDetector": history,
        "FLDetector again": restart.restart(
            history, participants=participants, found=lambda state: state.found
        ),
    }


def probes(grid: Grid, task: tasks.Task, key: jax.Array):
    """Random images, every pixel uniform in its range, as the network sees them."""
    _, mean, deviation = tasks.SCALES[grid.config.dataset]
    shape = (grid.probes, *task.pool["x"].shape[1:])
    return (jax.random.uniform(key, shape) - mean[0]) / deviation[0]


def ends(update: Variables):
    """The first and the last layer's part of an update."""
    params = update.params
    return params["layers"][0] if "layers" in params else params["stem"], last_layer(update)


def last_convolution(task: tasks.Task) -> str:
    """The path of its kernel."""
    params, _ = jax.eval_shape(task.network.init, jax.random.key(0))
    return [name for name, a in tree.named_leaves(params).items() if len(a.shape) == 4][-1]


def last_layer(update: Variables):
    """The last layer's part of an update: its gradient is the classes'."""
    return update.params["head"]


def programs(grid: Grid, task: tasks.Task, against) -> dict[str, Any]:
    """The attacks' programs by name."""
    config, k = grid.config, grid.attackers
    sgd = optimizer.Optimizer("sgd", rate=1.0, momentum=config.momentum)
    usual = {"batch_size": config.batch, "test_loss": task.test_loss, "drop_every": 100}
    loss, unit_rate = task.train_loss, optimizer.make(sgd)
    single = scaling.constrain_and_scale(loss, unit_rate, **usual)
    client = stages.client_of(config, task)
    return {
        "train": scaling.constrain_and_scale(loss, unit_rate, attackers=k, **usual),
        "adaptive": scaling.constrain_and_scale(
            loss, unit_rate, attackers=k, against=against, halvings=6, **usual
        ),
        "semantic PGD": scaling.constrain_and_scale(
            loss, unit_rate, attackers=k, radius=grid.radius, **usual
        ),
        "DBA": distributed.distributed(single, k),
        "Neurotoxin": neurotoxin.neurotoxin(loss, unit_rate, attackers=k, share=0.05, **usual),
        "Chameleon": chameleon.chameleon(
            loss,
            unit_rate,
            task.features,
            attackers=k,
            contrastive_epochs=grid.epochs,
            contrastive_rate=grid.rate,
            **usual,
        ),
        "Anticipate": anticipate.anticipate(
            loss,
            unit_rate,
            benign=stages.optimizer_of(config),
            cohort=grid.cohort,
            rounds=grid.ahead,
            local_steps=config.epochs,  # a share is about one batch
            attackers=k,
            **usual,
        ),
        "3DFed": three_d_fed.three_d_fed(
            loss,
            unit_rate,
            attackers=k,
            target=tasks.TARGET,
            indicator=last_convolution(task),
            benign=stages.optimizer_of(config),
            benign_epochs=config.epochs,
            neurons=8,  # the authors' for MNIST, as are a threshold and a group of two
            threshold=grid.audible,
            **usual,
        ),
        "IBA": iba.iba(
            loss,
            unit_rate,
            trigger_of(grid, task),
            attackers=k,
            epsilon=grid.trigger_bounds[0],
            test_epsilon=grid.trigger_bounds[1],
            decay=grid.trigger_bounds[2],
            ready=0.0,  # the generator stands still here: waiting would not make it better
            radius=grid.radius,
            **usual,
        ),
        "none": untargeted.honest(client, attackers=k),
        "label flip": untargeted.label_flip(client, attackers=k, classes=10),
        "sign flip": untargeted.sign_flip(client, attackers=k, scale=3.0),
        "ALIE": untargeted.little_is_enough(attackers=k),
        "IPM": untargeted.inner_product(attackers=k, epsilon=2.0),
        "Min-Max": untargeted.min_max(attackers=k),
        "Min-Sum": untargeted.min_sum(attackers=k),
        "Fang Krum": directed.against_krum(attackers=k, spread=0.01),
        "Fang trim": directed.against_trimmed_mean(attackers=k),
        "noise": untargeted.noise(attackers=k, deviation=grid.deviation),
    }


def run(grid: Grid, models: Variables, keys: jax.Array, *, shown=lambda name: None):
    """(`Found`, names of the defences), from pre-trained models that are stacked over seeds.

    Args:
        models: `Variables` of the converged models.
        keys: (seeds,).
        shown: called with the name of each defence once its row is done.
    """
    if grid.config.dataset == "cifar10":
        raise errors.ConfigError("the grid runs on digits or mnist; give dataset 'digits'.")
    task = tasks.make(grid.config)
    dimension = tree.size(jax.tree.map(lambda a: a[0], models.params))
    unit = benign_norm(grid, task, models, keys)
    trigger = jax.jit(lambda models, keys: optimise_trigger(grid, task, models, keys))(models, keys)
    generator = jax.jit(lambda models, keys: generators(grid, task, models, keys))(models, keys)
    material = Material(models, keys, trigger, generator)
    length = float(jnp.median(jax.vmap(tree.norm)(models)))
    defences = rules(grid, task, unit, dimension, length)
    for name in grid.defences:
        errors.one_of("defence", name, tuple(defences))
    defences = {k: v for k, v in defences.items() if k in grid.defences or not grid.defences}
    attacks = attacks_of(grid)
    chooser = choice.choice(list(defences.values()))
    wanted = {program_of(attack) for attack in attacks}
    kinds = {k: v for k, v in programs(grid, task, chooser).items() if k in wanted}
    algorithm = round.make(
        client=stages.client_of(grid.config, task),
        sampler=sampling.single_shot(
            grid.config.participants,
            grid.cohort,
            attackers=range(grid.attackers),
            rounds=range(grid.attacked),
        ),
        aggregator=chooser,
        attack=attack_choice.choice(list(kinds.values())),
        evaluate=tasks.evaluate(task),
        inspect=detection.inspect(last_layer),
        plan=cohort.Plan("scan"),
    )
    many = round.repeat(algorithm.step, grid.attacked + grid.after)
    population, test = task.population, jax.tree.map(jnp.asarray, task.test)

    def cell(defence, attack, material, poisons, tests):
        """One attack on one defence, all seeds: the numbers stay outside the mapped axis."""
        poison = jax.tree.map(lambda a: a[attack], poisons)
        program = jnp.asarray([list(kinds).index(program_of(a)) for a in attacks])[attack]

        def seed(model, key, poison, trial):
            state = algorithm.init(model)
            state = state._replace(aggregator=state.aggregator._replace(index=defence))
            each = tuple(own(poison) for own in data_of(kinds))
            data = round.RoundData(
                population,
                attack_choice.ChoiceData(program, each),
                {"main": test, "backdoor": trial},
            )
            _, info = many(state, data, rng.fold(key, "grid"))
            return info.metrics, info.malicious, info.inspection

        trials = jax.tree.map(lambda a: a[attack], tests)
        return jax.vmap(seed)(material.models, material.keys, poison, trials)

    @jax.jit
    def row(defence, material, poisons, tests):
        one = lambda attack: cell(defence, attack, material, poisons, tests)
        return jax.lax.map(one, jnp.arange(len(attacks)))

    poisons, tests = settings(grid, task, unit, material)
    rows = []
    for d, name in enumerate(defences):
        rows.append(jax.device_get(row(jnp.int32(d), material, poisons, tests)))
        shown(name)
    metrics, malicious, scores = jax.tree.map(lambda *a: np.stack(a), *rows)

    @jax.jit
    def before(models, tests):
        evaluate = tasks.evaluate(task)
        one = lambda model, trial: evaluate(model, {"main": test, "backdoor": trial})
        return jax.lax.map(lambda trials: jax.vmap(one)(models, trials), tests)

    start = jax.device_get(before(models, tests))
    found = Found(attacks, metrics["main"], metrics["backdoor"], malicious, scores, start)
    return found, list(defences)


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


def program_of(attack: str) -> str:
    """The program that an attack is a setting of."""
    return PROGRAMS.get(attack, attack)


def data_of(kinds):
    """What each program is given of the cell's poison, in the order of the programs."""
    whole = lambda poison: poison["whole"]
    parts = {
        "train": whole,
        "adaptive": whole,
        "semantic PGD": whole,
        "Neurotoxin": whole,
        "Chameleon": whole,
        "Anticipate": whole,
        "3DFed": whole,
        "DBA": lambda poison: poison["parts"],
        "IBA": lambda poison: iba.Irreversible(poison["whole"], poison["generator"]),
    }
    return [parts.get(name, lambda poison: ()) for name in kinds]


def benign_norm(grid: Grid, task: tasks.Task, models: Variables, keys) -> float:
    """The median norm of benign updates of the converged models: the unit of all lengths."""
    algorithm = round.make(
        client=stages.client_of(grid.config, task),
        sampler=sampling.uniform(grid.config.participants, grid.config.participants // 2),
        aggregator=mean.mean(weight="uniform"),
    )

    def norms(model, key):
        data = round.RoundData(task.population)
        return algorithm.step(algorithm.init(model), data, rng.fold(key, "unit"))[1].norm

    found = jax.jit(jax.vmap(norms))(models, keys)
    return float(jnp.median(found))


def optimise_trigger(grid: Grid, task: tasks.Task, models: Variables, keys):
    """A3FL's trigger for each seed, in pixel values: the place of the fixed one, other values."""
    high = float(tasks.SCALES[grid.config.dataset][0])
    side = task.pool["x"].shape[1]
    row, column = tasks.place_of(side)
    mask = jnp.zeros((side, side, 1)).at[row : row + 5, column : column + 3].set(1.0)
    x = {k: jnp.asarray(v[: grid.examples]) for k, v in task.pool.items()}
    x = {**x, "x": x["x"].astype(jnp.float32)}

    def one(model, key):
        return a3fl.optimise_trigger(
            task.test_loss,
            model,
            x,
            rng.fold(key, "a3fl"),
            trigger=0.5 * mask,
            mask=mask,
            target=tasks.TARGET,
            apply=lambda x, trigger, mask: x * (1 - mask) + high * trigger * mask,
        )

    return jax.vmap(one)(models, keys)


def trigger_of(grid: Grid, task: tasks.Task) -> iba.Trigger:
    """IBA's trigger, whose generator is an autoencoder."""
    side, _, channels = task.pool["x"].shape[1:]
    build = lambda rngs: perturbation.Autoencoder(side=side, channels=channels, rngs=rngs)
    high = float(tasks.SCALES[grid.config.dataset][0])
    return iba.Trigger(network.from_nnx(build), tasks.TARGET, high)


def generators(grid: Grid, task: tasks.Task, models: Variables, keys):
    """IBA's generator for each seed: it learns to fool the model that the attack begins from."""
    trigger = trigger_of(grid, task)
    adam = optimizer.make(optimizer.Optimizer("adam", rate=0.001))
    clean = {k: jnp.asarray(v[: grid.examples]) for k, v in task.pool.items()}

    def one(model, key):
        own = rng.fold(key, "iba")
        return iba.train_generator(
            task.test_loss,
            trigger,
            model,
            clean,
            trigger.generator.init(own)[0],
            own,
            epsilon=grid.trigger_bounds[0],
            optimizer=adam,
            steps=grid.generator_steps,
        )

    return jax.vmap(one)(models, keys)


def settings(grid: Grid, task: tasks.Task, unit: float, material: Material):
    """(poison, test draws) of every attack, leaves (attacks, seeds, ...)."""
    full = float(grid.cohort)  # n/eta of the plain mean: gamma puts X in place
    clean = {k: v[: grid.examples] for k, v in task.pool.items()}
    pixel = task.backdoors["pixel pattern"]
    semantic = next(b for name, b in task.backdoors.items() if name != "pixel pattern")
    config = grid.config
    seeds = len(material.keys)
    high = int(tasks.SCALES[config.dataset][0])
    side = task.pool["x"].shape[1]
    row, column = tasks.place_of(side)
    usual = {
        "per_batch": config.backdoor_per_batch,
        "epochs": grid.epochs,
        "rate": grid.rate,
        "gamma": full,
    }
    changes = {
        "data poisoning": {"gamma": float(grid.attackers)},
        "train-and-scale": {"bound": grid.clip * unit},
        "constrain-and-scale": {"alpha": grid.alpha},
        "adaptive": {"alpha": grid.alpha_adaptive},
        "Neurotoxin": {"gamma": float(grid.attackers)},
        "Chameleon": {"gamma": float(grid.attackers)},
        "Anticipate": {"gamma": float(grid.attackers)},
        # Everyone's update as long as a benign one, or five times as long at most [authors].
        "3DFed": {"gamma": 5.0, "alpha": 0.6, "per_batch": config.batch // 2},
        "DBA": {"gamma": full / grid.attackers},
        "IBA": {"per_batch": config.batch // 2},  # alpha = 1/2 [authors]
    }
    trigger = trigger_of(grid, task)
    repeat = lambda data: tasks.repeated(data, (pixel, semantic))
    parts = distributed.split(triggers.CROSS, grid.attackers)
    stamped = [
        {
            **pixel.train,
            "x": triggers.stamp(pixel.plain, pattern=part, row=row, column=column, high=high),
        }
        for part in parts
    ]

    def of(attack, s):
        trial = semantic if attack == "semantic PGD" else pixel
        train, test = trial.train, trial.test
        if attack == "A3FL":
            own = np.round(np.asarray(material.trigger[s]) * high).astype(np.uint8)
            put = lambda x: _put(x, own, row, column)
            train = {**train, "x": put(train["x"])}
            test = {**test, "x": put(test["x"])}
        generator = jax.tree.map(lambda a: a[s], material.generator)
        test = {**test, "x": jnp.asarray(test["x"], jnp.float32)}
        if attack == "IBA":
            seen = jnp.asarray(pixel.plain_test)
            test["x"] = trigger.stamp(generator, seen, grid.trigger_bounds[1])
        chosen = usual | changes.get(attack, {})
        whole = scaling.poison(clean, repeat(train), **chosen)
        pieces = [scaling.poison(clean, repeat(part), **chosen) for part in stamped]
        parts = jax.tree.map(lambda *a: jnp.stack(a), *pieces)
        poison = {"whole": whole, "parts": parts, "generator": generator}
        return poison, jax.tree.map(jnp.asarray, test)

    stack = lambda items: jax.tree.map(lambda *a: jnp.stack(a), *items)
    return stack([stack([of(attack, s) for s in range(seeds)]) for attack in attacks_of(grid)])


def _put(images, trigger, row, column):
    """The images with the trigger's own pixels in its place."""
    out = images.copy()
    out[:, row : row + 5, column : column + 3] = trigger[row : row + 5, column : column + 3]
    return out
