"""Real text and code by language, with its held-out part; and prompts made from it."""

import pathlib
import random
from typing import NamedTuple

from fl_jax.bloom.prompts import Prompted, Template
from fl_jax.data import files, sources

# Shares of ROOTS in the final run [bigscience, training_dataset_ratios_merged_nigercongo_v3],
# web crawl added; the two Portugueses, which it does not tell apart, get half each.
RATIOS = {
    "en": 0.303084, "zh-Hans": 0.176211, "zh-Hant": 0.000518, "fr": 0.130540, "code": 0.130272,
    "es": 0.106678, "pt": 0.024771, "pt-BR": 0.024771, "ar": 0.033068, "vi": 0.024616,
    "ca": 0.011242, "id": 0.010918, "hi": 0.007470, "bn": 0.005492, "ta": 0.002114, "eu": 0.001560,
    "ur": 0.001245, "ml": 0.001034, "te": 0.000913, "ne": 0.000667, "kn": 0.000619,
    "pa": 0.000508, "mr": 0.000501, "gu": 0.000402,
}  # fmt: skip
NIGER_CONGO = 0.000316  # all of them together
NEVER_SEEN = ("de", "it", "ru", "ja", "ko", "tr", "fi", "am")
NAMES = {
    "ar": "Arabic", "bn": "Bengali", "ca": "Catalan", "en": "English", "es": "Spanish",
    "eu": "Basque", "fr": "French", "gu": "Gujarati", "hi": "Hindi", "id": "Indonesian",
    "kn": "Kannada", "ml": "Malayalam", "mr": "Marathi", "ne": "Nepali", "pa": "Punjabi",
    "pt": "Portuguese", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "ur": "Urdu",
    "vi": "Vietnamese", "yo": "Yoruba", "zh-Hans": "Chinese", "zu": "Zulu",
}  # fmt: skip
_LAST = ("article_28", "article_29", "article_30")  # held out of every language
_PROBLEM = ("task_id", "prompt", "canonical_solution", "description", "language")
_COPA = ("premise", "question", "choice1", "choice2")
_LONGEST = 600  # characters of a text inside a prompt
_BEGINNING = 80  # characters of a translation to choose: as long as the others

TRANSLATE = (
    Template("translate-1", "Translate to {to}: {text}\nTranslation:", "{translation}"),
    Template("translate-2", "{text}\nHow does one say this in {to}?", "{translation}"),
)
LANGUAGE = (
    Template("language-1", "{text}\nWhich language is this?", "{name}"),
    Template("language-2", "Name the language of this text: {text}\nLanguage:", "{name}"),
    Template("language-3", "{text}\nThe text above is written in", "{name}"),
)
ARTICLE = (Template("article-1", "{text}\nWhich article of the declaration is this?", "{number}"),)
CODE = (Template("code-1", "{description}\nWrite it in {language}.\n{signature}", "{solution}"),)
XCOPA = (
    Template("copa-1", "{premise} {connective}", "{right}", ("{choice1}", "{choice2}")),
    Template(
        "copa-2", "{premise}\nWhat was the {question}?", "{right}", ("{choice1}", "{choice2}")
    ),
    Template("copa-3", "{question}: {premise}\nAnswer:", "{right}", ("{choice1}", "{choice2}")),
)


class Corpus(NamedTuple):
    """Texts by language; what no training sees stands apart."""

    train: dict[str, list[str]]
    valid: dict[str, list[str]]
    never: dict[str, list[str]]  # the same of languages that pretraining has not
    elsewhere: dict[str, list[str]]  # other texts of these, for clients that hold them
    tasks: dict[str, list[Prompted]]  # to fine-tune on
    held_out: dict[str, list[list[Prompted]]]  # to rank: for each task, one list per prompt
    origin: str


