"""A tiny T5 that the tests share."""

import jax

from fl_jax.t5 import model
from fl_jax.t5.config import Config

CONFIG = Config(vocab=64, width=16, head_width=8, hidden=32, heads=2, buckets=8, max_distance=16,
                encoder_layers=2, decoder_layers=2)  # fmt: skip


def params(config=CONFIG):
    return model.init(jax.random.key(3), config)
