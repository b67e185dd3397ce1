"""Byte-level BPE as BLOOM has it, in plain Python, reading and writing HF's tokenizer.json.

Text is cut into pieces by a regular expression, pieces become bytes, and bytes are merged by
rank until no merge applies. No normalisation, no unknown text: decoding an encoding gives the
text back.
"""

import functools
import heapq
import json
import pathlib
import re
import unicodedata
from collections.abc import Iterable

from fl_jax.core import atomic, errors

# \s and \d of other engines, spelled out: Python's own take in control characters as well.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
BLOOM_PATTERN = r" ?[^(\s|[.,!?…。，、।۔،])]+"  # as BLOOM's tokenizer.json writes it
_BLOOM = rf" ?[^()|{_SPACE}.,!?…。，、।۔،]+"  # what that means: the nested class is Oniguruma's
SPECIAL = {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3}
LIMIT = 200_000_000  # bytes of a tokenizer.json


@functools.cache
def byte_letters() -> tuple[str, ...]:
    """The printable letter that stands for each byte in a byte-level vocabulary [GPT-2].

    Example:
        >>> byte_letters()[ord("a")], byte_letters()[ord(" ")]
        ('a', 'Ġ')
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {b: chr(b) for b in shown}
    rest = (b for b in range(256) if b not in letters)
    letters |= {b: chr(256 + i) for i, b in enumerate(rest)}
    return tuple(letters[b] for b in range(256))


@functools.cache
def _gpt2() -> str:
    """GPT-2's pattern; its letter and number classes are made of Unicode's categories."""

    def ranges(kind):
        points = [c for c in range(0x110000) if unicodedata.category(chr(c))[0] == kind]
        parts, start = [], points[0]
        for one, following in zip(points, [*points[1:], None], strict=True):
            if following != one + 1:
                parts.append(f"\\U{start:08x}-\\U{one:08x}")
                start = following
        return "".join(parts)

    letter, number = ranges("L"), ranges("N")
    return (
        rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+| ?[{number}]+"
        rf"| ?[^{_SPACE}{letter}{number}]+|[{_SPACE}]+(?![^{_SPACE}])|[{_SPACE}]+"
    )


@functools.cache
def _compiled(pattern: str) -> re.Pattern:
    return re.compile({"bloom": _BLOOM}.get(pattern) or _gpt2())


def pieces(text: str, pattern: str = "bloom") -> list[str]:
    """The text cut up: matches of the pattern and the gaps between them, nothing lost.

    Example:
        >>> pieces("Hello,  world! x=1")
        ['Hello', ', ', ' world', '!', ' x=1']
    """
    found, end = [], 0
    for match in _compiled(pattern).finditer(text):
        if match.start() > end:
            found.append(text[end : match.start()])
        found.append(match.group())
        end = match.end()
    return found + ([text[end:]] if end < len(text) else [])


class Tokenizer:
    """A byte-level BPE.

    Args:
        vocab: token (in byte letters) -> id, special tokens included.
        merges: pairs of tokens, the first merged first.
        special: special tokens -> id; never made from text unless asked for.
        pattern: `bloom` or `gpt2`, how text is cut.
        added: tokens -> id that are whole wherever they stand in a text, and are text when decoded.

    Raises:
        DataError: bytes that are no token, merges of what is none, or a token with another id here
            than there.
    """

    def __init__(
        self,
        vocab: dict[str, int],
        merges: Iterable[tuple[str, str]],
        special: dict[str, int],
        pattern: str = "bloom",
        added: dict[str, int] | None = None,
    ):
        self.vocab, self.special, self.pattern = dict(vocab), dict(special), pattern
        self.added = dict(added or {})
        named = {**self.added, **self.special}
        for token, i in named.items():
            if not token or self.vocab.get(token, i) != i:
                raise errors.DataError(
                    f"the added token {token!r} cannot be {i}: it must be some text, with the id"
                    " that the vocabulary gives it if it does."
                )
        self.merges = list(merges)
        letters = byte_letters()
        missing = [letter for letter in letters if letter not in self.vocab]
        if missing:
            raise errors.DataError(
                f"this vocabulary lacks {len(missing)} of the 256 bytes, first {missing[0]!r};"
                " only byte-level tokenizers are read."
            )
        self._bytes = [self.vocab[letter] for letter in letters]
        self._ranks = {}
        for rank, (left, right) in enumerate(self.merges):
            if not {left, right, left + right} <= self.vocab.keys():
                raise errors.DataError(
                    f"merge {rank} ({left!r}, {right!r}) is not in the vocabulary."
                )
            if left + right in self.special:
                continue  # a text is never control, though a file's merges say so
            pair = self.vocab[left], self.vocab[right]
            self._ranks.setdefault(pair, (rank, self.vocab[left + right]))
        of_letter = {letter: b for b, letter in enumerate(letters)}
        try:
            self._decoded = {
                i: bytes(of_letter[c] for c in token)
                for token, i in self.vocab.items()
                if token not in named
            }
        except KeyError as error:
            raise errors.DataError(
                f"a token of this vocabulary has {error.args[0]!r}, which stands for no byte; only"
                " byte-level tokenizers are read."
            ) from None
        self._decoded |= {i: token.encode() for token, i in self.added.items()}
        self._names = {i: name for name, i in self.special.items()}
        self._cached = functools.lru_cache(maxsize=2**16)(self._merge)
        finder = lambda tokens: re.compile(
            "|".join(map(re.escape, sorted(tokens, key=len, reverse=True))).join("()")
        )
        self._find = {False: finder(self.added), True: finder(named)}

    @property
    def size(self) -> int:
        """One more than the greatest id."""
        return max(*self.vocab.values(), *self.special.values(), *self.added.values(), 0) + 1

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of a text.

        Args:
            text: lone surrogates, which no UTF-8 has, are refused.
            special: whether `</s>` and the like become their token, as HF does it; by default
                they are text, because text is data and never control.

        Raises:
            DataError: text that is no Unicode.
        """
        ids: list[int] = []
        whole = {**self.added, **self.special} if special else self.added
        for part in self._find[special].split(text) if whole else [text]:
            if part in whole:
                ids.append(whole[part])
                continue
            for piece in pieces(part, self.pattern):
                ids += self._cached(piece)
        return ids

    def decode(self, ids: Iterable, *, special: bool = False) -> str:
        """The text of ids; special tokens are left out unless asked for.

        Broken UTF-8, as where a text was cut, shows as U+FFFD. Ids that are no token are left
        out: the rows that BLOOM's embedding has in reserve.
        """
        out = bytearray()
        for i in map(int, ids):
            if i in self._names:
                out += self._names[i].encode() if special else b""
            else:
                out += self._decoded.get(i, b"")
        return out.decode("utf-8", errors="replace")

    def spelling(self, token: int) -> bytes:
        """The bytes of text that a token stands for; none for special ones."""
        return self._decoded.get(token, b"")

    def _merge(self, piece: str) -> tuple[int, ...]:
        """Merges by rank, the leftmost of equals first; n log n also for long pieces."""
        try:
            ids = [self._bytes[b] for b in piece.encode("utf-8")]
        except UnicodeEncodeError as error:
            raise errors.DataError(f"a text is no Unicode: {error.reason}.") from None
        following = [*range(1, len(ids)), -1]
        before = [*range(-1, len(ids) - 1)]
        heap = []

        def push(i):
            j = following[i]
            if j >= 0 and (rank := self._ranks.get((ids[i], ids[j]))):
                heapq.heappush(heap, (rank[0], i, rank[1], ids[i], ids[j]))

        for i in range(len(ids) - 1):
            push(i)
        while heap:
            _, i, new, left, right = heapq.heappop(heap)
            j = following[i]
            if j < 0 or ids[i] != left or ids[j] != right:
                continue  # one of the two was merged meanwhile
            ids[i], ids[j] = new, -1
            following[i] = following[j]
            if following[j] >= 0:
                before[following[j]] = i
            push(i)
            if before[i] >= 0:
                push(before[i])
        return tuple(i for i in ids if i >= 0)

    def save(self, path) -> None:
        """Writes a tokenizer.json that HF's `tokenizers` and `transformers` load.

        Raises:
            DataError: a tokenizer that was read with another pattern than BLOOM's.
        """
        if self.pattern != "bloom":
            raise errors.DataError("only tokenizers with BLOOM's pattern are written.")
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
        split = {"type": "Split", "pattern": {"Regex": BLOOM_PATTERN}, "behavior": "Isolated"}
        added = [
            {"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": name in self.special}
            for name, i in sorted({**self.added, **self.special}.items(), key=lambda item: item[1])
        ]  # fmt: skip
        body = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{**split, "invert": False}, {**level, "use_regex": False}],
            },
            "post_processor": {**level, "trim_offsets": False, "use_regex": False},
            "decoder": {**level, "use_regex": False},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "vocab": {**self.special, **self.vocab},
                "merges": [" ".join(pair) for pair in self.merges],
            },
        }
        with atomic.replace(path) as fresh:
            fresh.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")


