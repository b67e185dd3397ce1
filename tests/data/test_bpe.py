"""Training against the slow definition."""

import collections
import inspect
import itertools

import pytest

from fl_jax.core import errors
from fl_jax.data import bpe, tokenizer


def slow_train(counts, size):
    """Counts every pair anew for every merge."""
    vocab = dict(tokenizer.SPECIAL)
    for letter in sorted(tokenizer.byte_letters()):
        vocab[letter] = len(vocab)
    words = {p: [tokenizer.byte_letters()[b] for b in p.encode()] for p in counts}
    merges = []
    while len(vocab) < size:
        pairs = collections.Counter()
        for piece, parts in words.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += counts[piece]
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], vocab[p[0]], vocab[p[1]]))
        merges.append(best)
        vocab.setdefault(best[0] + best[1], len(vocab))
        for parts in words.values():
            i = 0
            while i + 1 < len(parts):
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = [best[0] + best[1]]
                i += 1
    return merges


def test_merges_are_those_of_the_definition():
    text = "aaaa aaab abab the theme these them; été étés déjà vu aaa aaaaa banana bandana"
    counts = bpe.count({"x": [text, text[::-1]]})
    assert bpe.train(counts, 330).merges == slow_train(counts, 330)


def test_a_text_may_run_out_of_pairs():
    words = bpe.train({"ab": 3}, 300)
    assert words.merges == [("a", "b")]
    assert words.size == 261


def test_texts_where_counts_or_languages_belong_are_refused():
    train, count = map(inspect.unwrap, (bpe.train, bpe.count))  # without the tests' check of types
    with pytest.raises(errors.DataError, match="got a list; count texts first"):
        train(["a text"], 300)
    for texts in (["a text"], "a text", {"en": "a text"}):
        with pytest.raises(errors.DataError, match="texts of each language"):
            count(texts)
    with pytest.raises(errors.DataError, match="of en is no Unicode"):
        bpe.count({"en": ["half \ud83d"]})


def test_alpha_evens_out_languages():
    texts = {"big": ["aa " * 1000], "small": ["bb " * 10]}
    plain, even = bpe.count(texts), bpe.count(texts, alpha=0.0)
    assert plain[" aa"] / plain[" bb"] == pytest.approx(999 / 9)
    assert even[" aa"] / even[" bb"] == pytest.approx(1, rel=0.2)
    with pytest.raises(errors.ConfigError, match="between 0 and 1"):
        bpe.count(texts, alpha=2.0)


def test_a_vocabulary_must_hold_the_bytes():
    with pytest.raises(errors.ConfigError, match="at least 260"):
        bpe.train({"a": 1}, 100)
    for special in ({"<p>": 3}, {"<p>": 0, "<q>": 0}):  # a byte got the same id
        with pytest.raises(errors.ConfigError, match="special tokens have the ids 0 to"):
            bpe.train({"a": 1}, 300, special=special)


def test_a_text_never_becomes_a_special_token():
    """Where `</s>` is frequent in the texts, its letters were merged into the end mark's id."""
    words = bpe.train(bpe.count({"x": ["</s> <s>x</s> <pad>"] * 50}), 300)
    ids = words.encode("a </s>b<pad>")
    assert not set(ids) & set(words.special.values())
    assert words.decode(ids) == "a </s>b<pad>"
