import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from experiments.leakage import data, task
from fl_jax.core import errors

COLUMNS = "#\tperson\timagenum\tMale\tAsian\tWhite\tBlack\tSmiling"
PEOPLE = {"Ann Lee": (-1.2, 2.0, -1.0, -3.0, 0.4), "Bo": (0.9, -2.0, -0.5, 0.7, -1.0)}


@pytest.fixture
def faces(monkeypatch, tmp_path):
    """An archive of two people with two images each, as LFW has them."""
    monkeypatch.setenv("FL_JAX_DATA", str(tmp_path))
    folder = tmp_path / "lfw"
    folder.mkdir()
    lines = ["# Attribute values", COLUMNS]
    with tarfile.open(folder / "lfw.tgz", "w:gz") as archive:
        for person, scores in PEOPLE.items():
            for number in (1, 2):
                values = "\t".join(str(v) for v in scores)
                lines.append(f"{person}\t{number}\t{values}")
                image = np.full((250, 250, 3), 40 * number, np.uint8)
                image[70:72, 78:80] = 200
                buffer = io.BytesIO()
                Image.fromarray(image).save(buffer, "JPEG", quality=95)
                name = f"{person.replace(' ', '_')}_{number:04d}.jpg"
                info = tarfile.TarInfo(f"lfw/{person.replace(' ', '_')}/{name}")
                info.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(info, buffer)
    (folder / "lfw_attributes.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_lfw_is_cropped_halved_and_labelled_as_the_authors_do(faces):
    found = data.lfw()
    assert found.images.shape == (4, 62, 47, 3)
    assert found.gender.tolist() == [0, 0, 1, 1]
    assert [data.RACES[r] for r in found.race] == ["Asian", "Asian", "Black", "Black"]
    assert found.smile.tolist() == [1, 1, 0, 0]
    assert abs(int(found.images[0, 30, 30, 0]) - 40) <= 2
    assert found.images[0, 0, 0, 0] > 150  # the crop begins at row 70, column 78
    made = task.make("lfw", balanced=False)
    assert made.x.shape == (4, 62, 47, 3)
    assert made.holds.tolist() == [False, False, True, True]


def test_a_score_below_the_threshold_is_no_race(faces):
    table = faces / "lfw_attributes.txt"
    table.write_text(table.read_text().replace("2.0\t-1.0\t-3.0", "-0.2\t-1.0\t-3.0"))
    assert data.lfw().race.tolist() == [-1, -1, 2, 2]


def test_missing_or_other_files_are_one_sentence(faces):
    table = faces / "lfw_attributes.txt"
    table.write_text("# nothing\n#\tperson\timagenum\n")
    with pytest.raises(errors.DataError, match="should name the columns"):
        data.lfw()
    table.unlink()
    with pytest.raises(errors.DataError, match=r"lfw_attributes\.txt is missing"):
        data.lfw()


def test_drawn_texts_follow_zipf_and_are_sets_of_words():
    texts = data.texts("zipf", vocabulary=200, length=12)
    assert texts.words.shape[1] == 12
    assert texts.words.max() < 200
    for row in texts.words[:50]:
        words = row[row >= 0]
        assert len(set(words)) == len(words) > 0
    counts = np.bincount(texts.words[texts.words >= 0], minlength=200)
    assert counts[0] > counts[20] > counts[150]
    assert set(texts.labels) == {0, 1}
    with pytest.raises(errors.ConfigError, match="unknown text set 'yelb'; did you mean 'yelp'"):
        data.texts("yelb", vocabulary=5, length=5)


@pytest.mark.parametrize("name", ["cifar100", "yelp_polarity_reviews"])
def test_a_set_that_is_not_prepared_is_one_sentence(name, monkeypatch, tmp_path):
    import tensorflow_datasets as tfds

    def missing(*args, **kwargs):
        raise FileNotFoundError(name)

    monkeypatch.setattr(tfds, "builder", missing)
    with pytest.raises(errors.DataError, match=f"{name} is not prepared as array_record"):
        data.prepared(name, ("test",))


def test_prepared_sets_are_read(monkeypatch):
    rows = {
        "cifar100": [
            {"image": np.full((32, 32, 3), i, np.uint8), "label": i, "coarse_label": c}
            for i, c in enumerate((8, 12, 18, 19, 3, 8))
        ],
        "yelp_polarity_reviews": [
            {"text": b"Good good food", "label": 1},
            {"text": b"bad food", "label": 0},
        ],
    }
    monkeypatch.setattr(data, "prepared", lambda name, splits: rows[name])
    made = task.make("cifar100", balanced=False)
    assert made.y.tolist() == [1, 1, 0, 0, 1]
    assert made.holds.tolist() == [True, False, True, False, True]
    texts = data.texts("yelp", vocabulary=10, length=4)
    assert texts.vocabulary[:2] == ["good", "food"]
    assert texts.words.tolist() == [[0, 1, -1, -1], [2, 1, -1, -1]]
    assert texts.labels.tolist() == [1, 0]


@pytest.mark.data("tinyshakespeare")
def test_shakespeare_has_ten_speakers():
    texts = data.texts("shakespeare", vocabulary=5000, length=40)
    assert len(texts.vocabulary) == 5000
    assert texts.classes == 10
    assert np.bincount(texts.labels).argmax() == 9  # the rest
    assert len(texts.words) > 4000


@pytest.mark.data("adult")
def test_adult_does_not_spell_its_property_out():
    made = task.make("adult")
    assert made.x.shape[1] == 100
    assert abs(made.correlation) < 1e-3
    assert made.y.mean() > 0.1


def test_digits_have_an_independent_property():
    made = task.make("digits")
    assert abs(made.correlation) < 0.01
    assert 0.15 < made.holds.mean() < 0.25
    assert made.x.max() == 1
    with pytest.raises(errors.ConfigError, match="unknown data set 'digit'"):
        task.make("digit")
