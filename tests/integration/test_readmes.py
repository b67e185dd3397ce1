"""What the systems' READMEs show a newcomer runs as it stands and says what it claims."""

import pathlib
import re

import pytest

from fl_jax.geocoding import store
from tests.geocoding import toy

ROOT = pathlib.Path(__file__).parents[2]


def shown(system: str, blocks: int | None = None) -> str:
    """All Python of a README, or its first blocks, as one program."""
    text = (ROOT / "experiments" / system / "README.md").read_text()
    return "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[:blocks])


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """system -> (its names, the lines that it printed), in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def one(system, blocks=None):
        names = {"__name__": "readme"}
        exec(compile(shown(system, blocks), f"{system}/README.md", "exec"), names)
        return names, capsys.readouterr().out.splitlines()

    return one


def test_backdoor(run):
    _, (plain, kept) = run("backdoor")
    assert float(plain) < 0.5 < 0.7 < float(kept)


def test_leakage(run):
    _, (area, decibels) = run("leakage")
    assert float(area) > 0.9  # of chance 0.5
    assert float(decibels) > 30  # one linear record is there to be read


def test_shuffle(run):
    _, said = run("shuffle")
    universal, eps0, rounds, lost, bound, own_rounds = map(float, " ".join(said).split())
    assert universal < rounds < 10 * universal and eps0 > 1
    assert lost <= bound < universal and bound < own_rounds < rounds


def test_membership(run):
    _, (lira, rate, rmia) = run("membership")
    assert float(lira) > 0.55 and float(rmia) > 0.55  # of chance 0.5
    assert rate.startswith("Rate(value=0.")


def test_bloom(run):
    names, (said, shape) = run("bloom")
    assert said == "[' Paris.', ' Rome.', ' Madrid.', ' Oslo.']"
    assert shape == f"({len(names['rows'].tokens)}, 32, {names['words'].size})"


def test_geocoding(run, monkeypatch):
    """With a geocoder of the embedded cities for the run's; training is shown, not run."""
    monkeypatch.setattr(store, "load", lambda folder: toy.trained())
    _, said = run("geocoding", 1)
    bergen, place, region, lyon, near, *_ = said  # and of "hm" nothing
    assert bergen.startswith("a harbour in Bergen, Norway 60.39 5.33 ")
    assert place == "  is Bergen, Norway" and region.startswith("  MultiPolygon")
    assert lyon.startswith("50 km north of Lyon 46.19")
    assert near == "  about 50 km from Lyon, France"
    assert [line.rsplit(" ", 1)[0] for line in said[6:]] == [
        "Lyon place Lyon, France",
        "Switzerland country Switzerland",
    ]


def test_disks(run):
    names, (said, converged, flux) = run("disks")
    lit, dark = map(float, said.strip("[]").split())
    assert lit < 1e-6 and 1e-4 < dark < 1.401e-4 and converged == "True"  # of all carbon, 1.4e-4
    with names["jax"].enable_x64(True):
        thin = names["forward"].line_flux(names["setup"], {}, names["co"] - 3)
    assert 0 < float(thin) < 0.1 * float(flux)
