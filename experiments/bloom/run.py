"""The run: tokenizer, pretraining, byte perplexity by language, fine-tuning, held-out tasks."""

import statistics

from experiments.bloom import corpus as corpora
from experiments.bloom import evaluate, stages
from experiments.bloom.config import Config
from experiments.result import Metric, Result
from fl_jax.bloom import convert

# BLOOM-176B's byte perplexity on FLORES-101 [BigScience, evaluation/results/tr11].
FLORES = {
    "en": 1.882, "fr": 1.937, "es": 1.796, "pt": 1.841, "ar": 1.705, "vi": 1.659, "id": 1.976,
    "ca": 2.168, "zh-Hans": 2.118, "ur": 1.779, "sw": 2.684, "ig": 3.950, "yo": 4.361, "wo": 6.142,
    "zu": 6.017, "hi": 5.452, "bn": 5.993, "ta": 5.165, "ru": 1.708, "de": 2.338, "ja": 2.259,
    "fi": 4.304, "tr": 3.318,
}  # fmt: skip


def run(config: Config, directory, resume: bool = False) -> Result:
    """Everything that RESULTS.md shows, in one go; `resume` goes on where it stopped."""
    model = stages.model_config(config)
    stages.check_devices(config, model)
    corpus = corpora.load(config.seed)
    written = directory.path / "tokenizer.json"
    words = stages.make_tokenizer(config, corpus, written)
    sources = stages.streams(config, corpus, words)
    packed, packing = stages.task_rows(config, model, words, corpus)
    words.save(written)  # now that nothing is refused any more: that leaves no files
    pretrained, curve = stages.pretrain(config, model, sources, directory, resume)
    params = pretrained.variables.params
    convert.save_hf(directory.path / "hf", params, model)
    words.save(directory.path / "hf" / "tokenizer.json")
    valid = {name: texts for name, texts in corpus.valid.items() if name in sources[1]}
    seen = evaluate.perplexities(config, model, words, params, valid)
    never = evaluate.perplexities(config, model, words, params, corpus.never)
    adapted, rounds = stages.federate(config, model, words, params, corpus)
    federated = evaluate.perplexities(config, model, words, adapted, corpus.never)
    held_out = {"before": evaluate.rank_all(config, model, words, params, corpus)}
    curves = {"pretrain": curve, "federate": rounds}
    for norm in ("span", "token"):
        tuned, curves[norm] = stages.finetune(
            config, model, packed, params, norm, directory, resume
        )
        held_out[norm] = evaluate.rank_all(config, model, words, tuned, corpus)
    details = {
        "origin": corpus.origin,
        "parameters": model.parameters,
        "curves": curves,
        "perplexity": {"seen": seen, "never": never, "federated": federated},
        "too_short": sorted(set(corpus.train) - set(sources[1])),
        "fertility": evaluate.fertilities(words, corpus),
        "packing": packing,
        "held_out": held_out,
        "samples": evaluate.samples(model, words, params, config.seed),
    }
    return Result(figures(details), headline(details), details)


def figures(details) -> dict[str, Metric]:
    """The numbers of result.json; published ones are of BLOOM-176B on other texts."""
    source = "BLOOM-176B on FLORES-101 (other texts, other size): for the order of languages only"
    found = {}
    for kind, languages in details["perplexity"].items():
        for language, one in languages.items():
            known = FLORES.get(language)
            name = f"byte perplexity {language} ({kind})"
            found[name] = Metric(one["byte_perplexity"], "", known, source if known else "")
    for when, tasks in details["held_out"].items():
        for task, one in tasks.items():
            found[f"{task}, {when}"] = Metric(one["median"], "accuracy, median over prompts")
    packing = details["packing"]
    found["packing, best fit"] = Metric(packing["filled"], "share of places filled")
    found["packing, in order"] = Metric(packing["next_fit"], "share of places filled")
    return found


def median(perplexities: dict[str, dict]) -> float:
    """Of the byte perplexities of these languages."""
    return statistics.median(one["byte_perplexity"] for one in perplexities.values())


def headline(details) -> dict:
    """The line of the table of systems."""
    found = details["perplexity"]
    return {
        "what": "byte perplexity, median of languages trained on / never seen",
        "ours": f"{median(found['seen']):.2f} / {median(found['never']):.2f}",
        "published": None,
        "command": "python -m experiments bloom",
    }
