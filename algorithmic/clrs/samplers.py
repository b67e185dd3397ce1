"""Random inputs of the thirty algorithms, on the device, as dm-clrs draws them in distribution.

Every sampler draws on padded arrays with a traced number of nodes, so that one program serves
all sizes. Sample i of a batch has the key `fold_in(key, i)`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from algorithmic.clrs import inputs, specs
from algorithmic.clrs.traces import machine
from fl_jax.core import errors, rng
from fl_jax.core.types import Array, Int, Key

LETTERS = 4
COMMUNITIES = 4

# Default edge probability; an undirected edge needs two draws, so it appears with p * p.
_P = dict.fromkeys((*specs.FAMILIES["graphs"], *specs.MORE), (0.5,))
_P |= dict.fromkeys(("articulation_points", "bridges", "mst_kruskal"), (0.2,))


@dataclasses.dataclass(frozen=True)
class Options:
    """What may be varied; the defaults make the benchmark's own validation and test data."""

    p: tuple[float, ...] | None = None  # graphs: edge probabilities, one drawn per sample
    needle: int | None = None  # matchers: its length; None = n // 5, -k = random in 1..k
    random_pos: bool = False  # sorted uniforms in place of i / n
    close: float = (
        0.0  # this share of samples has its positions, and as many its keys, close together
    )


def options(name: str, length: int, **given: Any) -> Options:
    """Checked options.

    Raises:
        ConfigError: an unknown option or algorithm, too few nodes, strings that do not fit, or a
            probability outside [0, 1].
    """
    specs.of(name)
    fields = [f.name for f in dataclasses.fields(Options)]
    for option in given:
        errors.one_of("sampler option", option, fields)
    least = 1 if name in ("segments_intersect", "optimal_bst") else specs.smallest(name)
    if length < least:
        raise errors.ConfigError(f"{name} needs at least {least} nodes, got length {length}.")
    p = given.get("p")
    if p is not None:
        p = tuple(float(q) for q in ((p,) if isinstance(p, int | float) else p))
        if not p or any(not 0 <= q <= 1 for q in p):
            raise errors.ConfigError(f"edge probabilities lie in [0, 1], got p = {p}.")
    if given.get("needle") is not None:
        errors.whole("letters of the needle", abs(given["needle"]))
    config = Options(**{**given, "p": p})
    if not 0 <= config.close <= 1:
        raise errors.ConfigError(f"a share lies in [0, 1], got close = {config.close}.")
    if name in specs.MATCHERS:
        needle = config.needle
        most = (1 if length < 5 else length // 5) if needle is None else abs(needle)
        if most < 1 or length <= 2 * most:
            raise errors.ConfigError(
                f"a needle of {most} letters does not fit into {length} letters in all: the"
                " haystack must be the longer one."
            )
    return config


def training(name: str, close: float = 0.0) -> Options:
    """The paper's settings for training and validation data [Ibarz et al. 2022, 3.1].

    `close` is not the paper's; segments, whose four nodes never become more, do without it.
    """
    name = _LIKE.get(name, name)
    tenths = tuple(i / 10 for i in range(1, 10))
    if name in ("articulation_points", "bridges", "mst_kruskal"):
        tenths = tuple(q / 2 for q in tenths)
    graph = name in specs.FAMILIES["graphs"]
    return Options(
        p=tenths if graph else None,
        needle=-8 if name in specs.MATCHERS else None,
        random_pos=True,
        close=0.0 if name == "segments_intersect" else close,
    )


def nodes(name: str, length: int) -> int:
    """How many nodes a sample of this length has."""
    specs.of(name)
    if name == "segments_intersect":
        return 4
    return length + 1 if name == "optimal_bst" else length


def draw(
    name: str,
    key: Key[Array, ""],
    batch: int,
    length: Int[Array, ""] | int,
    config: Options,
    *,
    size: int | None = None,
) -> tuple[dict[str, Array], Int[Array, " batch"]]:
    """A batch of compact inputs (`inputs.compact`), float32, and the number of nodes of each.

    Args:
        name: the algorithm.
        key: decides the draws.
        batch: number of samples.
        length: n, for all of them; may be traced if `size` is given.
        config: the options.
        size: length to which arrays are padded; None = as long as the samples are.
    """
    size = size or nodes(name, length)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(batch, dtype=jnp.uint32))
    n = jnp.int32(4) if name == "segments_intersect" else jnp.asarray(length, jnp.int32)
    one = lambda k: _draw(name, k, size, n, config)
    drawn = jax.vmap(one)(keys)
    count = n + 1 if name == "optimal_bst" else n
    return drawn, jnp.broadcast_to(count, (batch,))


