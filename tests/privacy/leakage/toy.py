"""A small learning problem on drawn records."""

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.nn import loss as losses
from privacy.leakage import collaborative, networks


def model():
    return networks.make(networks.MLP, features=6, classes=2, hidden=8)


def examples(count=200):
    rng = np.random.default_rng(0)
    holds = rng.random(count) < 0.4
    x = rng.normal(size=(count, 6)) + 8.0 * holds[:, None] * np.eye(6)[0]
    y = (x[:, 1] > 0).astype(np.int32)
    made = {"x": x.astype(np.float32), "y": y, "holds": holds.astype(np.int32)}
    return jax.tree.map(jnp.asarray, made)


def sgd(rate=0.1):
    return collaborative.synchronised_sgd(losses.classification(model().network), rate=rate)
