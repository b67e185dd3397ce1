"""A differentiable ray tracer: line and dust emission of a disk to intensities on the sky.

The observer looks along s; a ray runs from the top of the grid on one side to that on the other,
in steps that are shorter near the midplane. In a step the velocity and the source run linearly: the
line profile is averaged exactly (a difference of error functions, so a step may cross many line
widths) and the source is integrated to second order in the optical depth. The column of a step is
added up in `PARTS`, because densities fall by orders of magnitude where a molecule freezes out or
is dissociated; that costs little beside the channels. All pixels and channels are one program, in
float64.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from algorithmic.disks import constants as c
from algorithmic.disks import lines
from algorithmic.disks.broadcast import broadcasts
from algorithmic.disks.lines import Line
from fl_jax.core import errors

PARTS = 4  # of a step, in which its column is added up
STEEPEST = 80.0  # inclination [degrees]: rays are sampled by height, which edge-on rays keep


class Medium(NamedTuple):
    """A disk on a grid of log r and z/r (rising from 0), mirrored at the midplane."""

    log_r: Float[Array, " I"]  # of [au]
    height: Float[Array, " J"]
    temperature: Float[Array, "I J"]  # [K]
    log_upper: Float[Array, "I J"]  # of the density in the upper level [cm^-3]
    log_lower: Float[Array, "I J"]
    log_dust: Float[Array, "I J"]  # of the dust density [g/cm^3]


class View(NamedTuple):
    """How a disk is seen."""

    inclination: float = 0.0  # [degrees]; 0 is face-on
    position_angle: float = 0.0  # of the receding semi-major axis, east of north [degrees]
    distance: float = 150.0  # [pc]
    velocity: float = 0.0  # systemic [km/s]


class Physics(NamedTuple):
    """What moves and widens the lines."""

    mass_star: float = 1.0  # [M_sun]
    turbulence: float = 0.1  # [km/s]
    kappa: float = 2.3  # dust opacity at 230 GHz [cm^2 per g of dust]
    beta: float = 1.0  # its slope
    background: float = c.T_CMB  # [K]; what is seen beside it is returned


@broadcasts
def medium(log_r, height, temperature, molecules, dust, molecule, line: Line) -> Medium:
    """A medium in LTE.

    Args:
        log_r: (I,) of [au].
        height: (J,) z/r rising.
        temperature: (I, J) [K].
        molecules: (I, J) number density [cm^-3].
        dust: (I, J) mass density of dust [g/cm^3].
        molecule: from `lamda.read`.
        line: from `lines.line_of`.
    """
    x = lines.populations(molecule, temperature)
    log = lambda v: jnp.log(jnp.maximum(v, 1e-90))
    upper, lower = (log(molecules * x[..., k]) for k in (line.upper, line.lower))
    return Medium(log_r, height, temperature, upper, lower, log(dust))


def steps(inclination, samples: int) -> int:
    """Steps on each side of the midplane: `samples` face-on, more by 1/cos i as rays grow longer.

    While the inclination is traced it is not known, and `samples` stays.

    Raises:
        ConfigError: the disk is nearer to edge-on than `STEEPEST`.
    """
    if isinstance(inclination, jax.core.Tracer):
        return samples
    cos = abs(math.cos(math.radians(float(inclination))))
    if not cos >= _flattest() * (1 - 1e-9):
        raise errors.ConfigError(
            f"the inclination must be at most {STEEPEST:g} degrees, or at least"
            f" {180 - STEEPEST:g}, got {float(inclination):g}: rays are sampled by height above the"
            " midplane; trace a disk that is less inclined."
        )
    return math.ceil(samples / cos - 1e-9)


def _flattest() -> float:
    return math.cos(math.radians(STEEPEST))


def heights(top, along, in_plane, slope, count: int):
    """Heights (2 count + 1,) above the midplane of points of a ray, from the observer's side.

    The ends lie where the ray meets z = top r, that is z^2 = top^2 (along^2 + (in_plane - slope
    z)^2). A ray nearly as steep as that surface does not meet it soon: there they lie where it
    meets a flatter one, or 0.8 of the radius at the midplane above it, whichever is higher.

    Args:
        top: highest z/r of the grid.
        along: where the ray meets the midplane, along the node [au].
        in_plane: and across it.
        slope: of the ray, tan i.
        count: steps on each side.
    """
    t = np.linspace(0, 1, count + 1)[1:] ** 1.3
    flat = jnp.minimum(top, jnp.sqrt(0.8) / jnp.maximum(jnp.abs(slope), 1e-6))
    radius2 = along**2 + in_plane**2 + 1e-12
    a, b = 1 - (flat * slope) ** 2, flat**2 * in_plane * slope
    root = jnp.sqrt(b**2 + a * flat**2 * radius2)
    least = jnp.where(flat < top, 0.8 * jnp.sqrt(radius2), 0.0)
    near, far = (jnp.maximum((root + side * b) / a, least) * (1 - 1e-9) for side in (-1, 1))
    return jnp.concatenate([near * t[::-1], jnp.zeros(1), -far * t])


@broadcasts
def trace(
    field: Medium,
    line: Line,
    view: View,
    physics: Physics,
    x: Float[Array, " P"],
    y: Float[Array, " P"],
    velocities: Float[Array, " V"],
    *,
    samples: int = 48,
    rays: int = 64,
) -> Float[Array, "P V"]:
    """Intensity above the background [erg s^-1 cm^-2 Hz^-1 sr^-1].

    Args:
        field: the disk.
        line: the line.
        view: orientation; inclinations within `STEEPEST` of face-on on either side. Beyond it the
            intensities are NaN where the inclination is traced.
        physics: mass of the star, widths, dust.
        x: east on the sky [au].
        y: north [au].
        velocities: of the channels, receding positive [km/s].
        samples: steps of a face-on ray on each side of the midplane, see `steps`.
        rays: rays at a time.

    Raises:
        ConfigError: an inclination beyond `STEEPEST`, or a disk in float32, where densities and
            constants leave its range.
    """
    field = Medium(*map(jnp.asarray, field))
    narrow = [leaf.dtype for leaf in field if leaf.dtype != np.float64]
    if narrow:
        raise errors.ConfigError(
            f"rays are traced in float64, but the disk has arrays of {narrow[0]}; make it and trace"
            " it inside `jax.enable_x64(True)`."
        )
    count = steps(view.inclination, samples)
    one = lambda p: ray(field, line, view, physics, p[0], p[1], velocities, count)
    found = jax.lax.map(one, (x, y), batch_size=rays)
    steep = jnp.abs(jnp.cos(jnp.deg2rad(view.inclination))) < _flattest() * (1 - 1e-9)
    return jnp.where(steep, jnp.nan, found)


@broadcasts
def ray(field, line, view, physics, x, y, velocities, samples):
    """(V,) intensities along one line of sight, see `trace`."""
    angle, turn = jnp.deg2rad(view.inclination), jnp.deg2rad(view.position_angle)
    # Along the node (towards receding gas) and across it.
    along = x * jnp.sin(turn) + y * jnp.cos(turn)
    across = -x * jnp.cos(turn) + y * jnp.sin(turn)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    z = heights(field.height[-1], along, across / cos, sin / jnp.abs(cos), samples * PARTS)
    z = z * jnp.sign(cos)
    # s = z/cos + const; the midplane point sits at `across / cos` in the disk's plane.
    in_plane = across / cos - z * sin / cos
    r = jnp.sqrt(along**2 + in_plane**2 + 1e-12)
    t, upper, lower, dust, inside = sample(field, r, z)
    speed2 = c.G * physics.mass_star * c.M_SUN * r**2 / (r**2 + z**2) ** 1.5 / c.AU
    v = jnp.sqrt(speed2) * sin * along / r / c.KM + view.velocity  # [km/s]
    b = lines.doppler(t, line.mass, physics.turbulence * c.KM) / c.KM
    strength = inside * lines.opacity(line, upper, lower) / c.KM  # over [km/s]
    alpha_dust = inside * lines.dust_absorption(
        line.frequency, dust, kappa=physics.kappa, beta=physics.beta
    )
    dust_source = lines.planck(line.frequency, t)
    line_source = lines.source(line, upper, lower)

    path = jnp.abs(jnp.diff(z)) / jnp.abs(cos) * c.AU
    column = lambda a: (path * 0.5 * (a[1:] + a[:-1])).reshape(-1, PARTS).sum(axis=1)  # (K,)
    line_column, dust_column = column(strength), column(alpha_dust)
    # The width where the molecules are.
    width = (column(strength * b) + 1e-99 * b[PARTS // 2 :: PARTS]) / (line_column + 1e-99)
    v, line_source, dust_source = (a[::PARTS] for a in (v, line_source, dust_source))
    profile = mean_profile(velocities[None], v[:-1, None], v[1:, None], width[:, None])
    line_tau = line_column[:, None] * profile
    dust_tau = dust_column[:, None]
    tau = line_tau + dust_tau  # (K, V)
    mix = lambda k: (
        (line_tau * line_source[k][:, None] + dust_tau * dust_source[k][:, None])
        / jnp.maximum(tau, 1e-100)  # whose square is a number
    )
    front, back = mix(slice(None, -1)), mix(slice(1, None))
    before = jnp.cumsum(tau, axis=0) - tau
    small = tau < 1e-3
    safe = jnp.where(small, 1.0, tau)
    first = -jnp.expm1(-tau)
    fade = 1 - first
    second = jnp.where(small, tau / 2 - tau**2 / 3, (first - tau * fade) / safe)
    emitted = front * first + (back - front) * second
    behind = lines.planck(line.frequency, physics.background)
    total = jnp.sum(emitted * jnp.exp(-before), axis=0)
    return total + behind * jnp.expm1(-jnp.sum(tau, axis=0))


@broadcasts
def mean_profile(v, v1, v2, b):
    """Gaussian of Doppler width b, averaged over velocities between v1 and v2 [s/km]."""
    gap = v2 - v1
    close = jnp.abs(gap) < 1e-3 * b
    safe = jnp.where(close, b, gap)
    wide = 0.5 * (jax.scipy.special.erf((v - v1) / b) - jax.scipy.special.erf((v - v2) / b)) / safe
    narrow = jnp.exp(-(((v - 0.5 * (v1 + v2)) / b) ** 2)) / (b * np.sqrt(np.pi))
    return jnp.where(close, narrow, wide)


@broadcasts
def sample(field: Medium, r, z):
    """(T, n_u, n_l, rho_d, 1 inside the grid and 0 outside) at points.

    Bilinear in (log r, z/r) of T and the logarithms of the densities; held at the edge outside,
    where there is no opacity but the source should not jump.
    """
    u, v = jnp.log(r), jnp.abs(z) / r
    inside = (u >= field.log_r[0]) & (u <= field.log_r[-1]) & (v <= field.height[-1])

    def place(axis, at):
        # Axes are short: all their points compared at once are faster than a search by halves.
        right = jnp.searchsorted(axis, at, side="right", method="compare_all")
        low = jnp.clip(right - 1, 0, len(axis) - 2)
        share = (at - axis[low]) / (axis[low + 1] - axis[low])
        return low, jnp.clip(share, 0.0, 1.0)

    i, p = place(field.log_r, u)
    j, q = place(field.height, v)

    def mix(values):
        low = (1 - q) * values[i, j] + q * values[i, j + 1]
        high = (1 - q) * values[i + 1, j] + q * values[i + 1, j + 1]
        return (1 - p) * low + p * high

    logs = (mix(m) for m in (field.log_upper, field.log_lower, field.log_dust))
    return mix(field.temperature), *map(jnp.exp, logs), inside.astype(r.dtype)


class Sky(NamedTuple):
    """Lines of sight and the part of the sky that each stands for."""

    x: Float[Array, " P"]  # east [au]
    y: Float[Array, " P"]  # north [au]
    area: Float[Array, " P"]  # [au^2]


def image_sky(pixels: int, half: float) -> Sky:
    """A square of pixels x pixels over [-half, half] au, rows from south to north."""
    side = 2 * half / pixels
    axis = (np.arange(pixels) + 0.5) * side - half
    x, y = np.meshgrid(-axis, axis)  # east is left
    return Sky(*map(jnp.asarray, (x.ravel(), y.ravel(), np.full(pixels**2, side**2))))


@broadcasts
def polar_sky(radii: int, angles: int, inner: float, outer: float, view: View) -> Sky:
    """Rings in the plane of the disk, logarithmic, projected: few rays for a good spectrum.

    Differentiable in the view.
    """
    edges = np.geomspace(inner, outer, radii + 1)
    r = np.sqrt(edges[1:] * edges[:-1])
    phi = (np.arange(angles) + 0.5) * 2 * np.pi / angles
    area = np.repeat(0.5 * np.diff(edges**2) * 2 * np.pi / angles, angles)
    cos = jnp.abs(jnp.cos(jnp.deg2rad(view.inclination)))
    along = (r[:, None] * np.cos(phi)[None]).ravel()
    across = (r[:, None] * np.sin(phi)[None]).ravel() * cos
    turn = jnp.deg2rad(view.position_angle)
    x = along * jnp.sin(turn) - across * jnp.cos(turn)
    y = along * jnp.cos(turn) + across * jnp.sin(turn)
    return Sky(x, y, area * cos)


@broadcasts
def flux_density(intensity, sky: Sky, distance):
    """(P, V) intensities to Jy in each line of sight, from `distance` pc."""
    angle = jnp.asarray(sky.area) * (c.AU / c.PC / distance) ** 2
    return intensity * angle[:, None] / c.JY
