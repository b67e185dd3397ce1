"""Where BLOOM's training and generation spend their time on a CPU.

    python -m experiments bench bloom_profile      about a minute on two idle cores

What `bench bloom` compares, traced, its operations added up by the part of the model that they
belong to.
"""

import collections
import dataclasses
import json
import pathlib
import re
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import bloom, measure
from fl_jax.bloom import generate, model, recipe, train
from fl_jax.train import allocator
from fl_jax.train import mesh as meshes

NO_WORK = re.compile(r" (while|call|conditional|parameter|tuple|get-tuple-element)\(")
SCOPES = ("prompt", "layers", "embedding", "attention", "mlp", "head", "draw", "optimizer")


def main() -> None:
    """Prints milliseconds by part of the model, matrix products apart."""
    jax.config.update("jax_num_cpu_devices", 2)
    allocator.keep_memory()
    print(json.dumps(measure.surroundings()))
    config = dataclasses.replace(bloom.CONFIG, eos=-1)
    params = model.init(jax.random.key(0), config, std=0.02)
    draw = np.random.default_rng(0)
    given = draw.integers(4, config.vocab, (bloom.BATCH, bloom.LENGTH))
    shape = lambda *sizes, dtype: jax.ShapeDtypeStruct(sizes, dtype)
    rows = {
        "tokens": shape(bloom.BATCH, bloom.LENGTH + 1, dtype=jnp.int32),
        "weights": shape(bloom.BATCH, bloom.LENGTH, dtype=jnp.float32),
    }
    plan = recipe.Recipe(rate=1e-4, warmup=0, decay=0, batch=bloom.BATCH, ramp_start=0)
    program = train.make(config, plan).lower(rows).compile().as_text()
    table("a training step", bloom.training(config, params, given), program)
    given = draw.integers(4, config.vocab, (bloom.PROMPTS, bloom.PROMPT))
    tokens = jnp.asarray(given, jnp.int32)
    capacity = bloom.PROMPT + bloom.NEW
    weights = generate.ready(params, config, meshes.MeshConfig(data=-1).make())
    asked = config, tokens, None, None, bloom.NEW, generate.GREEDY, capacity
    program = generate._dealt.lower(weights.mesh, weights[:2], *asked)
    table(
        f"generating {bloom.PROMPTS} x {bloom.NEW} tokens",
        bloom.generation(config, params, given),
        program.compile().as_text(),
    )


def table(what: str, run, program: str, repeats: int = 6, scopes: tuple[str, ...] = SCOPES) -> None:
    """Traces `run`, whose compiled text is `program`, and prints its parts: those of `scopes`, the
    names that `jax.named_scope` gave them."""
    parts = _parts(program, scopes)
    run()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(repeats):
                run()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        trace = jax.profiler.ProfileData.from_file(str(file))
        spent = collections.Counter()
        for plane in trace.planes:
            for line in plane.lines:
                for event in line.events:
                    if event.name in parts:
                        spent[parts[event.name]] += event.duration_ns / 1e6 / repeats
    print(f"\n| part of {what} | matrix products, ms | the rest, ms |\n|---|---|---|")
    for part in sorted(
        {part for part, _ in spent}, key=lambda p: -spent[p, True] - spent[p, False]
    ):
        print(f"| {part} | {spent[part, True]:.0f} | {spent[part, False]:.0f} |")
    total = sum(spent.values())
    products = sum(value for (_, product), value in spent.items() if product)
    print(f"| together | {products:.0f} | {total - products:.0f} |\n", flush=True)


def _parts(program: str, scopes: tuple[str, ...]) -> dict[str, tuple[str, bool]]:
    """Instruction -> (part of the model, whether it is a matrix product), of a compiled step."""
    blocks = re.split(r"\n(?=%|ENTRY)", program)
    with_product = {b.split(None, 1)[0].lstrip("%") for b in blocks if " dot(" in b}
    inside = {b.split(None, 1)[0].lstrip("%"): b for b in blocks}
    found = {}
    for block in blocks:
        if block.startswith("%fused") or " = " not in block:
            continue
        for line in block.splitlines():
            name = re.match(r"\s*(?:ROOT )?%(\S+) = ", line)
            if name is None or NO_WORK.search(line):
                continue
            called = re.search(r"calls=%(\S+?)[,\s]", line)
            # A fusion that says nothing of itself belongs where its operations do.
            said = line if "op_name=" in line or called is None else inside.get(called[1], "")
            words = re.split(r"\W+", " ".join(re.findall(r'op_name="([^"]*)"', said)))
            part = next((s for s in scopes if s in words), "other")
            product = " dot(" in line or (called is not None and called[1] in with_product)
            found[name[1]] = part, product
    return found
