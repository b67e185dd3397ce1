import gzip
import itertools
import json

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.data import speech


def test_a_vocabulary_is_by_frequency_and_knows_what_it_lacks():
    text = [["to", "be", "or", "not", "to", "be"], ["be", "gone"]]
    vocabulary = speech.Vocabulary(text, 5)
    assert vocabulary.words == ["<unk>", "<bos>", "<eos>", "be", "to"]
    assert vocabulary.encode(["to", "gone"]) == [4, 0]
    assert vocabulary.require(["be", "to"]) == [3, 4]
    with pytest.raises(errors.ConfigError, match="outside the vocabulary of 5: gone, astoria"):
        vocabulary.require(["be", "gone", "astoria"])
    with pytest.raises(errors.ConfigError, match="needs 4 or more entries, got 3"):
        speech.Vocabulary(text, 3)


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 11, 31])
def test_windows_hold_every_pair_of_neighbours_once(count):
    stream = list(range(100, 100 + count))
    cut = speech.windows(stream, 10)
    there = cut["w"].reshape(-1) > 0
    pairs = list(zip(cut["x"].reshape(-1)[there], cut["y"].reshape(-1)[there], strict=True))
    assert pairs == list(itertools.pairwise(stream))
    assert len(cut["x"]) >= 1


@pytest.mark.data("tinyshakespeare")
def test_shakespeare_has_299_uneven_speakers():
    found = speech.shakespeare()
    sizes = np.array([sum(map(len, said)) for said in found.values()])
    assert len(found) == 299
    assert (sizes >= 1000).sum() > 130
    assert sizes.max() > 30_000


def test_without_the_folder_it_is_one_sentence(monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    with pytest.raises(errors.DataError, match="needs the data folder 'tinyshakespeare'"):
        speech.shakespeare()


def test_damaged_files_are_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_JAX_DATA", str(tmp_path))
    for name in ("tinyshakespeare", "reddit"):
        (tmp_path / name).mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt.gz").write_bytes(gzip.compress(b"Ann:\nGo")[:-4])
    with pytest.raises(errors.DataError, match="is cut short"):
        speech.shakespeare()
    (tmp_path / "reddit" / "one.jsonl.gz").write_bytes(gzip.compress(b'{"author": "ann"}\n'))
    with pytest.raises(errors.DataError, match=r"line 1, should be .* with the texts author, body"):
        speech.reddit()


def test_reddits_authors_are_those_with_enough_posts(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_JAX_DATA", str(tmp_path))
    (tmp_path / "reddit").mkdir()
    posts = [("ann", f"post {i}") for i in range(3)] + [("bob", "only one")]
    posts += [("[deleted]", "gone")] * 3
    with gzip.open(tmp_path / "reddit" / "one.jsonl.gz", "wt") as out:
        for author, body in posts:
            out.write(json.dumps({"author": author, "body": body, "score": 1}) + "\n")
    assert speech.reddit(2, 3) == {"ann": ["post 0", "post 1", "post 2"]}
    with pytest.raises(errors.DataError, match="holds 2 authors, none of them with 150 to 500"):
        speech.reddit()
