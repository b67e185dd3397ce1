import numpy as np
import pytest
from scipy import special

from fl_jax.core import errors
from privacy.membership import signals


@pytest.fixture
def logits():
    return np.random.default_rng(0).normal(size=(3, 7, 5)) * 3


@pytest.fixture
def labels():
    return np.random.default_rng(1).integers(5, size=7)


def test_phi_is_the_logit_of_the_true_class(logits, labels):
    p = special.softmax(logits, -1)
    right = signals.confidence(p, labels)
    np.testing.assert_allclose(right[1, 2], p[1, 2, labels[2]])
    np.testing.assert_allclose(signals.logit(p, labels), special.logit(right), atol=1e-10)
    np.testing.assert_allclose(
        signals.logit_from_logits(logits, labels), special.logit(right), atol=1e-10
    )
    np.testing.assert_allclose(signals.loss(p, labels), np.log(right))


def test_phi_from_logits_is_finite_where_softmax_is_not():
    phi = signals.logit_from_logits(np.array([[200.0, 0.0]]), np.array([0]))
    assert phi[0] == 200.0


def test_entropies(logits, labels):
    p = special.softmax(logits, -1)
    np.testing.assert_allclose(signals.entropy(p), -special.entr(p).sum(-1))
    slow = np.zeros(p.shape[:-1])
    for place in np.ndindex(slow.shape):
        row, y = p[place], labels[place[-1]]
        slow[place] = (1 - row[y]) * np.log(row[y])
        slow[place] += sum(row[c] * np.log(1 - row[c]) for c in range(5) if c != y)
    np.testing.assert_allclose(signals.modified_entropy(p, labels), slow)


def test_modified_entropy_tells_right_from_wrong():
    p = np.array([[0.99, 0.01]])
    right, wrong = (signals.modified_entropy(p, np.array([y]))[0] for y in (0, 1))
    assert wrong < right < 0


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (np.full((2, 3), 0.5), "add up to 1"),
        (np.array([[1.5, -0.5]]), "at least 0"),
        (np.array([[np.nan, 1.0]]), "finite"),
    ],
)
def test_what_is_no_probability_is_refused(outputs, said):
    with pytest.raises(errors.DataError, match=said):
        signals.loss(outputs, np.zeros(len(outputs), int))


def test_labels_out_of_range_are_refused():
    with pytest.raises(errors.DataError, match=r"0\.\.1"):
        signals.loss(np.full((1, 2), 0.5), np.array([2]))
    with pytest.raises(errors.DataError, match="whole numbers, got float64"):
        signals.loss(np.full((1, 2), 0.5), np.zeros(1))
    with pytest.raises(errors.DataError, match=r"labels of shape \(3,\), got \(2,\)"):
        signals.loss(np.full((3, 2), 0.5), np.zeros(2, int))


@pytest.mark.parametrize("phi", [signals.logit, signals.logit_from_logits])
def test_phi_of_one_class_is_refused(phi):
    with pytest.raises(errors.DataError, match="one class alone"):
        phi(np.ones((3, 1)), np.zeros(3, int))
