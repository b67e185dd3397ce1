"""Population, emulators, lines, retrieval."""

from algorithmic.disks import retrieval
from experiments import result
from experiments.disks import coverage, observation, report, stages, summary, task
from experiments.disks.config import Config
from fl_jax.train import metrics


def run(config: Config, directory: result.RunDirectory, *, resume: bool = False) -> result.Result:
    """Runs the experiment, or goes on with it: finished disks are not made again."""
    del resume
    if config.chains_samples:  # what is not there is refused before disks are solved
        observation.setup(config)
        retrieval.check_installed(nested=bool(config.live))
    found = stages.rows(config, directory)
    with metrics.Metrics(directory.path / "metrics.jsonl") as log:
        log.truncate(0)  # what an earlier call wrote is measured again
        curve = stages.curve(config, found)
        for k, mse in zip(curve["k"], curve["mse"], strict=True):
            log.write({"stage": "cross-validation", "k": k, "mse": mse})
        print(f"cross-validation: k = {curve['best']}, {curve['rmse']:.3f} dex")
        ablation = stages.ablation(config, found)
        for row in ablation:
            log.write({"stage": "ablation", **row})
        fitted = stages.fit(config, found)
        for name, scores in fitted.scores.items():
            log.write({"stage": "emulator", "name": name, **scores})
    fitted.models[fitted.best].save(directory.path / "emulator.npz")
    fitted.models["perceptron"].save(directory.path / "perceptron.npz")
    report.draw_emulators(found, curve, ablation, fitted, directory.path)
    retrieved = task.retrieve(config, fitted, directory) if config.chains_samples else None
    if retrieved is not None:
        report.draw_retrieval(retrieved, directory.path)
    held = coverage.run(config, found) if config.coverage else None
    return summary.summarise(config, found, curve, ablation, fitted, retrieved, held)
