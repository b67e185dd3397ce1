import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.data import sources


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    monkeypatch.setenv("FL_JAX_DATA", str(tmp_path))
    return tmp_path


def test_the_digits_need_no_folder(nowhere):
    digits = sources.images("digits")
    assert digits.train_x.shape == (1438, 8, 8, 1)
    assert digits.test_x.shape == (359, 8, 8, 1)
    assert digits.train_x.dtype == np.uint8
    assert digits.train_x.max() == 16
    assert set(digits.train_y) == set(range(10))
    assert "digits" in digits.origin
    again = sources.images("digits")
    np.testing.assert_array_equal(digits.train_y, again.train_y)


def test_crops_are_cut_out_of_photographs():
    found = sources.crops(60, 8, seed=3)
    assert found.shape == (60, 8, 8, 1) and found.dtype == np.float32
    np.testing.assert_array_equal(found, sources.crops(60, 8, seed=3))
    assert (found != sources.crops(60, 8, seed=4)).any()
    flat = found.reshape(60, -1)
    np.testing.assert_allclose(flat.min(1), 0, atol=1e-6)
    np.testing.assert_allclose(flat.max(1), 1, atol=1e-6)
    assert len(np.unique(flat, axis=0)) == 60
    steps = np.abs(np.diff(found, axis=1)).mean(axis=(1, 2, 3))
    assert steps.max() > 2 * steps.min()  # of several scales
    assert sources.crops(1, 427).shape == (1, 427, 427, 1)


def test_one_grey_has_no_contrast(monkeypatch):
    monkeypatch.setattr(sources, "_photographs", lambda: [np.full((20, 30), 7.0)])
    np.testing.assert_array_equal(sources.crops(4, 8), 0)


def test_crops_that_do_not_fit_are_refused(monkeypatch):
    with pytest.raises(errors.ConfigError, match="crops must be a whole number of 1 or more"):
        sources.crops(0, 8)
    with pytest.raises(errors.ConfigError, match="crops of 428 pixels a side are larger"):
        sources.crops(3, 428)

    def without_pillow():
        raise ImportError

    monkeypatch.setattr("sklearn.datasets.load_sample_images", without_pillow)
    with pytest.raises(errors.DataError, match="read by Pillow, which is not installed"):
        sources.crops(3, 8)


def test_a_missing_folder_is_one_sentence(monkeypatch, nowhere):
    with pytest.raises(errors.DataError, match=r"needs the data folder 'cifar10'.*has no folder"):
        sources.cifar10_backdoor()
    monkeypatch.delenv("FL_JAX_DATA")
    with pytest.raises(errors.DataError, match="it is unset; set FL_JAX_DATA"):
        sources.require("cifar10")
    with pytest.raises(errors.ConfigError, match="unknown data set 'cifar'; did you mean"):
        sources.images("cifar")


def test_a_folder_that_is_there_comes_first(nowhere):
    (nowhere / "mnist").mkdir()
    images = np.arange(3 * 28 * 28, dtype=np.uint32).reshape(3, 28, 28).astype(np.uint8)
    labels = np.array([3, 1, 4], np.uint8)
    np.savez(
        nowhere / "mnist" / "mnist.npz",
        x_train=images,
        y_train=labels,
        x_test=images[:1],
        y_test=labels[:1],
    )
    found = sources.images("mnist")
    assert found.origin == "$FL_JAX_DATA/mnist"
    np.testing.assert_array_equal(found.train_x[..., 0], images)
    assert found.train_y.tolist() == [3, 1, 4]


def test_a_file_of_other_contents_is_refused(nowhere):
    (nowhere / "mnist").mkdir()
    np.savez(nowhere / "mnist" / "mnist.npz", pictures=np.zeros(3))
    with pytest.raises(errors.DataError, match=r"should hold .*x_train.* but it holds"):
        sources.images("mnist")


@pytest.mark.data("cifar10")
def test_cifar10_is_real_and_knows_its_published_order():
    images = sources.images("cifar10")
    assert len(images.train_y) == len(np.unique(images.train_index)) == 15_073
    assert len(images.test_y) == 3_017
    with np.load(sources.require("cifar10") / "labels_all.npz") as labels:
        np.testing.assert_array_equal(images.train_y, labels["train"][images.train_index])
    backdoor, group = sources.cifar10_backdoor()
    assert np.bincount(group).tolist() == [22, 30, 12]
    assert backdoor.shape == (64, 32, 32, 3)
    index = sources.cifar10_backdoor_index()
    assert not set(index) & set(images.train_index)  # in no benign share
    assert index[0] == 2180


@pytest.mark.data("mnist")
def test_mnist_is_real():
    images = sources.images("mnist")
    assert len(images.train_y) == 17_435
    assert len(images.test_y) == 10_000


def test_what_tfds_prepared_is_read(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    monkeypatch.setenv("FL_JAX_DATA", str(tmp_path))
    rows = [{"image": np.full((32, 32, 3), i, np.uint8), "label": 33 * i} for i in range(4)]

    class Builder:
        def as_data_source(self, split):
            return {"train": rows[:3], "test": rows[3:]}[split]

    def builder(name, *, file_format):
        assert (name, file_format) == ("cifar100", "array_record")
        return Builder()

    monkeypatch.setattr(tfds, "builder", builder)
    found = sources.images("cifar100")
    assert found.train_x.shape == (3, 32, 32, 3) and found.train_y.tolist() == [0, 33, 66]
    assert found.test_y.tolist() == [99] and found.classes == 100
    assert found.origin == "TensorFlow Datasets cifar100"
