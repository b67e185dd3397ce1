"""The texts: splits do not meet, prompts have their answers, with and without a data folder."""

import gzip

import pytest

from experiments.bloom import corpus
from fl_jax.core import errors


@pytest.fixture(
    scope="module",
    params=["embedded", pytest.param("real", marks=pytest.mark.data("udhr"))],
)
def texts(request):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "embedded":
            patch.delenv("FL_JAX_DATA", raising=False)
        return corpus.load(0)


def test_training_and_held_out_texts_do_not_meet(texts):
    for language, some in texts.valid.items():
        assert not set(some) & set(texts.train[language])
    assert set(texts.never) == set(texts.elsewhere)
    for language, some in texts.never.items():
        assert not set(some) & set(texts.elsewhere[language]) and all(some)
    assert not set(texts.never) & set(texts.train)
    assert all(texts.train.values()) and all(texts.valid.values())


def test_every_question_has_its_answer_among_the_choices(texts):
    for prompts in texts.held_out.values():
        assert len({len(row) for row in prompts}) == 1
        for row in prompts:
            for example in row:
                assert example.question().choices[example.question().answer] == example.target


def test_prompts_are_made_of_training_texts_alone(texts):
    held = {example.inputs for rows in texts.held_out.values() for r in rows for example in r}
    trained = {example.inputs for task in texts.tasks.values() for example in task}
    assert trained and not held & trained


def test_a_damaged_folder_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("FL_JAX_DATA", str(tmp_path))
    (tmp_path / "udhr").mkdir()
    path = tmp_path / "udhr" / "udhr_bloom_langs.jsonl.gz"
    for body, said in (
        (gzip.compress(b'{"lang": "en", "unit": "title", "text": ""}')[:-4], "is cut short"),
        (gzip.compress(b'{"lang": "en"}'), r"line 1, should be .* with the texts lang, unit, text"),
    ):
        path.write_bytes(body)
        with pytest.raises(errors.DataError, match=said):
            corpus.load(0)


def test_ratios_add_up():
    assert sum(corpus.RATIOS.values()) + corpus.NIGER_CONGO == pytest.approx(1, abs=2e-3)
    present = ["en", "sw", "yo", "zu"]
    assert corpus.ratio("sw", present) == corpus.NIGER_CONGO / 3
    assert corpus.ratio("en", present) == corpus.RATIOS["en"]
