"""`python -m experiments backdoor grid`: every attack against every defence."""

import argparse

from fl_jax.core import errors


def grid(argv: list[str]) -> int:
    """Pre-trains, runs the grid, writes grid.json, grid.png and roc.png."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments backdoor grid",
        description="Every attack against every defence on digits, seeds side by side.",
        exit_on_error=False,
    )
    parser.add_argument("--preset", default="small", help="smoke or small")
    parser.add_argument("--out", default="runs/backdoor-grid", help="folder to write")
    parser.add_argument("--seeds", type=int, default=0, help="those of the preset unless given")
    try:
        asked, unknown = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise errors.ConfigError(f"the command could not be read: {error}.") from error
    if unknown:
        raise errors.ConfigError(f"the command could not be read from {unknown[0]!r} on.")
    errors.one_of("preset", asked.preset, ("smoke", "small"))

    import dataclasses
    import pathlib
    import time

    import jax
    import jax.numpy as jnp

    from experiments import result
    from experiments.backdoor import grid as grids
    from experiments.backdoor import grid_report, stages
    from experiments.backdoor import task as tasks
    from fl_jax.train import cohort

    chosen = {"smoke": grids.SMOKE_GRID, "small": grids.SMALL_GRID}[asked.preset]
    if asked.seeds:
        config = dataclasses.replace(chosen.config, seeds=asked.seeds)
        chosen = dataclasses.replace(chosen, config=config)
    path = pathlib.Path(asked.out)
    path.mkdir(parents=True, exist_ok=True)
    start, used = time.perf_counter(), time.process_time()
    config = chosen.config
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    plan = cohort.Plan("scan")
    stage = stages.pretrain(stages.Setting(config, tasks.make(config), keys, plan, None))
    state, stride = stage.start(), stages.stride(config, config.pretrain_rounds)
    for done in range(0, config.pretrain_rounds, stride):
        state, _ = stage.advance(state, done)
    jax.block_until_ready(state)
    print(f"pre-trained {config.seeds} models in {time.perf_counter() - start:.0f} s", flush=True)

    def shown(name):
        print(f"  {name}: done after {time.perf_counter() - start:.0f} s", flush=True)

    found, defences = grids.run(chosen, state.variables, keys, shown=shown)
    about = {
        "command": "python -m experiments backdoor grid",
        "preset": asked.preset,
        "seconds": round(time.perf_counter() - start, 1),
        "CPU seconds": round(time.process_time() - used, 1),
        "device": result.device(),
        "versions": result.versions(),
    }
    print(grid_report.write(path, chosen, defences, found, about))
    print(f"\ngrid.json, grid.png, roc.png: {path}")
    return 0
