import jax.numpy as jnp
import numpy as np

from fl_jax.federated.aggregators import median
from fl_jax.federated.aggregators.base import Stacked


def test_one_outlier_stays_without_effect():
    benign = np.random.default_rng(0).normal(size=(6, 13)).astype(np.float32)
    updates = np.concatenate([benign, np.full((1, 13), 1e6, np.float32)])
    out, _ = median.median().update(Stacked(jnp.asarray(updates), jnp.ones(7)), ())
    assert (out >= benign.min(0)).all()
    assert (out <= benign.max(0)).all()
