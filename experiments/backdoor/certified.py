"""CRFL with its certificate: answers that no few participants of a round can change.

From the converged models of the main experiment, one round in which every participant takes part,
each update clipped and the model clipped after; then noisy models vote. The certificate says of
each test image how many participants, whatever they send, could not have changed the answer. Beside
it stands what attackers who replace the model within the clipping bound do reach.
"""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import plots
from experiments.backdoor import grid, grid_config, stages, summary, sweeps
from experiments.backdoor import task as tasks
from experiments.backdoor.config import SMALL, SMOKE, Config
from fl_jax.core import rng, tree
from fl_jax.federated import certificate, round, sampling
from fl_jax.federated.aggregators import crfl, mean
from fl_jax.federated.attacks import constrain_and_scale as scaling
from fl_jax.federated.defences import norm_clip


@dataclasses.dataclass(frozen=True)
class Certified:
    """What is compared."""

    config: Config = SMALL  # data, network, pre-training, the attack
    clips: tuple[float, ...] = (1.0, 10.0)  # bounds of an update, over the median benign norm
    smoothings: tuple[float, ...] = (0.1, 0.2, 0.4)  # norm of the noise over that of the model
    longest: float = 1.25  # CRFL's bound of the model, over its norm
    attackers: tuple[int, ...] = (1, 2, 5, 10)  # of all participants, who all take part
    draws: int = 2000  # models that vote
    confidence: float = 0.999


SMALL_CERTIFIED = Certified()
SMOKE_CERTIFIED = Certified(SMOKE, (1.0,), (0.2,), attackers=(1,), draws=50)
KINDS = ("main", "backdoor")  # test images, and stamped ones with the attacker's label


def run(certified: Certified, *, shown=lambda row: None) -> list[dict[str, Any]]:
    """One row a clip and a smoothing; `shown` is called with each as it comes.

    A row holds, for both kinds of images: accuracies (seeds,) of the model as it stands and of the
    vote; `certified` (seeds, images), the participants that an answer holds against, -1 where it is
    not the wanted one; and for each number of attackers what the attacked model and its vote say,
    and how many certified answers they changed, of which a sound certificate has none.
    """
    config = certified.config
    task = tasks.make(config)
    keys = jnp.stack([jax.random.key(config.seed + s) for s in range(config.seeds)])
    _, models = sweeps.checkpoints(config, task, keys, 0)
    unit = grid.benign_norm(grid_config.Grid(config), task, models, keys)
    length = float(jnp.mean(jax.vmap(tree.norm)(models)))
    dimension = sum(a[0].size for a in jax.tree.leaves(models))
    rows = []
    for clip in certified.clips:
        rounds = functools.partial(
            after, certified, task, models, keys, bound=clip * unit, longest=length
        )
        ends = {count: rounds(attackers=count) for count in (0, *certified.attackers)}
        moved = certificate.moved_by_participants(
            1, bound=clip * unit, share=1 / config.participants
        )
        for smoothing in certified.smoothings:
            noise = smoothing * length / dimension**0.5
            polled = {count: poll(certified, task, end, keys, noise) for count, end in ends.items()}
            rows.append(
                {"clip": clip, "noise": smoothing, **_compare(certified, polled, noise, moved)}
            )
            shown(rows[-1])
    return rows


def after(certified: Certified, task: tasks.Task, models, keys, *, attackers, bound, longest):
    """The clipped models (seeds, ...) after a round with this many attackers, without noise.

    The honest ones do the same whoever attacks beside them.
    """
    config = certified.config
    poison = scaling.poison(
        stages.attackers_share(config, task),
        task.backdoors["pixel pattern"].train,
        per_batch=config.per_batch("pixel pattern"),
        epochs=config.attacker_epochs,
        rate=config.attacker_rate,
        gamma=float(config.participants),  # n/eta of the plain mean
    )
    everyone = sampling.uniform(
        config.participants, config.participants, attackers=range(attackers)
    )
    algorithm = round.make(
        client=stages.client_of(config, task),
        sampler=everyone,
        aggregator=crfl.crfl(
            mean.mean(weight="uniform"), bound=certified.longest * longest, noise=0.0
        ),
        attack=stages.attack_of(config, task, attackers=attackers) if attackers else None,
        defence=norm_clip.norm_clip(bound=bound),
    )

    data = round.RoundData(task.population, poison)
    keys = jax.vmap(lambda key: rng.fold(key, "certified"))(keys)
    return stages.one_round(algorithm, models, data, keys)


