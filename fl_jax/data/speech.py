"""Text by speaker: who says what, as words or characters, cut into windows.

Speakers are naturally uneven participants: of the 299 in tiny Shakespeare the longest says
37,405 characters and the median 910.
"""

import collections
import re
from collections.abc import Iterable, Sequence

import numpy as np

from fl_jax.core import errors
from fl_jax.data import files, sources

UNKNOWN, BEGIN, END = "<unk>", "<bos>", "<eos>"
LETTERS = re.compile(r"[a-z]+")


def shakespeare() -> dict[str, list[str]]:
    """Speaker -> speeches, from `$FL_JAX_DATA/tinyshakespeare/input.txt.gz`.

    Raises:
        DataError: the folder is not there, or its file cannot be read.
    """
    path = sources.require("tinyshakespeare") / "input.txt.gz"
    return speeches(files.text(path))


def reddit(least: int = 150, most: int = 500) -> dict[str, list[str]]:
    """Author -> posts, from the comment dumps `$FL_JAX_DATA/reddit/*.jsonl.gz`.

    A line is a JSON object with `author` and `body`, as in the monthly files of Reddit's comments;
    the backdoor paper takes November 2017. Authors with fewer or more posts are left out, and so
    are deleted ones.

    Raises:
        DataError: the folder is not there, a file of it is damaged, or nobody in it has that many
            posts.
    """
    posts: dict[str, list[str]] = {}
    for path in sorted(sources.require("reddit").glob("*.jsonl.gz")):
        for post in files.records(path, "author", "body", texts=True):
            if post["author"] != "[deleted]":
                posts.setdefault(post["author"], []).append(post["body"])
    kept = {name: said for name, said in posts.items() if least <= len(said) <= most}
    if not kept:
        raise errors.DataError(
            f"the folder 'reddit' holds {len(posts)} authors, none of them with {least} to {most}"
            " posts; put whole monthly files there."
        )
    return kept


def speeches(text: str) -> dict[str, list[str]]:
    """Speaker -> speeches, from paragraphs of which the first line is the name and a colon.

    Example:
        >>> speeches("Ann:\\nGood day.\\n\\nBen:\\nGood night.\\nSweet dreams.")
        {'Ann': ['Good day.'], 'Ben': ['Good night. Sweet dreams.']}
    """
    out: dict[str, list[str]] = {}
    for paragraph in text.split("\n\n"):
        first, _, rest = paragraph.strip().partition("\n")
        if first.endswith(":") and rest:
            out.setdefault(first[:-1], []).append(" ".join(rest.split("\n")))
    return out


def words(speech: str) -> list[str]:
    """The words as the backdoor paper's code takes them: the leading letters of each token, lower
    case, those of one letter dropped.

    Example:
        >>> words("I know't; let us kill him!")
        ['know', 'let', 'us', 'kill', 'him']
    """
    found = (LETTERS.match(token) for token in speech.lower().split())
    return [m.group() for m in found if m and len(m.group()) > 1]


class Vocabulary:
    """Words to numbers: `<unk>` is 0, then `<bos>`, `<eos>`, then by frequency."""

    def __init__(self, text: Iterable[Sequence[str]], size: int):
        """The `size - 3` most frequent words of the sentences; ties in alphabetical order."""
        if size < 4:
            raise errors.ConfigError(f"a vocabulary needs 4 or more entries, got {size}.")
        counts = collections.Counter(word for sentence in text for word in sentence)
        frequent = sorted(counts, key=lambda word: (-counts[word], word))[: size - 3]
        self.words = [UNKNOWN, BEGIN, END, *frequent]
        self.number = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, sentence: Sequence[str]) -> list[int]:
        """Numbers of the words, 0 where one is unknown."""
        return [self.number.get(word, 0) for word in sentence]

    def require(self, sentence: Sequence[str]) -> list[int]:
        """Numbers of words that must all be known, as those of a trigger.

        Raises:
            ConfigError: some are not.
        """
        missing = [word for word in sentence if word not in self.number]
        if missing:
            raise errors.ConfigError(
                f"the trigger sentence has words outside the vocabulary of {len(self)}:"
                f" {', '.join(missing)}; use other words or a larger vocabulary."
            )
        return [self.number[word] for word in sentence]


def windows(stream: Sequence[int], length: int) -> dict[str, np.ndarray]:
    """A stream in windows of next-item prediction, the last one filled up.

    Returns:
        {"x": (count, length) int32, "y": the item after each, "w": (count, length) float32, 1 where
        there is one, 0 in the filling}; at least one window.

    Example:
        >>> print(windows([5, 6, 7, 8], 2)["y"].tolist(), windows([5, 6, 7, 8], 2)["w"].tolist())
        [[6, 7], [8, 0]] [[1.0, 1.0], [1.0, 0.0]]
    """
    errors.positive("the length of a window", length)
    count = max(-(-(len(stream) - 1) // length), 1)
    flat = np.zeros(count * length + 1, np.int32)
    flat[: len(stream)] = stream
    there = np.arange(count * length) < len(stream) - 1
    shape = (count, length)
    return {
        "x": flat[:-1].reshape(shape),
        "y": flat[1:].reshape(shape),
        "w": there.reshape(shape).astype(np.float32),
    }
