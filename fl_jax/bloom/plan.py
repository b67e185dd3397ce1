"""A dry run: what one training step takes of each device, compiled without weights.

Any size on any mesh, on the virtual CPU devices of one machine: the partitioning, the
collectives and the bytes of state are those of the real mesh. Temporary memory and fusions are
the CPU compiler's, which keeps bfloat16 products in float32; read them as an upper estimate.
"""

import re
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import recipe, sharding, train
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.train import mesh as meshes

_COLLECTIVES = (
    "all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute",
)  # fmt: skip
_BYTES = {"f64": 8, "f32": 4, "bf16": 2, "f16": 2, "s64": 8, "s32": 4, "u32": 4, "pred": 1}


class Plan(NamedTuple):
    """What one step of one device comes to."""

    config: Config
    mesh: dict[str, int]
    tokens: int  # of the global batch
    state_bytes: int  # parameters and moments, float32
    temporary_bytes: int  # activations and gradients, as the CPU compiler lays them out
    flops: float  # model FLOPs of the step, by formula
    collectives: dict[str, tuple[int, int]]  # kind -> (in the program, bytes of their results)
    seconds: float  # to compile


def make(
    config: Config,
    *,
    devices: int,
    fsdp: int = 1,
    tensor: int = 1,
    batch: int | None = None,
    length: int | None = None,
) -> Plan:
    """Compiles a step for `devices` = data x fsdp x tensor.

    Args:
        config: the model.
        devices: at most those that JAX has; virtual ones do.
        fsdp, tensor: axes of the mesh; what remains is data.
        batch: sequences of the global batch; one a device of data x fsdp by default.
        length: tokens of a sequence.

    Raises:
        ConfigError: a size that is not above 0, or axes that do not divide the devices, the
            model or the batch.
    """
    length = config.length if length is None else length
    sizes = {"devices": devices, "fsdp": fsdp, "tensor": tensor, "length": length}
    for name, size in sizes.items():
        errors.positive(name, size)
    if devices % (fsdp * tensor):
        raise errors.ConfigError(
            f"fsdp {fsdp} x tensor {tensor} does not divide {devices} devices; change one."
        )
    data = devices // (fsdp * tensor)
    batch = data * fsdp if batch is None else batch
    errors.positive("batch", batch)
    axes = meshes.MeshConfig(data=data, fsdp=fsdp, tensor=tensor)
    mesh = axes.make(jax.devices()[:devices])
    sharding.check_rows(batch, mesh)
    settings = recipe.Recipe(batch=batch, ramp_start=0)
    trainer = train.make(config, settings, mesh=mesh)
    start = time.perf_counter()
    tokens = jax.ShapeDtypeStruct((batch, length + 1), jnp.int32)
    compiled = trainer.lower({"tokens": tokens}).compile()
    memory = compiled.memory_analysis()
    return Plan(
        config,
        {"data": data, "fsdp": fsdp, "tensor": tensor},
        batch * length,
        memory.argument_size_in_bytes,
        memory.temp_size_in_bytes,
        config.flops_per_token(length) * batch * length,
        collectives(compiled.as_text()),
        time.perf_counter() - start,
    )


def collectives(program: str) -> dict[str, tuple[int, int]]:
    """How many collectives of each kind a compiled program has, and the bytes of their results.

    One inside a loop over layers stands there once and runs once a layer.

    Example:
        >>> collectives("  %a = f32[8,4]{1,0} all-gather(%b), dimensions={0}")
        {'all-gather': (1, 128)}
    """
    found: dict[str, tuple[int, int]] = {}
    pattern = rf"= (.*?) ({'|'.join(_COLLECTIVES)})(?:-start)?\("
    for shapes, kind in re.findall(pattern, program):
        size = sum(
            _BYTES.get(dtype, 4) * int(np.prod([int(n) for n in sides.split(",") if n]))
            for dtype, sides in re.findall(r"([a-z]+\d+|pred)\[([\d,]*)\]", shapes)
        )
        count, total = found.get(kind, (0, 0))
        found[kind] = count + 1, total + size
    return found


def render(name: str, plan: Plan) -> str:
    """The plan as text."""
    mesh = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    count = int(np.prod(list(plan.mesh.values())))
    gib = lambda size: f"{size / 2**30:.2f} GiB"
    lines = [
        f"BLOOM-{name}: {plan.config.parameters:,} parameters on {count} devices ({mesh})",
        f"one step: {plan.tokens:,} tokens, {plan.config.dtype}, remat {plan.config.remat}",
        f"state per device: {gib(plan.state_bytes)} (float32 parameters and two moments)",
        f"temporary per device, by the CPU compiler: {gib(plan.temporary_bytes)}",
        f"model FLOPs per step and device: {plan.flops / count:.3e}",
        "collectives in the program (those of a layer stand once):",
    ]
    for kind, (number, size) in sorted(plan.collectives.items()):
        lines.append(f"  {kind}: {number}, results of {gib(size)}")
    lines.append(f"compiled in {plan.seconds:.0f} s")
    return "\n".join(lines)
