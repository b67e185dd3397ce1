import errno
import json
import subprocess
import sys

import pytest

from experiments import __main__ as command

LIGHT = """
import sys
from experiments.__main__ import main
try:
    code = main({argv})
except SystemExit as stop:
    code = stop.code
heavy = [m for m in ("jax", "flax", "optax", "orbax", "tensorflow", "matplotlib", "scipy")
         if m in sys.modules]
print("CODE", code, "HEAVY", heavy)
"""


WRONG = ["backdoor", "--preset", "smoke", "--save_every", "0"]


@pytest.mark.parametrize("argv", [[], ["--help"], ["backdoor", "--help"], ["backdor"], WRONG])
def test_the_table_and_the_help_come_without_jax(argv):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(argv=argv)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].endswith("HEAVY []")
    assert f"CODE {2 if argv in (['backdor'], WRONG) else 0} " in done.stdout


def test_errors_are_one_sentence_and_a_status(capsys):
    assert command.main(["backdor"]) == 2
    assert command.main(["backdoor", "--preset", "tiny"]) == 2
    assert command.main(["bench", "nothing"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert all(line.startswith("error: unknown ") for line in said)


def test_a_reader_that_has_seen_enough_gets_no_traceback():
    asked = [sys.executable, "-m", "experiments", "membership", "--help"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 141


def test_bench_says_what_there_is(capsys):
    assert command.main(["bench"]) == 0
    known = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert known["federated"] == "Rounds of federated averaging beside FedJAX."
    assert "traced" not in known
    assert command.main(["bench", "bloom", "--help"]) == 0
    assert capsys.readouterr().out.startswith("BLOOM beside transformers and torch")


def test_bad_settings_of_the_main_job_are_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    cases = {
        ("--cohort", "30"): "m = 30 of n = 20",
        ("--eta", "0"): "eta must be above 0",
        ("--gamma", "-3"): "gamma must be 0 or more",
        ("--seeds", "0"): "seeds must be above 0",
        ("--seed", "-1"): "seed must be 0 or more",
        ("--save_every", "0"): "save_every must be above 0",
        ("--rounds_per_dispatch", "0"): "rounds_per_dispatch must be above 0",
        ("--attacker_examples", "-5"): "attacker_examples must be 0 or more",
        ("--backdoor_draws", "0"): "backdoor_draws must be above 0",
        ("--epochs", "0"): "epochs must be above 0",
        ("--participants", "1000"): "holds no example",
        ("--dataset", "cifar10"): "needs the data folder|neither under",
        ("--network", "vgg"): "unknown network 'vgg'",
    }
    for i, (words, expected) in enumerate(cases.items()):
        out = str(tmp_path / str(i))
        assert command.main(["backdoor", "--preset", "smoke", "--out", out, *words]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1, said
        assert any(e in said[0] for e in expected.split("|")), said


def test_what_no_accountant_can_say_is_one_sentence(tmp_path, capsys):
    cases = {
        ("--parts", "plan", "--delta", "1"): "delta must be below 1, got 1",
        ("--eps", "-1"): "eps must be",
        (
            "--parts",
            "audit",
            "--audit-trials",
            "2",
            "--audit-clients",
            "2",
        ): "audit_trials are at least 4, got 2",
    }
    for i, (words, expected) in enumerate(cases.items()):
        out = str(tmp_path / str(i))
        assert command.main(["shuffle", "--preset", "smoke", "--out", out, *words]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1 and expected in said[0], said


def test_a_full_disk_is_one_sentence(monkeypatch, capsys):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr(command, "run", full)
    assert command.main(["backdoor"]) == 1
    assert "the disk is full (metrics.jsonl); make room" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [(PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "Permission denied: /x"),
     (KeyboardInterrupt(), 130, "interrupted")],
)  # fmt: skip
def test_a_file_that_cannot_be_used_and_an_interruption_get_no_traceback(
    monkeypatch, capsys, raised, status, said
):
    def fails(*args):
        raise raised

    monkeypatch.setattr(command, "run", fails)
    assert command.main(["backdoor"]) == status
    assert said in capsys.readouterr().err


def test_the_smoke_run_of_the_main_job_leaves_everything_the_contract_names(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["backdoor", "--preset", "smoke", "--out", str(out)]
    assert command.main(words) == 0
    assert "| pixel pattern | model replacement |" in capsys.readouterr().out
    names = {p.name for p in out.iterdir()}
    assert names >= {
        "config.json",
        "metrics.jsonl",
        "checkpoints",
        "accuracy.png",
        "report.md",
        "result.json",
    }
    stored = json.loads((out / "result.json").read_text())
    assert stored["metrics"]
    first = (out / "metrics.jsonl").read_bytes()
    # A finished run that is resumed computes nothing new and ends the same.
    assert command.main([*words, "--resume"]) == 0
    assert (out / "metrics.jsonl").read_bytes() == first
    again = json.loads((out / "result.json").read_text())
    assert again["metrics"] == stored["metrics"]
