import dataclasses

import jax
import jax.numpy as jnp
import pytest

from experiments.backdoor import config as configs
from experiments.backdoor import stages
from experiments.backdoor import task as tasks
from fl_jax.core import errors


@pytest.mark.parametrize(("rounds", "expected"), [(4, 2), (3, 1), (1, 1), (120, 2)])
def test_a_stride_divides_the_rounds(rounds, expected):
    assert stages.stride(configs.SMOKE, rounds) == expected


def test_a_curve_starts_before_the_rounds():
    found = stages.curve({"main": jnp.float32(0.5)}, {"main": jnp.array([0.25, 1.0])})
    assert found["main"].tolist() == [0.5, 0.25, 1.0]


def test_only_the_attacks_that_are_named_are_run():
    """Each as it is among all of them, with its backdoor's share of a batch."""
    whole = dataclasses.replace(configs.SMOKE, pixel_per_batch=2)
    task = tasks.make(whole)
    keys = jnp.stack([jax.random.key(0)])
    names, cells, _, _ = stages._grid(whole, task, keys)
    chosen = ("constrain-and-scale",)
    some, kept, _, _ = stages._grid(dataclasses.replace(whole, attacks=chosen), task, keys)
    assert some == [name for name in names if name[1] in chosen]
    assert len(names) == 3 * len(some)
    places = jnp.array([names.index(name) for name in some])
    for a, b in zip(jax.tree.leaves(cells.poison), jax.tree.leaves(kept.poison), strict=True):
        assert jnp.array_equal(a[places], b)
    assert kept.poison.per_batch.tolist() == [2, whole.backdoor_per_batch]
    with pytest.raises(errors.ConfigError, match="attack"):
        stages._grid(dataclasses.replace(whole, attacks=("replacement",)), task, keys)
