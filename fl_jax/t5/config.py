"""The shape of a T5, the published ones by name."""

import dataclasses

from fl_jax.core import errors

MLPS = ("relu", "gated-gelu")


@dataclasses.dataclass(frozen=True)
class Config:
    """A T5. The defaults are those of T5 v1.0 small [Raffel et al. 2020, section 3.4]."""

    vocab: int = 32_128  # rows of the embedding: 32,000 pieces, 100 sentinels, filled up
    width: int = 512  # d_model
    head_width: int = 64  # d_kv; heads x head_width need not be the width
    heads: int = 8
    hidden: int = 2048  # d_ff
    encoder_layers: int = 6
    decoder_layers: int = 6
    buckets: int = 32  # of relative positions; the encoder has half of them for each direction
    max_distance: int = 128  # tokens; farther ones share the last bucket
    mlp: str = "relu"  # relu (v1.0), or gated-gelu (v1.1, mT5, ByT5)
    tied: bool = True  # v1.0: the head is the embedding, its input scaled by width^-1/2
    norm_eps: float = 1e-6
    dropout: float = 0.0  # after embeddings, sublayers and norms, in the MLP, on weights
    pad: int = 0  # also what decoding starts with
    eos: int = 1
    dtype: str = "float32"  # of activations and matrices in use: float32 or bfloat16

    def __post_init__(self):
        """Refuses what cannot be built.

        Raises:
            ConfigError: a size that is no whole number above 0, distances that need no shared
                bucket, a norm_eps below 0, a dropout that is not from 0 to below 1, a pad that is
                no id, or an unknown choice.
        """
        names = ("vocab", "width", "head_width", "heads", "hidden", "max_distance")
        for name in (*names, "encoder_layers", "decoder_layers"):
            errors.whole(name, getattr(self, name), 1)
        if self.buckets < 4 or self.buckets % 4:
            raise errors.ConfigError(
                f"buckets must be a multiple of 4, got {self.buckets}: half of them are exact"
                " distances, and the encoder halves them again for the two directions."
            )
        if self.max_distance <= self.buckets // 2:  # the decoder's exact ones
            raise errors.ConfigError(
                f"max_distance must be above {self.buckets // 2}, the distances that {self.buckets}"
                f" buckets tell apart, got {self.max_distance}; choose fewer buckets."
            )
        errors.not_negative("norm_eps", self.norm_eps)
        errors.below_one("dropout", self.dropout)
        if not 0 <= self.pad < self.vocab:
            raise errors.ConfigError(
                f"pad, with which decoding starts, is an id from 0 to {self.vocab - 1}, got"
                f" {self.pad}."
            )
        errors.one_of("mlp", self.mlp, MLPS)
        errors.one_of("dtype", self.dtype, ("float32", "bfloat16", "float64"))

    @property
    def parameters(self) -> int:
        """How many.

        Example:
            >>> Config().parameters
            60506624
        """
        inner = self.heads * self.head_width
        attention = 4 * self.width * inner + self.width
        mlp = (2 if self.mlp == "relu" else 3) * self.width * self.hidden + self.width
        bias = self.buckets * self.heads
        encoder = self.encoder_layers * (attention + mlp) + bias + self.width
        decoder = self.decoder_layers * (2 * attention + mlp) + bias + self.width
        tables = (1 if self.tied else 2) * self.vocab * self.width
        return tables + encoder + decoder


def _v11(width, hidden, layers, heads, **more) -> Config:
    settings = {"mlp": "gated-gelu", "tied": False, **more}
    return Config(
        width=width,
        hidden=hidden,
        heads=heads,
        **{"encoder_layers": layers, "decoder_layers": layers, **settings},
    )


SIZES = {
    "small": Config(),
    "base": Config(width=768, hidden=3072, heads=12, encoder_layers=12, decoder_layers=12),
    "large": Config(width=1024, hidden=4096, heads=16, encoder_layers=24, decoder_layers=24),
    "v1.1-small": _v11(512, 1024, 8, 6),
    "v1.1-base": _v11(768, 2048, 12, 12),
    "v1.1-large": _v11(1024, 2816, 24, 16),
    # ByT5 [Xue et al. 2022]: 3 special ids, 256 bytes, 125 sentinels; the encoder is the deep one
    "byte-small": _v11(1472, 3584, 12, 6, vocab=384, decoder_layers=4),
}
BYTE_OFFSET = 3  # byte b of a text is id b + 3 in a byte-level T5


def size(name: str, **changes) -> Config:
    """The published shape of this name, with fields changed.

    Example:
        >>> size("base").parameters
        222903552
    """
    return dataclasses.replace(SIZES[errors.one_of("T5 size", name, SIZES)], **changes)


def encode_bytes(text: str) -> list[int]:
    """The ids of a text for a byte-level T5, with the end mark.

    Example:
        >>> encode_bytes("ab")
        [100, 101, 1]
    """
    return [b + BYTE_OFFSET for b in text.encode("utf-8")] + [1]
