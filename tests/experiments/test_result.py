import dataclasses
import datetime
import json
import math

import pytest

from experiments import result
from fl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 3
    sizes: tuple[int, ...] = (1, 2)


def start(root, *, out=None, resume=False, config=Config(), experiment="thing", day=1):
    directory = result.RunDirectory.open(
        experiment,
        "small",
        config,
        out,
        resume,
        root=root,
        now=datetime.datetime(2026, 1, day, 12, 0, 0),
    )
    directory.write_config()
    return directory


def test_a_run_gets_its_own_folder_and_resume_finds_the_newest(tmp_path):
    start(tmp_path, day=1)
    second = start(tmp_path, day=2)
    assert second.path == tmp_path / "thing-small-20260102-120000"
    second.resolve(plan="scan")
    found = start(tmp_path, resume=True)
    assert found.path == second.path
    assert found.resolved == {"plan": "scan"}
    stored = json.loads((found.path / "config.json").read_text())
    assert stored["config"] == {"seed": 3, "sizes": [1, 2]}
    assert set(stored) == {
        "experiment",
        "preset",
        "config",
        "resolved",
        "versions",
        "device",
        "command",
    }


def test_a_folder_in_use_is_not_overwritten(tmp_path):
    out = str(tmp_path / "mine")
    start(tmp_path, out=out)
    with pytest.raises(errors.ConfigError, match="already holds a run; add --resume"):
        start(tmp_path, out=out)
    start(tmp_path, out=out, resume=True)


def test_a_run_that_was_refused_leaves_nothing(tmp_path):
    """It left its config, so that the corrected command was told of a run to resume."""
    start(tmp_path, out=tmp_path / "new").refused()
    (tmp_path / "empty").mkdir()
    start(tmp_path, out=tmp_path / "empty").refused()
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]
    assert not list((tmp_path / "empty").iterdir())
    opened = start(tmp_path, out=tmp_path / "new")
    (opened.path / "metrics.jsonl").write_text("")
    opened.refused()
    assert not opened.path.exists()
    begun = start(tmp_path, out=tmp_path / "new")
    (begun.path / "metrics.jsonl").write_text("{}\n")
    begun.refused()
    assert sorted(p.name for p in begun.path.iterdir()) == ["config.json", "metrics.jsonl"]


def test_another_config_is_not_resumed(tmp_path):
    out = str(tmp_path / "mine")
    start(tmp_path, out=out)
    with pytest.raises(errors.ConfigError, match="another config: seed is 4 but was 3"):
        start(tmp_path, out=out, resume=True, config=Config(seed=4))
    with pytest.raises(errors.ConfigError, match="a run of thing, not of other"):
        start(tmp_path, out=out, resume=True, experiment="other")


def test_nothing_to_resume(tmp_path):
    with pytest.raises(errors.ConfigError, match="no thing run of preset small"):
        start(tmp_path, resume=True)
    with pytest.raises(errors.ConfigError, match="holds no run to resume"):
        start(tmp_path, out=str(tmp_path / "none"), resume=True)


def test_the_result_is_the_contract(tmp_path):
    directory = start(tmp_path)
    outcome = result.Result(
        {"score": result.Metric(1.5, "%", 2.0, "Table 1")}, {"what": "score", "ours": 1.5}
    )
    directory.write_result(outcome, 12.34)
    stored = json.loads((directory.path / "result.json").read_text())
    assert stored["metrics"]["score"] == {
        "value": 1.5,
        "unit": "%",
        "published": 2.0,
        "source": "Table 1",
    }
    contract = {"experiment", "preset", "seed", "device", "versions", "seconds", "metrics"}
    assert contract <= set(stored)
    assert (stored["seed"], stored["seconds"]) == (3, 12.3)


def test_a_file_is_whole_or_not_there(tmp_path):
    directory = start(tmp_path)
    with pytest.raises(TypeError, match="not JSON serializable"):
        directory.write_json("bad.json", {"x": object()})
    assert not (directory.path / "bad.json").exists()


def test_a_number_that_is_none_does_not_lose_the_run(tmp_path):
    """JSON has no NaN, and a run of hours ended without its result."""
    directory = start(tmp_path)
    outcome = result.Result({"score": result.Metric(float("nan"))}, {}, {"curve": [1.0, math.inf]})
    directory.write_result(outcome, 1.0)
    stored = json.loads((directory.path / "result.json").read_text())
    assert stored["metrics"]["score"]["value"] is None
    assert stored["details"] == {"curve": [1.0, None]}