def _draw(name, key, size, n, config):
    data_key, pos_key = jax.random.split(key)
    out = _SAMPLERS[name](name, data_key, size, n, config)
    count = n + 1 if name == "optimal_bst" else n
    string = out.get("string")
    if config.random_pos:
        out["pos"] = _random_positions(pos_key, size, count, string, config.close)
    elif string is None:
        at = jnp.arange(size, dtype=jnp.int32)
        ratio = machine.ratio(at, count, jnp.float32)
        out["pos"] = jnp.where(at < count, ratio, 0.0)
    else:
        out["pos"] = inputs.positions(string, count, jnp.float32)
    return out


def _random_positions(key, size, count, string, close):
    """Sorted uniforms; each of two strings is sorted by itself."""
    at = jnp.arange(size, dtype=jnp.int32)
    part = jnp.zeros(size, jnp.float32) if string is None else string.astype(jnp.float32)
    part = jnp.where(at < count, part, 2.0)
    values = _uniform(key, (size,))
    values = _drawn_together(key, values, close) if close else values
    ordered = jnp.sort(values + part)
    return jnp.where(at < count, ordered - part, 0.0)


def _uniform(key, shape, low=0.0, high=1.0):
    return jax.random.uniform(key, shape, jnp.float32, low, high)


def _inside(size, n):
    return jnp.arange(size, dtype=jnp.int32) < n


def _clear(x, n):
    """x with zeros on padding."""
    return jnp.where(_inside(x.shape[0], n), x, jnp.zeros((), x.dtype))


def _sequence(name, key, size, n, config):
    low = -1.0 if name == "find_maximum_subarray_kadane" else 0.0
    probe = "p" if name == "matrix_chain_order" else "key"
    values = _uniform(key, (size,), low)
    if name not in specs.MATCHERS and probe == "key" and low == 0 and config.close:
        values = _drawn_together(key, values, config.close)
    return {probe: _clear(values, n)}


def _drawn_together(key, values, share):
    """With this probability the values in [0, 1] are shrunk into a random part of it.

    Sixteen uniforms seldom lie as close as sixty-four do; a model that is to tell these apart has
    to meet such distances in training.
    """
    chance, width, place = _uniform(rng.fold(key, "close"), (3,))
    width = jnp.where(chance < share, width * width, 1.0)
    return place * (1 - width) + width * values


def _search(name, key, size, n, config):
    first, second = jax.random.split(key)
    ordered = jnp.sort(jnp.where(_inside(size, n), _uniform(first, (size,)), 2.0))
    target = _uniform(second, ())
    if config.close:
        both = _drawn_together(key, jnp.append(ordered, target), config.close)
        ordered, target = both[:-1], both[-1]
    return {"key": _clear(ordered, n), "target": target}


def _activities(name, key, size, n, config):
    a, b = _uniform(key, (2, size))
    return {"s": _clear(jnp.minimum(a, b), n), "f": _clear(jnp.maximum(a, b), n)}


def _tasks(name, key, size, n, config):
    first, second = jax.random.split(key)
    deadline = jax.random.randint(first, (size,), 1, n + 1, jnp.int32)
    return {
        "d": _clear(deadline.astype(jnp.float32), n),
        "w": _clear(_uniform(second, (size,)), n),
    }


