import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.disks import constants as c
from algorithmic.disks import images, lamda, lines, tracer
from algorithmic.disks.tracer import Physics, View
from fl_jax.core import errors
from fl_jax.data import sources

DATA = sources.folder("astrochem")
V = np.linspace(-6, 6, 121)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


CO = lamda.rotor("CO")
LINE = lines.line_of(CO, "2-1")


def disk(density=1e-2, temperature=30.0, *, radii=(10.0, 100.0), slope=0.0, dust=1e-30):
    """A disk of a Gaussian layer, height r/10, isothermal."""
    r, h = np.geomspace(*radii, 24), np.linspace(0, 0.5, 40)
    n = density * (r[:, None] / radii[0]) ** slope * np.exp(-0.5 * (h[None] / 0.1) ** 2)
    t = np.full(n.shape, temperature)
    return tracer.medium(
        jnp.log(r), jnp.asarray(h), jnp.asarray(t), jnp.asarray(n), jnp.asarray(dust * n), CO, LINE
    )


def spectrum(field, view, *, physics=Physics(), samples=24, rays=(10, 24), radii=(10.0, 100.0)):
    sky = tracer.polar_sky(*rays, *radii, view)
    found = tracer.trace(field, LINE, view, physics, sky.x, sky.y, jnp.asarray(V), samples=samples)
    return jnp.sum(tracer.flux_density(found, sky, view.distance), axis=0)


def test_partition_functions_and_optical_depths():
    t = jnp.asarray([10.0, 20.0, 30.0, 100.0])
    np.testing.assert_allclose(
        lines.partition(CO, t), [3.9681, 7.5736, 11.1860, 36.4956], rtol=2e-4
    )
    x = lines.populations(CO, jnp.asarray(30.0))[2]
    assert float(x) == pytest.approx(0.257064, rel=2e-4)
    assert float(lines.doppler(30.0, 28.0)) == pytest.approx(0.1335e5, rel=1e-3)
    assert float(lines.optical_depth(LINE, 1e16, x, 30.0)) == pytest.approx(2.92997, rel=2e-3)
    assert float(lines.brightness(230.538e9, 30.0)) == pytest.approx(24.8072, rel=1e-5)
    watts = lines.flux_in_watts(1.0, 230.538e9)
    assert watts == pytest.approx(7.68992e-21, rel=1e-6)
    assert lines.flux_in_jansky(watts, 230.538e9) == pytest.approx(1.0)


@pytest.mark.data("astrochem")
def test_every_molecule_of_the_database_is_read():
    for path in sorted((DATA / "lamda").iterdir()):
        found = lamda.read(path)
        assert len(found.energy) > 1 and len(found.partners) > 0
    t = jnp.asarray([10.0, 20.0, 30.0, 100.0])
    wanted = {
        "13co.dat": [4.1335, 7.9058, 11.6847, 38.1591],
        "hco+@xpol.dat": [5.0208, 9.6859, 14.3563, 47.0676],
        "cn.dat": [8.0558, 15.3873, 22.7325, 74.1944],
        "cs@lique.dat": [8.8479, 17.3508, 25.8569, 85.4196],
    }
    for name, values in wanted.items():
        z = lines.partition(lamda.read(DATA / "lamda" / name), t)
        np.testing.assert_allclose(z, values, rtol=2e-5)
    co = lamda.read(DATA / "lamda" / "co.dat")
    assert co.line("230.5") == co.line("2-1") == 1


LAMDA = """!Molecule
X
!weight
28.0 note
!levels
2
!LEVEL
1 0.0 1.0 0
2 4.0 3.0 1
!transitions
1
!TRANS
1 2 1 1e-7 115.27 5.5
!partners
1
!partner
1 X-H2 from someone
!rates
1
!temps
2
!TEMPS
10.0 20.0
!RATES
1 2 1 1e-10 2e-10
! notes
"""


