"""Pre-train, checkpoint, backdoor in one round, follow: the paper's single-shot protocol."""

import jax
import jax.numpy as jnp

from experiments import result
from experiments.backdoor import stages, summary
from experiments.backdoor import task as tasks
from experiments.backdoor.config import Config
from fl_jax.train import checkpoint, cohort, loop, metrics
from fl_jax.train import mesh as meshes


def run(config: Config, directory: result.RunDirectory, *, resume: bool = False) -> result.Result:
    """Runs the experiment, or goes on with it; what was measured is in metrics.jsonl too."""
    del resume  # a fresh directory has no checkpoints: both are the same
    task = tasks.make(config)
    print(f"data: {task.origin}, {config.participants} participants, {config.cohort} a round")
    mesh = meshes.MeshConfig(clients=-1).make() if jax.device_count() > 1 else None
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    undecided = stages.Setting(config, task, keys, cohort.Plan("scan"), mesh)
    setting = undecided._replace(plan=_plan(undecided, directory))

    saves = {name: directory.path / "checkpoints" / name for name in ("pretrain", "follow")}
    with metrics.Metrics(directory.path / "metrics.jsonl") as log:

        def go(stage, state, rounds, name):
            with (
                checkpoint.Checkpoints(saves[name]) as kept,
                metrics.Progress(rounds, what=f"{name} round") as shown,
            ):
                return loop.run(
                    stage.advance,
                    state,
                    steps=rounds,
                    stride=stages.stride(config, rounds),
                    checkpoints=kept,
                    save_every=config.save_every,
                    metadata=directory.resolved,
                    metrics=log,
                    rows=stage.rows,
                    progress=shown,
                )

        training, attack = stages.pretrain(setting), stages.follow(setting)
        initial = training.start()
        if checkpoint.Checkpoints(saves["follow"]).latest() is None:
            models = go(training, initial, config.pretrain_rounds, "pretrain").variables
            for row in stages.before(setting, models):
                log.write(row)
        else:  # the second stage's own checkpoint holds all that it needs
            models = initial.variables
        go(attack, attack.start(models), config.follow_rounds, "follow")
    rows = metrics.read(directory.path / "metrics.jsonl")
    return summary.summarise(config, rows, task.origin)


def _plan(setting: stages.Setting, directory: result.RunDirectory) -> cohort.Plan:
    """How clients run: as the config says, as this run decided before, or the fastest here."""
    config = setting.config
    if config.plan != "auto":
        return cohort.Plan.parse(config.plan)
    if "plan" not in directory.resolved:
        plans = cohort.candidates(jax.default_backend(), config.cohort)

        def runner(plan):
            stage = stages.pretrain(setting._replace(plan=plan))
            return lambda: stage.advance(stage.start(), 0)

        fastest, seconds = cohort.fastest(runner, plans, repeats=1)
        directory.resolve(plan=str(fastest), plan_seconds=seconds)
    print(f"clients run by {directory.resolved['plan']}, measured once for this run")
    return cohort.Plan.parse(directory.resolved["plan"])
