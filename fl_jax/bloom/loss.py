"""What BLOOM and BLOOMZ are trained on: batches, weights of tokens, losses.

A batch is a dictionary: `tokens` (B, T + 1) int32, inputs and, shifted by one, labels; and, as
the data has them, `segments` (B, T + 1) ids of packed documents with 0 for padding, and `spans`
(B, T + 1) ids of target spans with 0 for what is not a target (prompts, padding); a federated
client's batches have `mask` (B,), 0 for rows that only fill up its last one.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.bloom import model
from fl_jax.bloom.config import Config
from fl_jax.core import errors
from fl_jax.core.types import Array, Float, Int, PyTree
from fl_jax.nn import chunked_loss
from fl_jax.train import accumulate

NORMS = ("token", "span")


def token_weights(batch: dict[str, Array]) -> Float[Array, "batch time"]:
    """Weight of each label in the mean over tokens; they add up to 1 over the batch.

    A label counts if it is no padding, if it is a target where the batch has spans, and if it
    belongs to the document of the token before it: nothing predicts the first token of a
    document. Pretraining batches have no segments, and there every label counts.
    """
    counted = _counted(batch)
    return counted / jnp.maximum(jnp.sum(counted), 1)


def span_weights(batch: dict[str, Array]) -> Float[Array, "batch time"]:
    """Weight of each label in BLOOMZ's loss; they add up to 1 over the batch.

    Every target span has the same weight, shared equally by its n tokens: 1 / (n * spans)
    [Megatron-DeepSpeed t0loading, finetune_t0.py]. Spans are told apart by their ids, so
    adjacent ones stay two, and the normalisation is over the whole batch that is given.
    """
    counted = _counted(batch)
    ids = batch["spans"][:, 1:]
    share = span_shares(ids, counted)
    spans = jnp.sum(share)
    return share / jnp.where(spans > 0, spans, 1)


def span_shares(
    ids: Int[Array, "batch time"], counted: Float[Array, "batch time"]
) -> Float[Array, "batch time"]:
    """1 / (tokens of the span) for counted tokens, 0 elsewhere.

    Args:
        ids: span of each token, 0 for none; equal ids of one row are one span. They are below
            the row's length.
        counted: 1 for tokens that count.

    Example:
        >>> import jax.numpy as jnp
        >>> ids = jnp.array([[0, 0, 0, 1, 1, 0, 0, 2, 0, 0, 3, 3, 3]])
        >>> shares = span_shares(ids, (ids > 0).astype(jnp.float32))[0]
        >>> [round(float(share), 2) for share in shares[3:]]
        [0.5, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.33, 0.33, 0.33]
    """

    def row(ids, counted):
        size = jnp.zeros(ids.shape[0] + 1, counted.dtype).at[ids].add(counted)
        return counted / jnp.maximum(size[ids], 1)

    return jax.vmap(row)(ids, counted)


def _counted(batch) -> Float[Array, "batch time"]:
    tokens = batch["tokens"]
    counted = jnp.ones((tokens.shape[0], tokens.shape[1] - 1), bool)
    if "segments" in batch:
        segments = batch["segments"]
        counted &= (segments[:, 1:] > 0) & (segments[:, 1:] == segments[:, :-1])
    if "spans" in batch:
        counted &= batch["spans"][:, 1:] > 0
    if "mask" in batch:
        counted &= batch["mask"][:, None] > 0
    return counted.astype(jnp.float32)


def weights(batch: dict[str, Array], norm: str, parts: int = 1) -> Float[Array, "batch time"]:
    """Weights of the labels, adding up to 1 over the batch.

    Args:
        norm: `token` (pretraining), or `span` (BLOOMZ).
        parts: > 1 normalises in each micro-batch of `train.accumulate` and averages these, as
            the published runs did; 1 normalises over the whole batch.

    Raises:
        ConfigError: an unknown norm; span weights of a batch without spans; parts that do not
            divide the batch.
    """
    errors.one_of("loss normalisation", norm, NORMS)
    if norm == "span" and "spans" not in batch:
        raise errors.ConfigError(
            "the span loss needs the ids of target spans in the batch; pack prompted examples,"
            " or use the token loss."
        )
    function = token_weights if norm == "token" else span_weights
    if parts == 1:
        return function(batch)
    rows = batch["tokens"].shape[0]
    if rows % parts:
        raise errors.ConfigError(f"{parts} micro-batches do not divide a batch of {rows} rows.")
    each = jax.vmap(function)(accumulate.split(batch, parts)) / parts
    return accumulate.join(each)


def make(
    config: Config,
    *,
    norm: str = "token",
    chunk: int | None = None,
    valid: int | None = None,
    forward: Callable = model.hidden,
) -> Callable:
    """The loss for `fl_jax.train.step`.

    Args:
        config: the model's; `dropout` is on if it is above 0.
        norm: `token` or `span`; used where the batch does not bring `weights` (B, T) itself.
        chunk: tokens of a sequence whose logits exist at once (`nn.chunked_loss`).
        valid: rows of the vocabulary that take part; None = all, as HF.
        forward: what turns (params, config, tokens, segments=, key=) into states.

    Returns:
        loss(variables, batch, key) -> (loss, (batch_stats, {})).
    """
    random = config.dropout > 0 or config.attention_dropout > 0

    def loss(variables, batch, key):
        params, batch_stats = variables
        weight = batch["weights"] if "weights" in batch else weights(batch, norm)
        total = _summed(
            params, config, batch, weight, key if random else None, forward, chunk, valid
        )
        return total, (batch_stats, {})

    return loss


def _summed(params, config, batch, weight, key, forward, chunk, valid):
    tokens, segments = batch["tokens"], batch.get("segments")
    if segments is not None:
        segments = segments[:, :-1]
    x, _ = forward(params, config, tokens[:, :-1], segments=segments, key=key)
    with jax.named_scope("head"):
        table = params["embedding"]["table"].astype(x.dtype)
        return chunked_loss.summed(x, table, tokens[:, 1:], weight, chunk=chunk, valid=valid)


@functools.partial(jax.jit, static_argnames=("config", "chunk", "valid"))
def log_likelihoods(
    params: PyTree,
    config: Config,
    tokens: Int[Array, "batch time"],
    segments: Int[Array, "batch time"] | None = None,
    *,
    chunk: int | None = None,
    valid: int | None = None,
) -> Float[Array, "batch time-1"]:
    """log p(token | tokens before it) of every token but the first, float32.

    What membership attacks, perplexities and rank evaluation are made of.
    """
    inputs = None if segments is None else segments[:, :-1]
    x, _ = model.hidden(params, config, tokens[:, :-1], segments=inputs)
    table = params["embedding"]["table"].astype(x.dtype)
    return -chunked_loss.per_token(x, table, tokens[:, 1:], chunk=chunk, valid=valid)


@functools.partial(jax.jit, static_argnames="config")
def likeliest(
    params: PyTree, config: Config, tokens: Int[Array, "batch time"]
) -> Int[Array, "batch time-1"]:
    """What greedy decoding would put in the place of every token but the first."""
    x, _ = model.hidden(params, config, tokens[:, :-1])
    # Place by place: the logits of all of them would outweigh the model.
    best = lambda place: jnp.argmax(model.logits(params, config, place[:, None]), -1)[:, 0]
    return jax.lax.map(best, x.swapaxes(0, 1)).T


def per_example_gradients(loss: Callable, variables, batch: dict[str, Array], key) -> PyTree:
    """The gradient of each row's own loss, stacked: what DP-SGD clips.

    Each row is a batch of one, so its weights add up to 1 within itself.
    """

    def of_one(row, index):
        one = jax.tree.map(lambda a: a[None], row)
        own = jax.random.fold_in(key, index)
        return jax.grad(lambda p: loss(variables._replace(params=p), one, own)[0])(variables.params)

    count = batch["tokens"].shape[0]
    return jax.vmap(of_one)(batch, jnp.arange(count))
