"""The golden model: weights by a formula, so that nothing needs to be stored [specification A4].

Figures of transformers 5.23.0 in float64, good to about 1e-5.
"""

import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import convert
from fl_jax.bloom.config import Config

CONFIG = Config(vocab=32, hidden=24, layers=2, heads=6)
TOKENS = jnp.array([[5, 9, 2, 31, 7, 7, 0, 18]])


def tensors(config: Config = CONFIG, prefix: str = "") -> dict[str, np.ndarray]:
    """HF tensors: the t-th name in sorted order is 0.3 sin(1.7 t + 0.37 k) at place k."""
    shapes = {"transformer." + k: v for k, v in convert.expected(config).items()}
    found = {}
    for t, name in enumerate(sorted(shapes), 1):
        value = 0.3 * np.sin(1.7 * t + 0.37 * np.arange(np.prod(shapes[name])))
        if name.endswith(("layernorm.weight", "ln_f.weight")):
            value = value + 1
        found[prefix + name.removeprefix("transformer.")] = value.reshape(shapes[name]).astype("f4")
    return found


def params(config: Config = CONFIG):
    """The same as parameters."""
    return convert.from_tensors(tensors(config), config)
