"""`python -m experiments bench words`: rounds of a recurrent network beside FedJAX (W3).

FedJAX's Shakespeare model: 90 characters, embedding 8, two LSTM layers of 256 with tanh after each,
820,522 parameters; windows of 20 and of 80, batch 4, one local epoch of SGD, example-weighted
mean. Both sides start from the same weights and visit the same batches in the same order; the
first round must agree to 1e-4 of the norm of every leaf. The weights are as wide as Haiku draws
them: recurrent weights of three times that width make a round over 80 characters chaotic, and then
no two float32 codes agree (what rounding alone can do is printed).

FedJAX runs with its `jit` backend (`debug` is the same code op by op). It unrolls the 80 steps,
which takes minutes to compile, and again for every other length of batch: clients are cut to
whole batches, so that it compiles once.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bench import federated, measure, peers
from fl_jax.core import tree
from fl_jax.data import sources, speech
from fl_jax.federated import client, population, sampling
from fl_jax.federated import round as federated_round
from fl_jax.federated.aggregators import mean
from fl_jax.nn import loss, recurrent
from fl_jax.train.state import Variables

CHARACTERS, EMBEDDING, WIDTH = 90, 8, 256
WINDOWS, BATCH, RATE, CLIENTS, ROUNDS = (20, 80), 4, 0.1, 10, 6
MOST = 24  # windows of a client; the longest speaker has 468 of 80


def main() -> None:
    """Runs the benchmark and prints its figures."""
    for window in WINDOWS:
        compare(window)


def compare(window: int) -> None:
    """Both sides on windows of so many characters.

    Raises:
        AssertionError: the two sides do not compute the same round.
    """
    x, y, sizes, origin = examples(window)
    params = initial(jax.random.key(0))
    assert tree.size(params) == 820_522
    shares = np.split(np.arange(len(y)), np.cumsum(sizes)[:-1])
    key = jax.random.key(1)
    visited = [
        share[federated.order(key, i, len(share), sizes.max())] for i, share in enumerate(shares)
    ]
    ours = rounds(params, x, y, shares, key)
    print(f"T = {window}: ours {ours['seconds']:.3f} s a round", flush=True)
    theirs = fedjax(params, x, y, visited, "jit")
    start = names(params)
    moved = tree.sub(ours["params"], params)
    round_error = worst(moved, {k: theirs[f"jit/round/{k}"] - v for k, v in start.items()})
    print(table(ours, theirs, round_error, sizes, origin, window), flush=True)
    # What rounding alone can do: our own round again, from weights moved in their last bit.
    other = jax.tree.map(lambda leaf: leaf * (1 + np.float32(1e-7)), params)
    again = tree.sub(rounds(other, x, y, shares, key)["params"], other)
    print(f"from weights 1e-7 larger our own round differs by {worst(moved, names(again)):.1e}")
    assert round_error <= 1e-4, f"the first round differs by {round_error:.1e} of its norm"


def examples(window: int):
    """(x, y, windows of each client, origin): speakers of Shakespeare, or made-up text."""
    if sources.folder("tinyshakespeare"):
        said = speech.shakespeare()
        texts = [" ".join(said[name]) for name in list(said)[:CLIENTS]]
        origin = f"the first {CLIENTS} speakers of Shakespeare"
    else:
        draw = np.random.default_rng(0)
        texts = [
            "".join(chr(97 + c) for c in draw.integers(0, 26, 80 * n + 1)) for n in (9, 12) * 5
        ]
        origin = "made-up text"
    number = {c: i + 1 for i, c in enumerate(sorted(set("".join(texts))))}
    cut = [speech.windows([number[c] for c in text], window) for text in texts]
    whole = [np.flatnonzero(c["w"].all(axis=1))[:MOST] for c in cut]
    whole = [w[: len(w) // BATCH * BATCH] for w in whole]
    x = np.concatenate([c["x"][w] for c, w in zip(cut, whole, strict=True) if len(w)])
    y = np.concatenate([c["y"][w] for c, w in zip(cut, whole, strict=True) if len(w)])
    return x, y, np.array([len(w) for w in whole if len(w)]), origin


def initial(key) -> dict[str, Any]:
    """The weights, in the shapes that both sides have, of deviation 1/sqrt(rows) as Haiku's."""
    keys = jax.random.split(key, 4)
    layer = lambda k, n: recurrent.init(k, n, WIDTH, scale=(3 / (n + WIDTH)) ** 0.5)
    return {
        "embedding": jax.random.normal(keys[0], (CHARACTERS, EMBEDDING)),
        "lstm1": layer(keys[1], EMBEDDING),
        "lstm2": layer(keys[2], WIDTH),
        "output": {
            "kernel": jax.random.normal(keys[3], (WIDTH, CHARACTERS)) / WIDTH**0.5,
            "bias": jnp.zeros(CHARACTERS),
        },
    }


