"""Transformer-based geocoding: free text to a place on Earth [Solaz & Shalumov 2023].

    python -m experiments geocoding                    about 7 minutes on two cores
    python -m experiments geocoding --preset smoke     seconds, without a data folder too
    python -m experiments geocoding --items FILE       on other items, such as `dump` writes
    python -m experiments geocoding serve RUN          the service and its map
    python -m experiments geocoding text RUN "..."     one text
    python -m experiments geocoding batch RUN IN OUT   a CSV, JSONL or Parquet file
    python -m experiments geocoding federated          users, DP-FedAvg, an attack

What is expected is in RESULTS.md beside this file.
"""

import dataclasses

from experiments import ranges
from fl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Config:
    """One run: partition, phrases, training, calibration, evaluation beside the baselines."""

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
    items: str = ""  # file of items as `dump` writes it, or gzip; "" = wikidata-geo's
    rows: int = 0  # items to use at most, the first; 0 = all
    test: int = 2000  # test rows to evaluate at most; 0 = all
    names: int = 2000  # GeoNames names to evaluate alone
    residual: float = 0.001  # posterior mass that may stay unexpanded in the evaluation
    stride: int = 10  # steps between two rows of metrics.jsonl
    save_every: int = 200  # steps between checkpoints

    def check(self) -> None:
        """Refuses numbers out of range, and shares that are more than a batch.

        Raises:
            ConfigError: then.
        """
        ranges.check(
            self,
            positive=(
                "threshold", "max_level", "vocab", "width", "heads", "hidden", "encoder_layers",
                "decoder_layers", "length", "batch", "steps", "rate", "generated", "names",
                "stride", "save_every",
            ),
            share=("dropout", "generated_share", "parts_share", "residual"),
        )  # fmt: skip
        if self.generated_share + self.parts_share > 1:
            raise errors.ConfigError(
                f"generated_share and parts_share are of one batch, but sum to"
                f" {self.generated_share + self.parts_share:g}; lower one."
            )


SMALL = Config()
SMOKE = Config(
    threshold=60, max_level=5, vocab=600, width=32, heads=2, hidden=64, encoder_layers=1,
    decoder_layers=1, length=24, batch=16, steps=20, warmup=2, generated=300, rows=300, test=60,
    names=40, save_every=10,
)  # fmt: skip
PAPER = Config(
    threshold=5000, max_level=8, vocab=32_000, width=768, heads=12, hidden=3072,
    encoder_layers=12, decoder_layers=12, dropout=0.1, length=128, batch=256, steps=100_000,
    rate=5e-4, warmup=2000, generated=1_000_000, stride=100, save_every=5000, test=0,
)  # fmt: skip

PRESETS = {"smoke": SMOKE, "small": SMALL, "paper": PAPER}
COMMANDS = {
    "serve": "the service and its map page",
    "calibrate": "calibrates a geocoder on the development items and writes it back",
    "evaluate": "every table of a run, for a geocoder as it is",
    "text": "one text",
    "batch": "a file of texts: CSV, JSONL or Parquet",
    "score": "a corpus of toponyms in context: the standard geoparsing measures",
    "federated": "trained over users with places of their own, with DP and what an attack finds",
    "dump": "a Wikidata dump to rows with coordinates",
}
