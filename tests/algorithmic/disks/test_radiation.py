import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.disks import (
    bdf,
    chemistry,
    hand,
    ionisation,
    model,
    network,
    population,
    radiation,
    shielding,
    structure,
)
from fl_jax.core import errors
from fl_jax.data import sources

DATA = sources.folder("astrochem")
LOW = [-15.428, -15.923, -16.287, -16.540, -16.715, -16.927, -17.345, -18.497, -24.523]
HIGH = [-14.548, -14.967, -15.335, -15.737, -16.119, -16.470, -17.087, -18.461, -24.615]


def test_cosmic_rays_of_padovani():
    n = np.arange(19.0, 28.0)
    for name, wanted in (("L", LOW), ("H", HIGH)):
        found = np.log10(ionisation.cosmic_rays(n, name, floor=0.0))
        np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert ionisation.cosmic_rays(27.0) > 1.4e-22
    with pytest.raises(errors.ConfigError, match="cosmic-ray model"):
        ionisation.cosmic_rays(20.0, "M")


def test_x_rays_at_and_between_the_points_of_the_table():
    with jax.enable_x64(True):
        rate = lambda n, t: float(ionisation.x_rays(jnp.asarray(n), jnp.log10(t), 1.0))
        assert rate(22.0, 1e7) == pytest.approx(3.7e-13)
        assert rate(18.0, 3e6) == pytest.approx(4.8e-11)  # held
        assert rate(22.5, 1e7) == pytest.approx(np.sqrt(3.7e-13 * 9.6e-15))
        assert rate(26.0, 1e7) == pytest.approx(8.6e-22**2 / 4.5e-17)  # extrapolated


def test_self_shielding_of_hydrogen():
    with jax.enable_x64(True):
        assert float(shielding.h2(jnp.asarray(0.0))) == pytest.approx(1.0, abs=1e-3)
        x = 1e20 / 5e14
        wanted = 0.965 / (1 + x) ** 2 + 0.035 / np.sqrt(1 + x) * np.exp(-8.5e-4 * np.sqrt(1 + x))
        assert float(shielding.h2(jnp.asarray(1e20))) == pytest.approx(wanted)


@pytest.mark.data("astrochem")
def test_shielding_tables():
    with jax.enable_x64(True):
        co = shielding.read_table(DATA / "shielding" / "co_shielding.csv")
        at = lambda a, b: float(shielding.theta(co, 50.0, a, b))
        cases = ((1e15, 1e15, 0.4373), (1e15, 1e17, 0.01418), (1e20, 1e16, 0.03287),
                 (1e22, 1e17, 1.097e-5))  # fmt: skip
        for h2, own, wanted in cases:
            assert at(h2, own) == pytest.approx(wanted, rel=1e-3)
        assert at(1e10, 1e5) == pytest.approx(at(1e15, 1e10))  # clamped
        coarse = shielding.coarse_co()
        for h2, own, _ in cases:
            got = float(shielding.theta(coarse, 50.0, h2, own))
            assert abs(np.log10(got / at(h2, own))) < 0.02
        n2 = radiation.Tables.load(str(DATA / "shielding")).n2
        assert float(shielding.theta(n2, 50.0, 1e14, 1e16)) == pytest.approx(0.04292, rel=1e-3)


def test_columns_and_a_small_disk():
    disk, light = structure.Disk(mass_gas=1e-2), radiation.Light()
    grid = radiation.make_grid(disk, light, np.geomspace(5, 200, 4), radiation.heights(4))
    assert (np.diff(grid.up, axis=1) > 0).all() and (np.diff(grid.star, axis=0) >= 0).all()
    np.testing.assert_allclose(grid.av_up, grid.up * 5.34e-22)
    dark = radiation.make_grid(disk, light._replace(l_x=0.0), grid.r, grid.height)
    np.testing.assert_allclose(grid.zeta_cr, dark.zeta)
    assert (grid.zeta[:, 0] > 2 * grid.zeta_cr[:, 0]).all()
    net = hand.co_h2()
    found = model.solve(net, population.start(net), grid, threads=1)  # with tables of no files
    assert found.converged[found.solved].all()
    co = found.x[:, :, net.index("CO")]
    assert co[1, -1] > 1e-4 > co[1, 0]  # carbon is in CO at the midplane, not high up
    shade = model.Shade(net, grid)
    for front in range(7):
        i = np.arange(max(0, front - 3), min(4, front + 1))
        up, _ = shade.columns(i, front - i)
        shade.add(i, front - i, found.x)
    lowest = up["CO"][-1]  # of the outer midplane cell
    assert 0 < lowest < 1.5e-4 * grid.up[3, 3]


def test_a_network_with_nitrogen_asks_for_the_table_of_its_shielding():
    grid = radiation.make_grid(
        structure.Disk(), radiation.Light(), np.geomspace(5, 50, 2), radiation.heights(2)
    )
    net = network.build([network.Reaction(("N", "N"), ("N2",), "arrhenius", 1e-20)])
    with pytest.raises(errors.ConfigError, match="the network has N2, whose shielding needs"):
        model.solve(net, network.abundances(net, {"N": 1.0}), grid)


