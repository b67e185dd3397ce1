"""What a run measures: byte perplexity, fertility, held-out tasks; and what the model writes."""

import statistics

import jax

from experiments.bloom.config import Config
from fl_jax.bloom import generate, score, texts
from fl_jax.data import tokenizer

PROMPTS = ("All human beings", "Tous les êtres humains", "def ", "ROMEO:\n", "Toda persona tiene")


def perplexities(config: Config, model, words, params, texts) -> dict[str, dict]:
    """Byte perplexity of each language's texts: {language: documents}."""
    found = {}
    for language, some in sorted(texts.items()):
        one = score.perplexity(params, model, words, some[:12], length=config.length)
        found[language] = {
            "byte_perplexity": one.per_byte,
            "bits_per_byte": one.bits_per_byte,
            "bytes": one.bytes,
        }
    return found


def rank_all(config: Config, model, words, params, corpus) -> dict[str, dict]:
    """Accuracy on each held-out task: the median over its prompts, and all of them."""
    found = {}
    for name, lists in corpus.held_out.items():
        accuracies = []
        for examples in lists:
            questions = [example.question() for example in examples[: config.questions]]
            ranked = score.rank(params, model, words, questions, length=config.finetune_length)
            accuracies.append(ranked.accuracy)
        found[name] = {
            "median": statistics.median(accuracies),
            "prompts": accuracies,
            "chance": statistics.fmean(1 / len(e.choices) for e in lists[0]),
            "questions": len(lists[0][: config.questions]),
        }
    return found


def fertilities(words, corpus) -> dict[str, dict]:
    """Tokens per word and byte of every language."""
    texts = {**corpus.valid, **corpus.never}
    return {name: tokenizer.fertility(words, some[:30]) for name, some in sorted(texts.items())}


def samples(model, words, params, seed: int) -> dict[str, str]:
    """What the model writes after a few prompts."""
    drawn = generate.Sampling(temperature=0.7, top_p=0.95)
    found = texts.complete(
        params, model, words, PROMPTS, count=48, sampling=drawn, key=jax.random.key(seed)
    )
    return dict(zip(PROMPTS, found, strict=True))
