"""The runs that each part of the experiment is made of."""

import dataclasses
from typing import NamedTuple

from experiments.leakage.arm import Arm
from experiments.leakage.config import Config
from fl_jax.core import errors


class Cell(NamedTuple):
    """A run of one arm in one seed, with a name to report it by."""

    part: str
    name: str
    arm: Arm
    seed: int


def cells(config: Config, plan: str) -> list[Cell]:
    """Every run of property inference that the config asks for, in order.

    Raises:
        ConfigError: a run too short for anything to be recorded.
    """
    made = []
    for part, maker in _MAKERS.items():
        if part in config.parts:
            for name, arm in maker(config, plan):
                if arm.rounds <= arm.warm:
                    raise errors.ConfigError(
                        f"nothing is recorded in the first {arm.warm} rounds, and {part} has only"
                        f" {arm.rounds}; lower warm or take more rounds."
                    )
                seeds = config.active_seeds if part == "active" else config.seeds
                made += [Cell(part, name, arm, config.seed + s) for s in range(seeds)]
    return made


def base(config: Config, plan: str, participants: int) -> Arm:
    """The arm of so many participants, the victim's batches wholly with or without."""
    two = participants == 2
    return Arm(
        participants=participants,
        rounds=config.two_rounds if two else config.rounds,
        batch=config.batch,
        rate=config.rate,
        schedule=("every", config.every, 1.0 if two else config.share),
        warm=config.warm,
        period=config.two_period if two else config.period,
        pool=config.pool,
        channels=config.channels,
        hidden=config.hidden,
        method=config.method,
        plan=plan,
        dispatch=config.dispatch,
    )


def _short(config: Config, plan: str, participants: int) -> Arm:
    """As many rounds with two parties as with more, so that they can be compared."""
    return dataclasses.replace(
        base(config, plan, participants),
        rounds=config.rounds,
        period=config.period,
        schedule=("every", config.every, config.share),
    )


def _two(config, plan):
    yield "K = 2", base(config, plan, 2)


def _fraction(config, plan):
    arm = base(config, plan, 2)
    yield "K = 2", dataclasses.replace(arm, schedule=("cycling", config.every, config.shares))


def _parties(config, plan):
    for k in config.participants:
        yield f"K = {k}", _short(config, plan, k)
    k = min((k for k in config.participants if k > 2), default=0)
    if k and config.pool:
        arm = _short(config, plan, k)
        yield f"K = {k}, fresh innocent updates", dataclasses.replace(arm, pool=0)


def _active(config, plan):
    arm = _short(config, plan, config.active_participants)
    for alpha in config.alphas:
        yield (
            f"alpha = {alpha:g}",
            dataclasses.replace(
                arm,
                alpha=alpha,
                mixed=config.mixed,
                schedule=("every", config.every, config.active_share),
            ),
        )


def _timeline(config, plan):
    arm = _short(config, plan, config.timeline_participants)
    rounds = -(-(config.timeline[1] * 3 // 2) // config.dispatch) * config.dispatch
    yield (
        f"K = {config.timeline_participants}",
        dataclasses.replace(arm, rounds=rounds, schedule=("between", *config.timeline)),
    )


def _fedavg(config, plan):
    for k in config.averaging_participants:
        arm = dataclasses.replace(
            _short(config, plan, k), steps=config.local_steps, rate=config.averaging_rate
        )
        yield f"K = {k}, {config.local_steps} local steps", arm


def _defences(config, plan):
    arm = _short(config, plan, config.defence_participants)
    yield "none", arm
    for portion in config.portions:
        yield (
            f"largest {100 * portion:g}%",
            dataclasses.replace(arm, share="largest", portion=portion),
        )
    for portion in config.portions[:1]:
        yield (
            f"random {100 * portion:g}%",
            dataclasses.replace(arm, share="random", portion=portion),
        )
    for dropout in config.dropouts:
        yield f"dropout {dropout:g}", dataclasses.replace(arm, dropout=dropout)
    for noise in config.noises:
        yield f"DP, noise {noise:g}", dataclasses.replace(arm, clip=config.clip, noise=noise)
    for view in config.views:
        several = _short(config, plan, max(config.defence_participants, 5))
        yield f"K = {several.participants}, {view}", dataclasses.replace(several, view=view)


def _record(config, plan):
    arm = _short(config, plan, 2)
    yield (
        f"batch {config.record_batch}",
        dataclasses.replace(
            arm,
            record=True,
            batch=config.record_batch,
            rounds=config.record_rounds,
            schedule=("every", 2, 1 / config.record_batch),
        ),
    )


_MAKERS = {
    "two-party": _two,
    "fraction": _fraction,
    "parties": _parties,
    "active": _active,
    "timeline": _timeline,
    "fedavg": _fedavg,
    "defences": _defences,
    "record": _record,
}