def _tree_weights(name, key, size, n, config):
    """2 n + 1 uniforms over their sum: n keys p, n + 1 gaps q."""
    p, q = _uniform(key, (2, size))
    p, q = _clear(p, n), _clear(q, n + 1)
    total = jnp.sum(p) + jnp.sum(q)
    return {"p": p / total, "q": q / total}


def _lcs(name, key, size, n, config):
    second = n // 2
    return _strings(_letters(key, size), n, second)


def _letters(key, size):
    return jax.random.randint(key, (size,), 0, LETTERS, jnp.int32)


def _strings(letters, n, second):
    at = jnp.arange(letters.shape[0], dtype=jnp.int32)
    string = ((at >= n - second) & (at < n)).astype(jnp.int8)
    return {"string": string, "key": jnp.where(at < n, letters, 0)}


def _needle(name, key, size, n, config):
    """A needle pasted at a random place; the last place that it would fit is never chosen."""
    first, second, third = jax.random.split(key, 3)
    if config.needle is None:
        length = jnp.where(n < 5, 1, n // 5).astype(jnp.int32)
    elif config.needle < 0:
        length = jax.random.randint(first, (), 1, 1 - config.needle, jnp.int32)
    else:
        length = jnp.int32(config.needle)
    haystack = n - length
    letters = _letters(second, size)
    place = jax.random.randint(third, (), 0, haystack - length, jnp.int32)
    at = jnp.arange(size, dtype=jnp.int32)
    pasted = letters[jnp.clip(haystack + at - place, 0, size - 1)]
    letters = jnp.where((at >= place) & (at < place + length), pasted, letters)
    return _strings(letters, n, length)


def _probability(name, key, config):
    choices = jnp.asarray(config.p or _P[name], jnp.float32)
    return choices[jax.random.randint(key, (), 0, choices.shape[0], jnp.int32)]


def _coins(key, size, p):
    return _uniform(key, (size, size)) < p


def _within(mask, n):
    inside = _inside(mask.shape[0], n)
    return mask & inside[:, None] & inside[None, :]


def _graph(name, key, size, n, config):
    """Erdős-Rényi graphs, with self loops unless acyclic.

    Undirected: a matrix of coins times its transpose, so an edge has p * p and a self loop p.
    Weights: uniform; undirected sqrt(w w' + 0.001). Both are the reference's, kept on purpose.
    """
    keys = jax.random.split(key, 5)
    p = _probability(name, keys[0], config)
    coins = _coins(keys[1], size, p)
    directed = name in ("dfs", "topological_sort", "dag_shortest_paths")
    if name in ("topological_sort", "dag_shortest_paths"):
        # An edge only from lower to higher rank: the upper triangle under a random relabelling.
        rank = _uniform(keys[2], (size,))
        coins &= rank[:, None] < rank[None, :]
    elif not directed:
        coins &= coins.T
    coins = _within(coins, n)
    unweighted = ("dfs", "bfs", "topological_sort", "articulation_points", "bridges", *specs.MORE)
    if name in unweighted:
        A = coins.astype(jnp.float32)
    else:
        weight = _uniform(keys[3], (size, size))
        if not directed:
            weight = jnp.sqrt(weight * weight.T + 1e-3)
        A = jnp.where(coins, weight, 0.0)
    out = {"A": A}
    if name == "mis":
        out["key"] = _clear(_uniform(keys[4], (size,)), n)
    if "s" in specs.of(name) and specs.of(name)["s"].stage == specs.INPUT:
        out["s"] = jax.random.randint(keys[4], (), 0, n, jnp.int32)
    return out


def _communities(name, key, size, n, config):
    """Four communities, each a directed Erdős-Rényi graph, and a few edges from earlier to later
    ones (or, within one, flips), under a random relabelling."""
    keys = jax.random.split(key, 4)
    p = _probability(name, keys[0], config)
    draw = jnp.where(_inside(size, n), _uniform(keys[1], (size,)), 2.0)
    rank = jnp.sum(draw[None, :] < draw[:, None], axis=1, dtype=jnp.int32)
    group = jnp.minimum(rank // jnp.maximum(n // COMMUNITIES, 1), COMMUNITIES - 1)
    same, onward = group[:, None] == group[None, :], group[:, None] <= group[None, :]
    edge = _coins(keys[2], size, p) & same
    edge ^= _coins(keys[3], size, jnp.float32(0.01)) & onward
    return {"A": _within(edge, n).astype(jnp.float32)}


def _segments(name, key, size, n, config):
    """Two segments that intersect or not by the flip of a coin, by rejection."""
    coin_key, key = jax.random.split(key)
    wanted = jax.random.bernoulli(coin_key)

    def points(key):
        x, y = _uniform(key, (2, 4))
        return x, y

    def intersect(xy):
        x, y = xy
        left = lambda a, b, c: (y[c] - y[a]) * (x[b] - x[a]) > (y[b] - y[a]) * (x[c] - x[a])
        return (left(0, 2, 3) != left(1, 2, 3)) & (left(0, 1, 2) != left(0, 1, 3))

    x, y = _reject(key, points, lambda xy: intersect(xy) != wanted)
    pad = lambda v: jnp.pad(v, (0, size - 4))
    return {"x": pad(x), "y": pad(y)}


def _disk(name, key, size, n, config):
    """Points uniform on a disk of radius 2, no three of them on a line (to 1e-12)."""

    def points(key):
        angle, square = _uniform(key, (2, size))
        angle, radius = 2 * jnp.pi * angle, 2 * jnp.sqrt(square)
        return radius * jnp.cos(angle), radius * jnp.sin(angle)

    def collinear(xy):
        x, y = xy
        at = jnp.arange(size, dtype=jnp.int32)

        def third(bad, k):
            dx, dy = x - x[k], y - y[k]
            cross = dx[:, None] * dy[None, :] - dy[:, None] * dx[None, :]
            pair = (at[:, None] < at[None, :]) & (at < k)[None, :] & (k < n)
            return bad | jnp.any(pair & (jnp.abs(cross) < 1e-12)), None

        return jax.lax.scan(third, jnp.bool_(False), at)[0]

    x, y = _reject(key, points, collinear)
    return {"x": _clear(x, n), "y": _clear(y, n)}


def _reject(key, propose, refused):
    """The first proposal that is not refused."""

    def again(carry):
        return refused(carry[1])

    def propose_next(carry):
        key, draw_key = jax.random.split(carry[0])
        return key, propose(draw_key)

    return jax.lax.while_loop(again, propose_next, propose_next((key, None)))[1]


def inputs_of(
    name: str, key: Key[Array, ""], size: int, n: Int[Array, ""], config: Options
) -> dict[str, Array]:
    """Compact inputs of one of the thirty but `pos`, of `size` places and n nodes."""
    return _SAMPLERS[name](name, key, size, n, config)


def add(name: str, sampler, like: str | None) -> None:
    """Makes a sampler known; `like` is the algorithm whose settings in training it shares."""
    _SAMPLERS[name] = sampler
    if like is not None:
        _LIKE[name] = like


_LIKE: dict[str, str] = {}
_SAMPLERS = {
    **dict.fromkeys((*specs.FAMILIES["graphs"], *specs.MORE), _graph),
    **dict.fromkeys((*specs.SORTS, "quickselect", "minimum"), _sequence),
    "find_maximum_subarray_kadane": _sequence,
    "matrix_chain_order": _sequence,
    "strongly_connected_components": _communities,
    "binary_search": _search,
    "activity_selector": _activities,
    "task_scheduling": _tasks,
    "optimal_bst": _tree_weights,
    "lcs_length": _lcs,
    **dict.fromkeys(specs.MATCHERS, _needle),
    "segments_intersect": _segments,
    "graham_scan": _disk,
    "jarvis_march": _disk,
}
