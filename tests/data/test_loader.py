"""The stream is a function of (seed, epoch, index), for any host count."""

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.data import loader


@pytest.mark.parametrize("size", [1, 2, 3, 10, 257, 1000])
def test_permute_is_a_permutation(size):
    found = loader.permute(np.arange(size), size, 7, "x", 0)
    np.testing.assert_array_equal(np.sort(found), np.arange(size))
    one = [int(loader.permute(i, size, 7, "x", 0)) for i in range(size)]
    np.testing.assert_array_equal(found, one)
    if size > 9:
        for other in ((8, "x", 0), (7, "y", 0), (7, "x", 1)):
            assert not np.array_equal(found, loader.permute(np.arange(size), size, *other))


@pytest.mark.parametrize("index", [5, 100, -1, [0, 5]])
def test_permute_takes_what_is_in_the_set_alone(index):
    """100 of 5 was walked for ever, and 5 of 5 went where 0 to 4 go."""
    with pytest.raises(errors.ConfigError, match="of 5 takes indices from 0 to 4"):
        loader.permute(index, 5, 0)


def test_permute_mixes():
    """Neighbours come apart: the mean step is that of a random permutation, a third of it."""
    found = loader.permute(np.arange(3000), 3000, 0)
    assert np.abs(np.diff(found)).mean() == pytest.approx(1000, rel=0.05)


def documents():
    rng = np.random.default_rng(0)
    return [np.append(rng.integers(3, 90, rng.integers(1, 30)), 2).astype("i4") for _ in range(40)]


def test_an_epoch_holds_every_token_once():
    some = documents()
    stream = loader.Stream(some, 8, seed=3)
    for epoch in (0, 1):
        rows = [stream.row(epoch * stream.rows + i) for i in range(stream.rows)]
        found = np.sort(np.concatenate([row[1:] for row in rows]))
        everything = np.sort(np.concatenate(some))
        assert len(everything) - len(found) <= 8
        counts = np.bincount(everything, minlength=90) - np.bincount(found, minlength=90)
        assert counts.min() >= 0
    assert not np.array_equal(stream.row(0), stream.row(stream.rows))


def test_rows_do_not_depend_on_the_way_there():
    first, second = (loader.Stream(documents(), 8, seed=3) for _ in range(2))
    ahead = [first.row(i) for i in range(50)]
    for i in (49, 3, 17):
        np.testing.assert_array_equal(second.row(i), ahead[i])


def test_a_cache_is_the_list_that_was_written(tmp_path):
    some = documents()
    cache = loader.write_cache(tmp_path, iter(some), vocab=100, meta={"source": "x"})
    assert cache.tokens.dtype == np.uint16 and cache.meta["source"] == "x"
    assert len(cache) == len(some)
    for a, b in zip(cache, some, strict=True):
        np.testing.assert_array_equal(a, b)
    from_cache, from_list = (loader.Stream(d, 8, seed=1) for d in (cache, some))
    np.testing.assert_array_equal(from_cache.row(5), from_list.row(5))
    with pytest.raises(errors.DataError, match="outside a vocabulary of 50"):
        loader.write_cache(tmp_path, [[60]], vocab=50)
    with pytest.raises(errors.DataError, match="no whole token cache"):
        loader.TokenCache(tmp_path)  # the failed write left none
    assert not (tmp_path / "tokens.raw").exists()
    with pytest.raises(errors.DataError, match="no documents"):
        loader.write_cache(tmp_path, [[]], vocab=50)


def test_a_mixture_keeps_its_quotas_and_counts_each_source():
    mixture = loader.Mixture.make({"a": 0.7, "b": 0.2, "c": 0.1}, seed=0, block=100)
    drawn = [mixture(i) for i in range(300)]
    for block in range(3):
        names = [name for name, _ in drawn[100 * block : 100 * (block + 1)]]
        assert {n: names.count(n) for n in "abc"} == {"a": 70, "b": 20, "c": 10}
    for name in "abc":
        assert [k for n, k in drawn if n == name] == list(range(len(drawn)))[: 3 * 70][
            : sum(n == name for n, _ in drawn)
        ]
    assert [n for n, _ in drawn[:100]] != [n for n, _ in drawn[100:200]]
    with pytest.raises(errors.ConfigError, match="no place for b"):
        loader.Mixture.make({"a": 1.0, "b": 1e-6}, seed=0)
    with pytest.raises(errors.ConfigError, match="one above 0"):
        loader.Mixture.make({"a": 0.0}, seed=0)
    for weight in (float("nan"), float("inf")):
        with pytest.raises(errors.ConfigError, match="needs finite weights"):
            loader.Mixture.make({"a": 1.0, "b": weight}, seed=0)


@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_hosts_share_one_batch(hosts):
    rows = [r for host in range(hosts) for r in loader.host_rows(8, host, hosts)]
    assert rows == list(range(8))
    with pytest.raises(errors.ConfigError, match="3 hosts do not divide"):
        loader.host_rows(8, 0, 3)
    with pytest.raises(errors.ConfigError, match="host 4 is none of 4"):
        loader.host_rows(8, 4, 4)  # rows beyond the batch


def test_rows_of_no_length_are_refused():
    with pytest.raises(errors.ConfigError, match="length of a row must be above 0"):
        loader.Stream([[1, 2, 3]], 0, seed=0)


def test_a_mixture_is_that_of_the_definition():
    """Place by place: the block permuted, and who of the same source came before."""
    mixture = loader.Mixture.make({"a": 0.6, "b": 0.3, "c": 0.1}, seed=4, block=30)
    source = np.repeat(["a", "b", "c"], mixture.quotas)
    for index in (0, 7, 29, 30, 71):
        block, place = divmod(index, 30)
        drawn = source[loader.permute(np.arange(30), 30, 4, "mixture", block)]
        before = block * int(np.sum(source == drawn[place])) + np.sum(drawn[:place] == drawn[place])
        assert mixture(index) == (drawn[place], before)
