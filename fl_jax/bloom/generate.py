"""Generation: batched, cached, greedy or sampled, prompts of any lengths padded on the left."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.bloom import decode, model, rules, sharding
from fl_jax.bloom.config import Config
from fl_jax.core import dtypes, errors
from fl_jax.core.types import Array, Bool, Float, Int, Key, PyTree
from fl_jax.nn.tokens import check_mask, check_tokens
from fl_jax.train import mesh as meshes


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; the default is greedy."""

    temperature: float = 0.0  # 0: the likeliest token
    top_k: int = 0  # only the k likeliest; 0 = all
    top_p: float = 1.0  # only the likeliest that hold this probability together
    min_p: float = 0.0  # only those with this share of the likeliest one's probability
    repetition_penalty: float = 1.0  # theta of CTRL, on what prompt and answer have; 1 = none
    no_repeat: int = 0  # no run of so many tokens twice, the prompt's included; 0 = any
    least: int = 0  # tokens before the model may end

    def __post_init__(self):
        """Refuses what nothing can be drawn by.

        Raises:
            ConfigError: a value out of its range.
        """
        if not 0 <= self.temperature < math.inf:
            raise errors.ConfigError(
                f"temperature must be finite and 0 or above, got {self.temperature}; 0 takes the"
                " likeliest token."
            )
        for name in ("top_k", "no_repeat", "least"):
            errors.whole(name, getattr(self, name))
        if not 0 < self.repetition_penalty < math.inf:
            raise errors.ConfigError(
                "repetition_penalty must be finite and above 0, got"
                f" {self.repetition_penalty}; 1 changes nothing."
            )
        if not 0 <= self.min_p <= 1:
            raise errors.ConfigError(
                f"min_p must lie in [0, 1], got {self.min_p}; 0 keeps all tokens."
            )
        if not 0 < self.top_p <= 1:
            raise errors.ConfigError(
                f"top_p must be above 0 and at most 1, got {self.top_p}; 1 keeps all tokens."
            )

    @property
    def looks_back(self) -> bool:
        """Whether the next token depends on the text in another way than through the model."""
        return self.repetition_penalty != 1 or self.no_repeat > 0 or self.least > 0


GREEDY = Sampling()


class Ready(NamedTuple):
    """Parameters laid out for generation, from `ready`."""

    params: PyTree  # in the model's dtype, layers one by one where the model is unrolled
    layers: list[PyTree] | None  # the same layers as `decode` reads them
    mesh: meshes.Mesh | None  # over whose data and fsdp axes rows are dealt


def ready(params: PyTree, config: Config, mesh: meshes.Mesh | None = None) -> Ready:
    """The parameters as `generate` uses them, once for many calls.

    `generate` lays plain parameters out anew at every call. A server, or whoever generates more
    than once, does it here; what comes back holds two copies of an unrolled model's layers.

    Args:
        params: as for `model.apply`.
        config: the model's.
        mesh: rows are dealt over its data and fsdp axes and every device goes on by itself, with
            parameters of its own. On a CPU, one device for each core is the fastest: two threads
            that share the products of a few rows wait for each other as long as they work.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fl_jax import bloom
        >>> config = bloom.Config(vocab=32, hidden=24, layers=2, heads=6, scan=False)
        >>> weights = ready(bloom.init(jax.random.key(0), config), config)
        >>> generate(weights, config, jnp.array([[5, 9, 2]]), count=4).shape
        (1, 4)
    """
    place = None if mesh is None else meshes.sharding(mesh)
    lay = jax.jit(lambda params: _lay(params, config), out_shardings=place)
    return Ready(*lay(params), mesh)


def _lay(params, config):
    params = jax.tree.map(lambda a: a.astype(config.dtype), params)
    if not _lean(config):
        return params, None
    layers = decode.unstack(params, config)
    return {**params, "layers": model.unstack(params["layers"], config.layers)}, layers


def _lean(config):
    """Whether `decode` can do it: unrolled models; scanned ones, and the rounded ALiBi, run
    through the model as it is."""
    return not config.scan and config.alibi == "relative"


