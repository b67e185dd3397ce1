"""Where BLOOM's training and generation spend their time on a CPU.

    python -m experiments bench bloom_profile      about a minute on two idle cores

What `bench bloom` compares, traced, its operations added up by the part of the model that they
belong to.
"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import bloom, measure, traced
from fl_jax.bloom import generate, layout, model, recipe, train
from fl_jax.train import mesh as meshes

SCOPES = ("prompt", "layers", "embedding", "attention", "mlp", "head", "draw", "optimizer")


def main() -> None:
    """Prints milliseconds by part of the model, matrix products apart."""
    jax.config.update("jax_num_cpu_devices", 2)
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
    traced.table("a training step", bloom.training(config, params, given), program, SCOPES)
    given = draw.integers(4, config.vocab, (bloom.PROMPTS, bloom.PROMPT))
    tokens = jnp.asarray(given, jnp.int32)
    capacity = bloom.PROMPT + bloom.NEW
    weights = layout.ready(params, config, meshes.MeshConfig(data=-1).make())
    asked = generate.Asked(bloom.NEW, generate.GREEDY, capacity)
    given = layout.Given(tokens, None)
    program = layout.dealt.lower(
        generate._generate, weights.mesh, weights[:2], config, asked, given
    )
    traced.table(
        f"generating {bloom.PROMPTS} x {bloom.NEW} tokens",
        bloom.generation(config, params, given),
        program.compile().as_text(),
        SCOPES,
    )
