import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated import population

EXAMPLES = {"x": np.arange(20.0).reshape(10, 2), "y": np.arange(10)}


def test_every_participant_owns_its_examples():
    shares = [np.array([3, 1]), np.array([0]), np.array([9, 8, 7])]
    people = population.make(EXAMPLES, shares)
    for share, start, size in zip(shares, people.start, people.size, strict=True):
        owned = slice(int(start), int(start + size))
        np.testing.assert_array_equal(people.examples["y"][owned], share)
        np.testing.assert_array_equal(people.examples["x"][owned], EXAMPLES["x"][share])


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([np.array([1]), np.array([], int)], "participant 1 of 2 holds no example"),
        ([], "participant 0 of 0 holds no example"),
        ([np.array([4, 10])], "shares name example 10, but there are 10"),
        ([np.array([4, -1])], "shares name example -1, but there are 10"),
        ([np.ones(10, bool)], "one row of whole numbers.* got bool of 1 axes"),
        ([np.array([[0, 1], [2, 3]])], "got int64 of 2 axes"),
    ],
)
def test_impossible_shares_are_refused(shares, said):
    with pytest.raises(errors.DataError, match=said):
        population.make(EXAMPLES, shares)


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(errors.DataError, match="same number of examples"):
        population.make({**EXAMPLES, "y": np.arange(9)}, [np.array([0])])


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.array(["a", "b"]), "x came as <U1 of shape"),
        (np.array([None, [1]], object), "x came as object of shape"),
        ([1, 2], r"x/0 came as int64 of shape \(\)"),  # a list is a tree of numbers
        (np.array([1, 2**40]), "x holds int64 numbers that int32 does not reach"),
        (np.array([1.0, 1e300]), "x holds float64 numbers that float32 does not reach"),
    ],
)
def test_examples_that_jax_would_refuse_or_wrap_are_refused(x, said):
    with pytest.raises(errors.DataError, match=said):
        population.make({"x": x}, [np.array([0]), np.array([1])])


def test_examples_keep_what_they_are():
    x = {"a": jnp.ones((2, 3), jnp.bfloat16), "b": np.array([True, False])}
    made = population.make(x | {"c": np.array([1.5, np.inf])}, [np.array([1, 0])]).examples
    assert {name: str(leaf.dtype) for name, leaf in made.items()} == {
        "a": "bfloat16",
        "b": "bool",
        "c": "float32",
    }
    assert made["c"].tolist() == [np.inf, 1.5]


@pytest.mark.parametrize("labels", [np.array([0.0, np.nan]), np.array([], int)])
def test_labels_that_are_no_classes_are_refused(labels):
    with pytest.raises(errors.DataError, match="labels must be whole numbers, one at least"):
        population.check_labels(labels, 3)


def test_labels_and_images_are_checked():
    population.check_labels(np.array([0, 9]), 10)
    with pytest.raises(errors.DataError, match=r"labels must lie in 0\.\.9.*from 0 to 10"):
        population.check_labels(np.array([0, 10]), 10)
    with pytest.raises(errors.DataError, match="from -1 to 3"):
        population.check_labels(np.array([-1, 3]), 10)
    population.check_images(np.zeros((5, 8, 8, 1)), (8, 8, 1))
    with pytest.raises(errors.DataError, match=r"shape \(n, 8, 8, 1\), got \(5, 8, 9, 1\)"):
        population.check_images(np.zeros((5, 8, 9, 1)), (8, 8, 1))