def sample(
    key: Key[Array, ""] | None, logits: Float[Array, "batch vocab"], sampling: Sampling
) -> Int[Array, " batch"]:
    """One token for each row of logits.

    Top-k is applied before top-p [Holtzman et al. 2020], and min-p [Nguyen et al. 2024] last. The
    rules that look back are not applied here, where no text is (`rules`). The likeliest token
    always stays, and so do all that are as likely as the last of those kept. A row of NaN gives
    `vocab`, no id.
    """
    broken = jnp.isnan(logits).any(axis=-1)
    known = lambda token: jnp.where(broken, logits.shape[-1], token).astype(jnp.int32)
    if not sampling.temperature:
        return known(jnp.argmax(logits, axis=-1))
    # From the top down, so that a temperature near 0 takes the likeliest and is no inf / inf.
    logits = logits - jnp.max(logits, axis=-1, keepdims=True)
    logits = logits / max(sampling.temperature, 1e-30)
    if sampling.top_k or sampling.top_p < 1:
        ordered = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
        least = ordered[:, -1]
        if sampling.top_k:
            k = min(sampling.top_k, logits.shape[-1])
            least = ordered[:, k - 1]
            ordered = jnp.where(jnp.arange(logits.shape[-1])[None] < k, ordered, -jnp.inf)
        if sampling.top_p < 1:
            before = jnp.cumsum(jax.nn.softmax(ordered, axis=-1), axis=-1)
            before = jnp.pad(before[:, :-1], [(0, 0), (1, 0)])
            kept = jnp.where(before < sampling.top_p, ordered, jnp.inf)
            least = jnp.maximum(least, jnp.min(kept, axis=-1))
        logits = jnp.where(logits < least[:, None], -jnp.inf, logits)
    if sampling.min_p:
        logits = jnp.where(logits < math.log(sampling.min_p), -jnp.inf, logits)
    return known(jax.random.categorical(key, logits, axis=-1))


def generate(
    params: PyTree | Ready,
    config: Config,
    tokens: Int[Array, "batch time"],
    mask: Bool[Array, "batch time"] | None = None,
    *,
    count: int,
    sampling: Sampling = GREEDY,
    key: Key[Array, ""] | None = None,
    capacity: int | None = None,
) -> Int[Array, "batch count"]:
    """The next `count` tokens of every prompt.

    A row that has produced `config.eos` continues with `config.pad`; when all rows have, no
    further step is computed. Row i of a batch gets the tokens that it gets alone, up to
    rounding. Where the model's logits are NaN, -1 ends a row (`check_drawn`).

    Args:
        params: as for `model.apply`, or from `ready`, which lays them out once for many calls
            and over the devices of a mesh.
        config: the model's; with `scan=False` a step costs least (`fl_jax.bloom.decode`), for
            which the layers are held once more.
        tokens: prompts.
        mask: False for padding; prompts end at the right edge, so pad on the left (`pad_left`).
        count: tokens to add.
        sampling: greedy, or how to draw.
        key: for drawing; each row and place has its own.
        capacity: of the cache; by default just what is needed.

    Raises:
        ConfigError: no tokens to add, a cache that is too small, drawing without a key, or rows
            that the mesh does not divide.
        DataError: a mask of another shape; tokens that are no ids of the vocabulary, or a prompt
            that ends in padding (checked where they are concrete).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fl_jax import bloom
        >>> config = bloom.Config(vocab=32, hidden=24, layers=2, heads=6, eos=31, pad=0)
        >>> params = bloom.init(jax.random.key(0), config)
        >>> generate(params, config, jnp.array([[5, 9, 2]]), count=4).shape
        (1, 4)
    """
    errors.whole("count", count, 1)
    check_tokens(tokens, config.vocab)
    time = tokens.shape[1]
    capacity = time + count if capacity is None else capacity
    if capacity < time + count:
        raise errors.ConfigError(
            f"a cache of {capacity} tokens cannot hold {time} of a prompt and {count} new ones."
        )
    if sampling.temperature and key is None:
        raise errors.ConfigError("drawing tokens needs a key; give one, or temperature 0.")
    check_mask(mask, tokens)
    _check_edge(mask)
    if isinstance(params, Ready) and (params.layers is not None) != _lean(config):
        raise errors.ConfigError(
            "the parameters were made ready for a config with another `scan` or `alibi`; give"
            " `ready` and `generate` the same one."
        )
    if not isinstance(params, Ready):
        return _alone(params, config, tokens, mask, key, count, sampling, capacity)
    if params.mesh is None:
        return _go_on(params[:2], config, tokens, mask, key, count, sampling, capacity)
    sharding.check_rows(len(tokens), params.mesh)
    return _dealt(params.mesh, params[:2], config, tokens, mask, key, count, sampling, capacity)


