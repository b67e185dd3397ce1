import dataclasses

import pytest

from experiments import ranges, systems
from fl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Config(ranges.Checked):
    rate: float = 0.5
    seed: int = 0
    axis: int = -1
    sizes: tuple[int, ...] = (2, 1)
    parts: tuple[str, ...] = ("all",)
    name: str = "a"
    on: bool = False
    loss: float = 0.25

    RANGES = ranges.Ranges(
        positive=("rate", "sizes"), share=("loss",), filled=("parts",), signed=("axis",)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": 0.0}, "rate must be above 0, got 0.0"),
        ({"rate": float("nan")}, "rate must be above 0, got nan"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"sizes": (2, 0)}, "sizes must be above 0, got 0"),
        ({"parts": ()}, "parts is empty"),
        ({"loss": 1.5}, "loss is a share, at most 1, got 1.5"),
        ({"loss": -0.5}, "loss must be 0 or more, got -0.5"),
    ],
)
def test_what_is_out_of_range_is_named(change, said):
    Config().check()
    Config(axis=-3, sizes=(), loss=1.0).check()
    with pytest.raises(errors.ConfigError, match=said):
        dataclasses.replace(Config(), **change).check()


@pytest.mark.parametrize("name", systems.NAMES)
def test_every_system_checks_its_config(name):
    presets = systems.module(name, "config").PRESETS
    for config in presets.values():
        config.check()
        fields = {field.name for field in dataclasses.fields(config)}
        assert {named for names in config.RANGES for named in names} <= fields
    for change in ({"seed": -1}, {field(presets["smoke"]): 0}):
        with pytest.raises(errors.ConfigError, match="must be"):
            dataclasses.replace(presets["smoke"], **change).check()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "backdoor",
            {"backdoor_per_batch": 17},
            "backdoor_per_batch of 17 does not fit in a batch",
        ),
        (
            "backdoor",
            {"pixel_per_batch": 17},
            "pixel_per_batch of 17 does not fit in a batch of 16",
        ),
        ("bloom", {"steps": 7}, "7 steps are no multiple of stride 4"),
        ("bloom", {"mixture_alpha": 2.0}, "mixture_alpha is a share, at most 1"),
        ("bloom", {"plan": "chunks"}, "unknown cohort plan 'chunks'; did you mean 'chunk'"),
        ("bloom", {"micro_batches": 4}, "finetune_batch of 2 sequences is no multiple of 4"),
        ("bloom", {"ramp_start": 3, "data": 2}, "ramp_start of 3 sequences is no multiple of 2"),
        ("disks", {"rtol": 10.0}, r"rtol must lie in \[0, 1\), got 10"),
        ("disks", {"disks": 2}, "3 test_folds need as many disks, got 2"),
        ("disks", {"folds": 5}, "5 folds need as many disks to train on, but of 6 disks in 3"),
        ("disks", {"folds": 1}, "folds must be a whole number of 2 or more, got 1"),
        ("disks", {"chains": 1, "chains_samples": 5}, "two chains or more, got chains 1"),
        ("disks", {"data": "spectra"}, "unknown kind of data 'spectra'; did you mean 'spectrum'"),
        ("disks", {"features": ("uvs",)}, "unknown feature 'uvs'; did you mean 'uv'"),
        ("geocoding", {"generated_share": 0.8, "parts_share": 0.7}, "sum to 1.5"),
        ("leakage", {"timeline": (30, 30)}, "got timeline 30 30"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(name, change, said):
    smoke = systems.module(name, "config").PRESETS["smoke"]
    with pytest.raises(errors.ConfigError, match=said):
        dataclasses.replace(smoke, **change).check()


def field(config):
    """A number that no system can do without."""
    known = {f.name for f in dataclasses.fields(config)}
    return next(name for name in ("seeds", "save_every", "epochs") if name in known)
