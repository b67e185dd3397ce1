"""Training a byte-level BPE [Sennrich et al. 2016] on counted pieces of text."""

import collections
import heapq
import itertools
from collections.abc import Iterable, Mapping

from fl_jax.core import errors
from fl_jax.data import tokenizer as tokenizers


def count(
    texts: Mapping[str, Iterable[str]], *, alpha: float = 1.0, pattern: str = "bloom"
) -> dict[str, int]:
    """Pieces and how often they occur, languages weighted by n^alpha.

    A language with n bytes counts as if it had a share proportional to n^alpha: 1 leaves the
    data as it is, 0 makes all languages equal; BLOOM's tokenizer was trained on a sample drawn
    with an alpha in between [Le Scao et al. 2022, 3.1.3].

    Args:
        texts: language -> its texts.
        alpha: 0..1.
        pattern: as for `Tokenizer`.

    Raises:
        ConfigError: alpha out of range.
        DataError: no mapping of languages to texts, or a text that is no Unicode.
    """
    if not isinstance(texts, Mapping) or any(isinstance(t, str) for t in texts.values()):
        raise errors.DataError(
            "count takes the texts of each language; give texts of one as {'en': [text, ...]}."
        )
    if not 0 <= alpha <= 1:
        raise errors.ConfigError(f"alpha is between 0 and 1, got {alpha}.")
    counts, sizes = {}, {}
    for language, several in texts.items():
        found: collections.Counter = collections.Counter()
        for text in several:
            found.update(tokenizers.pieces(text, pattern))
        counts[language] = found
        try:
            sizes[language] = sum(len(p.encode()) * c for p, c in found.items())
        except UnicodeEncodeError as error:
            raise errors.DataError(f"a text of {language} is no Unicode: {error.reason}.") from None
    total = sum(sizes.values())
    shares = sum(n**alpha for n in sizes.values() if n)
    merged: collections.Counter = collections.Counter()
    for language, found in counts.items():
        if not sizes[language]:
            continue
        weight = sizes[language] ** alpha / shares * total / sizes[language]
        for piece, c in found.items():
            merged[piece] += max(1, round(c * weight))
    return dict(merged)


def train(
    counts: Mapping[str, int],
    size: int,
    *,
    special: Mapping[str, int] = tokenizers.SPECIAL,
    pattern: str = "bloom",
) -> tokenizers.Tokenizer:
    """A tokenizer with `size` tokens: the special ones, 256 bytes, and merges by frequency.

    The most frequent pair is merged first; of equally frequent ones the pair with the smaller
    ids, so that the result is a function of the counts alone.

    Args:
        counts: piece -> how often, from `count`.
        size: tokens in all. Fewer come out where the text has no more pairs.
        special: their ids, from 0 without gaps.
        pattern: what the pieces were cut with.

    Raises:
        ConfigError: a size that does not leave room for the bytes, or special ids with gaps.
        DataError: texts, or anything else but pieces with numbers.
    """
    if not isinstance(counts, Mapping):
        raise errors.DataError(
            f"train takes pieces and how often they occur, got a {type(counts).__name__}; count"
            " texts first: train(count({'en': texts}), size)."
        )
    if size < 256 + len(special):
        raise errors.ConfigError(
            f"a byte-level vocabulary takes at least {256 + len(special)} tokens, got {size}."
        )
    if sorted(special.values()) != list(range(len(special))):
        raise errors.ConfigError(
            f"special tokens have the ids 0 to {len(special) - 1}, each once, got"
            f" {dict(special)}; the bytes come behind them."
        )
    vocab = dict(special)
    for letter in sorted(tokenizers.byte_letters()):
        vocab[letter] = len(vocab)
    names = {i: token for token, i in vocab.items()}
    first = [vocab[letter] for letter in tokenizers.byte_letters()]
    words = [[first[b] for b in piece.encode("utf-8")] for piece in counts]
    weights = list(counts.values())
    pairs: collections.Counter = collections.Counter()
    where = collections.defaultdict(set)
    for w, word in enumerate(words):
        for pair in itertools.pairwise(word):
            pairs[pair] += weights[w]
            where[pair].add(w)
    heap = [(-c, pair) for pair, c in pairs.items()]
    heapq.heapify(heap)
    merges = []
    while len(vocab) < size and heap:
        negative, pair = heapq.heappop(heap)
        if pairs.get(pair, 0) != -negative or negative == 0:
            if pairs.get(pair, 0) > 0 and pairs[pair] < -negative:
                heapq.heappush(heap, (-pairs[pair], pair))
            continue
        left, right = names[pair[0]], names[pair[1]]
        if left + right in special:  # text would become a token that it must not become
            del pairs[pair]
            continue
        merges.append((left, right))
        # Two ways to one token share its id, as in HF's trainer.
        new = vocab.setdefault(left + right, len(vocab))
        names[new] = left + right
        changed = collections.Counter()
        for w in where.pop(pair):
            words[w] = _replace(words[w], pair, new, weights[w], changed, where, w)
        del pairs[pair]
        for other, difference in changed.items():
            if other == pair:
                continue
            pairs[other] += difference
            if difference > 0:
                heapq.heappush(heap, (-pairs[other], other))
    return tokenizers.Tokenizer(vocab, merges, dict(special), pattern)


def _replace(word, pair, new, weight, changed, where, w):
    """The word with every occurrence of the pair merged; notes which pairs came and went."""
    out = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and word[i] == pair[0] and word[i + 1] == pair[1]:
            if out:
                changed[out[-1], word[i]] -= weight
                changed[out[-1], new] += weight
                where[out[-1], new].add(w)
            if i + 2 < len(word):
                changed[word[i + 1], word[i + 2]] -= weight
                changed[new, word[i + 2]] += weight
                where[new, word[i + 2]].add(w)
            out.append(new)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