def load(seed: int) -> Corpus:
    """$FL_JAX_DATA's udhr, mbxp, tinyshakespeare and xcopa; else what Python itself ships.

    Raises:
        DataError: the folder is there and not readable as its README says.
    """
    if sources.folder("udhr") is None:
        return _embedded(seed)
    train: dict[str, list[str]] = {}
    valid: dict[str, list[str]] = {}
    never: dict[str, list[str]] = {}
    elsewhere: dict[str, list[str]] = {}
    path = sources.require("udhr") / "udhr_bloom_langs.jsonl.gz"
    articles = list(files.records(path, "lang", "unit", "text", texts=True))
    for record in articles:
        language = record["lang"]
        parts = (never, elsewhere) if language in NEVER_SEEN else (valid, train)
        part = parts[0] if record["unit"] in _LAST else parts[1]
        part.setdefault(language, []).append(record["text"])
    problems = []
    if path := sources.folder("mbxp"):
        for file in sorted(path.glob("*.jsonl.gz")):
            problems += list(files.records(file, *_PROBLEM))
    for record in problems:
        number = int(record["task_id"].rpartition("/")[2])
        part = valid if number % 20 == 0 else train
        part.setdefault("code", []).append(record["prompt"] + (record["canonical_solution"] or ""))
    if path := sources.folder("tinyshakespeare"):
        parts = _blocks(files.text(path / "input.txt.gz"), 4000)
        cut = len(parts) * 9 // 10
        train["en"] += parts[:cut]
        valid["en"] += parts[cut:][:10]
    if "code" in valid:
        valid["code"] = valid["code"][::10]
    tasks, held_out = _tasks(articles, problems, seed)
    names = [n for n in ("udhr", "mbxp", "tinyshakespeare", "xcopa") if sources.folder(n)]
    origin = "$FL_JAX_DATA: " + ", ".join(names)
    return Corpus(train, valid, never, elsewhere, tasks, held_out, origin)


def ratio(language: str, present) -> float:
    """The published share of a language; the Niger-Congo ones have equal parts of theirs."""
    if language in RATIOS:
        return RATIOS[language]
    return NIGER_CONGO / max(1, sum(other not in RATIOS for other in present))


def _tasks(articles, problems, seed):
    """Prompts made from the data at hand; validation articles serve to rank languages."""
    draw = random.Random(seed)
    texts = {(r["lang"], r["unit"]): r["text"][:_LONGEST] for r in articles if r["unit"] != "title"}
    known = sorted({lang for lang, _ in texts} & set(NAMES))
    tasks = {"translation": [], "language": [], "article": [], "code": []}
    held = [[] for _ in LANGUAGE]
    matched = [[] for _ in TRANSLATE]
    for (language, unit), text in texts.items():
        if language not in known:
            continue
        if unit in _LAST:
            others = draw.sample([n for n in known if n != language], 3)
            choices = tuple(NAMES[n] for n in sorted([language, *others]))
            for one, template in zip(held, LANGUAGE, strict=True):
                filled = template.fill({"text": text, "name": NAMES[language]})
                one.append(filled._replace(choices=choices))
            to = draw.choice([n for n in known if n != language])
            # All of them unseen: what was trained on is likelier, whatever the question.
            start = {u: texts[to, u][:_BEGINNING] for u in _LAST}
            for one, template in zip(matched, TRANSLATE, strict=True):
                filled = template.fill({"text": text, "to": NAMES[to], "translation": start[unit]})
                one.append(filled._replace(choices=tuple(start.values())))
            continue
        to = draw.choice([n for n in known if n != language])
        pair = {"text": text, "to": NAMES[to], "translation": texts[to, unit]}
        tasks["translation"].append(draw.choice(TRANSLATE).fill(pair))
        # The third prompt is for evaluation alone.
        named = {"text": text, "name": NAMES[language]}
        tasks["language"].append(draw.choice(LANGUAGE[:2]).fill(named))
        if unit.startswith("article"):
            tasks["article"].append(ARTICLE[0].fill({"text": text, "number": int(unit[-2:])}))
    for record in problems:
        if record["canonical_solution"] and int(record["task_id"].rpartition("/")[2]) % 20:
            fields = {"solution": record["canonical_solution"], "signature": record["prompt"]}
            known_fields = {"description": record["description"], "language": record["language"]}
            tasks["code"].append(CODE[0].fill({**fields, **known_fields}))
    held_out = {
        "language of unseen articles": held,
        "translation of unseen articles": matched,
    }
    if path := sources.folder("xcopa"):
        by_language: dict[str, list[list[Prompted]]] = {}
        for record in files.records(path / "xcopa.jsonl.gz", "split", "lang", "label", *_COPA):
            if record["split"] == "test":
                rows = by_language.setdefault(record["lang"], [[] for _ in XCOPA])
                for row, template in zip(rows, XCOPA, strict=True):
                    row.append(template.fill(_copa(record)))
        held_out |= {f"XCOPA {lang}": rows for lang, rows in sorted(by_language.items())}
    for name in tasks:
        draw.shuffle(tasks[name])
    held_out = {name: _shuffled(rows, seed) for name, rows in held_out.items()}
    return {k: v for k, v in tasks.items() if v}, held_out


