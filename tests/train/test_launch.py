import jax
import pytest

from fl_jax.core import errors
from fl_jax.train import launch, mesh


@pytest.fixture
def calls(monkeypatch):
    """What `jax.distributed.initialize` would have been called with."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **how: calls.append(how))
    monkeypatch.delenv(launch.VARIABLE, raising=False)
    return calls


def test_a_process_stays_alone_unless_told(calls, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    launch.initialize(processes=1)
    assert calls == []


def test_the_variable_or_the_argument_asks(calls, monkeypatch):
    monkeypatch.setenv(launch.VARIABLE, "auto")
    launch.initialize()
    launch.initialize("coordinator=10.0.0.1:8476,processes=4,process=3")
    launch.initialize("")
    assert calls == [
        {},
        {"coordinator_address": "10.0.0.1:8476", "num_processes": 4, "process_id": 3},
    ]


@pytest.mark.parametrize(
    "how",
    [
        "yes",
        "coordinator=a:1",
        "coordinator=a:1,processes=2,process=2",
        "coordinator=a:1,processes=2,process=-1",
        "coordinator=a:1,processes=two,process=0",
        "coordinator=a:1,processes=2,process=0,port=3",
    ],
)
def test_what_cannot_be_read_is_told(calls, how):
    with pytest.raises(errors.ConfigError, match="give auto, or coordinator=HOST:PORT"):
        launch.initialize(how)
    assert calls == []


def test_another_number_of_processes_is_refused(calls):
    with pytest.raises(errors.ConfigError, match="wants 4 processes and 1 came together"):
        launch.initialize(processes=4)


def test_says_who_it_is(capsys):
    launch.announce(mesh.MeshConfig(clients=4, data=2).make())
    told = capsys.readouterr().err
    assert told == (
        "process 0 of 1: 8 of 8 devices, cpu; mesh clients 4 x data 2 x fsdp 1 x tensor 1\n"
    )
    assert launch.describe() == "process 0 of 1: 8 of 8 devices, cpu"
