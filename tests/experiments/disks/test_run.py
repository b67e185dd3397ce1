"""What the end of a run needs is looked at before its disks are solved."""

import dataclasses

import pytest

from algorithmic.disks import retrieval
from experiments.disks import config, run, stages
from fl_jax.core import errors


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"line": "9-7"}, "unknown line of 13CO '9-7'"),
        ({"live": 5}, "ultranest is not here"),
    ],
)
def test_what_is_not_there_is_refused_first(monkeypatch, change, said):
    """It was hours later: when the chains, or the emulators before them, were done."""

    def missing(name, extra="retrieval"):
        if name == "ultranest":
            raise errors.ConfigError("ultranest is not here")

    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    monkeypatch.setattr(retrieval, "_import", missing)
    monkeypatch.setattr(stages, "rows", lambda *_: pytest.fail("disks were solved"))
    asked = dataclasses.replace(config.SMOKE, chains_samples=5, **change)
    with pytest.raises(errors.ConfigError, match=said):
        run.run(asked, None)
