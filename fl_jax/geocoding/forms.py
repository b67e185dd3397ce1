"""Names that other words have grown onto: "in" before Hebrew or Amharic ones, case endings.

A gazetteer lists names as they stand alone. Within a sentence many languages write prepositions
and cases without a space: በአዲስ አበባ is "in Addis Ababa", 서울에서 "in Seoul", в Москве "in
Moscow", whose name alone is Москва. What is tried here is short and by script; whether a name
that is found so is meant is for the network to learn, so a wrong try costs little.
"""

import unicodedata

import numpy as np

# Letters that stand for "in", "and", "to", "from", "of", "the" before a word.
BEFORE = {"HEBREW": "בלמהוכש", "ARABIC": "بولفك", "ETHIOPIC": "በለየከ"}
# Endings taken off, and endings that the name alone may have in their place.
AFTER = {
    "HANGUL": (1, 2),
    "GEORGIAN": (1, 2),
    "ARMENIAN": (1, 2, 3),
    "TAMIL": (3, 4),
    "BENGALI": (1, 2),
    "CYRILLIC": (1, 2),
    "GREEK": (1, 2),
}
INSTEAD = {
    "CYRILLIC": ("", "а", "я", "ь", "ы", "й"),
    "GREEK": ("", "α", "η", "ο", "ας", "ος"),
    "GEORGIAN": ("", "ი"),
}
ADDED = {"GREEK": ("ς",)}  # what a form lacks: του Πειραιά, of ο Πειραιάς
LEAST = {"HANGUL": 2, "ETHIOPIC": 2, "HEBREW": 2, "ARABIC": 2}  # letters that must be left
# What grows onto a name in training texts: before it, or after it.
GROWN_BEFORE = {"HEBREW": "בלמ", "ARABIC": "بول", "ETHIOPIC": "በለየከ"}
GROWN_AFTER = {
    "HANGUL": ("에", "에서", "의", "로"),
    "GEORGIAN": ("ში", "ს"),
    "ARMENIAN": ("ում", "ի"),
    "TAMIL": ("ில்",),
    "BENGALI": ("র", "তে"),
}


def script(text: str) -> str:
    """The script of the first letter, as Unicode names it; empty where there is no letter.

    Example:
        >>> script("አዲስ"), script("(Paris)"), script("123")
        ('ETHIOPIC', 'LATIN', '')
    """
    letter = next((c for c in text if c.isalpha()), "")
    return unicodedata.name(letter, "").partition(" ")[0] if letter else ""


def before(word: str) -> list[str]:
    """What a folded word may be without what has grown before it.

    Example:
        >>> before("בירושלים"), before("للقاهرة"), before("paris")
        (['ירושלים'], ['لقاهرة', 'القاهرة', 'قاهرة'], [])
    """
    own = script(word)
    letters, least = BEFORE.get(own), LEAST.get(own, 4)
    found = []
    if not letters or word[0] not in letters or len(word) <= least:
        return found
    found.append(word[1:])
    if own == "ARABIC" and word.startswith("لل"):  # l- and the article, which loses its alif
        found.append("ا" + word[1:])
    if word[1] in letters and len(word) > least + 1:
        found.append(word[2:])
    return found


def after(word: str) -> list[str]:
    """What a folded word may be without its ending.

    Example:
        >>> after("서울에서")[:2], "москва" in after("москве"), after("paris")
        (['서울에', '서울'], True, [])
    """
    own = script(word)
    found = [word + end for end in ADDED.get(own, ())]
    for size in AFTER.get(own, ()):
        if len(word) - size >= LEAST.get(own, 4):
            found += [word[:-size] + end for end in INSTEAD.get(own, ("",))]
    return [w for w in dict.fromkeys(found) if w != word]


def grow(name: str, rng: np.random.Generator) -> str:
    """The name as it may stand in a sentence of its language; itself in most languages."""
    own = script(name)
    if own in GROWN_BEFORE:
        letters = GROWN_BEFORE[own]
        return letters[rng.integers(len(letters))] + name
    if own in GROWN_AFTER:
        endings = GROWN_AFTER[own]
        return name + endings[rng.integers(len(endings))]
    if own == "CYRILLIC" and len(name) > 4 and " " not in name:
        stem = name[:-1] if name[-1] in "аяьйо" else name
        return "в " + stem + ("и" if name[-1] == "ь" else "е")
    return name
