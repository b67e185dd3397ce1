"""The tokenizer: BLOOM's pieces, exact round trips, HF's file, hostile files."""

import itertools
import json
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_jax.core import errors
from fl_jax.data import bpe, tokenizer

TEXTS = {
    "en": ["Hello, world! The quick brown fox jumps over the lazy dog.", "the the the then"],
    "fr": ["Tous les êtres humains naissent libres et égaux en dignité et en droits."],
    "code": ["def f(x):\n    return x + 1\n\tif  y: pass"],
}


@pytest.fixture(scope="module")
def words():
    return bpe.train(bpe.count(TEXTS), 320)


def test_blooms_pieces():
    text = "Hello,  world! (a|b) x=1\n\tif  y: 你好。नमस्ते।"
    wanted = ["Hello", ", ", " world", "! (", "a", "|", "b", ")", " x=1", "\n\t", "if", " "]
    assert tokenizer.pieces(text) == [*wanted, " y:", " 你好", "。", "नमस्ते", "।"]


def test_gpt2_pieces():
    text = "I'll  pay 12 €s, naïve\n\n  x"
    wanted = ["I", "'ll", " ", " pay", " 12", " €", "s", ",", " naïve", "\n\n ", " x"]
    assert tokenizer.pieces(text, "gpt2") == wanted


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_decoding_gives_the_text_back(words_text):
    words = bpe.train(bpe.count(TEXTS), 300)
    assert words.decode(words.encode(words_text)) == words_text


def slow_encode(words, text):
    """Merges one at a time, the lowest rank first, the leftmost of equals."""
    ranks = {pair: i for i, pair in enumerate(words.merges)}
    ids = []
    for piece in tokenizer.pieces(text):
        parts = [tokenizer.byte_letters()[b] for b in piece.encode()]
        while True:
            pairs = [(ranks[p], i) for i, p in enumerate(itertools.pairwise(parts)) if p in ranks]
            if not pairs:
                break
            _, i = min(pairs)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids += [words.vocab[part] for part in parts]
    return ids


@pytest.mark.parametrize("text", ["the the then", "êtres égaux dignité", "aaaaaaaaaa" * 20, ""])
def test_the_heap_merges_as_the_definition(words, text):
    assert words.encode(text) == slow_encode(words, text)


def test_special_tokens_are_never_made_from_text_unless_asked(words):
    assert 2 not in words.encode("a</s>b")
    assert words.encode("a</s>b", special=True)[1:-1] == [2]
    assert words.decode([2, *words.encode("x"), 9999]) == "x"
    assert words.decode([2], special=True) == "</s>"


def test_added_tokens_that_are_not_special_are_text(words, tmp_path):
    """They were taken for control: not made from text, and gone from what was decoded."""
    path = tmp_path / "tokenizer.json"
    words.save(path)
    body = json.loads(path.read_text("utf-8"))
    body["added_tokens"].append({"id": 320, "content": "brown fox\n", "special": False})
    path.write_text(json.dumps(body))
    again = tokenizer.load(path)
    again.save(path)
    again = tokenizer.load(path)
    text = "The brown fox\n</s>"
    ids = again.encode(text)
    assert ids == [*words.encode("The "), 320, *words.encode("</s>")]
    assert again.decode(ids) == text and again.size == 321
    assert again.encode(text, special=True)[-2:] == [320, 2]


def test_a_file_comes_back(words, tmp_path):
    words.save(tmp_path / "tokenizer.json")
    again = tokenizer.load(tmp_path / "tokenizer.json")
    for texts in TEXTS.values():
        for text in texts:
            assert again.encode(text) == words.encode(text)
    assert again.special == tokenizer.SPECIAL
    assert again.size == words.size


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda b: b.pop("model"), "no tokenizer.json"),
        (lambda b: b["model"].update(type="Unigram"), "Unigram"),
        (lambda b: b.update(normalizer={"type": "NFC"}), "a normalizer"),
        (lambda b: b["model"]["vocab"].pop("a"), "lacks 1 of the 256 bytes"),
        (lambda b: b["model"]["merges"].append("zz qq"), "is not in the vocabulary"),
        (lambda b: b["model"]["merges"].append("one"), "no pair"),
        (lambda b: b["model"]["vocab"].update(x=-4), "is no id"),
        (lambda b: b.update(pre_tokenizer={"type": "Whitespace"}), "cuts text in a way"),
        (lambda b: b.update(pre_tokenizer=[3]), "cuts text in a way"),
        (lambda b: b["pre_tokenizer"].update(pretokenizers=5), "cuts text in a way"),
        (lambda b: b["pre_tokenizer"]["pretokenizers"][0].update(pattern="x"), "cuts text in a"),
        (lambda b: b["model"].update(type="Unigram", vocab=[["a", 0.0]]), "a Unigram"),
        (lambda b: b["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (lambda b: b["model"].update(continuing_subword_prefix="##"), "continuing_subword"),
        (lambda b: b["model"]["vocab"].update({"\u6f22": 700}), "stands for no byte"),
        (lambda b: b["added_tokens"][2].update(id=600), r"'</s>' cannot be 600"),
        (lambda b: b["added_tokens"].append({"id": 700, "content": ""}), "must be some text"),
        (
            lambda b: b["added_tokens"].append(
                {"id": 700, "content": "x", "special": False, "lstrip": True}
            ),
            "lstrip of the added token 'x'",
        ),
    ],
)
def test_files_that_are_not_understood_are_refused(words, tmp_path, change, why):
    path = tmp_path / "tokenizer.json"
    words.save(path)
    body = json.loads(path.read_text("utf-8"))
    change(body)
    path.write_text(json.dumps(body))
    with pytest.raises(errors.DataError, match=why):
        tokenizer.load(path)


def test_the_folder_is_not_the_file(tmp_path):
    with pytest.raises(errors.DataError, match=r"is a folder; give the tokenizer\.json in it"):
        tokenizer.load(tmp_path)
    with pytest.raises(errors.DataError, match=r"there is no .*tokenizer\.json"):
        tokenizer.load(tmp_path / "tokenizer.json")


def test_text_that_is_no_unicode_is_refused(words):
    with pytest.raises(errors.DataError, match="no Unicode"):
        words.encode("a\ud800")


def test_fertility(words):
    found = tokenizer.fertility(words, ["the the"])
    assert found["per_word"] == len(words.encode("the the")) / 2
    assert found["per_byte"] == len(words.encode("the the")) / 7


def test_merges_of_a_file_that_make_a_special_token_are_passed_over(words, tmp_path):
    path = tmp_path / "tokenizer.json"
    words.save(path)
    body = json.loads(path.read_text("utf-8"))
    for one, more in [("<", "/"), ("</", "s"), ("</s", ">")]:
        body["model"]["vocab"].setdefault(one + more, len(body["model"]["vocab"]))
        body["model"]["merges"].append(f"{one} {more}")
    path.write_text(json.dumps(body))
    again = tokenizer.load(path)
    assert again.special["</s>"] not in again.encode("</s>")
    assert again.decode(again.encode("</s>")) == "</s>"


def test_a_save_that_is_killed_leaves_the_old_file(words, tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    words.save(path)
    before = path.read_bytes()

    def killed(self, *_, **__):
        self.write_bytes(b"{")
        raise KeyboardInterrupt

    monkeypatch.setattr(pathlib.Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        words.save(path)
    assert path.read_bytes() == before
