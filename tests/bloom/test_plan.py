"""The dry run: bytes of state are exact, nothing is allocated, axes must divide."""

import pytest

from fl_jax.bloom import plan
from fl_jax.bloom.config import Config
from fl_jax.core import errors

CONFIG = Config(vocab=64, hidden=32, layers=2, heads=4, length=16)


def test_a_plan_counts_the_state_of_one_device():
    split = plan.make(CONFIG, devices=8, fsdp=4, tensor=2, batch=4)
    # float32 parameters and two moments, matrices over all devices; norms and biases are copied.
    assert 12 * CONFIG.parameters / 8 < split.state_bytes < 12 * CONFIG.parameters / 6
    assert split.mesh == {"data": 1, "fsdp": 4, "tensor": 2}
    assert split.flops == CONFIG.flops_per_token(16) * 64
    assert {"all-gather", "all-reduce"} & set(split.collectives)
    text = plan.render("tiny", split)
    assert "8 devices (data 1 x fsdp 4 x tensor 2)" in text


def test_results_of_one_kind_add_up():
    program = """
      %a = f32[8,4]{1,0} all-gather(%b), dimensions={0}
      %c = (bf16[2]{0}, f32[3]{0}) all-reduce(%d, %e), to_apply=%sum
      %f = bf16[16]{0} all-gather-start(%g), dimensions={0}
      %h = f32[8]{0} add(%i, %j)"""
    assert plan.collectives(program) == {"all-gather": (2, 128 + 32), "all-reduce": (1, 4 + 12)}


def test_axes_must_divide():
    with pytest.raises(errors.ConfigError, match="does not divide 8 devices"):
        plan.make(CONFIG, devices=8, fsdp=3)
    with pytest.raises(errors.ConfigError, match="batch of 3 sequences cannot be split over 4"):
        plan.make(CONFIG, devices=4, fsdp=4, batch=3)


@pytest.mark.parametrize(
    "given",
    [{"devices": 0}, {"fsdp": 0}, {"tensor": -1}, {"batch": -2}, {"batch": 0}, {"length": -5}],
)
def test_what_is_not_above_zero_is_refused(given):
    ((name, value),) = given.items()
    with pytest.raises(errors.ConfigError, match=f"{name} must be above 0, got {value}"):
        plan.make(CONFIG, **{"devices": 8, **given})
