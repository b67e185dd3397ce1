import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fl_jax.core import errors
from fl_jax.nn import loss, network
from fl_jax.train.state import Variables

NET = network.from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs))


def test_cross_entropy_is_the_formula_and_stays_finite():
    logits = jnp.array([[1.0, -2.0, 0.5], [1e4, 0.0, -1e4]])
    labels = jnp.array([2, 1])
    got = loss.cross_entropy(logits, labels)
    shifted = np.asarray(logits, np.float64)
    reference = np.log(np.sum(np.exp(shifted[0]))) - 0.5
    np.testing.assert_allclose(got[0], reference, rtol=1e-6)
    np.testing.assert_allclose(got[1], 1e4, rtol=1e-6)
    grads = jax.grad(lambda a: jnp.sum(loss.cross_entropy(a, labels)))(logits)
    np.testing.assert_allclose(jnp.sum(grads, axis=1), 0, atol=1e-6)


def test_masked_examples_do_not_count(key):
    variables = Variables(*NET.init(key))
    x, y = jax.random.normal(key, (5, 4)), jnp.array([0, 1, 2, 0, 1])
    both = loss.classification(NET)
    full, (_, metrics) = both(variables, {"x": x[:3], "y": y[:3]}, key)
    mask = jnp.array([1.0, 1, 1, 0, 0])
    padded, (_, masked) = both(variables, {"x": x, "y": y, "mask": mask}, key)
    np.testing.assert_allclose(full, padded, rtol=1e-6)
    np.testing.assert_allclose(metrics["accuracy"], masked["accuracy"])
    nothing, _ = both(variables, {"x": x, "y": y, "mask": 0 * mask}, key)
    assert float(nothing) == 0


@pytest.mark.parametrize("label", [-1, 7])
def test_labels_of_examples_that_do_not_count_may_be_anything(key, label):
    """Those that fill up a batch are often -1; loss and derivative were NaN."""
    variables, x = Variables(*NET.init(key)), jax.random.normal(key, (5, 4))
    mask, run = jnp.array([1.0, 1, 1, 0, 0]), loss.classification(NET)

    def value(params, y):
        return run(variables._replace(params=params), {"x": x, "y": y, "mask": mask}, key)[0]

    found, wanted = (
        jax.value_and_grad(value)(variables.params, jnp.array([0, 1, 2, fill, fill]))
        for fill in (label, 0)
    )
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_nothing_in_masked_rows_reaches_the_derivative(key):
    params, stats = NET.init(key)
    x, y = jax.random.normal(key, (5, 4)), jnp.array([0, 1, 2, 0, 1])
    mask = jnp.array([0.0, 1, 1, 0, 1])
    there = np.flatnonzero(np.asarray(mask))

    def found(batch):
        value = lambda params: loss.classification(NET)(Variables(params, stats), batch, key)
        return jax.value_and_grad(value, has_aux=True)(params)

    filled = {"x": x.at[0].set(jnp.nan).at[3].set(jnp.inf), "y": y.at[0].set(-1).at[3].set(-100)}
    (padded, (_, masked)), slope = found({**filled, "mask": mask})
    (short, (_, metrics)), expected = found({"x": x[there], "y": y[there]})
    np.testing.assert_allclose(padded, short, rtol=1e-6)
    np.testing.assert_allclose(masked["accuracy"], metrics["accuracy"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), slope, expected)


def test_inputs_are_augmented_with_their_own_key(key):
    variables = Variables(*NET.init(key))
    seen = []
    noisy = loss.classification(NET, augment=lambda k, x: seen.append(k) or x + 1)
    plain = loss.classification(NET)
    batch = {"x": jnp.ones((2, 4)), "y": jnp.array([0, 1])}
    moved = {**batch, "x": batch["x"] + 1}
    np.testing.assert_allclose(
        noisy(variables, batch, key)[0], plain(variables, moved, key)[0], rtol=1e-6
    )
    assert len(seen) == 1


@pytest.mark.parametrize("label", [2, -1, -100])
def test_a_label_that_is_no_class_is_nan_in_the_derivative_too(label):
    logits, labels = jnp.array([[1.0, 2.0], [0.5, 0.0]]), jnp.array([1, label])
    loss_of = lambda a: jnp.sum(loss.cross_entropy(a, labels))
    value, grads = jax.value_and_grad(loss_of)(logits)
    assert np.isnan(value) and np.isnan(grads[1]).all() and np.isfinite(grads[0]).all()


@pytest.mark.parametrize("labels", [jnp.zeros(2), jnp.zeros((2, 1), jnp.int32), jnp.eye(2)])
def test_labels_that_are_no_classes_are_refused(labels):
    with pytest.raises(errors.DataError, match=r"whole numbers of shape \(2,\)"):
        loss.cross_entropy(jnp.zeros((2, 2)), labels)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"image": jnp.zeros((2, 3)), "label": jnp.zeros(2, jnp.int32)}, r"\['image', 'label'\]"),
        ((jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32)), "tuple"),
        ({"x": jnp.zeros((2, 3)), "y": jnp.eye(2)}, "give classes, not one-hot rows"),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_that_is_no_classifiers_is_refused(key, batch, said, masked):
    net = network.from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    if masked and isinstance(batch, dict):
        batch = {**batch, "mask": jnp.ones(2)}
    with pytest.raises(errors.DataError, match=said):
        loss.classification(net)(Variables(*net.init(key)), batch, key)
