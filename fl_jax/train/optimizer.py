"""One optimizer factory for every system: clients, servers, language models, reasoners."""

import dataclasses
import math
from collections.abc import Callable

import jax
import optax

from fl_jax.core import errors, tree
from fl_jax.core.types import PyTree
from fl_jax.train import schedule as schedules

NAMES = ("sgd", "adam", "adamw", "adagrad", "yogi", "adafactor", "lion", "muon")
CONSTANT = schedules.Schedule()


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer as plain values; defaults are Adam's (yogi and lion name others)."""

    name: str = "sgd"  # sgd, adam, adamw, adagrad, yogi, adafactor, lion or muon
    rate: float = 0.1  # peak learning rate; adafactor: as a share of each leaf's RMS
    momentum: float = 0.0  # sgd and muon: heavy-ball coefficient; 0 is muon's 0.95
    b1: float = 0.9  # adam, adamw, yogi, lion, muon's AdamW: decay of the first moment
    b2: float = 0.999  # adam, adamw, yogi, lion, muon's AdamW: decay of the second moment
    eps: float = 1e-8  # adam, adamw, yogi, adagrad, muon: added to the root of the second moment
    weight_decay: float = 0.0  # sgd: added to the gradient (L2); the others: decoupled
    clip_norm: float = 0.0  # bound on the norm of the whole gradient; 0 = none
    schedule: schedules.Schedule = CONSTANT


def decay_matrices(params: PyTree) -> PyTree:
    """The usual decay mask: True for leaves of two and more axes, so no bias, no norm scale."""
    return jax.tree.map(lambda p: p.ndim >= 2, params)


def make(
    config: Optimizer,
    *,
    decay_mask: Callable[[PyTree], PyTree] | None = None,
    rate: optax.Schedule | None = None,
    muon_dimensions: Callable[[PyTree], PyTree] | None = None,
) -> optax.GradientTransformation:
    """The optimizer as optax's pair of pure functions; moments are float32 at least.

    Adafactor [Shazeer and Stern 2018, algorithms 4 and 5] takes a leaf for a matrix: it factors
    the two longest axes where both have 128 entries or more, and clips and scales the leaf whole,
    layers that are stacked in it together.

    Args:
        config: what to make.
        decay_mask: params -> tree of bool, which leaves are decayed; None decays all of them.
        rate: step -> learning rate, in place of `config.rate` and `config.schedule`, for rates
            that follow something else than steps (samples seen, with a batch that grows).
        muon_dimensions: params -> tree of `optax.contrib.MuonDimensionNumbers` (None: that leaf
            takes AdamW), for matrices of more than two axes; None takes all plain matrices.

    Raises:
        ConfigError: an unknown name; a rate that is not above 0 or not finite; a momentum, b1 or b2
            outside [0, 1); eps, weight_decay or clip_norm below 0; a decay with an optimizer that
            has none.

    Example:
        >>> import jax.numpy as jnp
        >>> opt = make(Optimizer("sgd", rate=0.5))
        >>> updates, _ = opt.update(jnp.ones(2), opt.init(jnp.zeros(2)))
        >>> print(updates)
        [-0.5 -0.5]
    """
    errors.one_of("optimizer", config.name, NAMES)
    errors.positive("learning rate", config.rate)
    if math.isinf(config.rate):
        raise errors.ConfigError("learning rate must be finite, got inf.")
    for field in ("momentum", "b1", "b2"):
        errors.below_one(field, getattr(config, field))
    for field in ("eps", "weight_decay", "clip_norm"):
        errors.not_negative(field, getattr(config, field))
    if rate is None:
        rate = schedules.make(config.schedule, config.rate)
        constant = config.schedule == CONSTANT
    else:
        constant = False
    if constant:
        rate = config.rate  # a plain number: no step counter in the state
    decay = share = config.weight_decay
    # For those of optax whose own decay is another: the rate's share of a parameter, as elsewhere.
    shrunk = share * rate if constant else lambda step: share * rate(step)
    moments = {"b1": config.b1, "b2": config.b2}
    if config.name == "sgd":
        base = optax.sgd(rate, momentum=config.momentum or None)
        if decay:
            base = optax.chain(optax.add_decayed_weights(decay, decay_mask), base)
        decay = 0.0
    elif config.name == "adam":
        base = optax.adam(rate, **moments, eps=config.eps)
    elif config.name == "adamw":
        base = optax.adamw(rate, **moments, eps=config.eps, weight_decay=decay, mask=decay_mask)
        decay = 0.0
    elif config.name == "adagrad":
        base = optax.adagrad(rate, initial_accumulator_value=0.0, eps=config.eps)
    elif config.name == "yogi":
        base = optax.yogi(rate, **moments, eps=config.eps)
    elif config.name == "adafactor":
        base = optax.adafactor(
            rate, weight_decay_rate=shrunk if decay else None, weight_decay_mask=decay_mask
        )
        decay = 0.0
    elif config.name == "lion":
        base = optax.lion(rate, **moments, weight_decay=decay, mask=decay_mask)
        decay = 0.0
    else:
        base = optax.contrib.muon(
            rate,
            beta=config.momentum or 0.95,
            eps=config.eps,
            adam_b1=config.b1,
            adam_b2=config.b2,
            muon_weight_dimension_numbers=muon_dimensions,
        )
        if decay:  # behind it, since its AdamW knows no mask
            less = -shrunk if constant else lambda step: -shrunk(step)
            base = optax.chain(base, optax.add_decayed_weights(less, decay_mask))
        decay = 0.0
    if decay:
        raise errors.ConfigError(
            f"weight decay with {config.name} is not defined here (got {decay}); use adamw,"
            " lion, muon or sgd, or set weight_decay to 0."
        )
    if config.clip_norm:
        base = optax.chain(optax.clip_by_global_norm(config.clip_norm), base)
    return _promoting(base)


def _promoting(base: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same where the user runs JAX with strict promotion, which optax does not.

    Narrow floats are taken as float32, and so are their moments: 0.999 of a bfloat16 is itself, so
    that a second moment which is kept in one never falls.
    """

    def update(updates, state, params=None, **extra):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            found, state = base.update(tree.wide(updates), state, tree.wide(params), **extra)
        return tree.cast(found, updates), state

    return optax.GradientTransformationExtraArgs(
        lambda params: base.init(tree.wide(params)), update
    )
