import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn import loss as losses
from privacy.leakage import active, collaborative
from tests.privacy.leakage import toy


@pytest.fixture(scope="module")
def parts():
    model = toy.model()
    params = model.network.init(jax.random.key(0))[0]
    return model, params, active.head(model, jax.random.key(1)), toy.examples()


def compare(x, y):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), x, y)


def test_the_gradient_is_that_of_the_weighted_losses(parts, key):
    model, params, head, batch = parts

    def main(params):
        logits, _ = model.network.apply(params, {}, batch["x"])
        return jnp.mean(losses.cross_entropy(logits, batch["y"]))

    def found(params, head):
        guess = model.represent(params, batch["x"]) @ head["kernel"] + head["bias"][None]
        return jnp.mean(losses.cross_entropy(guess, batch["holds"]))

    @jax.jit
    def both():
        sent = [
            active.adversary(model, alpha=alpha, rate=0.5)(params, head, batch, key)
            for alpha in (0.0, 0.3, 1.0)
        ]
        return sent, jax.grad(main)(params), *jax.grad(found, argnums=(0, 1))(params, head)

    sent, of_main, of_property, of_head = jax.device_get(both())
    for alpha, (gradient, moved) in zip((0.0, 0.3, 1.0), sent, strict=True):
        mix = lambda m, p, alpha=alpha: (1 - alpha) * m + alpha * p
        compare(gradient, jax.tree.map(mix, of_main, of_property))
        compare(moved, jax.tree.map(lambda p, g: np.asarray(p) - 0.5 * g, head, of_head))
    # With alpha = 1 the main task's own layer gets nothing.
    assert not sent[2][0]["output"]["kernel"].any()


def test_the_head_is_trained_and_learns_the_property(parts, key):
    model, params, head, data = parts
    act = active.adversary(model, alpha=0.5, rate=0.3)
    learning = collaborative.make(toy.sgd(0.3), np.ones(3), adversary=act)
    indices = jnp.asarray(np.random.default_rng(0).integers(0, 200, (150, 3, 32)))
    keep = lambda before, after, info, examples, batch, key: ()
    end, _ = jax.jit(collaborative.run(learning, keep))(
        learning.init(params, head), data, {"participants": indices}, key
    )
    hidden = np.asarray(jax.jit(model.represent)(end.params, data["x"]))

    def right(head):
        guess = np.argmax(hidden @ np.asarray(head["kernel"]) + np.asarray(head["bias"]), axis=1)
        return np.mean(guess == np.asarray(data["holds"]))

    assert right(end.adversary) > 0.85
    assert right(head) < right(end.adversary)  # untrained, as in the authors' code


def test_alpha_outside_its_range_is_refused(parts):
    with pytest.raises(errors.ConfigError, match=r"alpha lies in \[0, 1\], got 1.2"):
        active.adversary(parts[0], alpha=1.2, rate=0.1)
