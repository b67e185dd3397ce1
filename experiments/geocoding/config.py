"""Transformer-based geocoding: free text to a place on Earth [Solaz & Shalumov 2023].

    python -m experiments geocoding                    about 10 minutes on two cores
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
from fl_jax.geocoding.settings import Settings


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked, Settings):
    """One run: data, training, calibration, evaluation beside the baselines."""

    items: str = ""  # file of items as `dump` writes it, or gzip; "" = wikidata-geo's
    rows: int = 0  # items to use at most, the first; 0 = all
    test: int = 2000  # test rows to evaluate at most; 0 = all
    names: int = 2000  # GeoNames names to evaluate alone
    residual: float = 0.001  # posterior mass that may stay unexpanded in the evaluation

    RANGES = ranges.Ranges(
        positive=(
            "threshold", "max_level", "vocab", "width", "heads", "hidden", "encoder_layers",
            "decoder_layers", "length", "batch", "steps", "rate", "names",
            "stride", "save_every",
        ),
        share=("dropout", "generated_share", "parts_share", "residual"),
    )  # fmt: skip

    def check(self) -> None:
        """Refuses numbers out of range, and shares that are more than a batch.

        Raises:
            ConfigError: then.
        """
        super().check()
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
    "mentions": "the places that a text names",
    "batch": "a file of texts: CSV, JSONL or Parquet",
    "score": "a corpus of toponyms in context: the standard geoparsing measures",
    "federated": "trained over users with places of their own, with DP and what an attack finds",
    "dump": "a Wikidata dump to rows with coordinates",
}