def _shuffled(rows, seed):
    """Every prompt's questions in one new order, so that the first n are a fair sample."""
    order = list(range(len(rows[0])))
    random.Random(seed).shuffle(order)
    return [[row[i] for i in order] for row in rows]


def _copa(record) -> dict:
    right = record["choice2" if record["label"] else "choice1"]
    connective = "because" if record["question"] == "cause" else "so"
    return {**record, "right": right, "connective": connective}


def _embedded(seed: int) -> Corpus:
    """English and Python that every Python has: the language reference and the library."""
    import pydoc_data.topics

    draw = random.Random(seed)
    here = pathlib.Path(pydoc_data.__file__).parents[1]
    files = ("argparse", "ast", "datetime", "difflib", "enum", "inspect", "pathlib", "typing")
    code = [here / f"{name}.py" for name in files]
    parts = {
        "en": [b for _, t in sorted(pydoc_data.topics.topics.items()) for b in _blocks(t, 2000)],
        "code": [b for f in code if f.is_file() for b in _blocks(f.read_text("utf-8"), 2000)],
    }
    train, valid = {}, {}
    for language, texts in parts.items():
        # Some topics stand there under several names; a prompt shows the first 300 characters.
        texts = list({text[:300]: text for text in texts}.values())
        texts = draw.sample(texts, min(len(texts), 400))
        cut = len(texts) * 9 // 10
        train[language], valid[language] = texts[:cut], texts[cut:][:20]
    sentences = {name: text.partition(". ") for name, text in _ARTICLE_1.items()}
    never = {language: [last] for language, (_, _, last) in sentences.items()}
    elsewhere = {language: [first + "."] for language, (first, _, _) in sentences.items()}
    kinds = {"en": "English", "code": "Python"}
    ask = (
        Template("kind-1", "{text}\nIs this English or Python?", "{kind}", ("English", "Python")),
        Template("kind-2", "{text}\nThe lines above are", "{kind}", ("English", "Python")),
    )
    fill = lambda t, text, lang: t.fill({"text": text[:300], "kind": kinds[lang]})
    tasks = {"kind": [fill(ask[0], t, lang) for lang, ts in train.items() for t in ts]}
    draw.shuffle(tasks["kind"])
    held = [[fill(t, x, lang) for lang, xs in valid.items() for x in xs] for t in ask]
    origin = "embedded: Python's language reference and library"
    held_out = {"English or Python, unseen": _shuffled(held, seed)}
    return Corpus(train, valid, never, elsewhere, tasks, held_out, origin)


# Article 1 of the Universal Declaration of Human Rights (UN, free to reproduce).
_ARTICLE_1 = {
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft"
    " und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont"
    " doués de raison et de conscience et doivent agir les uns envers les autres dans un esprit"
    " de fraternité.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de"
    " razão e de consciência, devem agir uns para com os outros em espírito de fraternidade.",
}


def _blocks(text: str, size: int) -> list[str]:
    """The text in pieces of whole paragraphs, about so many characters each."""
    blocks, current = [], ""
    for paragraph in text.split("\n\n"):
        if current and len(current) + len(paragraph) > size:
            blocks.append(current)
            current = ""
        current += ("\n\n" if current else "") + paragraph
    return blocks + ([current] if current.strip() else [])