def test_lamda_text_and_its_faults(tmp_path):
    path = tmp_path / "x.dat"
    path.write_text(LAMDA)
    found = lamda.read(path)
    assert found.mass == 28.0 and found.partners[0].name == "H2"
    for old, new, said in (
        ("1 2 1 1e-7", "1 3 1 1e-7", "a level number lies outside"),
        ("10.0 20.0", "10.0 hot", "line 23: 2 temperatures were expected"),
        ("10.0 20.0", "20.0 10.0", "must rise from above 0"),
        ("1e-10 2e-10", "1e-10 -2e-10", "rates be 0 or more"),
        ("1e-10 2e-10", "1e-10 nan", "5 fields of a rate were expected, 4 came"),
        ("2 4.0 3.0 1", "2 nan 3.0 1", "a level has number, energy"),
        ("2 4.0 3.0 1", "2 4.0 0.0 1", "weight of a level must be above 0"),
        ("2 4.0 3.0 1", "3 4.0 3.0 1", "'3' stands for 2"),
        ("!transitions\n1", "!transitions\n0", "number of transitions must be above 0, 0 came"),
        ("!levels\n2", "!levels\n-2", "number of levels must be above 0, -2 came"),
        ("1 2 1 1e-10 2e-10\n! notes\n", "", "the file ends"),
    ):
        path.write_text(LAMDA.replace(old, new))
        with pytest.raises(errors.DataError, match=said):
            lamda.read(path)
    with pytest.raises(errors.ConfigError, match=r"line of X"):
        found.line("7-6")
    assert found.line("1-0") == found.line("115.0") == 0
    with pytest.raises(errors.ConfigError, match=r"no line near 230\.54 GHz; the nearest lies at"):
        found.line("230.54")


def test_1_thick_gas_shines_as_a_black_body():
    field, view = disk(1e8), View(distance=140.0)
    at = jnp.asarray([30.0]), jnp.asarray([20.0])
    found = tracer.trace(field, LINE, view, Physics(), *at, jnp.asarray([0.0]))[0, 0]
    wanted = lines.planck(LINE.frequency, 30.0) - lines.planck(LINE.frequency, c.T_CMB)
    assert float(found) == pytest.approx(float(wanted), rel=1e-4)


def test_2_thin_gas_gives_its_photons():
    view, cold = View(distance=140.0), Physics(background=0.1)
    one = spectrum(disk(1e-4), view, physics=cold)
    two = spectrum(disk(2e-4), view, physics=cold)
    flux, twice = (float(images.line_flux(s, jnp.asarray(V))) for s in (one, two))
    assert twice / flux == pytest.approx(2, rel=1e-2)
    r = np.geomspace(10, 100, 4000)
    column = 1e-4 * np.sqrt(2 * np.pi) * 0.1 * r * c.AU
    molecules = np.trapezoid(2 * np.pi * r * column, r) * c.AU**2
    upper = molecules * float(lines.populations(CO, jnp.asarray(30.0))[2])
    power = LINE.einstein * c.H * LINE.frequency * upper  # [erg/s]
    watts = power / (4 * np.pi * (140 * c.PC) ** 2) * 1e-3
    assert float(lines.flux_in_watts(flux, LINE.frequency)) == pytest.approx(watts, rel=0.02)


def test_3_face_on_width_and_4_double_peak():
    found = np.asarray(spectrum(disk(1e-4), View(distance=140.0)))
    b = float(lines.doppler(30.0, 28.0, 1e4)) / 1e5
    np.testing.assert_allclose(found / found.max(), np.exp(-((V / b) ** 2)), atol=0.01)
    ring = disk(1e-4, radii=(48.0, 52.0))
    found = spectrum(ring, View(30.0, 0.0, 140.0), rays=(4, 96), radii=(48.0, 52.0))
    peaks = (
        abs(V[np.argmax(np.where(V > 0, found, 0))]),
        abs(V[np.argmax(np.where(V < 0, found, 0))]),
    )
    kepler = np.sqrt(c.G * c.M_SUN / (50 * c.AU)) / 1e5 * 0.5
    np.testing.assert_allclose(sum(peaks), 2 * kepler, atol=0.25)