def test_gas_too_thin_to_be_solved_shades_nothing():
    # Left at its molecular start, it would shield the first cell below by four orders of magnitude.
    disk, light = structure.Disk(mass_gas=1e-3), radiation.Light(chi_star=1e3)
    grid = radiation.make_grid(disk, light, np.geomspace(5, 50, 3), radiation.heights(8))
    net, tables = hand.co_h2(), radiation.Tables.load()
    start = population.start(net)
    thinnest = 1e5
    found = model.solve(net, start, grid, tables=tables, threads=1, thinnest=thinnest)
    assert (found.solved == (grid.density > thinnest)).all() and not found.solved.all()
    i, j = 1, int(found.solved[1].argmax())
    assert j > 0 and not found.solved[0, j]  # nothing solved on the way to either light
    none = dict.fromkeys(radiation.SHIELDED, np.zeros(1))
    cell = radiation.conditions(grid, np.array([i]), np.array([j]), none, none, tables)
    alone = chemistry.integrate(
        net, start, cell, [1e6], threads=1, options=bdf.Options(rtol=1e-4, atol=1e-18)
    )
    h2 = net.index("H2")
    np.testing.assert_allclose(found.x[i, j, h2], alone.x[0, 0, h2], rtol=1e-3)
    # All gas that matters is solved unless told otherwise.
    whole = model.solve(net, start, grid, tables=tables, threads=1)
    assert (whole.solved == (grid.density > 1)).all()


def test_grids_that_would_be_read_the_wrong_way_are_refused():
    disk, light, height = structure.Disk(), radiation.Light(), radiation.heights(3)
    make = lambda r=(1, 10), height=height, disk=disk: radiation.make_grid(
        disk, light, np.array(r), np.array(height)
    )
    np.testing.assert_array_equal(make().density, make((1.0, 10.0)).density)
    for bad in ((10, 1), (0, 1), (1, 1), (np.nan, 1.0)):
        with pytest.raises(errors.ConfigError, match="radii must rise"):
            make(bad)
    for bad in (height[::-1], height[:-1], [0.5, np.nan, 0.0]):
        with pytest.raises(errors.ConfigError, match="must fall to 0"):
            make(height=bad)
    with pytest.raises(errors.ConfigError, match=r"at most 1, got 1\.5"):
        make(height=radiation.heights(3, 1.5))
    with pytest.raises(errors.ConfigError, match="gamma must be below 2"):
        make(disk=structure.Disk(gamma=2.0))
    with pytest.raises(errors.ConfigError, match="got 1 layers"):
        radiation.heights(1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mass_gas": -1.0}, "mass_gas must be finite and > 0, got -1.0"),  # was 1e-177 cm^-3
        ({"mass_gas": 0.0}, "mass_gas must be finite and > 0, got 0.0"),
        ({"t_mid": np.nan}, "t_mid must be finite and > 0, got nan"),
        ({"q": np.inf}, "q must be finite, got inf"),
        ({"r_in": -1.0}, "r_in must be finite and 0 or more"),
        ({"gas_to_small": 0.0}, "gas_to_small must be finite and > 0"),
        ({"chi_star": np.nan}, "chi_star must be finite and 0 or more, got nan"),
    ],
)
def test_disks_and_lights_that_are_none_are_refused(change, said):
    disk, light = structure.Disk(), radiation.Light()
    disk = disk._replace(**{k: v for k, v in change.items() if k in disk._fields})
    light = light._replace(**{k: v for k, v in change.items() if k in light._fields})
    with pytest.raises(errors.ConfigError, match=said):
        radiation.make_grid(disk, light, np.array([1.0, 10.0]), radiation.heights(3))
    dark = radiation.Light(chi_star=0.0, chi_ism=0.0, l_x=0.0, zeta0=0.0)
    made = radiation.make_grid(structure.Disk(), dark, np.array([1.0, 10.0]), radiation.heights(3))
    assert all(np.isfinite(leaf).all() for leaf in made)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("T,10,20", "T,20,10", "axes that rise from above 0"),
        ("T,10,20", "T,-10,20", "axes that rise from above 0"),
        ("0.5", "nan", "factors of 0 and more"),
        ("0.5", "-0.5", "factors of 0 and more"),
        ("T,10,20", "T", "should hold 0 values"),
        ("0.5", "\N{DEGREE SIGN}", "line 4: could not convert"),
    ],
)
def test_damaged_shielding_tables_are_refused(tmp_path, old, new, said):
    """Their NaN was carried on into the rates."""
    text = "T,10,20\nH2,1e15,1e16\nCO,1e10,1e11\n0.9,0.8,0.7,0.6,0.5,0.4,0.3,0.2"
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert shielding.read_table(path).log_theta.shape == (2, 2, 2)
    path.write_bytes(text.replace(old, new).encode("latin-1"))
    with pytest.raises(errors.DataError, match=said):
        shielding.read_table(path)
