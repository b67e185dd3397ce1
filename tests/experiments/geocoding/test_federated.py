"""Users, what their rounds cost in privacy, and the attack; the whole at its smallest is slow."""

import json
import math

import jax
import numpy as np
import pytest

from experiments.geocoding import commands, federated, task
from fl_jax.core import errors
from fl_jax.geocoding import sphere

FEDERATED = federated.SMALL_FEDERATED


def items(count=2000, seed=0):
    """Items anywhere."""
    draws = np.random.default_rng(seed)
    lat, lon = np.degrees(np.arcsin(draws.uniform(-1, 1, count))), draws.uniform(-180, 180, count)
    names = [str(n) for n in range(count)]
    return task.Split(names, names, lat, lon)


def test_users_have_places_of_their_own():
    users = federated.deal(items(), FEDERATED)
    sizes = np.bincount(users.owner)
    assert sizes.min() > 0 and len(sizes) == len(users.joins)
    assert 7 < sizes.mean() < 13
    assert 0.35 < users.joins.mean() < 0.65
    apart = []
    for user in range(len(sizes)):
        own = users.owner == user
        lat, lon = users.items.lat[own], users.items.lon[own]
        apart.append(np.median(sphere.distance(lat[0], lon[0], lat, lon)))
    assert np.median(apart) < 1500  # of places anywhere: 10,000


def test_epsilon_falls_with_the_noise_and_rises_with_rounds():
    bounds = [federated.spent(FEDERATED, 1000, z).upper for z in (1.0, 2.0)]
    assert bounds[1] < bounds[0]
    ways = federated.ways(FEDERATED, 1000)
    private = [w.about["epsilon"][1] for w in ways.values() if w.about]
    assert private == bounds and not any(math.isinf(b) for b in private)


def test_the_attack_finds_what_is_there_and_nothing_else():
    users = federated.deal(items(4000), FEDERATED)
    draws = np.random.default_rng(1)
    before = draws.normal(size=4000)
    nothing = federated.attack(before + draws.normal(size=4000), before, users)
    assert abs(nothing["AUC of texts"] - 0.5) < 0.03
    told = before + 3 * users.joins[users.owner] + draws.normal(size=4000)
    found = federated.attack(told, before, users)
    assert found["AUC of texts"] > 0.95 and found["AUC of users"] > 0.99
    assert found["TPR at 5 %"][0] > 0.9
    text = federated.report([{"name": "a", "median": 1.0, "acc@161": 0.5, **found}])
    assert text.splitlines()[-1].startswith("| a | - | 1.0 | 0.500 |")


@pytest.mark.slow
def test_the_whole_comparison_at_its_smallest(tmp_path, monkeypatch):
    monkeypatch.delenv("FL_JAX_DATA", raising=False)
    with jax.numpy_dtype_promotion("standard"):  # as optax's Adam needs it, the server's
        assert commands.federated(["--preset", "smoke", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "federated.json").read_text())["rows"]
    names = [row["name"] for row in rows]
    assert names[0] == "public model" and names[-1] == "all texts in one place"
    assert any("epsilon" in row for row in rows)
    assert all(0 <= row["acc@161"] <= 1 and row.get("dropped", 0) == 0 for row in rows)
    words = ["--preset", "smoke", "--out", str(tmp_path)]
    with pytest.raises(errors.ConfigError, match="--resume"):
        commands.federated(words)
    lines = (tmp_path / "kept.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "kept.jsonl").write_text("".join(lines[:4]))  # as after a kill
    with jax.numpy_dtype_promotion("standard"):
        assert commands.federated([*words, "--resume"]) == 0
    assert json.loads((tmp_path / "federated.json").read_text())["rows"] == rows
