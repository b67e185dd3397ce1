"""The shape of a BLOOM, the six published ones by name, and how its forward pass is run."""

import dataclasses
import math

from fl_jax.core import errors

REMAT = ("none", "dots", "full")
ALIBI = ("relative", "bf16_key_only")


@dataclasses.dataclass(frozen=True)
class Config:
    """A BLOOM [Le Scao et al. 2022, table 3]. The first block is what a checkpoint fixes."""

    vocab: int = 250_880  # rows of the embedding; the tokenizer has 250,680 pieces
    hidden: int = 1024  # width of the residual stream
    layers: int = 24
    heads: int = 16
    norm_eps: float = 1e-5  # LayerNorm
    length: int = 2048  # tokens of a training sequence; ALiBi sets no limit
    bos: int = 1  # <s>
    eos: int = 2  # </s>, ends every document; -1: nothing does
    pad: int = 3  # <pad>

    dtype: str = "float32"  # of activations and matrices in use: float32 or bfloat16
    attention: str = "auto"  # auto, einsum, blocked, folded, cudnn or splash (fl_jax.nn.attention)
    alibi: str = "relative"  # relative (float32), or bf16_key_only as HF and Megatron round it
    scan: bool = True  # one compiled layer run `layers` times; False unrolls them
    remat: str = "none"  # kept for the backward pass: everything, matrix products, or nothing
    dropout: float = 0.0  # after the embedding and on both residual branches
    attention_dropout: float = 0.0  # on attention weights; einsum attention alone has it

    def __post_init__(self):
        """Refuses what cannot be built.

        Raises:
            ConfigError: a size that is no whole number above 0, heads that do not divide the width,
                a norm_eps below 0 or infinite, a special token that the vocabulary has not, a
                dropout that is not from 0 to below 1, or an unknown choice.
        """
        for name in ("vocab", "hidden", "layers", "heads", "length"):
            errors.whole(name, getattr(self, name), 1)
        if self.hidden % self.heads:
            raise errors.ConfigError(
                f"{self.heads} heads do not divide a hidden width of {self.hidden}; choose heads"
                " that do."
            )
        errors.not_negative("norm_eps", self.norm_eps)
        if math.isinf(self.norm_eps):
            raise errors.ConfigError("norm_eps must be finite, got inf; the published one is 1e-5.")
        for name, least in {"bos": 0, "eos": -1, "pad": 0}.items():
            if not least <= getattr(self, name) < self.vocab:
                raise errors.ConfigError(
                    f"{name} must be a token of the vocabulary, from {least} to {self.vocab - 1},"
                    f" got {getattr(self, name)}."
                )
        errors.below_one("dropout", self.dropout)
        errors.below_one("attention_dropout", self.attention_dropout)
        errors.one_of("dtype", self.dtype, ("float32", "bfloat16", "float64"))
        errors.one_of("alibi", self.alibi, ALIBI)
        errors.one_of("remat", self.remat, REMAT)

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """How many: V h + 2 h + L (12 h^2 + 13 h) + 2 h; the output matrix is the embedding."""
        h = self.hidden
        return self.vocab * h + 4 * h + self.layers * (12 * h * h + 13 * h)

    def flops_per_token(self, length: int | None = None) -> float:
        """Of forward and backward, the causal half of attention and the head counted.

        6 (12 L h^2 + V h) + 6 L h T; what is computed twice (remat, chunked loss) counts once,
        as model FLOPs utilisation wants it.
        """
        h, t = self.hidden, length or self.length
        return 6.0 * (12 * self.layers * h * h + self.vocab * h) + 6.0 * self.layers * h * t


SIZES = {
    "560m": Config(hidden=1024, layers=24, heads=16),
    "1b1": Config(hidden=1536, layers=24, heads=16),
    "1b7": Config(hidden=2048, layers=24, heads=16),
    "3b": Config(hidden=2560, layers=30, heads=32),
    "7b1": Config(hidden=4096, layers=30, heads=32),
    "176b": Config(hidden=14336, layers=70, heads=112),
}


def size(name: str, **changes) -> Config:
    """The published size of this name, with fields changed.

    Example:
        >>> size("560m").parameters
        559214592
        >>> size("176b", dtype="bfloat16").head_dim
        128
    """
    return dataclasses.replace(SIZES[errors.one_of("BLOOM size", name, SIZES)], **changes)