def _check_edge(mask):
    """Refuses prompts that do not end at the right edge: padding would be gone on from."""
    if mask is None or isinstance(mask, jax.core.Tracer):
        return
    if not np.asarray(mask)[:, -1].all():
        raise errors.DataError(
            "a prompt ends in padding, or is nothing else; pad on the left (`pad_left`), and begin"
            " an empty prompt with <s>."
        )


STAGES, STAGE = 4, 32  # at most so many, and tokens drawn in one at least
STATIC = ("config", "count", "sampling", "capacity")


@functools.partial(jax.jit, static_argnames=STATIC)
def _alone(params, config, tokens, mask, key, count, sampling, capacity):
    with jax.named_scope("layers"):
        weights = _lay(params, config)
    return _generate(weights, config, tokens, mask, key, count, sampling, capacity)


@functools.partial(jax.jit, static_argnames=("mesh", *STATIC))
def _dealt(mesh, weights, config, tokens, mask, key, count, sampling, capacity):
    """Every device with its own rows, without a word to the others."""
    rows, copied = meshes.sharding(mesh, "batch").spec, meshes.PartitionSpec()

    def own(weights, tokens, mask, key):
        first = jax.lax.axis_index(rows[0]) * len(tokens)
        return _generate(weights, config, tokens, mask, key, count, sampling, capacity, first)

    given = copied, rows, rows, copied
    dealt = meshes.shard_map(own, mesh, given, rows, check=False)
    return dealt(weights, tokens, mask, key)


def _generate(weights, config, tokens, mask, key, count, sampling, capacity, first_row=0):
    """`generate` of rows that begin at `first_row` of the batch."""
    batch, time = tokens.shape
    params, layers = weights
    stages = [(count, capacity)] if layers is None else _stages(time, count, capacity)
    cache = model.empty_cache(config, batch, stages[0][1])
    with jax.named_scope("prompt"):
        x, cache = model.hidden(params, config, tokens, mask, cache=cache)
        first = model.logits(params, config, x[:, -1:])[:, 0]
    cache, advance, greedy = _steps(params, layers, config, cache)

    def held(i, logits, out):
        """The logits under the rules that look back."""
        text = jnp.concatenate([tokens.astype(jnp.int32), out], axis=1)
        written = jnp.broadcast_to(jnp.arange(count)[None] < i, out.shape)
        prompt = jnp.ones(tokens.shape, bool) if mask is None else mask.astype(bool)
        there = jnp.concatenate([prompt, written], axis=1)
        if sampling.repetition_penalty != 1:
            logits = rules.penalise(logits, text, there, sampling.repetition_penalty)
        banned = jnp.zeros(logits.shape, bool)
        if sampling.no_repeat:
            banned = rules.repeats(text, there, time + i, sampling.no_repeat, config.vocab)
        if sampling.least and config.eos >= 0:
            banned = banned.at[:, config.eos].max(i < sampling.least)
        return rules.without(logits, banned)

    def draw(i, logits, out, done):
        if sampling.looks_back:
            logits = held(i, logits, out)
        if not sampling.temperature:
            token = sample(None, logits, GREEDY) if sampling.looks_back else greedy(logits)
        else:
            keys = jax.vmap(lambda r: jax.random.fold_in(jax.random.fold_in(key, i), r))(
                first_row + jnp.arange(batch, dtype=jnp.int32)
            )
            one = lambda k, row: sample(k, row[None], sampling)[0]
            token = jax.vmap(one)(keys, logits)
        broken = token >= config.vocab
        token = jnp.where(done, config.pad, jnp.where(broken, -1, token))
        out = jax.lax.dynamic_update_slice(out, token[:, None], dtypes.places(0, i))
        return token, out, done | broken | (token == config.eos)

    def step(carry):
        i, (token, out, done), cache = carry
        logits, cache = advance(token, cache)
        with jax.named_scope("draw"):
            return i + 1, draw(i, logits, out, done), cache

    out = jnp.full((batch, count), config.pad, jnp.int32)
    drawn = draw(jnp.int32(0), first, out, jnp.zeros(batch, bool))
    i = jnp.int32(1)
    for end, room in stages:
        cache = cache if room == cache.mask.shape[1] else decode.grow(cache, room)
        unfinished = lambda carry, end=end: (carry[0] < end) & ~jnp.all(carry[1][2])
        i, drawn, cache = jax.lax.while_loop(unfinished, step, (i, drawn, cache))
    return drawn[1]


