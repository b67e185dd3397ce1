"""The grid's defences: every rule, fitted to the lengths of one task."""

import jax
import jax.numpy as jnp

from experiments.backdoor import stages
from experiments.backdoor import task as tasks
from experiments.backdoor.grid_config import Grid
from fl_jax.core import errors, tree
from fl_jax.data import sources
from fl_jax.federated.aggregators import (
    alignins,
    bucketing,
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
    indicator,
    krum,
    mean,
    median,
    mixing,
    multi_metrics,
    restart,
    rflbat,
    robust_rate,
    signguard,
    snowball,
)
from fl_jax.federated.aggregators.base import Aggregator
from fl_jax.federated.defences import norm_clip
from fl_jax.nn import loss
from fl_jax.train.state import Variables


def chosen(grid: Grid, task: tasks.Task, unit: float, models: Variables) -> dict[str, Aggregator]:
    """The defences that the grid asks for, all where it names none, in the order of `rules`.

    Args:
        unit: the norm of a benign update.
        models: what the attack begins from, stacked over seeds.

    Raises:
        ConfigError: one that there is not.
    """
    dimension = tree.size(models.params) // len(jax.tree.leaves(models)[0])
    length = float(jnp.median(jax.vmap(tree.norm)(models)))
    every = rules(grid, task, unit, dimension, length)
    _known(grid, every)
    return {k: v for k, v in every.items() if k in grid.defences or not grid.defences}


def check(grid: Grid, task: tasks.Task) -> None:
    """Refuses a wrong name before anything is trained.

    Raises:
        ConfigError: a defence that there is not.
    """
    if grid.defences:
        _known(grid, rules(grid, task, 1.0, 1, 1.0))


def _known(grid: Grid, every: dict[str, Aggregator]) -> None:
    for name in grid.defences:
        errors.one_of("defence", name, tuple(every))


def rules(
    grid: Grid, task: tasks.Task, unit: float, dimension: int, length: float
) -> dict[str, Aggregator]:
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
        # Krum on pairs would need more of them: f = 2 of 6 and 4 of 10 are too many.
        "bucketing + median": bucketing.bucketing(median.median(), size=2),
        "bucketing + RFA": bucketing.bucketing(
            geometric_median.geometric_median(weight="uniform"), size=2
        ),
        "NNM + trimmed mean": mixing.nearest_neighbours(median.trimmed_mean(trim=f), attackers=f),
        "NNM + Krum": mixing.nearest_neighbours(krum.krum(attackers=f), attackers=f),
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
            apply=lambda v, x: logits(task, v, x),
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
        "Indicator": planted(grid, task),
        "FLDetector": history,
        "FLDetector again": restart.restart(
            history, participants=participants, found=lambda state: state.found
        ),
    }


def planted(grid: Grid, task: tasks.Task) -> Aggregator:
    """BackdoorIndicator on crops of photographs."""
    crops = sources.crops(grid.planted, task.pool["x"].shape[1])
    return indicator.indicator(
        loss=loss.classification(task.network),
        apply=lambda v, x: logits(task, v, x),
        images=as_seen(grid, crops),
        labels=indicator.balanced(grid.planted, 10),
        classes=10,
        rate=grid.planting_rate,
        epochs=grid.planting_epochs,
    )


def logits(task: tasks.Task, variables: Variables, x):
    """Of inputs as the network sees them, in test mode."""
    return task.network.apply(*variables, x)[0]


def as_seen(grid: Grid, x):
    """Grey values in [0, 1] as the network sees them."""
    _, mean, deviation = tasks.SCALES[grid.config.dataset]
    return (x - mean[0]) / deviation[0]


def probes(grid: Grid, task: tasks.Task, key: jax.Array):
    """Random images, every pixel uniform in its range, as the network sees them."""
    return as_seen(grid, jax.random.uniform(key, (grid.probes, *task.pool["x"].shape[1:])))


def ends(update: Variables):
    """The first and the last layer's part of an update."""
    params = update.params
    return params["layers"][0] if "layers" in params else params["stem"], last_layer(update)


def last_layer(update: Variables):
    """The last layer's part of an update: its gradient is the classes'."""
    return update.params["head"]
