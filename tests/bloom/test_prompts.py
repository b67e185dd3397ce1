"""Templates, xP3 files, and packed examples."""

import gzip
import json

import numpy as np
import pytest

from fl_jax.bloom import prompts
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.data import bpe

CONFIG = Config(vocab=300, hidden=24, layers=1, heads=2)


@pytest.fixture(scope="module")
def words():
    return bpe.train(bpe.count({"x": ["Translate to French: water", "eau", "cat chat"]}), 290)


def test_a_template_reaches_fields_and_nothing_else():
    template = prompts.Template("t", "{a.__class__} {a} {{b}}", "{b}", ("{a}", "{b}"))
    filled = template.fill({"a": "x{b}", "b": 3})
    assert filled == prompts.Prompted("{a.__class__} x{b} {3}", "3", ("x{b}", "3"))
    assert filled.question().answer == 1
    with pytest.raises(errors.DataError, match="asks for 'b'; the record has a"):
        template.fill({"a": 1})
    with pytest.raises(errors.DataError, match="none of"):
        prompts.Prompted("i", "t", ("a",)).question()


@pytest.mark.parametrize("zipped", [False, True])
def test_xp3_files(tmp_path, zipped):
    lines = [{"inputs": "Q", "targets": "Ä", "more": 1}, {"inputs": "R", "targets": "B"}]
    text = "\n".join(json.dumps(line) for line in lines) + "\n\n"
    path = tmp_path / ("x.jsonl.gz" if zipped else "x.jsonl")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert prompts.read_xp3(path) == [prompts.Prompted("Q", "Ä"), prompts.Prompted("R", "B")]


@pytest.mark.parametrize("line", ["{", "[1]", '{"inputs": "x"}', '{"inputs": 3, "targets": "x"}'])
def test_lines_that_are_no_examples_are_named(tmp_path, line):
    path = tmp_path / "x.jsonl"
    path.write_text('{"inputs": "Q", "targets": "A"}\n' + line + "\n")
    with pytest.raises(errors.DataError, match=r"x\.jsonl, line 2"):
        prompts.read_xp3(path)


def test_the_target_is_behind_a_space_and_ends_the_document(words):
    example = prompts.encode(words, prompts.Prompted("water", "eau"), CONFIG)
    assert list(example.tokens) == [*words.encode("water"), *words.encode(" eau"), CONFIG.eos]
    assert example.target == len(words.encode("water"))


def test_packed_batches(words):
    pairs = [prompts.Prompted("Translate to French: cat", "chat"), prompts.Prompted("water", "eau")]
    long = prompts.Prompted("x" * 200, "y")
    packed, dropped = prompts.pack(words, [*pairs, long], CONFIG, 60)
    assert dropped == 1 and packed.tokens.shape[1] == 61
    batch = prompts.batch(packed, np.array([0]))
    targets = batch["tokens"][0][batch["spans"][0] > 0]
    assert words.decode(targets) in (" chat eau", " eau chat")
    with pytest.raises(errors.DataError, match="none of 1 examples fits"):
        prompts.pack(words, [long], CONFIG, 60)