def objective(variables: Variables, batch, key):
    """Mean over the windows of the mean cross-entropy of their characters; 0 is padding."""
    del key
    params = variables.params
    hidden = jnp.tanh(recurrent.lstm(params["lstm1"], params["embedding"][batch["x"].T], 1.0))
    hidden = jnp.tanh(recurrent.lstm(params["lstm2"], hidden, 1.0))
    scores = hidden @ params["output"]["kernel"] + params["output"]["bias"][None, None]
    losses = loss.cross_entropy(jnp.swapaxes(scores, 0, 1), batch["y"])
    losses = jnp.mean(losses * (batch["y"] != 0), axis=1)
    return loss.masked_mean(losses, batch.get("mask")), (variables.batch_stats, {})


def rounds(params, x, y, shares, key) -> dict[str, Any]:
    """The round engine: one compiled program a round."""
    people = population.make({"x": x, "y": y}, shares)
    engine = federated_round.make(
        client=client.make(
            objective,
            optax.sgd(RATE),
            epochs=1,
            batch_size=BATCH,
        ),
        sampler=sampling.everyone(len(shares)),
        aggregator=mean.mean(),
    )
    data = federated_round.RoundData(people)
    step = jax.jit(engine.step, donate_argnums=0)
    state = jax.tree.map(jnp.copy, engine.init(Variables(params, {})))
    begun = time.perf_counter()
    state, _ = jax.block_until_ready(step(state, data, key))
    compiling = time.perf_counter() - begun
    after = jax.tree.map(np.array, state.variables.params)
    times, used = [], []
    for _ in range(ROUNDS - 1):
        begun, cpu = time.perf_counter(), time.process_time()
        state, _ = jax.block_until_ready(step(state, data, key))
        times.append(time.perf_counter() - begun)
        used.append(time.process_time() - cpu)
    return {
        "params": after,
        "seconds": measure.median(times),
        "CPU seconds": measure.median(used),
        "first": compiling,
    }


def names(params) -> dict[str, np.ndarray]:
    """The leaves by the names that the peer is given; an LSTM's two matrices are one there."""
    join = lambda layer: np.concatenate([layer["input"], layer["hidden"]])
    return {
        "embedding": np.asarray(params["embedding"]),
        **{f"lstm{i}/kernel": join(params[f"lstm{i}"]) for i in (1, 2)},
        **{f"lstm{i}/bias": np.asarray(params[f"lstm{i}"]["bias"]) for i in (1, 2)},
        "output/kernel": np.asarray(params["output"]["kernel"]),
        "output/bias": np.asarray(params["output"]["bias"]),
    }


def worst(ours, theirs: dict[str, np.ndarray]) -> float:
    """The largest ||ours - theirs|| / ||theirs|| over the leaves."""
    return max(
        float(np.linalg.norm(leaf - theirs[name]) / np.linalg.norm(theirs[name]))
        for name, leaf in names(ours).items()
    )


def fedjax(params, x, y, visited, backends: str) -> dict[str, Any]:
    """What `peers/fedjax_w3.py` returns."""
    taken = np.concatenate(visited)
    given = {
        **names(params),
        "x": x[taken],
        "y": y[taken],
        "size": np.array([len(v) for v in visited]),
        "batch_size": BATCH,
        "rate": RATE,
        "rounds": ROUNDS,
    }
    return peers.exchange("fedjax", "fedjax_w3.py", given, backends)


def table(ours, theirs, round_error, sizes, origin, window) -> str:
    """The figures as text."""
    around = measure.surroundings()
    steps = int(sum(sizes) // BATCH)
    peer = measure.median(list(theirs["jit/seconds"][1:]))
    return "\n".join(
        [
            f"W3: LSTM of 820,522 parameters, batch {BATCH}, T = {window}; {origin}",
            f"{len(sizes)} clients, {int(sizes.sum())} windows, {steps} local steps; {around}",
            f"FedJAX: {', '.join(theirs['versions'])}",
            f"ours    {ours['seconds']:.3f} s a round ({ours['CPU seconds']:.3f} CPU-s),"
            f" {1e3 * ours['seconds'] / steps:.1f} ms a step; first round {ours['first']:.1f} s",
            f"FedJAX  {peer:.3f} s a round ({float(theirs['jit/cpu']):.3f} CPU-s),"
            f" {1e3 * peer / steps:.1f} ms a step; first round {theirs['jit/seconds'][0]:.1f} s",
            f"ratio {peer / ours['seconds']:.2f}; first round equal to {round_error:.1e} of it",
        ]
    )
