"""Gradient inversion on rounds of collaborative learning: originals beside reconstructions."""

import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.leakage import task as tasks
from experiments.leakage.config import Config
from fl_jax.core import rng
from fl_jax.nn import loss as losses
from fl_jax.train import cohort, step
from fl_jax.train.state import Variables
from privacy.leakage import collaborative, draws, inversion, networks, split

SHOWN = 4  # single images


def run(config: Config, task: tasks.Task, directory: pathlib.Path) -> Iterator[dict]:
    """A row an attack: PSNR of every image, labels found; the images in inversion.npz."""
    if task.x.ndim != 4:
        return
    shape = task.x.shape[1:]
    conv = networks.make(
        networks.ConvNet,
        shape=shape,
        classes=task.classes,
        channels=(32, 64) if min(shape[:2]) > 9 else (64,),
        hidden=256,
        method=config.inversion_method,
    )
    le = networks.make(
        networks.LeNet, shape=shape, classes=task.classes, method=config.inversion_method
    )
    images = {}
    attacks = (
        ("DLG", le, "lbfgs", 1, SHOWN, max(config.inversion_steps // 4, 10)),
        ("cosine + TV", conv, "signed adam", 1, SHOWN, config.inversion_steps),
        ("cosine + TV", conv, "signed adam", config.inversion_batch, 1, config.inversion_steps),
    )
    for name, model, method, batch, groups, steps in attacks:
        truth, found, labels = attack(config, task, model, method, batch, groups, steps)
        quality = np.asarray(inversion.psnr(jnp.asarray(found), jnp.asarray(truth)))
        images[f"{name}, batch {batch}"] = np.stack([truth, np.clip(found, 0, 1)])
        yield {
            "name": f"{name}, batch {batch}",
            "seed": config.seed,
            "psnr": quality,
            "labels": labels,
        }
    np.savez_compressed(directory / "inversion.npz", **images)


def attack(config, task, model, method, batch, groups, steps):
    """(originals, reconstructions, share of labels read off), over all groups of one batch each.

    Each group is a round of two-party learning: the adversary differences two models.
    """
    loss = losses.classification(model.network)
    protocol = collaborative.synchronised_sgd(loss, rate=config.rate)
    learning = collaborative.make(protocol, np.ones(2))
    view = collaborative.view("participant", protocol, 2)
    parts = split.make(task.y, task.holds, 2, seed=config.seed)
    victim = draws.Stream(np.concatenate([parts.victim_property, parts.victim_rest]), "v", seed=0)
    own = draws.Stream(parts.shares[0], "a", seed=0)
    held = {"x": jnp.asarray(task.x), "y": jnp.asarray(task.y)}
    key = jax.random.key(config.seed)
    state = learning.init(jax.jit(model.network.init)(rng.fold(key, "weights"))[0], ())
    advance = jax.jit(learning.step)

    def gradient(params, x, y):
        return step.gradient(loss, Variables(params, {}), {"x": x, "y": y}, key)[1]

    def mean_prediction(params, x):
        return jnp.mean(jax.nn.softmax(model.network.apply(params, {}, x)[0]), axis=0)

    def one(item, own_images):
        params, seen, counts, guess = item
        found = inversion.label_counts(
            seen["output"]["bias"], mean_prediction(params, own_images), batch
        )
        objective = inversion.squared_distance if method == "lbfgs" else inversion.cosine
        options = {} if method == "lbfgs" else {"variation": config.inversion_variation}
        ends = jnp.cumsum(found)
        y = jnp.sum(jnp.arange(batch)[:, None] >= ends[None], axis=1).astype(jnp.int32)
        result = inversion.search(
            objective(gradient, params, seen, y, **options), guess, method=method, steps=steps
        )
        right = 1 - jnp.sum(jnp.abs(found - counts)) / (2 * batch)
        return result.x, right

    items, truths = [], []
    for g in range(groups):
        taken = np.stack([victim.take(g * batch, batch), own.take(g * batch, batch)])
        new, info = advance(state, held, jnp.asarray(taken), key)
        seen = view.observe(state.params, new.params, info)
        counts = np.bincount(task.y[taken[0]], minlength=task.classes)
        guess = inversion.noise(rng.fold(key, "guess", g), (batch, *task.x.shape[1:]))
        items.append((state.params, seen, jnp.asarray(counts), guess))
        truths.append(task.x[taken[0]])
        state = new
    items = jax.tree.map(lambda *leaves: jnp.stack(leaves), *items)
    mine = held["x"][parts.auxiliary_rest[:256]]
    search = jax.jit(
        lambda items, mine: cohort.map(one, items, shared=(mine,), plan=cohort.Plan("scan"))
    )
    found, right = search(items, mine)
    found = np.asarray(found)
    ordered = [
        f[inversion.match(jnp.asarray(f), jnp.asarray(t))]
        for f, t in zip(found, truths, strict=True)
    ]
    return np.concatenate(truths), np.concatenate(ordered), float(jnp.mean(right))
