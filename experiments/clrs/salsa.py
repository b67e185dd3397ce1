"""SALSA-CLRS: six algorithms on sparse graphs, trained on up to 16 nodes, tested up to 1,600.

Minder, Grötschla, Mathys, Wattenhofer, LoG 2023 (arXiv 2309.12253). One model per task, as there.
"""

import dataclasses
import functools
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algorithmic.clrs import losses, specs, trajectory
from algorithmic.clrs.sparse import evaluate, graphs, net, tasks
from fl_jax.core import rng, tree
from fl_jax.data import safetensors
from fl_jax.train import optimizer, schedule


@dataclasses.dataclass(frozen=True)
class Config:
    """Training and tests."""

    seed: int = 0
    hidden: int = 64  # h
    processor: str = "gmpnn"  # sparse.processors.NAMES
    reduction: str = "max"  # of messages: max or sum
    rounds: int = 1000  # updates
    batch: int = 32  # graphs per update
    lengths: tuple[int, ...] = (4, 7, 11, 13, 16)  # n, drawn per graph
    kinds: tuple[str, ...] = ("erdos_renyi",)  # of training graphs
    pool: int = 2000  # graphs that batches are drawn from, with fresh sources and weights
    rate: float = 1e-3  # Adam, warmed up over 50 rounds or a tenth and falling along a cosine
    clip: float = 1.0  # bound on the norm of the gradient
    test_lengths: tuple[int, ...] = (16, 80, 160, 800, 1600)  # n
    test_nodes: int = 4_800  # nodes per test at least, of one size and kind ...
    test_graphs: int = 3  # ... but of no fewer graphs than this


def train(name: str, config: Config, log=print):
    """The parameters after the last round.

    Args:
        name: one of `specs.SALSA`.
        config: the settings.
        log: told of the loss now and then.
    """
    host = np.random.default_rng([config.seed, specs.SALSA.index(name)])
    pool = [
        graphs.draw(host, str(host.choice(config.kinds)), int(host.choice(config.lengths)))
        for _ in range(config.pool)
    ]
    size = max(config.lengths)
    packed = graphs.pack(pool)
    held = jax.tree.map(jnp.asarray, (packed, graphs.dense(packed, size)))
    # Layers and rounds of an independent set are few; a longer run is cut.
    room = trajectory.longest(name, size) if tasks.in_turn(name) else size // 2
    model = net.Config(config.processor, config.hidden, reduction=config.reduction)
    key = jax.random.key(config.seed)
    params = jax.jit(lambda k: net.init(k, name, model))(rng.fold(key, "init"))
    falling = schedule.Schedule(
        "cosine", warmup=min(50, config.rounds // 10), decay_steps=config.rounds, final=0.02
    )
    adam = optimizer.make(optimizer.Optimizer("adam", config.rate, schedule=falling))
    transform = optax.chain(optax.clip_by_global_norm(config.clip), adam)

    def one(params, opt, key):
        choice, drawing, weighing = jax.random.split(key, 3)
        chosen = jax.random.randint(choice, (config.batch,), 0, config.pool, jnp.int32)
        graph, matrix = held
        graph = graphs.Graph(graph.nodes[chosen], *(v[:, chosen] for v in graph[1:]))
        # Fresh weights on the same edges, equal in both directions.
        fresh = 1 - jax.random.uniform(weighing, matrix[chosen].shape)
        fresh = jnp.triu(fresh) + jnp.swapaxes(jnp.triu(fresh), 1, 2)
        matrix = jnp.where(matrix[chosen] != 0, fresh, 0.0)
        at = jnp.arange(config.batch, dtype=jnp.int32)[None]
        weight = matrix[at, graph.senders, graph.receivers]
        graph = graph._replace(weight=jnp.where(graph.real, weight, 0.0))
        batch = tasks.draw(name, drawing, graph, matrix, room, random_pos=True)

        def loss(params):
            found = net.run(params, name, batch, model)
            return losses.mean(found.outputs) + losses.mean(found.hints)

        value, grads = jax.value_and_grad(loss)(params)
        updates, opt = transform.update(grads, opt, params)
        return optax.apply_updates(params, updates), opt, value

    step = jax.jit(one, donate_argnums=(0, 1))
    opt = transform.init(params)
    for i in range(config.rounds):
        params, opt, value = step(params, opt, rng.fold(key, "round", i))
        if (i + 1) % max(1, config.rounds // 5) == 0:
            log(f"{name}, round {i + 1}: loss {float(value):.4f}")
    return params


def save(path, params, config: Config) -> None:
    """The parameters by their place in the tree, with the settings that they belong to."""
    flat = {k: np.asarray(v) for k, v in tree.named_leaves(params).items()}
    settings = {k: json.dumps(v) for k, v in dataclasses.asdict(config).items()}
    safetensors.write(path, flat, settings)


def test(name: str, params, config: Config):
    """Yields a row per size and kind of graph: shares of nodes and of graphs that are right.

    The graphs are the same for every model; positions are i / n.
    """
    model = net.Config(config.processor, config.hidden, reduction=config.reduction)
    for n in config.test_lengths:
        count = max(config.test_graphs, -(-config.test_nodes // n))
        together = max(1, min(count, 2000 // n))
        count = -(-count // together) * together
        all_drawn = {}
        for kind in graphs.KINDS:
            host = np.random.default_rng([n, graphs.KINDS.index(kind)])
            all_drawn[kind] = [graphs.draw(host, kind, n) for _ in range(count)]
        room = max(2 * len(g.pairs) + n for drawn in all_drawn.values() for g in drawn)
        for kind, drawn in all_drawn.items():  # of one shape, so one program
            nodes = whole = 0.0
            start = time.process_time()
            for i in range(0, count, together):
                packed = graphs.pack(drawn[i : i + together], room)
                matrix = jnp.asarray(graphs.dense(packed, n))
                key = rng.fold(jax.random.key(n), kind, i)
                right = jax.device_get(
                    _right(name, model, params, jax.tree.map(jnp.asarray, packed), matrix, key)
                )
                nodes, whole = nodes + right.nodes.sum(), whole + right.whole.sum()
            yield {
                "task": name, "n": n, "kind": kind, "graphs": count,
                "node": float(nodes) / (count * n), "graph": float(whole) / count,
                "cpu_seconds": round(time.process_time() - start, 1),
            }  # fmt: skip


@functools.partial(jax.jit, static_argnums=(0, 1))
def _right(name, model, params, graph, matrix, key):
    batch = tasks.draw(name, key, graph, matrix, 1)
    return evaluate.right(name, net.test(params, name, batch, model).logits, batch)


def table(rows: list[dict]) -> str:
    """Markdown: node and graph accuracy in %, the mean over the kinds of graphs."""
    sizes = sorted({row["n"] for row in rows})
    lines = ["| task | " + " | ".join(f"n = {n}" for n in sizes) + " |"]
    lines.append("|---" * (len(sizes) + 1) + "|")
    for name in dict.fromkeys(row["task"] for row in rows):
        cells = []
        for n in sizes:
            mine = [row for row in rows if row["task"] == name and row["n"] == n]
            mean = lambda what, mine=mine: 100 * sum(row[what] for row in mine) / len(mine)
            cells.append(f"{mean('node'):.1f} / {mean('graph'):.0f}" if mine else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
