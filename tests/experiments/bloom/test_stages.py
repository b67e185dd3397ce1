"""What a run trains: its stream, its tokenizer, adapters across clients."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from experiments.bloom import config, corpus, report, stages
from fl_jax.bloom import model, recipe
from fl_jax.core import errors
from fl_jax.train import loop

TINY = dataclasses.replace(
    config.SMOKE, vocab=300, hidden=16, heads=2, layers=1, length=16, batch=2, rounds=2,
    client_length=8, client_rows=3, lora_rank=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def texts():
    """Little enough to train a tokenizer on in no time."""
    lines = [f"line {i} of some text that says {i % 7} things" for i in range(40)]
    elsewhere = {"de": [f"Zeile {i} von etwas Text" for i in range(9)], "fi": ["yksi", "kaksi"]}
    never = {name: ["etwas"] for name in elsewhere}
    return corpus.Corpus({"en": lines, "code": lines[::2]}, {}, never, elsewhere, {}, {}, "here")


@pytest.fixture(scope="module")
def words(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    made = stages.make_tokenizer(TINY, texts, path)
    made.save(path)
    again = stages.make_tokenizer(TINY, texts, path)
    assert again.encode(texts.train["en"][3]) == made.encode(texts.train["en"][3])
    return again


def test_batches_are_a_function_of_their_place(texts, words):
    one, two = (stages.streams(TINY, texts, words) for _ in range(2))
    late = stages.batch_of(one, 4, 28)["tokens"]
    for first in (0, 4, 8):
        stages.batch_of(two, 4, first)
    np.testing.assert_array_equal(stages.batch_of(two, 4, 28)["tokens"], late)
    np.testing.assert_array_equal(stages.batch_of(two, 2, 30)["tokens"], late[2:])
    assert late.shape == (4, TINY.length + 1)


def test_languages_of_too_few_tokens(texts, words):
    """All of them ended in a traceback; one of them left the report saying it was trained on."""
    short = texts._replace(train={**texts.train, "fi": ["yksi"]})
    assert set(stages.streams(TINY, short, words)[1]) == {"en", "code"}
    with pytest.raises(errors.DataError, match="no language of the corpus has 10001 tokens"):
        stages.streams(dataclasses.replace(TINY, length=10_000), texts, words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": -1, "batch": 4}, "batch of 4 sequences cannot be split over 8 devices"),
        ({"data": -1, "batch": 8}, "batch of 2 sequences cannot be split over 8 devices"),
        ({"data": 4, "tensor": 2, "heads": 1}, "'tensor' of 2 does not divide 1 heads"),
        ({"tensor": 9}, "takes 9 devices"),
    ],
)
def test_devices_that_do_not_divide_are_refused_before_anything_is_made(change, message):
    with pytest.raises(errors.ConfigError, match=message):
        asked = dataclasses.replace(TINY, **change)
        stages.check_devices(asked, stages.model_config(asked))


def test_the_paper_preset_is_the_published_recipe():
    """But for how a batch is accumulated, and the seed."""
    own = {"micro_batches": config.PAPER.micro_batches, "seed": config.PAPER.seed}
    published = dataclasses.replace(recipe.PRETRAINING["560m"], **own)
    assert stages.pretraining(config.PAPER) == published
    samples = recipe.batch_at(published, config.PAPER.steps)[1]
    assert samples * config.PAPER.length == pytest.approx(341e9, rel=1e-3)
    tuned = stages.finetuning(config.PAPER)
    own = {"micro_batches": config.PAPER.micro_batches}
    assert tuned == dataclasses.replace(recipe.FINETUNING["560m"], **own)
    tokens = config.PAPER.finetune_steps * tuned.batch * config.PAPER.finetune_length
    assert tokens == pytest.approx(13e9, rel=1e-2)


def test_the_cosine_ends_with_the_run_unless_said():
    ramped = dataclasses.replace(TINY, batch=4, ramp_start=2, ramp_step=2, ramp=10, steps=20)
    # 5 steps of 2 sequences, then 15 of 4.
    assert stages.pretraining(ramped).decay == 5 * 2 + 15 * 4
    assert stages.pretraining(dataclasses.replace(ramped, decay=100)).decay == 100


def test_pretraining_takes_every_sample_once_through_a_ramp(texts, words, tmp_path, monkeypatch):
    ramped = dataclasses.replace(
        TINY, batch=4, ramp_start=2, ramp_step=2, ramp=4, steps=4, stride=2, warmup=4
    )
    taken, real = [], stages.batch_of

    def watched(sources, batch, first):
        taken.append((first, batch))
        return real(sources, batch, first)

    monkeypatch.setattr(stages, "batch_of", watched)
    sources = stages.streams(ramped, texts, words)
    place = types.SimpleNamespace(path=tmp_path)
    state, curve = stages.pretrain(
        ramped, stages.model_config(ramped), sources, place, resume=False
    )
    assert taken == [(0, 2), (2, 2), (4, 4), (8, 4)]
    assert len(curve) == 2 and int(state.skipped) == 0


def test_clients_train_adapters_of_one_base(texts, words):
    """Side by side; the base is only added to."""
    shape = stages.model_config(TINY)
    params = model.init(jax.random.key(0), shape, std=0.1)
    side = dataclasses.replace(TINY, plan="vmap")
    found, curve = stages.federate(side, shape, words, params, texts)
    assert len(curve) == 2 and curve[1][1] < curve[0][1]
    for name in ("qkv", "out", "up", "down"):
        new, old = (tree["layers"][name]["kernel"] for tree in (found, params))
        assert float(np.max(np.abs(new - old))) > 1e-4
    np.testing.assert_array_equal(found["embedding"]["table"], params["embedding"]["table"])


@pytest.mark.parametrize("stride", [1, 4])
def test_a_run_whose_updates_are_not_finite_ends(tmp_path, stride):
    """Skips were counted within one dispatch: of one step each, ten in a row never came."""
    state = stages.train.make(stages.model_config(TINY), stages.pretraining(TINY)).init(
        jax.random.key(0)
    )
    info = stages.train.states.StepInfo(np.float32(0), np.float32(0), np.bool_(False), {})
    trainer = types.SimpleNamespace(step=lambda state, batch, key: (state, info))
    settings = dataclasses.replace(TINY, stride=stride)
    directory = types.SimpleNamespace(path=tmp_path)
    with pytest.raises(loop.Diverged, match="were all skipped"):
        stages._drive(settings, trainer, state, lambda i: {}, 16, directory, "x", False)


def test_what_fills_a_clients_rows_up_is_no_text(texts, words):
    """A language of few tokens was trained on zeros behind them, and its loss was theirs."""
    short = texts._replace(elsewhere={"fi": texts.elsewhere["fi"]})
    shape = stages.model_config(TINY)
    params = model.init(jax.random.key(0), shape, std=0.1)

    def losses(length):
        wide = dataclasses.replace(TINY, plan="vmap", rounds=1, client_length=length)
        return [loss for _, loss in stages.federate(wide, shape, words, params, short)[1]]

    count = sum(len(words.encode(text)) + 1 for text in short.elsewhere["fi"])
    np.testing.assert_allclose(losses(3 * count), losses(count - 1), rtol=1e-6)


def test_the_published_mixture_has_a_place_for_every_language(words):
    """The rarest are 1.5e-5 of the text: a block was too small for them, and no field of a run."""
    lines = [f"line {i}" for i in range(20)]
    rare = [f"niger-congo-{i}" for i in range(21)]
    held = dict.fromkeys((*corpus.RATIOS, *rare), lines)
    texts = corpus.Corpus(held, {}, {}, {}, {}, {}, "here")
    published = dataclasses.replace(TINY, mixture_alpha=config.PAPER.mixture_alpha)
    mixture, made = stages.streams(published, texts, words)
    assert set(mixture.names) == set(made) == set(held)
    shares = dict(zip(mixture.names, mixture.quotas / mixture.quotas.sum(), strict=True))
    assert shares["en"] == pytest.approx(corpus.RATIOS["en"], rel=1e-2)
    assert shares[rare[0]] == pytest.approx(corpus.NIGER_CONGO / len(rare), rel=0.1)
    flat = stages.streams(dataclasses.replace(TINY, mixture_alpha=0.5), texts, words)[0]
    quotas = dict(zip(flat.names, flat.quotas, strict=True))
    wanted = (corpus.RATIOS["en"] / corpus.RATIOS["ar"]) ** 0.5
    assert quotas["en"] / quotas["ar"] == pytest.approx(wanted, rel=0.02)


def test_a_skipped_step_does_not_blank_the_curve(tmp_path):
    """One of a stride made the mean NaN, which is null on the disk: the report fell over it."""
    state = stages.train.make(stages.model_config(TINY), stages.pretraining(TINY)).init(
        jax.random.key(0)
    )
    given = iter([1.0, np.nan, 3.0, 5.0, np.nan, np.nan])

    def step(state, batch, key):
        loss = np.float32(next(given))
        return state, stages.train.states.StepInfo(loss, loss, np.isfinite(loss), {})

    settings = dataclasses.replace(TINY, stride=2)
    directory = types.SimpleNamespace(path=tmp_path)
    trainer = types.SimpleNamespace(step=step)
    _, curve = stages._drive(settings, trainer, state, lambda i: {}, 6, directory, "x", False)
    assert [row[:2] for row in curve] == [[2, 1.0], [4, 4.0], [6, None]]
    assert "| 6 | - |" in report._pretraining({"curves": {"pretrain": curve}})
