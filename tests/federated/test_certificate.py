import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import special, stats

from fl_jax.core import errors, intervals
from fl_jax.federated import certificate
from fl_jax.federated.aggregators import crfl
from fl_jax.federated.defences import norm_clip

BATCH = {"images": 0.3, "labels": 0.0, "poisoned": 0.5, "steps": 4, "rate": 0.1, "share": 0.1}


def test_the_radius_is_that_of_bounds_of_each_class():
    counts = np.array([[950, 30, 20], [400, 350, 250], [0, 1000, 0]])
    answers, found = certificate.radius(counts, noise=0.2, confidence=0.99)
    assert answers.tolist() == [0, 0, 1]
    for row, d in zip(counts, found, strict=True):
        ends = [intervals.clopper_pearson(int(k), 1000, 0.01 / 3) for k in row]
        first = int(np.argmax(row))
        low, high = ends[first][0], max(e[1] for i, e in enumerate(ends) if i != first)
        gap = stats.norm.ppf(low) - stats.norm.ppf(min(high, 1 - low))
        assert d == pytest.approx(0.2 * max(gap, 0) / 2, rel=1e-9)
    assert found[1] == 0
    assert found[2] > found[0] > 0


def test_a_half_space_is_certified_up_to_its_distance_and_no_further():
    """The answer changes where the model has moved by c: no classifier is worse than this one."""
    draws, sigma, c = np.random.default_rng(0), 0.5, 0.6
    wins = draws.binomial(20_000, stats.norm.cdf(c / sigma), size=300)
    _, found = certificate.radius(np.stack([wins, 20_000 - wins], 1), noise=sigma, confidence=0.99)
    assert np.sum(found > c) <= 9  # three would be expected, of bounds that are just met
    assert found.min() > 0.9 * c


def test_between_three_answers_the_nearest_two_decide():
    """Answers are parts of a line: the first from below, the second from above."""
    a, b = 0.7, 0.2
    exact = (special.ndtri(a) - special.ndtri(b)) / 2
    first = lambda moved: special.ndtr(special.ndtri(a) - moved)
    second = lambda moved: special.ndtr(special.ndtri(b) + moved)
    assert first(exact) == pytest.approx(second(exact))
    many = 10_000_000
    counts = np.array([[int(a * many), int(b * many), many - int(a * many) - int(b * many)]])
    assert certificate.radius(counts, noise=1.0)[1][0] == pytest.approx(exact, abs=2e-3)


@hypothesis.given(st.floats(0.01, 0.999), st.floats(0.001, 1))
def test_the_papers_divergence_gives_no_larger_radius(a, share):
    b = min(a, 1 - a) * share * 0.999
    gap = (np.sqrt(a) - np.sqrt(b)) ** 2
    by_divergence = np.sqrt(-2 * np.log1p(-gap))
    assert by_divergence <= (special.ndtri(a) - special.ndtri(b)) / 2 + 1e-9


def test_votes_of_crfl_are_what_it_reads():
    """Where the certificate says so, the vote of a model moved by less is the same."""
    model = {"w": jnp.asarray(np.random.default_rng(1).normal(size=(4, 3)), jnp.float32)}
    x = np.random.default_rng(2).normal(size=(40, 4)).astype(np.float32)
    apply = lambda v, x: x @ v["w"]
    asked = {"noise": 0.3, "draws": 2000}
    vote = lambda m, key: np.asarray(
        crfl.votes(apply, m, jnp.asarray(x), jax.random.key(key), **asked)
    )
    counts = np.rint(vote(model, 0) * 2000).astype(int)
    answers, d = certificate.radius(counts, noise=0.3)
    assert 10 < np.sum(d > 0.2) < 40
    other = counts.copy()
    other[np.arange(40), answers] = -1
    for i in np.flatnonzero(d > 0.05):
        push = np.zeros((4, 3), np.float32)  # towards the second answer on this input
        push[:, answers[i]], push[:, other[i].argmax()] = -x[i], x[i]
        moved = {"w": model["w"] + 0.95 * d[i] * push / np.linalg.norm(push)}
        assert vote(moved, 1)[i].argmax() == answers[i]


