import pytest

from algorithmic.disks import families
from fl_jax.core import errors


@pytest.mark.parametrize("family", families.FAMILIES)
def test_draws_are_a_prefix_of_longer_draws_and_stay_in_range(family):
    few, many = (families.draw(family, n, seed=3) for n in (3, 16))
    assert few == many[:3]
    assert few != families.draw(family, 3, seed=4)
    for name, (low, high, _) in families.FAMILIES[family].ranges.items():
        values = [
            d["mass_gas"] / d["mass_star"] if name == "gas_to_star" else d[name] for d in many
        ]
        assert low <= min(values) < max(values) <= high


def test_families_give_the_same_parameters():
    wide, published = (families.draw(f, 8, seed=0) for f in ("wide", "published"))
    assert set(wide[0]) == set(published[0])
    by_mass = sorted(published, key=lambda one: one["mass_star"])
    temperatures = [one["t_mid"] for one in by_mass]
    assert temperatures == sorted(temperatures)


def test_the_midplane_reprocesses_what_enters():
    complete = families.FAMILIES["published"].complete
    sun = complete({"mass_star": 2.3 ** (-1 / 1.5), "gas_to_star": 0.01, "r_c": 50.0})  # 1 L_sun
    # 278.6 K is what a sphere in full sunlight has at 1 au: sigma T^4 = L / (16 pi r^2).
    assert sun["t_mid"] == pytest.approx(278.6 * (2 * families.GRAZING) ** 0.25, rel=2e-3)


def test_an_unknown_family_is_refused():
    with pytest.raises(errors.ConfigError, match="unknown family 'narrow'"):
        families.draw("narrow", 2, seed=0)