# Of other kinds of BPE, whose pieces are made or spelled otherwise.
_OTHER_BPE = ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")


def load(path) -> Tokenizer:
    """A byte-level BPE from HF's tokenizer.json.

    Raises:
        DataError: there is no such file, it is no JSON, or uses parts that are not understood
            here: which one.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise errors.DataError(f"{path} is a folder; give the tokenizer.json in it.")
    if not path.is_file():
        raise errors.DataError(f"there is no {path}.")
    if path.stat().st_size > LIMIT:
        raise errors.DataError(f"{path} is larger than {LIMIT} bytes.")
    try:
        body = json.loads(path.read_bytes())
        model = body["model"]
        if model.get("type", "BPE") != "BPE":
            raise ValueError(f"its model is a {model['type']}")
        merges = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
        vocab = {str(token): _id(i) for token, i in model["vocab"].items()}
        added, special = {}, {}
        for token in body.get("added_tokens") or []:
            kind = special if token.get("special", True) else added
            kind[str(token["content"])] = _id(token["id"])
            for flag in ("lstrip", "rstrip", "single_word"):
                if token.get(flag) and kind is added:
                    raise ValueError(f"{flag} of the added token {token['content']!r}")
        if any(len(m) != 2 or not all(isinstance(part, str) for part in m) for m in merges):
            raise ValueError("a merge is no pair of tokens")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise errors.DataError(f"{path.name} is no tokenizer.json of a BPE: {error}.") from None
    unsupported = [
        "a normalizer" * (body.get("normalizer") is not None),
        *(name for name in _OTHER_BPE if model.get(name)),
    ]
    if any(unsupported):
        raise errors.DataError(
            f"{path.name} uses {next(filter(None, unsupported))}, not read here."
        )
    pattern = _pattern(path.name, body.get("pre_tokenizer"))
    return Tokenizer(vocab, merges, special, pattern, added)


def _id(value) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"{value!r} is no id")
    return value


def _pattern(name: str, stage) -> str:
    """Which pattern the pre-tokenizer is."""
    stage = stage if isinstance(stage, dict) else {}
    parts = stage.get("pretokenizers", [stage])
    parts = parts if isinstance(parts, list) else []
    parts = [part if isinstance(part, dict) else {} for part in parts]
    kinds = [part.get("type") for part in parts]
    prefixed = any(part.get("add_prefix_space") for part in parts)
    if kinds == ["Split", "ByteLevel"] and not parts[1].get("use_regex", True) and not prefixed:
        regex = parts[0].get("pattern")
        if regex == {"Regex": BLOOM_PATTERN} and parts[0].get("behavior") == "Isolated":
            return "bloom"
    if kinds == ["ByteLevel"] and parts[0].get("use_regex", True) and not prefixed:
        return "gpt2"
    raise errors.DataError(
        f"{name} cuts text in a way that is not read here ({kinds}); BLOOM's Split with ByteLevel"
        " and GPT-2's ByteLevel are."
    )


def fertility(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, float]:
    """Tokens per whitespace word and per UTF-8 byte over the texts; fewer is better."""
    tokens = words = size = 0
    for text in texts:
        tokens += len(tokenizer.encode(text))
        words += len(text.split())
        size += len(text.encode("utf-8"))
    return {"per_word": tokens / max(words, 1), "per_byte": tokens / max(size, 1)}
