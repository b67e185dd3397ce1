"""How a geocoder is trained: partition, tokenizer, network, steps. Nothing here imports JAX."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """The defaults train on 31,000 texts in four minutes on two cores."""

    seed: int = 0
    threshold: int = 700  # training points that split a cell; the paper has 5,000 of 8 million
    max_level: int = 9  # of cells; the paper has 8
    vocab: int = 6000  # tokens of texts
    width: int = 128  # of the T5; t5-base has 768 [paper]
    heads: int = 4
    hidden: int = 256
    encoder_layers: int = 2
    decoder_layers: int = 2
    dropout: float = 0.0
    length: int = 32  # tokens of a text in training; the paper cuts at 512
    batch: int = 64  # texts of a step
    steps: int = 640
    rate: float = 2e-3  # peak, falling along a cosine
    warmup: int = 50  # steps
    weight_decay: float = 0.01  # [paper]
    generated: int = 30_000  # texts made from the gazetteer
    generated_share: float = 0.25  # of a batch
    parts_share: float = 0.25  # of a batch: description or label alone
    stride: int = 10  # steps between two rows of metrics.jsonl
    save_every: int = 200  # steps between checkpoints
