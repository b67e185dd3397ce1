"""Active property inference: an adversary that makes the joint model tell the property apart.

It puts a head of its own on the shared representation and sends, for the shared parameters, the
gradient of

    L = (1 - alpha) L_main + alpha L_property

so that the common model learns to separate records with the property and everyone's updates say
more of it. The head never leaves the adversary, which trains it at the same rate.

References:
    Melis et al. 2019, section IV-D. In the authors' code the head is built and never trained.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.core import errors
from fl_jax.core.types import Array, Key, PyTree
from fl_jax.nn import loss as losses
from privacy.leakage.networks import Model


def head(model: Model, key: Key[Array, ""]) -> PyTree:
    """A linear head for two classes on the model's representation, Glorot uniform."""
    limit = (6 / (model.width + 2)) ** 0.5
    kernel = jax.random.uniform(key, (model.width, 2), jnp.float32, -limit, limit)
    return {"kernel": kernel, "bias": jnp.zeros(2)}


def adversary(model: Model, *, alpha: float, rate: float) -> Callable[..., tuple[PyTree, PyTree]]:
    """The multi-task adversary of synchronised SGD, for `collaborative.make`.

    Args:
        model: what is trained together.
        alpha: weight of the property loss, in [0, 1]; 0 sends an honest gradient (and still
            trains the head).
        rate: learning rate of the head; the protocol's own.

    Returns:
        (params, head, batch, key) -> (gradient for the shared parameters, head): `batch` has
        `x`, the main label `y` and the property `holds`, 0 or 1.

    Raises:
        ConfigError: alpha outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise errors.ConfigError(f"alpha lies in [0, 1], got {alpha}; the paper's are up to 0.7.")

    def act(params, own, batch, key):
        def objective(params, own):
            logits, _ = model.network.apply(params, {}, batch["x"], train=True, key=key)
            hidden = model.represent(params, batch["x"], key=key)

            def of_property(hidden, own):
                guess = hidden @ own["kernel"] + own["bias"][None]
                return jnp.mean(losses.cross_entropy(guess, batch["holds"]))

            main = jnp.mean(losses.cross_entropy(logits, batch["y"]))
            for_all = (1 - alpha) * main + alpha * of_property(hidden, jax.lax.stop_gradient(own))
            # The head descends its own loss at full weight: with alpha = 0 it learns as well.
            return for_all + of_property(jax.lax.stop_gradient(hidden), own)

        shared, local = jax.grad(objective, argnums=(0, 1))(params, own)
        return shared, jax.tree.map(lambda p, g: p - rate * g, own, local)

    return act
