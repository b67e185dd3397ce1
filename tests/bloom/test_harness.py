"""The adapter's answers against the model's own, one by one; and under the real harness."""

import dataclasses
import json
import sys
from types import ModuleType, SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import generate, harness, model, texts
from fl_jax.core import errors
from fl_jax.data import bpe
from fl_jax.nn.beams import Search

TEXTS = ["The cat sat on the mat.", "Ein kürzerer Satz", "x" * 90]
ask = lambda *args: SimpleNamespace(args=args)


@pytest.fixture(scope="module")
def held():
    words = bpe.train(bpe.count({"x": TEXTS}), 290)
    config = model.Config(vocab=290, hidden=24, layers=1, heads=2, length=64)
    return model.init(jax.random.key(0), config, std=0.4), config, words


def whole(held, ids):
    """log p of each token but the first, and whether it is the likeliest; in one go."""
    params, config, _ = held
    filled = jnp.array([ids + [0] * (128 - len(ids))])
    logits = np.asarray(jax.nn.log_softmax(model.apply(params, config, filled)))[0, : len(ids) - 1]
    return logits[np.arange(len(ids) - 1), ids[1:]], logits.argmax(-1) == ids[1:]


# (context, continuation) and the same as the harness's `hf` model scores them: what is given, and
# what is scored behind it. The prefix stands only where nothing is given.
PAIRS = [
    ("The cat", " sat", "The cat", " sat"),
    ("The cat ", "sat", "The cat", " sat"),  # a space between belongs to what follows
    ("The cat on\n ", "the", "The cat on", "\n the"),
    ("", "Ein", None, "Ein"),
    (" ", "Ein", None, " Ein"),
    ("x" * 200, " Satz", "x" * 200, " Satz"),
]


@pytest.mark.parametrize(("prefix", "first"), [(None, 1), (2, 2)])
def test_likelihoods_of_continuations(held, prefix, first):
    params, config, words = held
    adapter = harness.Harness(params, config, words, batch=2, prefix=prefix)
    made = generate.generate(params, config, jnp.array([words.encode("The cat")]), count=2)
    greedy = words.decode(np.asarray(made)[0])
    pairs = [*PAIRS, ("The cat", greedy, "The cat", greedy)]
    found = adapter.loglikelihood([ask(*pair[:2]) for pair in pairs])
    for (_, _, given, scored), (value, likeliest) in zip(pairs, found, strict=True):
        ids = words.encode(scored)
        before = [first] if given is None else words.encode(given)
        values, best = whole(held, [*before[-(65 - len(ids)) :], *ids])
        assert value == pytest.approx(values[-len(ids) :].sum(), rel=1e-4)
        assert likeliest is bool(best[-len(ids) :].all())


def test_a_word_that_is_cut_is_put_together_again(held):
    """The two are tokenised as one text; what the context's tokens leave of it is scored."""
    params, config, words = held
    together, alone = words.encode("The mat on."), words.encode("The m")
    assert together[: len(alone)] != alone and len(together) > len(alone)
    ((found, _),) = harness.Harness(params, config, words).loglikelihood([ask("The m", "at on.")])
    rest = together[len(alone) :]
    values, _ = whole(held, alone + rest)
    assert found == pytest.approx(values[-len(rest) :].sum(), rel=1e-4)


@pytest.mark.parametrize("pair", [("a", "ü" * 65), ("The", ""), ("", "")])
def test_a_continuation_of_no_tokens_or_too_many_is_refused(held, pair):
    adapter = harness.Harness(*held)
    with pytest.raises(errors.DataError, match="must add 1 to 64 tokens to its context"):
        adapter.loglikelihood([ask(*pair)])


def test_rolling_scores_every_token_once(held):
    params, config, words = held
    short = dataclasses.replace(config, length=16)
    adapter = harness.Harness(params, short, words)
    found = adapter.loglikelihood_rolling([ask(text) for text in TEXTS])
    for text, value in zip(TEXTS, found, strict=True):
        ids = [1, *words.encode(text)]
        if len(ids) <= 17:
            assert value == pytest.approx(whole(held, ids)[0].sum(), rel=1e-4)
    long = [1, *words.encode(TEXTS[2])]
    wanted = sum(
        whole(held, long[begin : end + 1])[0][-scored:].sum()
        for begin, end, scored in _windows(len(long) - 1, 16)
    )
    assert found[2] == pytest.approx(wanted, rel=1e-4)


def _windows(count, length):
    """(first token, last token, how many are scored): the last window full, as the harness says."""
    for start in range(0, count, length):
        end = min(start + length, count)
        yield max(0, end - length), end, end - start


def test_generation_stops_where_it_should(held):
    params, config, words = held
    adapter = harness.Harness(params, config, words, batch=2)
    make = lambda **options: adapter.generate_until([ask("The cat", options), ask("x", options)])
    free, other = make(max_gen_toks=8)
    alone = adapter.generate_until([ask("The cat", {"max_gen_toks": 8})])
    assert alone == [free] and len(free) > 1
    stop = free[1]
    assert make(max_gen_toks=8, until=[stop])[0] == free.partition(stop)[0]
    assert make(max_gen_toks=8, until=stop)[1] == other.partition(stop)[0]
    with pytest.raises(errors.ConfigError, match="does not know penalty_alpha, only until"):
        make(penalty_alpha=0.6, num_return_sequences=1)
    with pytest.raises(errors.ConfigError, match="num_beams 2 with do_sample would draw beams"):
        make(num_beams=2, do_sample=True)
    with pytest.raises(errors.ConfigError, match="leaves no room for a prompt in 64"):
        make(max_gen_toks=64)


