import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import __main__ as command
from experiments.membership import attacks, effects, summary
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
        (["--parts", "attacks", "--attack-inputs", "logits"], "unknown attack input"),
        (["--parts", "attacks", "--shadows", "1"], "two shadows"),
        (["--parts", "attacks", "--plan", "quick"], "unknown cohort plan"),
        (["--parts", "attacks", "shadow_data", "--noise", "0.1"], "noise flips bits"),
        (["--parts", "online", "--budgets", "2", "5"], "budgets must lie between 2 and"),
        (["--parts", "online", "--budgets", "1"], "budgets must lie between 2 and"),
        (["--parts", "online", "--online-targets", "7"], "online_targets"),
        (["--parts", "online", "--online-models", "7"], "online_models must be even"),
        (["--parts", "class_count", "--effect-classes", "1"], "effect_classes"),
        (["--parts", "audit", "--audit-canaries", "241"], "audit_canaries"),
        (["--parts", "audit", "--audit-canaries", "6"], "audit_canaries"),
        (["--delta", "1.0"], "delta must be below 1"),
    ],
)
def test_bad_settings_are_one_sentence(tmp_path, capsys, words, said):
    assert run(tmp_path / "run", *words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and said in lines[0]  # before any model is trained


def test_noise_is_the_share_that_was_asked_for(monkeypatch):
    """Not the one in the row's name, rounded to a whole per cent."""
    cell = SimpleNamespace(
        seed=0, split=None, balanced=np.arange(4), member=np.array([True, False] * 2), logits=None
    )
    config = SimpleNamespace(noise=(0.125, 0.126, 0.004))
    task = SimpleNamespace(x=np.zeros((4, 8), np.float32))
    asked = {}

    def made(lab, cell, kind, share):
        asked[kind] = share
        return cell, {}

    monkeypatch.setattr(effects, "_made", made)
    monkeypatch.setattr(effects, "_judged_from", lambda *_: (np.zeros(4), {}))
    monkeypatch.setattr(effects, "_fit_of_shadows", lambda cell: {})
    monkeypatch.setattr(effects, "softmax", lambda logits: logits)
    monkeypatch.setattr(effects, "_say", lambda row: None)
    rows = effects.shadow_data(SimpleNamespace(config=config, task=task, plain=[cell]))
    assert asked == {"12.5% noise": 0.125, "12.6% noise": 0.126, "0.4% noise": 0.004}
    assert [row["name"] for row in rows] == ["real", *asked]
