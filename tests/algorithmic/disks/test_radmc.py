import numpy as np
import pytest

from algorithmic.disks import constants as c
from algorithmic.disks import radmc
from fl_jax.core import errors


def test_files_are_those_of_the_manual(tmp_path):
    (tmp_path / "co.dat").write_text("!MOLECULE\nCO\n")
    r, height = np.array([10.0, 20.0, 40.0]), np.array([0.0, 0.1])
    temperature = np.array([[10.0, 20.0], [11.0, 21.0], [12.0, 22.0]])
    command = radmc.write(
        tmp_path / "run", r=r, height=height, temperature=temperature, molecules=10 * temperature,
        name="co", lamda_file=tmp_path / "co.dat", mass_star=1.0, line=2, parts=2,
    )  # fmt: skip
    assert command.startswith("radmc3d image iline 2 widthkms 10 linenlam 100 incl 30")
    read = lambda name: (tmp_path / "run" / name).read_text().splitlines()
    grid = read("amr_grid.inp")
    assert grid[:6] == ["1", "0", "100", "0", "1 1 0", "4 2 1"]
    walls, theta = (np.array(line.split(), float) for line in grid[6:8])
    np.testing.assert_allclose(walls[::2] / c.AU, r)  # walls go through the nodes
    np.testing.assert_allclose(1 / np.tan(theta[::-2]), height, atol=1e-12)
    assert theta[-1] == pytest.approx(np.pi / 2) and (np.diff(theta) > 0).all()
    # Formats that the manual fixes: version, number of cells, one value a line, radius fastest.
    assert read("gas_temperature.inp")[:2] == ["1", "8"]
    values = np.array(read("gas_temperature.inp")[2:], float).reshape(2, 4)
    # What a cell holds is that of its centre: our T is linear in log2 r and z/r.
    radius, angle = np.sqrt(walls[1:] * walls[:-1]) / c.AU, np.pi / 2 - (theta[1:] + theta[:-1]) / 2
    at_r, at_z = radius[None] * np.cos(angle)[:, None], radius[None] * np.sin(angle)[:, None]
    wanted = 10 + np.maximum(np.log2(at_r / 10), 0) + 100 * at_z / at_r
    np.testing.assert_allclose(values, wanted, rtol=1e-6)
    molecules = np.array(read("numberdens_co.inp")[2:], float).reshape(2, 4)
    np.testing.assert_allclose(molecules, 10 * values, rtol=6e-2)  # linear in its logarithm
    velocity = np.array([line.split() for line in read("gas_velocity.inp")[2:]], float)
    kepler = np.sqrt(c.G * c.M_SUN * at_r**2 / (at_r**2 + at_z**2) ** 1.5 / c.AU)
    np.testing.assert_allclose(velocity[:, 2].reshape(2, 4), kepler, rtol=1e-6)
    assert (velocity[:, :2] == 0).all()
    assert read("lines.inp") == ["2", "1", "co leiden 0 0 0"]
    assert read("molecule_co.inp") == ["!MOLECULE", "CO"]
    with pytest.raises(errors.ConfigError, match=r"temperature should be \(radii, heights\)"):
        radmc.write(
            tmp_path / "run", r=r, height=height, temperature=temperature.T, molecules=temperature,
            name="co", lamda_file=tmp_path / "co.dat", mass_star=1.0,
        )  # fmt: skip
