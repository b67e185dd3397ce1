"""ALiBi in bfloat16: how exact each way to compute it is, and whether it extrapolates.

    python -m experiments bench bloom_alibi      about 3 minutes on two idle cores

First the error of attention's output and gradients in bfloat16, against float32 on the same
inputs. Then a small model that is trained at 512 tokens in bfloat16 with ALiBi folded into
queries and keys, as a GPU runs it, and evaluated at 2,048: the loss by place in the window.
"""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import measure
from experiments.bloom import corpus
from fl_jax.bloom import loss, model, recipe, train
from fl_jax.bloom.config import Config
from fl_jax.nn import attention, position

WAYS = {
    "folded": {"implementation": "folded"},
    "blocked": {"implementation": "blocked"},
    "key-only bias, rounded": {"implementation": "einsum", "alibi": "bf16_key_only"},
}
SHAPES = ((6, 64, 512), (16, 64, 2048), (32, 80, 2048), (16, 96, 2048), (112, 128, 2048))
SHOWN = 6  # heads of each shape that are computed, from the steepest to the flattest

MODEL = Config(
    vocab=256, hidden=128, layers=3, heads=8, length=512, dtype="bfloat16", attention="folded",
    scan=False,
)  # fmt: skip
STEPS, BATCH, RATE = 100, 8, 2e-3
LONG = 2048
PLACES = ((0, 128), (128, 512), (512, 1024), (1024, 1536), (1536, 2048))


def main() -> None:
    """Prints both tables."""
    print(measure.surroundings())
    errors()
    extrapolation()


def errors() -> None:
    """The largest error of output and gradients, in shares of the largest value."""
    print("| heads | width | tokens | way | output | dq | dk | dv |\n|" + "---|" * 8)
    for heads, width, time_ in SHAPES:
        slopes = np.sort(position.alibi_slopes(heads))[::-1]
        slopes = slopes[np.linspace(0, heads - 1, SHOWN).astype(int)]
        keys = jax.random.split(jax.random.key(heads), 4)
        shape = (1, time_, SHOWN, width)
        q, k, v, g = (jax.random.normal(key, shape).astype(jnp.bfloat16) for key in keys)
        wide = [a.astype(jnp.float32) for a in (q, k, v, g)]
        truth = _both(slopes, {"implementation": "einsum"}, *wide)
        for name, way in WAYS.items():
            found = _both(slopes, way, q, k, v, g)
            worst = [
                float(jnp.max(jnp.abs(a.astype(jnp.float32) - b)) / jnp.max(jnp.abs(b)))
                for a, b in zip(found, truth, strict=True)
            ]
            cells = " | ".join(f"{100 * w:.2f} %" for w in worst)
            print(f"| {heads} | {width} | {time_} | {name} | {cells} |", flush=True)


def _both(slopes, way, q, k, v, g):
    """Output and the gradients of its product with g."""
    run = lambda q, k, v: attention.attention(q, k, v, slopes=slopes, **way)

    @jax.jit
    def both(q, k, v, g):
        out, pull = jax.vjp(run, q, k, v)
        return [out, *pull(g)]

    return both(q, k, v, g)


def extrapolation() -> None:
    """Loss by place in the window, in nats a byte, of windows of 512 and of 2,048."""
    texts = corpus.load(0)
    held = len(texts.train["en"]) // 10
    stream = lambda parts: np.frombuffer("\n\n".join(parts).encode(), np.uint8).astype(np.int32)
    learn, test = stream(texts.train["en"][:-held]), stream(texts.train["en"][-held:])
    plan = recipe.Recipe(
        rate=RATE, final_rate=RATE / 10, warmup=20 * BATCH, decay=STEPS * BATCH, batch=BATCH,
        ramp_start=0,
    )  # fmt: skip
    trainer = train.make(MODEL, plan)
    # The published 0.0048 is sqrt(1 / (3 h)) at h = 14336; the rule itself lets this one learn.
    std = (3 * MODEL.hidden) ** -0.5
    state = trainer.init(jax.random.key(0), model.init(jax.random.key(0), MODEL, std=std))
    draw, start = np.random.default_rng(0), time.process_time()
    for _ in range(STEPS):
        begin = draw.integers(0, len(learn) - MODEL.length - 1, (BATCH, 1))
        rows = learn[begin + np.arange(MODEL.length + 1)]
        state, info = trainer.step(state, {"tokens": rows}, jax.random.key(0))
    print(
        f"\n{texts.origin}; {MODEL.parameters:,} parameters, {STEPS} steps of {BATCH} x"
        f" {MODEL.length} bytes, bfloat16, folded: training loss {float(info.loss):.3f} after"
        f" {time.process_time() - start:.0f} CPU seconds\n"
    )
    print("| window | computed in | " + " | ".join(f"{a} to {b}" for a, b in PLACES) + " |")
    print("|" + "---|" * (len(PLACES) + 2))
    ways = (
        (512, "bfloat16, folded", {}),
        (LONG, "bfloat16, folded", {}),
        (LONG, "float32", {"dtype": "float32", "attention": "blocked"}),
        (LONG, "bfloat16, key-only bias", {"alibi": "bf16_key_only", "attention": "einsum"}),
    )
    count = min(8, (len(test) - 1) // LONG)
    rows = test[np.arange(count)[:, None] * LONG + np.arange(LONG + 1)]
    for length, name, changes in ways:
        config = dataclasses.replace(MODEL, **changes)
        windows = np.stack(
            [row[s : s + length + 1] for row in rows for s in range(0, LONG, length)]
        )
        score = loss.log_likelihoods
        nats = np.concatenate(
            [np.asarray(-score(state.variables.params, config, w[None])) for w in windows]
        ).mean(axis=0)
        cells = [f"{nats[a:b].mean():.3f}" if b <= length else "" for a, b in PLACES]
        print(f"| {length} | {name} | " + " | ".join(cells) + " |", flush=True)