def test_a_row_ends_where_the_stop_is(held, monkeypatch):
    """What came behind it was generated and thrown away."""
    adapter, seen = harness.Harness(*held), []
    ends = lambda made: seen.append(np.asarray(made).copy())
    monkeypatch.setattr(generate, "check_drawn", ends)
    (free,) = adapter.generate_until([ask("The cat", {"max_gen_toks": 20})])
    until = {"max_gen_toks": 20, "until": [free[1:3], "never said"]}
    assert adapter.generate_until([ask("The cat", until)]) == [free.partition(free[1:3])[0]]
    whole, made = seen
    assert (made == held[1].pad).sum() > (whole == held[1].pad).sum() + 5


def test_beams_and_rules_are_those_of_transformers_names(held):
    params, config, words = held
    asked = {"max_gen_toks": 8, "num_beams": 3, "length_penalty": 0.5, "early_stopping": True,
             "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 2}  # fmt: skip
    prompts = ["The cat", "Ein"]
    found = harness.Harness(*held).generate_until([ask(prompt, asked) for prompt in prompts])
    rules = generate.Sampling(repetition_penalty=1.3, no_repeat=2, least=2)
    given = {"count": 8, "sampling": rules}
    search = Search(3, 0.5, True)
    wanted = texts.complete(params, config, words, prompts, search=search, **given)
    assert found == wanted
    del asked["num_beams"], asked["length_penalty"], asked["early_stopping"]
    greedy = harness.Harness(*held).generate_until([ask(prompt, asked) for prompt in prompts])
    assert greedy == texts.complete(params, config, words, prompts, **given)


def test_a_request_does_not_depend_on_what_others_ask_for(held):
    """A prompt was cut to make room for the longest text that any of its batch asked for."""
    adapter = harness.Harness(*held, batch=2)
    long = ask("x y z " * 30, {"max_gen_toks": 4})
    alone = adapter.generate_until([long])
    others = [ask("The cat", {"max_gen_toks": 60}), long, ask("Ein", {"max_gen_toks": 4})]
    assert adapter.generate_until(others)[1:2] == alone


def test_generation_draws_where_it_is_asked_to(held):
    options = {"max_gen_toks": 12, "do_sample": True, "temperature": 0.9, "top_k": 50}
    requests = [ask("The cat", options)] * 5
    draw = lambda seed: harness.Harness(*held, batch=2, seed=seed).generate_until(requests)
    found = draw(0)
    assert len(set(found)) == 5 and draw(0) == found and draw(1) != found
    options["temperature"] = 0.0
    greedy = harness.Harness(*held).generate_until([ask("The cat", options)])
    assert greedy == harness.Harness(*held).generate_until([ask("The cat", {"max_gen_toks": 12})])


def test_a_model_that_diverged_gives_no_answers(held):
    """NaN is less than nothing: the first of the answers was taken for the best."""
    params, config, words = held
    broken = jax.tree.map(lambda a: a * jnp.nan, params)
    adapter = harness.Harness(broken, config, words, batch=2)
    for given, ask_for in [
        (ask("The cat", " sat"), adapter.loglikelihood),
        (ask("The cat"), adapter.loglikelihood_rolling),
    ]:
        with pytest.raises(errors.DataError, match="likelihoods are NaN"):
            ask_for([given])
    with pytest.raises(errors.DataError, match="logits are NaN"):
        adapter.generate_until([ask("The cat", {"max_gen_toks": 4})])


def test_it_is_the_class_that_the_harness_checks_for(held, monkeypatch):
    class LM:
        def __init__(self):
            self._rank = 0

    api = ModuleType("lm_eval.api.model")
    api.LM = LM
    for name in ("lm_eval", "lm_eval.api"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", api)
    made = harness.make(*held)
    assert isinstance(made, LM) and made._rank == 0 and made.config == held[1]
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    with pytest.raises(errors.ConfigError, match="install the package lm-eval"):
        harness.make(*held)


@pytest.mark.oracle
@pytest.mark.filterwarnings("default")
def test_the_harness_itself(held, tmp_path):
    """A multiple-choice task, a perplexity and two generations, of files written here."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    asked, counts = "The cat sat on", {"max_gen_toks": 6, "until": ["zzz"]}
    (greedy,) = harness.Harness(*held).generate_until([ask(asked, counts)])
    rows = [{"q": asked, "a": ["the mat.", "Satz"], "y": 0, "t": TEXTS[0], "g": greedy}] * 4
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "test_split": "test",
    }
    choice = {
        **common,
        "task": "choose",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{a}}",
        "doc_to_target": "{{y}}",
        "metric_list": [{"metric": "acc"}],
    }
    rolling = {
        **common,
        "task": "roll",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{t}}",
        "metric_list": [{"metric": "byte_perplexity"}],
    }
    goes_on = {
        **common,
        "task": "go_on",
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "doc_to_target": "{{g}}",
        "generation_kwargs": counts,
        "metric_list": [{"metric": "exact_match"}],
    }
    drawn = {**counts, "do_sample": True, "temperature": 2.0}
    draws = {**goes_on, "task": "draw", "generation_kwargs": drawn}
    with jax.numpy_rank_promotion("raise"):
        found = lm_eval.simple_evaluate(
            model=harness.make(*held),
            tasks=[choice, rolling, goes_on, draws],
            task_manager=TaskManager(),
            bootstrap_iters=0,
        )
    nats = -whole(held, [1, *held[2].encode(TEXTS[0])])[0].sum()
    wanted = np.exp(nats / len(TEXTS[0].encode()))
    assert found["results"]["roll"]["byte_perplexity,none"] == pytest.approx(wanted, rel=1e-4)
    assert found["results"]["choose"]["acc,none"] in (0.0, 1.0)
    assert found["results"]["go_on"]["exact_match,none"] == 1.0
    assert found["results"]["draw"]["exact_match,none"] < 1.0