def _stages(time, count, capacity):
    """(tokens drawn by its end, capacity of its cache) for every stage of a generation.

    A step reads its whole cache, however little of it is written: so the cache grows in stages.
    """
    stages = max(1, min(STAGES, count // STAGE))
    ends = [-(-count * (i + 1) // stages) for i in range(stages)]
    return [(end, time + end) for end in ends[:-1]] + [(count, capacity)]


_go_on = jax.jit(_generate, static_argnames=STATIC)


def _steps(params, layers, config, cache):
    """(cache, function from last tokens and cache to logits and cache, the likeliest of logits)."""
    if layers is not None:

        def lean(token, cache):
            logits, cache = decode.step(params, layers, config, token, cache)
            return logits.T, cache

        return decode.adopt(cache, config), lean, lambda logits: decode.likeliest(logits.T)

    def whole(token, cache):
        x, cache = model.hidden(params, config, token[:, None], cache=cache)
        return model.logits(params, config, x)[:, 0], cache

    return cache, whole, lambda logits: sample(None, logits, GREEDY)


def pad_left(prompts: Sequence[Sequence[int]], pad: int, *, multiple: int = 1):
    """Prompts of any lengths as (tokens (batch, time) int32, mask), padded on the left.

    Args:
        prompts: token ids; none may be empty.
        pad: id that fills.
        multiple: the width is rounded up to one, so that fewer shapes are compiled.

    Raises:
        DataError: an empty prompt: nothing predicts its first token.
    """
    if any(not len(p) for p in prompts) or not len(prompts):
        raise errors.DataError("a prompt is empty; begin it with <s> (id 1) to generate freely.")
    width = -(-max(map(len, prompts)) // multiple) * multiple
    tokens = np.full((len(prompts), width), pad, np.int32)
    mask = np.zeros((len(prompts), width), bool)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = True
    return jnp.asarray(tokens), jnp.asarray(mask)


def check_drawn(out: np.ndarray) -> None:
    """Refuses what `generate` drew of logits that are NaN.

    Raises:
        DataError: a -1 among the tokens.
    """
    if (out == -1).any():
        raise errors.DataError(
            "the model's logits are NaN; look for parameters that diverged or overflowed."
        )


def complete(
    params: PyTree,
    config: Config,
    tokenizer,
    prompts: Sequence[str],
    *,
    count: int,
    sampling: Sampling = GREEDY,
    key: Key[Array, ""] | None = None,
) -> list[str]:
    """Texts that continue the prompts, without them.

    Raises:
        DataError: a model whose logits are NaN.
    """
    ids = [tokenizer.encode(prompt) or [config.bos] for prompt in prompts]
    tokens, mask = pad_left(ids, config.pad, multiple=16)
    out = generate(params, config, tokens, mask, count=count, sampling=sampling, key=key)
    out = np.asarray(out)
    check_drawn(out)
    return [tokenizer.decode(row) for row in out]