def test_5_mirror_and_6_seen_from_behind():
    field = disk(1e-2)
    view = View(40.0, 0.0, 140.0)
    at = jnp.asarray([12.0, -12.0]), jnp.asarray([30.0, 30.0])
    left, right = tracer.trace(field, LINE, view, Physics(), *at, jnp.asarray(V))
    np.testing.assert_allclose(left, right, rtol=1e-9)  # the minor axis: x to -x
    up = tracer.trace(field, LINE, view, Physics(), at[0][:1], at[1][:1], jnp.asarray(V))[0]
    down = tracer.trace(field, LINE, view, Physics(), at[0][:1], -at[1][:1], jnp.asarray(V))[0]
    np.testing.assert_allclose(up, down[::-1], rtol=1e-9, atol=1e-25)  # v to -v
    behind = view._replace(inclination=140.0)
    back = tracer.trace(field, LINE, behind, Physics(), -at[0][:1], at[1][:1], jnp.asarray(V))[0]
    np.testing.assert_allclose(up, back, rtol=1e-9, atol=1e-25)


def test_7_gradients_and_8_halved_steps():
    view = View(35.0, 20.0, 140.0)

    def flux(mass, temperature, inclination):
        r, h = np.geomspace(10, 100, 12), np.linspace(0, 0.5, 20)
        n = mass * 1e-2 * np.exp(-0.5 * (h[None] / 0.1) ** 2) * np.ones((12, 1))
        field = tracer.medium(jnp.log(r), jnp.asarray(h), temperature * jnp.ones(n.shape), n,
                              1e-30 * n, CO, LINE)  # fmt: skip
        seen = view._replace(inclination=inclination)
        return spectrum(field, seen, rays=(4, 8), samples=8)[50]

    run = jax.jit(flux)
    at = (1.0, 30.0, 35.0)
    slopes = jax.jit(jax.grad(flux, (0, 1, 2)))(*at)
    for i, slope in enumerate(slopes):
        step = 1e-5 * at[i]
        moved = [run(*(a + s * step * (j == i) for j, a in enumerate(at))) for s in (1, -1)]
        assert float(slope) == pytest.approx(float(moved[0] - moved[1]) / (2 * step), rel=1e-4)
    field = disk(1e-2)
    one, two = (spectrum(field, view, samples=n) for n in (24, 48))
    assert float(jnp.abs(one - two).max() / two.max()) < 0.01


def test_halved_steps_where_a_molecule_freezes_out_and_is_dissociated():
    r, h = np.geomspace(10, 100, 16), np.linspace(0, 0.6, 24)
    n = 30 * np.exp(-0.5 * (h[None] / 0.1) ** 2) * (r[:, None] / 50) ** -2
    frozen = np.clip((0.08 - h) / 0.03, 0, 1) * (r[:, None] > 40)
    gone = np.clip((h - 0.25) / 0.03, 0, 1)
    n = jnp.asarray(n * 10 ** (-8 * frozen - 10 * gone))
    t = jnp.asarray(np.broadcast_to(20 + 200 * h, n.shape))
    field = tracer.medium(jnp.log(r), jnp.asarray(h), t, n, 1e-30 * n, CO, LINE)
    one, two = (spectrum(field, View(35.0, 20.0, 140.0), samples=k, rays=(8, 12)) for k in (24, 48))
    assert float(jnp.abs(one - two).max() / two.max()) < 0.01


@pytest.mark.parametrize("inclination", [60.0, 75.0])
def test_halved_steps_of_steep_rays(inclination):
    field, view = disk(1e-2), View(inclination, 20.0, 140.0)
    sky = tracer.polar_sky(5, 6, 10.0, 100.0, view)
    one, two = (
        tracer.trace(field, LINE, view, Physics(), sky.x, sky.y, jnp.asarray(V[::6]), samples=n)
        for n in (24, 48)
    )
    one, two = (a.T @ sky.area for a in (one, two))
    assert (
        float(jnp.abs(one - two).max() / two.max()) < 0.006
    )  # as many steps at every inclination: 0.0099


def test_disks_nearly_edge_on_are_refused():
    field, at = disk(1e-2), (jnp.asarray([30.0]), jnp.asarray([2.0]))
    run = lambda i: tracer.trace(field, LINE, View(i), Physics(), *at, jnp.zeros(1), samples=4)
    for inclination in (81.0, 90.0, 99.0):
        with pytest.raises(errors.ConfigError, match="must be at most 80 degrees, or at least 100"):
            run(inclination)
    with pytest.raises(errors.ConfigError, match="got nan"):
        run(np.nan)
    traced = jax.jit(run)
    assert np.isnan(traced(90.0)).all() and np.isfinite(traced(80.0)).all()
    assert [tracer.steps(i, 24) for i in (0.0, 60.0, 80.0, 100.0, 180.0)] == [24, 48, 139, 139, 24]