@pytest.mark.parametrize("lost", [False, True])
def test_attackers_move_the_model_by_no_more_than_is_said(lost):
    draws, bound, count, attackers = np.random.default_rng(3), 0.5, 8, 2
    defence = norm_clip.norm_clip(bound=bound)
    limit = certificate.moved_by_participants(attackers, bound=bound, share=1 / count)
    each = jax.jit(jax.vmap(lambda u: defence.client({"w": u}, ())["w"]))
    clipped = lambda updates: np.asarray(each(jnp.asarray(updates, jnp.float32)))
    worst = 0.0
    for _ in range(200):
        honest = draws.normal(size=(count, 6)) * draws.choice([0.01, 1, 100], (count, 1))
        attacked = honest.copy()
        attacked[:attackers] = draws.normal(size=(attackers, 6)) * 1e4
        if draws.random() < 0.2:
            honest[:attackers] = [1, 0, 0, 0, 0, 0]
            attacked[:attackers] = [-1, 0, 0, 0, 0, 0]
        before, sent = np.mean(clipped(honest), axis=0), clipped(attacked)
        after = np.mean(sent[attackers:] if lost else sent, axis=0)
        moved = np.linalg.norm(after - before)
        assert moved <= limit * (1 + 1e-6)
        worst = max(worst, moved)
    assert lost or worst > 0.99 * limit


def test_clipping_the_whole_model_brings_none_further_apart():
    draws = np.random.default_rng(4)
    for _ in range(100):
        a, b = draws.normal(size=(2, 5)) * draws.choice([0.1, 1, 10])
        clip = lambda v: v * min(1, 1 / np.linalg.norm(v))
        assert np.linalg.norm(clip(a) - clip(b)) <= np.linalg.norm(a - b) + 1e-12


def test_altered_examples_move_softmax_regression_by_no_more_than_is_said():
    draws = np.random.default_rng(5)
    gradient = jax.jit(
        jax.grad(
            lambda w, x, y: -jnp.mean(jnp.sum(y * jax.nn.log_softmax(x @ w), axis=1)),
        )
    )
    ratios = []
    for trial in range(30):
        x = draws.normal(size=(10, 4)).astype(np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        y = np.eye(3, dtype=np.float32)[draws.integers(0, 3, 10)]
        other, label, altered = x.copy(), y.copy(), 5
        push = draws.normal(size=(altered, 4)).astype(np.float32)
        other[:altered] += 0.3 * push / np.linalg.norm(push, axis=1, keepdims=True)
        longest = float(max(np.linalg.norm(x, axis=1).max(), np.linalg.norm(other, axis=1).max()))
        if trial % 2:
            label[:altered] = np.roll(y[:altered], 1, axis=1)
        start = 0.5 * draws.normal(size=(4, 3)).astype(np.float32)
        honest, attacked, most = start, start, 0.0
        for _ in range(6):
            honest = honest - 1.0 * gradient(honest, x, y)
            attacked = attacked - 1.0 * gradient(attacked, other, label)
            most = max(most, float(np.linalg.norm(honest)), float(np.linalg.norm(attacked)))
        limit = certificate.moved_by_examples(
            2,
            images=0.3,
            labels=2**0.5 if trial % 2 else 0.0,
            poisoned=0.5,
            steps=6,
            rate=1.0,
            share=0.1,
            bound=max(most, float(np.linalg.norm(start))),
            longest=longest,
        )
        moved = 2 * 0.1 * float(np.linalg.norm(attacked - honest))
        assert moved <= limit
        ratios.append(moved / limit)
    assert max(ratios) > 0.2  # and not by orders of magnitude less


def test_bad_settings_are_refused():
    votes = np.array([[9, 1]])
    for call, said in {
        lambda: certificate.radius(votes, noise=0): r"noise of CRFL \(sigma\) must be above 0",
        lambda: certificate.radius(votes, noise=1, confidence=1.0): "confidence must lie in",
        lambda: certificate.moved_by_participants(-1, bound=1, share=1): "attackers must be a",
        lambda: certificate.moved_by_participants(1, bound=0, share=1): "clipping bound must be",
        lambda: certificate.moved_by_examples(1, **BATCH, bound=1, longest=10): "drive two runs",
        lambda: certificate.moved_by_examples(
            1, **{**BATCH, "poisoned": 1.5}, bound=1
        ): r"must lie in \[0, 1\], got 1.5",
    }.items():
        with pytest.raises(errors.ConfigError, match=said):
            call()
    for counts, said in {
        ((9, 1), (8, 1)): "go from 9 to 10",
        ((9, -1),): "least count is -1",
    }.items():
        with pytest.raises(errors.DataError, match=said):
            certificate.radius(np.array(counts), noise=1)
    with pytest.raises(errors.DataError, match="whole numbers, got float64"):
        certificate.radius(np.array([[0.9, 0.1]]), noise=1)
    with pytest.raises(errors.DataError, match="two classes or more"):
        certificate.radius(np.array([3, 4]), noise=1)
