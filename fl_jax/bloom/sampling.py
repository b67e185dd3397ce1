"""How the next token is drawn: rules on the logits, and what may be drawn of them."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fl_jax.bloom import rules
from fl_jax.core import errors
from fl_jax.core.types import Array, Bool, Float, Int, Key


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; the default is greedy."""

    temperature: float = 0.0  # 0: the likeliest token
    top_k: int = 0  # only the k likeliest; 0 = all
    top_p: float = 1.0  # only the likeliest that hold this probability together
    min_p: float = 0.0  # only those with this share of the likeliest one's probability
    typical_p: float = 1.0  # only the most typical that hold this probability together
    repetition_penalty: float = 1.0  # theta of CTRL, on what prompt and answer have; 1 = none
    no_repeat: int = 0  # no run of so many tokens twice, the prompt's included; 0 = any
    least: int = 0  # tokens before the model may end
    # Your own, the last of all: (logits (rows, vocab), text (rows, time), there (rows, time),
    # tokens drawn so far) -> logits; pure, text and there as for `rules.penalise`. Another
    # function, or a lambda made anew, is another program to compile.
    rule: Callable | None = None

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
        for name in ("top_p", "typical_p"):
            if not 0 < getattr(self, name) <= 1:
                raise errors.ConfigError(
                    f"{name} must be above 0 and at most 1, got {getattr(self, name)}; 1 keeps all"
                    " tokens."
                )

    @property
    def looks_back(self) -> bool:
        """Whether the next token depends on the text in another way than through the model."""
        own = self.rule is not None
        return own or self.repetition_penalty != 1 or self.no_repeat > 0 or self.least > 0


GREEDY = Sampling()


def sample(
    key: Key[Array, ""] | None, logits: Float[Array, "batch vocab"], sampling: Sampling
) -> Int[Array, " batch"]:
    """One token for each row of logits, of those that are `kept`.

    The rules that look back are not applied here, where no text is (`hold`). A row of NaN gives
    `vocab`, no id.
    """
    broken = jnp.isnan(logits).any(axis=-1)
    known = lambda token: jnp.where(broken, logits.shape[-1], token).astype(jnp.int32)
    if not sampling.temperature:
        return known(jnp.argmax(logits, axis=-1))
    return known(jax.random.categorical(key, kept(logits, sampling), axis=-1))


def kept(logits: Float[Array, "batch vocab"], sampling: Sampling) -> Float[Array, "batch vocab"]:
    """Logits over the temperature, up to a constant, -inf where nothing may be drawn.

    Top-k is applied before top-p [Holtzman et al. 2020], then min-p [Nguyen et al. 2024], and
    typical-p [Meister et al. 2023] last. All that are as likely, or as typical, as the last of
    those kept stay; so does the likeliest token, if not for typical-p.
    """
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
            inside = jnp.where(before < sampling.top_p, ordered, jnp.inf)
            least = jnp.maximum(least, jnp.min(inside, axis=-1))
        logits = jnp.where(logits < least[:, None], -jnp.inf, logits)
    if sampling.min_p:
        logits = jnp.where(logits < math.log(sampling.min_p), -jnp.inf, logits)
    return typical(logits, sampling.typical_p) if sampling.typical_p < 1 else logits


def typical(logits: Float[Array, "batch vocab"], mass: float) -> Float[Array, "batch vocab"]:
    """-inf but where surprise is nearest to the entropy, in tokens that hold `mass` together.

    References:
        Meister et al. 2023, "Locally Typical Sampling", section 4.
    """
    logs = jax.nn.log_softmax(logits, axis=-1)
    p = jnp.exp(logs)
    entropy = -jnp.sum(jnp.where(p > 0, p * logs, 0.0), axis=-1, keepdims=True)
    strange = jnp.abs(-logs - entropy)
    order = jnp.argsort(strange, axis=-1)
    held = jnp.cumsum(jnp.take_along_axis(p, order, axis=-1), axis=-1)
    last = jnp.sum(held < mass, axis=-1, keepdims=True)  # all of them where rounding holds less
    last = jnp.take_along_axis(order, jnp.minimum(last, logits.shape[-1] - 1), axis=-1)
    return jnp.where(strange > jnp.take_along_axis(strange, last, axis=-1), -jnp.inf, logits)


def hold(
    sampling: Sampling,
    logits: Float[Array, "batch vocab"],
    text: Int[Array, "batch time"],
    there: Bool[Array, "batch time"],
    room: int,
    i: Int[Array, ""],
    eos: int,
) -> Float[Array, "batch vocab"]:
    """The logits under the rules that look back, in the order of transformers.

    Args:
        sampling: which rules.
        logits: of the next token, or their logarithms of probabilities.
        text: prompts, and behind them `room` places, of which `i` are written.
        there: False in padding and where nothing is written.
        room: tokens to add.
        i: tokens added so far.
        eos: the end mark; below 0 there is none.
    """
    if sampling.repetition_penalty != 1:
        logits = rules.penalise(logits, text, there, sampling.repetition_penalty)
    banned = jnp.zeros(logits.shape, bool)
    if sampling.no_repeat:
        length = text.shape[1] - room + i
        banned = rules.repeats(text, there, length, sampling.no_repeat, logits.shape[1])
    if sampling.least and eos >= 0:
        banned = banned.at[:, eos].max(i < sampling.least)
    logits = rules.without(logits, banned)
    return logits if sampling.rule is None else sampling.rule(logits, text, there, i)