@pytest.mark.data("astrochem")
def test_statistical_equilibrium_and_its_limits():
    co = lamda.read(DATA / "lamda" / "co.dat")
    run = jax.jit(
        lambda n, column: lines.statistical_equilibrium(co, 30.0, {"H2": n}, column, 1e5, levels=12)
    )
    lte = lines.populations(co, jnp.asarray(30.0))[:12]
    np.testing.assert_allclose(run(1e10, 1e10), lte / lte.sum(), rtol=1e-3)  # dense
    cold = run(1e-6, 1e10)  # empty space: the background alone
    wanted = lines.populations(co, jnp.asarray(c.T_CMB))[:3]
    np.testing.assert_allclose(cold[:3], wanted, rtol=1e-3)
    trapped = run(1e3, 1e19)  # photons that do not get out bring it nearer to LTE
    assert abs(float(trapped[2] - lte[2])) < abs(float(run(1e3, 1e10)[2] - lte[2]))
    with pytest.raises(errors.ConfigError, match="collides with"):
        lines.collisions(co, 30.0, {"N2": jnp.asarray(1.0)}, 5)


def test_dust_shines_and_images_keep_their_flux():
    sky = tracer.image_sky(16, 100.0)
    field = disk(1e-20, dust=1e5)
    found = tracer.trace(field, LINE, View(), Physics(background=0.1), sky.x, sky.y,
                         jnp.asarray([0.0]), samples=12)  # fmt: skip
    flux = tracer.flux_density(found, sky, 140.0)
    assert float(flux.sum()) > 0
    image = flux.reshape(16, 16)
    blurred = images.convolve(image, 0.05, 0.2, 0.1, 30.0)
    assert float(blurred.sum()) == pytest.approx(float(image.sum()))
    with pytest.raises(errors.ConfigError, match=r"should be square.*\(15, 16\) came"):
        images.convolve(image[1:], 0.05, 0.2, 0.1)
    zero = images.visibilities(flux, sky.x, sky.y, jnp.zeros(1), jnp.zeros(1), 140.0)
    assert complex(zero[0, 0]) == pytest.approx(float(flux.sum()))
    total, mean = images.moments(jnp.asarray([[0.0, 1.0, 0.0]]), jnp.asarray([1.0, 2.0, 3.0]))
    assert (float(total[0]), float(mean[0])) == (1.0, 2.0)
    total, mean = images.moments(jnp.asarray([[0.0, 1.0, 3.0]]), jnp.asarray([3.0, 2.0, 1.0]))
    assert (float(total[0]), float(mean[0])) == (2.5, 1.4)  # channels that fall: -2.5 and NaN
    ring = images.radial_profile([1.0, 3.0], [0.5, 0.6], [0.0, 1.0, 2.0])
    assert ring[0] == 2.0 and np.isnan(ring[1])
    with pytest.raises(errors.ConfigError, match="edges of rings must rise"):
        images.radial_profile([1.0, 3.0], [0.5, 0.6], [0.0, 2.0, 1.0])
    assert float(images.continuum_subtracted(jnp.asarray([1.0, 5.0, 3.0]))[1]) == 3.0


def test_a_disk_in_float32_is_refused():
    field = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), disk(1e8))
    with pytest.raises(errors.ConfigError, match=r"arrays of float32; make it and trace it inside"):
        tracer.trace(field, LINE, View(), Physics(), jnp.ones(1), jnp.ones(1), jnp.zeros(1))


def test_numbers_and_arrays_of_the_host_are_taken():
    """A float had no axes, and a grid of NumPy's could not be traced."""
    wanted = lines.populations(CO, jnp.asarray([30.0]))[0]
    np.testing.assert_array_equal(lines.populations(CO, 30.0), wanted)
    assert float(lines.partition(CO, 30.0)) == float(lines.partition(CO, jnp.asarray(30.0)))
    field = disk()
    at = jnp.asarray([30.0]), jnp.asarray([2.0]), jnp.zeros(1)
    one, two = (
        tracer.trace.__wrapped__(given, LINE, View(), Physics(), *at, samples=4)
        for given in (field, jax.tree.map(np.asarray, field))
    )
    np.testing.assert_array_equal(one, two)
