import json

import pytest

from experiments import systems
from fl_jax.core import errors


def test_the_table_lists_all_eight():
    table = systems.table()
    assert len(table.splitlines()) == 10
    for name in systems.NAMES:
        assert f"\n{name} " in table


@pytest.mark.parametrize("name", [n for n in systems.NAMES if systems.built(n)])
def test_what_is_built_keeps_the_contract(name):
    assert {"smoke", "small", "paper"} <= set(systems.module(name, "config").PRESETS)
    assert callable(systems.module(name, "run").run)
    assert callable(systems.module(name, "report").report)
    for file in ("README.md", "RESULTS.md", "results.json"):
        assert (systems.HERE / name / file).is_file(), f"experiments/{name} has no {file}"
    head = json.loads((systems.HERE / name / "results.json").read_text())["headline"]
    assert set(head) == {"what", "ours", "published", "command"}
    assert head["ours"] in (systems.HERE.parent / "README.md").read_text()


def test_unknown_and_unbuilt_systems_are_told(monkeypatch):
    with pytest.raises(errors.ConfigError, match="unknown system 'back'"):
        systems.module("back", "run")
    monkeypatch.setattr(systems, "built", lambda name: name == "backdoor")
    with pytest.raises(errors.ConfigError, match="clrs is not built yet; built are backdoor"):
        systems.module("clrs", "run")
