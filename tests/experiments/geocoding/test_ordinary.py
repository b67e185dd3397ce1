import pytest

from experiments.geocoding import ordinary


def test_without_data_there_are_no_texts(monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    assert ordinary.load() == ([], []) and ordinary.stories() == []


@pytest.mark.data("udhr")
def test_the_declaration_names_no_place():
    placeless = ordinary.load().placeless
    assert len(placeless) == 1663
    assert not any("Paris" in text or "Berlin" in text for text in placeless)


@pytest.mark.data("tinyshakespeare")
def test_prose_comes_by_the_speech():
    assert sum(text.startswith("ROMEO:") for text in ordinary.load().prose) > 50
