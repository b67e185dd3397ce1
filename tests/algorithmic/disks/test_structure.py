import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import constants as c
from algorithmic.disks import structure
from algorithmic.disks.structure import Disk

R = np.array([1, 7.071068, 50, 100, 500.0])
# r, Sigma, H_p, rho_mid, T(0.1 r), rho(0.1 r), T(0.35 r): two-sided, 4,001 points to z = r.
TABLE = np.array([
    [5.58966, 0.02836, 5.42913e-12, 946.06, 7.15363e-14, 1000],
    [1.24684, 0.31144, 1.10128e-13, 168.193, 7.54968e-15, 341.0227],
    [0.195854, 3.41979, 1.56969e-15, 31.3551, 4.48872e-16, 116.2965],
    [0.0652325, 7.99394, 2.23130e-16, 19.0332, 8.98418e-17, 79.4328],
    [3.00208e-5, 57.41155, 1.41647e-20, 6.8871, 9.31131e-21, 26.2508],
])  # fmt: skip


def test_the_table_and_the_normalisation():
    with jax.enable_x64(True):
        r, disk = jnp.asarray(R), Disk()
        column = structure.hydrostatic(r, disk, points=4001)
        sigma = structure.surface_density(r, disk)
        found = np.stack([
            sigma, structure.pressure_height(r, disk), column.density[:, 0],
            column.temperature[:, 400], column.density[:, 400], column.temperature[:, 1400],
        ], axis=1)  # fmt: skip
        np.testing.assert_allclose(found, TABLE, rtol=3e-4 / 2)
        both = 2 * np.trapezoid(np.asarray(column.density), np.asarray(column.z) * c.AU, axis=1)
        np.testing.assert_allclose(both, sigma, rtol=1e-6)
        np.testing.assert_allclose(2 * column.above[:, 0], sigma, rtol=1e-12)
        x = jnp.geomspace(1, 3000, 4000)
        s = structure.surface_density(x, disk)
        mass = np.trapezoid(2 * np.pi * np.asarray(x * s), np.asarray(x)) * c.AU**2 / c.M_SUN
        np.testing.assert_allclose(mass, 1e-3, rtol=1e-3)


def test_isothermal_gas_is_a_gaussian():
    with jax.enable_x64(True):
        disk = Disk(t_mid=100.0, t_atm=100.0)
        r = jnp.asarray([30.0])
        column = structure.hydrostatic(r, disk, points=2001, top=0.3)
        h = structure.pressure_height(r, disk)[0]
        z = column.z[0]
        thin = np.exp(-0.5 * (z / h) ** 2)
        near = np.asarray(z < 2 * h)
        np.testing.assert_allclose(
            np.asarray(column.density[0] / column.density[0, 0])[near], thin[near], rtol=0.02
        )


def test_temperature_is_continuous_and_dust_settles():
    with jax.enable_x64(True):
        disk, r = Disk(), jnp.asarray([50.0])
        zq = 4 * structure.pressure_height(r, disk)
        low, high = (structure.temperature(r, zq * f, disk) for f in (1 - 1e-9, 1 + 1e-9))
        np.testing.assert_allclose(low, high, rtol=1e-12)
        column = structure.hydrostatic(r, disk)
        small, large = structure.dust_density(column, r, disk, structure.DustPopulation())
        assert float(large[0, 0] / small[0, 0]) > 0.85 / 0.15  # more at the midplane
        total = 2 * np.trapezoid(np.asarray(small + large)[0], np.asarray(column.z)[0] * c.AU)
        np.testing.assert_allclose(total, structure.surface_density(r, disk)[0] / 100, rtol=1e-3)
        t = structure.passive_temperature(100.0, 1.0)
        assert 10 < float(t) < 30


def test_the_mass_has_a_gradient():
    with jax.enable_x64(True):
        at = lambda m: structure.hydrostatic(jnp.asarray([50.0]), Disk(mass_gas=m)).density[0, 0]
        np.testing.assert_allclose(jax.grad(at)(1e-3), at(1e-3) / 1e-3, rtol=1e-10)
