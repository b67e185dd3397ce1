"""The toy geocoder as a fixture."""

import importlib.util
import pathlib

import pytest

_spec = importlib.util.spec_from_file_location("toy", pathlib.Path(__file__).parent / "toy.py")
toy = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(toy)


@pytest.fixture(scope="session")
def geocoder():
    """Trained for seconds on templates over the embedded cities."""
    return toy.trained()


@pytest.fixture(scope="session")
def pieces():
    """(task, knowledge, tokenizer, config of the network)."""
    return toy.pieces()
