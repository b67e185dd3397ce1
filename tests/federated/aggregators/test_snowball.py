import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import snowball
from fl_jax.federated.aggregators.base import Stacked
from fl_jax.federated.statistics import autoencoder
from tests.federated.aggregators import reference

DRAW = np.random.default_rng(2)
X = (DRAW.normal(size=(12, 30)) + 2.0).astype(np.float32)
X[[3, 8]] += np.float32(6)  # two that are like each other, and unlike the rest
SMALL = {"suspects": 2, "hidden": 12, "latent": 3, "initial": 30, "tuning": 10}


def run(rule, x, state, arrived=None):
    there = np.ones(len(x), bool) if arrived is None else arrived
    seen = Stacked({"w": jnp.where(there[:, None], x, 0)}, jnp.asarray(there, jnp.float32))
    out, state = jax.jit(rule.update)(seen, state)
    return np.asarray(out["w"]), state


def of_round(rule, seed=0):
    return rule.begin((), rule.init(()), jax.random.key(seed))


def test_votes_are_those_of_scikit_learn_also_where_some_are_absent():
    layers = lambda x: {"a": jnp.asarray(x[:, :20]), "b": jnp.asarray(x[:, 20:])}
    find = jax.jit(lambda x, there: snowball.votes(x, there, 3))
    for gone in ([], [2, 9]):
        there = ~np.isin(np.arange(12), gone)
        x = np.where(there[:, None], X, 0)
        found = np.asarray(find(layers(x), jnp.asarray(there)))
        kept = X[there].astype(float)
        expected = reference.snowball_votes([kept[:, :20], kept[:, 20:]], 3)
        np.testing.assert_allclose(found[there], expected, rtol=1e-3, atol=1e-4)


def test_the_elected_grow_step_by_step_by_what_they_reconstruct_best():
    """The same steps in a plain loop, with the autoencoder of the module."""
    chosen, arrived, key = np.arange(12) < 2, np.arange(12) != 5, jax.random.key(6)
    rows, size = jnp.asarray(0.3 * X), autoencoder.Size(30, 12, 3)
    found = jax.jit(
        lambda chosen, arrived: snowball.enlarge(
            rows,
            chosen,
            arrived,
            key,
            size,
            wanted=jnp.int32(7),
            step=jnp.int32(2),
            initial=20,
            tuning=5,
        )
    )(jnp.asarray(chosen), jnp.asarray(arrived))

    first, second, rest = jax.random.split(key, 3)
    weights = autoencoder.init(first, size)
    weights = autoencoder.train(weights, rows, jnp.asarray(chosen), second, 20)
    members = [0, 1]
    for more in (2, 2, 1):
        rest, one, two = jax.random.split(rest, 3)
        inside = jnp.asarray(np.isin(np.arange(12), members))
        weights = autoencoder.train(weights, rows, inside, one, 5)
        apart = np.asarray(autoencoder.errors_of_pairs(weights, rows, two))
        others = [i for i in range(12) if i not in members and arrived[i]]
        mean = [np.mean([apart[i, j] + apart[j, i] for j in members]) for i in others]
        members += [others[place] for place in np.argsort(mean)[:more]]
    np.testing.assert_array_equal(np.flatnonzero(found), sorted(members))


def test_what_is_unlike_the_elected_does_not_join():
    rule = snowball.snowball(**SMALL, final=0.8)
    out, _ = run(rule, 0.1 * X, of_round(rule))
    share = np.linalg.lstsq(0.1 * X.T, out, rcond=None)[0]
    np.testing.assert_allclose(share[[3, 8]], 0, atol=1e-3)
    assert np.sum(share > 0.1) == 9  # of 9.6


def test_the_second_election_begins_after_the_warm_up():
    rule = snowball.snowball(**SMALL, warmup=1)
    alone = snowball.snowball(**SMALL, final=0.0)
    first, state = run(rule, X, of_round(rule))
    np.testing.assert_allclose(first, run(alone, X, of_round(alone))[0], rtol=1e-6)
    second, state = run(rule, X, state)
    assert int(state.round) == 2
    assert np.abs(second - first).max() > 0.1


def test_too_few_who_arrive_move_nothing():
    rule = snowball.snowball(**SMALL)
    out, _ = run(rule, X, of_round(rule), np.arange(12) < 4)
    assert not out.any()


def test_bad_settings_are_refused():
    with pytest.raises(
        errors.ConfigError, match="suspects of Snowball must be a whole number of 1"
    ):
        snowball.snowball(suspects=0)
    with pytest.raises(errors.ConfigError, match=r"first is a share of updates, in \(0, 1\]"):
        snowball.snowball(first=0)
    with pytest.raises(errors.ConfigError, match=r"final is a share of updates, in \[0, 1\]"):
        snowball.snowball(final=1.5)
    rule = snowball.snowball()
    with pytest.raises(errors.ConfigError, match=r"suspects = 10 needs m >= suspects \+ 3 = 13"):
        run(rule, X, of_round(rule))
