import json
import math
import shutil

import numpy as np
import pytest

from experiments import __main__ as command
from experiments.membership import attacks, summary
from privacy.membership import attack_model

FAST = [
    "--target-train", "120", "--target-test", "160", "--population", "60", "--shadow-train", "120",
    "--epochs", "60", "--shadows", "3", "--hidden", "16",
]  # fmt: skip


def run(out, *words):
    return command.main(["membership", "--preset", "smoke", "--out", str(out), *FAST, *words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "membership"
    parts = ["--parts", "attacks", "online"]
    assert run(out, *parts) == 0
    return out, parts


def test_the_run_leaves_everything_the_contract_names(finished):
    out, _ = finished
    names = {p.name for p in out.iterdir()}
    assert names >= {
        "config.json", "result.json", "report.md", "checkpoints", "part_attacks.json",
        "roc.png", "classes.png", "budgets.png",
    }  # fmt: skip
    found = json.loads((out / "part_attacks.json").read_text())["found"]
    (row,) = found["rows"]
    assert row["train accuracy"] >= row["test accuracy"]
    assert set(row["attacks"]) > set(found["curves"]) == set(attacks.DRAWN)
    assert all(a["tpr"] is None for a in row["attacks"].values())  # 100 non-members cannot say
    text = (out / "report.md").read_text()
    assert "not resolved" in text and "RMIA offline" in text
    stored = json.loads((out / "result.json").read_text())
    assert stored["metrics"]["precision"]["published"] is None  # digits have no published row


def test_a_finished_run_resumes_to_the_same(finished):
    out, parts = finished
    before = (out / "part_attacks.json").read_bytes()
    first = json.loads((out / "result.json").read_text())["metrics"]
    assert run(out, *parts, "--resume") == 0
    assert (out / "part_attacks.json").read_bytes() == before
    assert json.loads((out / "result.json").read_text())["metrics"] == first


def test_an_attack_that_accuses_nobody_has_no_precision(finished, tmp_path, monkeypatch):
    done, parts = finished
    out = shutil.copytree(done, tmp_path / "run")
    (out / "part_attacks.json").unlink()
    quiet = lambda learnt, answers, labels: np.full(len(labels), -1.0)
    monkeypatch.setattr(attack_model, "score", quiet)
    assert run(out, *parts, "--resume") == 0
    stored = json.loads((out / "result.json").read_text())
    assert "precision" not in stored["metrics"] and stored["metrics"]["recall"]["value"] == 0
    assert "| precision | - | - |" in (out / "report.md").read_text()


def test_one_repetition_has_no_deviation(finished):
    out, _ = finished
    text = (out / "report.md").read_text()
    assert "1 seed; 120 members" in text and "±" not in text
    assert summary.mean([{"a": {"b": 1.0}}, {"a": {"b": 3.0}}], "a", "b") == (2.0, 2**0.5)
    assert summary.mean([{"a": 1.0}, {"a": None}], "a") == (1.0, None)
    row = attacks.mean_rows([{"a": 1.0}, {"a": math.nan}])
    assert row == {"a": 1.0, "a sd": None}
    assert [summary.shown(*v) for v in ((2.0, 0.5), (2.0, None), (None, None))] == [
        "2.000 ± 0.500", "2.000", "-",
    ]  # fmt: skip


@pytest.mark.slow
def test_every_part_of_the_smoke_preset(tmp_path):
    out = tmp_path / "run"
    assert command.main(["membership", "--preset", "smoke", "--out", str(out)]) == 0
    stored = json.loads((out / "result.json").read_text())["details"]["parts"]
    assert not any(row["violated"] for row in stored["audit"]["found"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--parts", "everything"], "unknown part"),
        (["--target-train", "5000"], "but target and shadows need"),
        (["--population", "500"], "population must lie"),
        (["--dataset", "digit"], "unknown data set"),
        (["--network", "vgg"], "unknown network"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path, capsys, words, said):
    assert run(tmp_path / "run", *words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]
