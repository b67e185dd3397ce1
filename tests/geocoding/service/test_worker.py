"""The queue: what is computed together, what comes between, what is turned away."""

import asyncio
import copy
import time

import numpy as np
import pytest

from fl_jax.geocoding import area, density, estimate
from fl_jax.geocoding.geocoder import Answer
from fl_jax.geocoding.service import parameters, worker

NONE = estimate.Cells(np.zeros(0, np.int32), np.zeros(0))
NOWHERE = density.Points(np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64))


@pytest.fixture
def slow(geocoder):
    """A geocoder that answers with the text alone and keeps what it was asked."""
    found = copy.copy(geocoder)
    found.asked = []

    def geocode(texts, residual, within):
        time.sleep(0.2)
        found.asked.append((list(texts), residual, within))
        return [Answer(t, 0.0, 0.0, 0.0, -1, (), (), NONE, NOWHERE, 0.0) for t in texts]

    found.geocode = geocode
    return found


def test_steps_are_bounded_by_texts_and_by_characters():
    assert list(worker.steps([])) == []
    assert list(worker.steps(["a"] * 130)) == [(0, 64), (64, 128), (128, 130)]
    half = "a" * (worker.STEP // 2)
    assert list(worker.steps([half] * 5)) == [(0, 2), (2, 4), (4, 5)]
    assert list(worker.steps(["", half + half, "a"])) == [(0, 2), (2, 3)]


def test_a_query_comes_between_the_steps_of_a_batch(slow):
    order = []
    texts = ["a" * 9_000] * 8

    async def batch(own):
        for start, after in worker.steps(texts):
            await own.geocode(texts[start:after], 0.05, wait=start > 0)
        order.append("batch")

    async def query(own):
        await asyncio.sleep(0.3)
        await own.geocode(["Rome"], 0.05)
        order.append("query")

    async def both():
        own = worker.Worker(slow)
        await asyncio.gather(batch(own), query(own))
        own.close()
        assert own.queued == own.queued_characters == 0

    asyncio.run(both())
    assert order == ["query", "batch"]
    assert all(sum(map(len, texts)) <= worker.STEP for texts, *_ in slow.asked)


def test_answers_are_written_while_others_are_computed(slow):
    written = []

    async def both():
        own = worker.Worker(slow)
        long = asyncio.create_task(own.geocode(["Rome"], 0.05))
        await asyncio.sleep(0.05)
        written.append(await own.call(lambda: long.done()))
        await long
        own.close()

    asyncio.run(both())
    assert written == [False]


def test_only_what_asks_for_the_same_is_computed_together(slow):
    japan = area.Area(frozenset({"JP"}))
    asked = [("a", 0.05, japan), ("b", 0.05, japan), ("c", 0.05, area.Area()), ("d", 0.1, japan)]

    async def all_of_them():
        own = worker.Worker(slow)
        found = await asyncio.gather(*(own.geocode([t], r, w) for t, r, w in asked))
        own.close()
        return [answer.text for (answer,) in found]

    assert asyncio.run(all_of_them()) == ["a", "b", "c", "d"]
    assert slow.asked == [(["a", "b"], 0.05, japan), (["c"], 0.05, area.Area()),
                              (["d"], 0.1, japan)]  # fmt: skip


def test_characters_that_wait_are_bounded(slow):
    async def many():
        own = worker.Worker(slow, characters=250)
        jobs = [own.geocode(["a" * 100], 0.05) for _ in range(3)]
        jobs.append(own.read(lambda geocoder, text: len(text), "a" * 100))
        found = await asyncio.gather(*jobs, return_exceptions=True)
        assert not own.full
        assert await own.read(lambda geocoder, text: len(text), "abc") == 3
        own.close()
        return found

    found = asyncio.run(many())
    assert [answer.text for (answer,) in found[:2]] == ["a" * 100] * 2
    for refused in found[2:]:
        assert isinstance(refused, parameters.Refused) and refused.status == 503
        assert "200 characters" in refused.detail
