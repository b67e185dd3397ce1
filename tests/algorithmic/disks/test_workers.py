"""Disks solved by processes of their own are the disks that this process solves."""

import dataclasses

import jax
import numpy as np
import pytest

from algorithmic.disks import population, workers
from fl_jax.core import errors

SMALL = population.Population(disks=3, radii=3, layers=3, network="hand")


def test_processes_make_the_same_disks(tmp_path, monkeypatch):
    here = population.make(SMALL, tmp_path / "here", data=None, workers=1)
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: one)  # else threads, one a device
    seen = []
    there = population.make(
        SMALL, tmp_path / "there", data=None, workers=2, progress=lambda *done: seen.append(done)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_allclose(there.abundances, here.abundances, rtol=1e-6)
    assert there.meta["cells"] == here.meta["cells"]


def test_a_process_that_ends_is_told_with_its_disk(tmp_path, capfd):
    broken = dataclasses.replace(SMALL, network="none")
    with pytest.raises(errors.DataError, match=r"solving disk \d .* run again to go on"):
        workers.spread(broken, tmp_path, None, range(3), 2, lambda: None)
    assert "Error" in capfd.readouterr().err
