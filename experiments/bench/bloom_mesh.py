"""The same training on one device and on meshes: trajectories side by side.

    python -m experiments bench bloom_mesh      about a minute on two idle cores

Eight virtual CPU devices. What is promised is one step: from the same state, the loss to 1e-5
and the update to 1e-5 of its norm. Trajectories are shown, not promised: rounding differs, and
training amplifies it.
"""

import jax
import numpy as np

from experiments.bench import measure
from fl_jax.bloom import recipe, sharding, train
from fl_jax.bloom.config import Config
from fl_jax.core import tree
from fl_jax.train.mesh import MeshConfig

CONFIG = Config(vocab=512, hidden=64, layers=2, heads=8, length=64)
BATCH, STEPS, EVERY = 16, 100, 10
PLAN = recipe.Recipe(
    rate=3e-3, final_rate=3e-4, warmup=10 * BATCH, decay=STEPS * BATCH, batch=BATCH, ramp_start=0
)
MESHES = {
    "8 data": MeshConfig(data=8),
    "4 fsdp x 2 tensor": MeshConfig(fsdp=4, tensor=2),
    "2 data x 2 fsdp x 2 tensor": MeshConfig(data=2, fsdp=2, tensor=2),
}


def batch(step: int) -> dict[str, np.ndarray]:
    """Sums modulo the vocabulary of the two tokens before, from a random beginning."""
    rows = np.random.default_rng(step).integers(0, 64, (BATCH, CONFIG.length + 1))
    for place in range(2, CONFIG.length + 1):
        rows[:, place] = (rows[:, place - 1] + rows[:, place - 2]) % 64
    return {"tokens": rows.astype(np.int32)}


def main() -> None:
    """Prints the steps that are promised, then the trajectories."""
    jax.config.update("jax_num_cpu_devices", 8)
    print(measure.surroundings())
    key = jax.random.key(1)
    one = train.make(CONFIG, PLAN)
    made = {name: sizes.make() for name, sizes in MESHES.items()}
    many = {name: train.make(CONFIG, PLAN, mesh=mesh) for name, mesh in made.items()}
    begin = jax.tree.map(np.array, one.init(jax.random.key(0)))
    place = lambda state, mesh: jax.tree.map(
        jax.device_put, state, sharding.state(state, CONFIG, mesh)
    )

    state, losses = jax.tree.map(jax.numpy.array, begin), {"one device": []}
    kept = {}
    for step in range(STEPS):
        if step in (20, 60):
            kept[step] = jax.tree.map(np.array, state)
        state, info = one.step(state, batch(step), key)
        losses["one device"].append(float(info.loss))
    print("| one step from the same state | loss, relative | update, of its norm |\n|---|---|---|")
    for step, held in kept.items():
        after, info = one.step(jax.tree.map(jax.numpy.array, held), batch(step), key)
        wanted = tree.sub(jax.tree.map(np.array, after.variables.params), held.variables.params)
        for name, trainer in many.items():
            moved, told = trainer.step(place(held, made[name]), batch(step), key)
            found = tree.sub(jax.tree.map(np.array, moved.variables.params), held.variables.params)
            apart = float(tree.norm(tree.sub(found, wanted)) / tree.norm(wanted))
            off = abs(float(told.loss) / float(info.loss) - 1)
            print(f"| step {step}, {name} | {off:.1e} | {apart:.1e} |")
    for name, trainer in many.items():
        state, losses[name] = place(begin, made[name]), []
        for step in range(STEPS):
            state, info = trainer.step(state, batch(step), key)
            losses[name].append(float(info.loss))
    print("\n| step | " + " | ".join(losses) + " |\n|" + "---|" * (len(losses) + 1))
    for step in [0, *range(EVERY - 1, STEPS, EVERY)]:
        cells = " | ".join(f"{values[step]:.6f}" for values in losses.values())
        print(f"| {step + 1} | {cells} |")
    for name in made:
        apart = np.abs(np.divide(losses[name], losses["one device"]) - 1)
        print(f"{name}: largest relative difference of the loss in {STEPS} steps {apart.max():.1e}")