def poll(certified: Certified, task: tasks.Task, models, keys, noise: float) -> dict[str, Any]:
    """kind -> (the models' own answers (seeds, images), votes (seeds, images, classes), labels)."""
    images = {"main": task.test["x"], "backdoor": task.backdoors["pixel pattern"].test["x"]}

    @jax.jit
    def many(models, keys):
        def seed(item):
            model, key = item

            def ask(x):
                drawn = {"noise": noise, "draws": certified.draws}
                shares = crfl.votes(task.logits, model, x, rng.fold(key, "votes"), **drawn)
                counts = jnp.rint(shares * certified.draws).astype(jnp.int32)
                return jnp.argmax(task.logits(model, x), axis=-1), counts

            return jax.tree.map(ask, images)

        return jax.lax.map(seed, (models, keys))

    labels = {"main": task.test["y"], "backdoor": task.backdoors["pixel pattern"].test["y"]}
    found = jax.device_get(many(models, keys))
    return {kind: (*found[kind], labels[kind]) for kind in KINDS}


def _compare(certified: Certified, polled, noise: float, moved: float) -> dict[str, Any]:
    """What a row says, from the votes without and with attackers."""
    read = functools.partial(certificate.radius, noise=noise, confidence=certified.confidence)
    hits = lambda answers, labels: 100 * np.mean(answers == labels, axis=1)
    row: dict[str, Any] = {"attacked": {}}
    certain = {}
    for kind in KINDS:
        own, votes, labels = polled[0][kind]
        answers, far = (np.stack(a) for a in zip(*(read(v) for v in votes), strict=True))
        certain[kind] = answers, far / moved
        row[kind] = {"model": hits(own, labels), "vote": hits(answers, labels)}
        right = answers == labels if kind == "main" else answers != labels
        row[kind]["certified"] = np.where(right, far / moved, -1.0)
    for count in certified.attackers:
        told = {}
        for kind in KINDS:
            own, votes, labels = polled[count][kind]
            vote = votes.argmax(-1)
            answers, reach = certain[kind]
            told[kind] = {"model": hits(own, labels), "vote": hits(vote, labels)}
            told[kind]["changed"] = int(np.sum((vote != answers) & (reach > count)))
        row["attacked"][count] = told
    return row


def share(row: dict[str, Any], kind: str, attackers: float) -> np.ndarray:
    """(seeds,) percent of the images that are certified against this many attackers.

    Of the test images those answered rightly; of the stamped ones those that are not answered
    with the attacker's label.
    """
    return 100 * np.mean(row[kind]["certified"] > attackers, axis=1)


def table(certified: Certified, rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown, percent; what depends on the attackers in the order of their counts."""
    show = lambda v: f"{np.mean(v):.1f}{summary.plus(summary.margin(np.asarray(v)))}"
    each = lambda values: " / ".join(f"{np.mean(v):.1f}" for v in values)
    counts = certified.attackers
    shown = f" against {' / '.join(str(c) for c in counts)}"
    heads = ["clip", "noise", "model", "vote", "right, certified" + shown]
    heads += ["stamped and not the attacker's, certified" + shown, "backdoor" + shown]
    heads += ["main" + shown, "certified and changed"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        told = row["attacked"]
        cells = [f"{row['clip']:g}", f"{row['noise']:g}"]
        cells += [show(row["main"]["model"]), show(row["main"]["vote"])]
        cells += [each(share(row, kind, c) for c in counts) for kind in KINDS]
        cells += [each(told[c][kind]["vote"] for c in counts) for kind in reversed(KINDS)]
        cells.append(str(sum(told[c][kind]["changed"] for c in counts for kind in KINDS)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(
    path: pathlib.Path, certified: Certified, rows: list[dict[str, Any]], about: dict[str, Any]
) -> str:
    """Writes certified.json and certified.png; returns the table."""
    plain = lambda v: v.tolist() if isinstance(v, np.ndarray) else v
    (path / "certified.json").write_text(
        json.dumps({"rows": rows, **about}, indent=1, default=plain) + "\n"
    )
    draw(rows, path / "certified.png")
    return table(certified, rows)


def draw(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """A panel a clip: certified accuracy over participants, one curve a smoothing."""
    plt = plots.pyplot()
    clips = sorted({row["clip"] for row in rows})
    figure, axes = plt.subplots(
        1, len(clips), figsize=(1 + 4.3 * len(clips), 3.8), sharey=True, squeeze=False
    )
    for axis, clip in zip(axes[0], clips, strict=True):
        mine = [row for row in rows if row["clip"] == clip]
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(mine)))
        for row, colour in zip(mine, colours, strict=True):
            at = np.linspace(0, max(1.0, row["main"]["certified"].max() * 1.05), 200)
            curve = np.stack([share(row, "main", a) for a in at], axis=1)
            axis.plot(at, curve.mean(0), color=colour, lw=2, label=f"noise {row['noise']:g}")
            axis.fill_between(at, curve.min(0), curve.max(0), color=colour, alpha=0.12, lw=0)
        axis.set_title(f"updates clipped to {clip:g} of a benign one", fontsize=11)
        axis.set_xlabel("participants who may send anything")
        axis.set_ylim(-2, 102)
        axis.legend(fontsize=8, edgecolor="none")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("certified accuracy, %")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
