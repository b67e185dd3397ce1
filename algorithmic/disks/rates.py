"""Rate coefficients from local conditions, as a pure function of them.

Every coefficient comes out as it enters dx/dt: per second for one reactant, times n_H for each
further one. [RATE12, McElroy et al. 2013; KIDA, Wakelam et al. 2012; Hasegawa et al. 1992]
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from algorithmic.disks import constants as c
from algorithmic.disks import species as names
from algorithmic.disks.network import KINDS, Network, alternatives
from fl_jax.core import errors

POLICIES = ("extrapolate", "clip", "zero")


class Conditions(NamedTuple):
    """What a cell's chemistry feels. Radiation comes from F sources, each with its own path."""

    density: Float[Array, ""]  # hydrogen nuclei [cm^-3]
    temperature: Float[Array, ""]  # of the gas [K]
    dust_temperature: Float[Array, ""]  # [K]
    zeta: Float[Array, ""]  # ionisation of H2 by cosmic rays and X-rays [1/s]
    zeta_cr: Float[Array, ""]  # by cosmic rays alone, which heat grains as they pass [1/s]
    chi: Float[Array, " F"]  # ultraviolet before absorption [Draine fields]
    av: Float[Array, " F"]  # visual extinction on the way [mag]
    shield_h2: Float[Array, " F"]  # self-shielding factors of the photo rates, 0 to 1
    shield_co: Float[Array, " F"]
    shield_n2: Float[Array, " F"]
    shield_c: Float[Array, " F"]
    grains: Float[Array, ""]  # cross section of grains per hydrogen nucleus [cm^2]; 0 for none


@dataclasses.dataclass(frozen=True)
class Settings:
    """How coefficients are evaluated."""

    policy: str = "extrapolate"  # outside a fit's temperature range: extrapolate, clip or zero
    albedo: float = 0.5  # of the grains, for cosmic-ray induced photons [RATE12]
    h2_rate: float = 4.95e-17  # H2 formation at 300 K on `sigma_grains()` [cm^3/s; OSU 2009]
    sites: float = 1.5e15  # N_s, binding sites on a grain [cm^-2; Hasegawa et al. 1992]
    layers: float = 2.0  # monolayers of ice that desorb
    radius: float = 1e-5  # of the grains [cm], for the charge factor of accreting ions
    uv_flux: float = 1.7e8  # photons of one Draine field [cm^-2 s^-1; astrochem]
    cr_uv_flux: float = 1e4  # photons that cosmic rays induce at zeta0 [cm^-2 s^-1]
    cr_duty: float = 3.16e-19  # share of time at 70 K after a hit [Hasegawa & Herbst 1993]
    hop: float = 0.4  # diffusion barrier over binding energy
    barrier: float = 1e-8  # width that surface reactions tunnel through [cm]

    def __post_init__(self):
        errors.one_of("temperature policy", self.policy, POLICIES)


def conditions(
    density,
    temperature,
    av,
    *,
    zeta=c.ZETA0,
    zeta_cr=None,
    chi=1.0,
    dust_temperature=None,
    grains=0.0,
    shield_h2=1.0,
    shield_co=1.0,
    shield_n2=1.0,
    shield_c=1.0,
) -> Conditions:
    """Conditions of one cell under one radiation field, as float64 numbers of NumPy.

    Without `shield_...` nothing shields itself; without `grains` nothing freezes out and no H2
    forms. Gas with as many grains as interstellar gas has `grains=sigma_grains()`. All of `zeta` is
    cosmic rays unless `zeta_cr` is given. Of several fields, `chi`, `av` and the shielding are one
    number each, or one number for all.

    Raises:
        ConfigError: different numbers of fields.
    """
    scalar = lambda value: np.asarray(value, np.float64)
    row = lambda value: np.atleast_1d(np.asarray(value, np.float64))
    dust = temperature if dust_temperature is None else dust_temperature
    zeta_cr = zeta if zeta_cr is None else zeta_cr
    light = [row(v) for v in (chi, av, shield_h2, shield_co, shield_n2, shield_c)]
    counts = sorted({len(v) for v in light} - {1})
    if len(counts) > 1:
        raise errors.ConfigError(
            f"chi, av and the shielding should be of as many fields, but {counts} came; give one"
            " number a field, or one for all."
        )
    return Conditions(
        *(scalar(v) for v in (density, temperature, dust, zeta, zeta_cr)),
        *(np.array(v) for v in np.broadcast_arrays(*light)),
        scalar(grains),
    )


def stack(cells) -> Conditions:
    """Cells one after another on a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *cells)


def sigma_grains(*, dust_to_gas=0.01, radius=1e-5, density=3.0) -> float:
    """Cross section of single-size grains per hydrogen nucleus [cm^2].

    pi a^2 n_g/n_H = 3 (dust/gas) 1.4 m_H / (4 rho_s a).

    Args:
        dust_to_gas: mass ratio.
        radius: of a grain [cm].
        density: of its material [g/cm^3].

    Example:
        >>> f"{sigma_grains():.3e}"
        '5.857e-22'
    """
    return 3 * dust_to_gas * c.MU_H * c.M_H / (4 * density * radius)


def active_layers(cell: Conditions, settings: Settings) -> Float[Array, ""]:
    """Abundance of ice in the layers that can desorb, layers x 4 pi a^2 n_g N_s / n_H."""
    return settings.layers * 4 * cell.grains * settings.sites


def make(network: Network, settings: Settings = Settings()):
    """(conditions of one cell) -> coefficients (R,), in the float type of the conditions.

    Args:
        network: the reactions.
        settings: temperature policy and grain physics.
    """
    parts, order = [], []
    for kind, name in enumerate(KINDS):
        rows = np.flatnonzero(network.kind == kind)
        if len(rows):
            parts.append((FORMS[name], Rows.of(network, rows)))
            order.append(rows)
    place = np.argsort(np.concatenate(order), kind="stable")
    bodies = (network.reactants >= 0).sum(axis=1) - 1
    groups = alternatives(network)

    def rates(cell: Conditions) -> Float[Array, " R"]:
        found = jnp.concatenate([form(rows, cell, settings) for form, rows in parts])[place]
        if groups:
            found = jnp.where(_chosen(network, groups, cell.temperature), found, 0.0)
        # H2 forms at R n_H n(H): the partner is a grain, whose number goes with n_H.
        further = np.where(network.kind == KINDS.index("h2 formation"), 1, bodies)
        on_ice = network.kind == KINDS.index("surface")  # their partners are counted per site
        return found * cell.density ** jnp.asarray(np.where(on_ice, 0, further), found.dtype)

    return rates


def _chosen(network: Network, groups: list[list[int]], temperature):
    """(R,) bool: of the rows of a group the one whose range holds T, or else is the nearest.

    Ranges that touch: the first row wins.
    """
    most = max(len(group) for group in groups)
    rows = np.array([group + [group[0]] * (most - len(group)) for group in groups])
    low, high = network.t_min[rows], network.t_max[rows]  # (G, K, F)
    away = jnp.maximum(jnp.maximum(low - temperature, temperature - high), 0.0).min(axis=2)
    best = jnp.argmin(away, axis=1)
    chosen = jnp.take_along_axis(jnp.asarray(rows), best[:, None], axis=1)
    return jnp.ones(len(network), bool).at[rows].set(rows == chosen)


class Rows(NamedTuple):
    """The reactions of one kind, as constants."""

    alpha: np.ndarray  # (r, fits)
    beta: np.ndarray
    gamma: np.ndarray
    t_min: np.ndarray
    t_max: np.ndarray
    always: np.ndarray  # (r,)
    mass: np.ndarray  # (r,) of the first reactant [amu]
    charge: np.ndarray  # (r,) of the first reactant
    partners: tuple[tuple[str, ...], ...]  # the reactants
    single: bool  # no reaction here has a second fit
    energies: np.ndarray  # (r, 2) binding energies of the reactants [K], on ice

    @classmethod
    def of(cls, network: Network, rows: np.ndarray) -> "Rows":
        """The constants of these rows."""
        part = network.select(rows)
        first = [network.species[i] for i in part.reactants[:, 0]]
        partners = tuple(
            tuple(network.species[i] for i in places if i >= 0) for places in part.reactants
        )
        binding = binding_energies(network)
        fits = (part.alpha, part.beta, part.gamma, part.t_min, part.t_max)
        return cls(
            *fits,
            part.always,
            np.array([names.mass(s) for s in first]),
            np.array([names.charge(s) for s in first], np.float64),
            partners,
            bool(all((values == values[:, :1]).all() for values in fits)),
            np.array([[binding.get(s, np.inf) for s in (*p, p[-1])[:2]] for p in partners]),
        )


def binding_energies(network: Network) -> dict[str, float]:
    """E_b [K] of every ice, from the network's own thermal desorption."""
    rows = np.flatnonzero(network.kind == KINDS.index("thermal desorption"))
    return {
        network.species[network.reactants[row, 0]]: float(network.gamma[row, 0]) for row in rows
    }


def _fit(rows: Rows, temperature, policy: str):
    """(alpha, beta, gamma, T to use, weight) of the fit whose range holds T, else the nearest.

    Ranges that touch: the first fit wins.
    """
    low, high = rows.t_min, rows.t_max
    if rows.single:
        a, b, g = rows.alpha[:, 0], rows.beta[:, 0], rows.gamma[:, 0]
        low, high = low[:, 0], high[:, 0]
    else:
        away = jnp.maximum(jnp.maximum(low - temperature, temperature - high), 0.0)
        best = jnp.argmin(jax.lax.stop_gradient(away), axis=1)
        pick = lambda values: jnp.take_along_axis(jnp.asarray(values), best[:, None], axis=1)[:, 0]
        a, b, g, low, high = (pick(v) for v in (rows.alpha, rows.beta, rows.gamma, low, high))
    clipped = jnp.clip(temperature, low, high)
    inside = (temperature >= low) & (temperature <= high)
    if policy == "extrapolate":
        used = jnp.where(g < 0, clipped, temperature)  # a negative barrier explodes when cold
        return a, b, g, used, jnp.ones_like(clipped)
    if policy == "clip":
        return a, b, g, clipped, jnp.ones_like(clipped)
    return a, b, g, temperature, (inside | rows.always).astype(clipped.dtype)


def arrhenius(rows: Rows, cell: Conditions, settings: Settings):
    """alpha (T/300)^beta exp(-gamma/T) [RATE12 eq. 1]"""
    a, b, g, t, weight = _fit(rows, cell.temperature, settings.policy)
    return weight * a * (t / 300.0) ** b * jnp.exp(-g / t)


def ionpol1(rows: Rows, cell: Conditions, settings: Settings):
    """alpha beta (0.62 + 0.4767 gamma sqrt(300/T)) [Wakelam et al. 2012 eq. 4]"""
    a, b, g, t, weight = _fit(rows, cell.temperature, settings.policy)
    return weight * a * b * (0.62 + 0.4767 * g * jnp.sqrt(300.0 / t))


def ionpol2(rows: Rows, cell: Conditions, settings: Settings):
    """alpha beta (1 + 0.0967 gamma sqrt(300/T) + gamma^2 300/(10.526 T)) [ibid. eq. 5]"""
    a, b, g, t, weight = _fit(rows, cell.temperature, settings.policy)
    return weight * a * b * (1 + 0.0967 * g * jnp.sqrt(300.0 / t) + g**2 * 300.0 / (10.526 * t))


def cr_ionisation(rows: Rows, cell: Conditions, settings: Settings):
    """alpha zeta/zeta0 [RATE12 eq. 2]"""
    return rows.alpha[:, 0] * (cell.zeta / c.ZETA0)


def cr_photon(rows: Rows, cell: Conditions, settings: Settings):
    """alpha (T/300)^beta gamma/(1 - omega) zeta/zeta0 [RATE12 eq. 3]"""
    a, b, g, t, weight = _fit(rows, cell.temperature, settings.policy)
    return weight * a * (t / 300.0) ** b * g / (1 - settings.albedo) * (cell.zeta / c.ZETA0)


def photo(rows: Rows, cell: Conditions, settings: Settings):
    """alpha sum_i chi_i exp(-gamma A_V,i) Theta_i over the sources i [RATE12 eq. 4]"""
    order = {"H2": 1, "CO": 2, "N2": 3, "C": 4}
    which = np.array([order.get(p[0], 0) for p in rows.partners])
    one = jnp.ones_like(cell.shield_h2)
    theta = jnp.stack([one, cell.shield_h2, cell.shield_co, cell.shield_n2, cell.shield_c])
    field = cell.chi[None] * jnp.exp(-rows.gamma[:, :1] * cell.av[None])
    total = jnp.sum(field * theta[which], axis=1)
    return rows.alpha[:, 0] * total


def h2_formation(rows: Rows, cell: Conditions, settings: Settings):
    """R = R_300 sqrt(T/300) sigma/sigma_0, as dn(H2)/dt = R n_H n(H); alpha scales it.

    sigma is the grains' cross section per nucleus, sigma_0 that of interstellar gas, which R_300
    belongs to. The row reads H + H -> H2 in atoms but is of first order in H: see
    `surface.h2_on_grains`.
    """
    surface = cell.grains / sigma_grains()
    return rows.alpha[:, 0] * settings.h2_rate * jnp.sqrt(cell.temperature / 300.0) * surface


def accretion(rows: Rows, cell: Conditions, settings: Settings):
    """alpha pi a^2 n_g v_th (1 + e^2/(a k T) for ions), over n_H; alpha is the sticking.

    The density enters outside as for a second reactant would; here it is multiplied in.
    """
    speed = jnp.sqrt(8 * c.K * cell.temperature / (np.pi * rows.mass * c.AMU))
    focus = c.E2 / (settings.radius * c.K * cell.temperature)
    ions = 1 + jnp.where(rows.charge > 0, focus, 0.0)
    return rows.alpha[:, 0] * cell.grains * cell.density * speed * ions


def vibration(rows_mass, energy, settings: Settings):
    """nu0 = sqrt(2 N_s k E_b / (pi^2 m)) [1/s; Hasegawa et al. 1992 eq. 3]"""
    return np.sqrt(2 * settings.sites * c.K * energy / (np.pi**2 * rows_mass * c.AMU))


def thermal_desorption(rows: Rows, cell: Conditions, settings: Settings):
    """nu0 exp(-E_b/T_d); gamma is E_b [K]"""
    energy = rows.gamma[:, 0]
    return vibration(rows.mass, energy, settings) * jnp.exp(-energy / cell.dust_temperature)


def cr_desorption(rows: Rows, cell: Conditions, settings: Settings):
    """3.16e-19 nu0 exp(-E_b/70 K) zeta_cr/zeta0 [Hasegawa & Herbst 1993 eq. 15]

    It takes heavy nuclei of cosmic rays to heat a grain: X-rays do not count.
    """
    energy = rows.gamma[:, 0]
    hot = settings.cr_duty * vibration(rows.mass, energy, settings) * np.exp(-energy / 70.0)
    return hot * (cell.zeta_cr / c.ZETA0)


def photodesorption(rows: Rows, cell: Conditions, settings: Settings):
    """F Y pi a^2 n_g over the molecules in the active layers; Y = alpha + beta T_d per photon.

    F = F_D sum_i chi_i exp(-1.8 A_V,i) + F_CR zeta/zeta0. [Oeberg et al. 2009]
    """
    flux = settings.uv_flux * jnp.sum(cell.chi * jnp.exp(-1.8 * cell.av))
    flux += settings.cr_uv_flux * (cell.zeta / c.ZETA0)
    per_molecule = flux / (4 * settings.sites * settings.layers)
    return per_molecule * (rows.alpha[:, 0] + rows.beta[:, 0] * cell.dust_temperature)


def surface(rows: Rows, cell: Conditions, settings: Settings):
    """alpha kappa (k_hop,i + k_hop,j) / (N_sites n_g/n_H), half for i = j [Hasegawa et al. 1992].

    k_hop = nu0 exp(-0.4 E_b/T_d); kappa = exp(-2 (a/hbar) sqrt(2 mu k gamma)) tunnels through the
    barrier gamma [K], or the thermal exp(-gamma/T_d) if that is faster.
    """
    masses = np.array([[names.mass(s) for s in (*p, p[-1])[:2]] for p in rows.partners])
    twins = np.array([0.5 if p[0] == p[-1] else 1.0 for p in rows.partners])
    immobile = ~np.isfinite(rows.energies)
    energy = np.where(immobile, 1e4, rows.energies)
    hop = vibration(masses, energy, settings) * jnp.exp(
        -settings.hop * energy / cell.dust_temperature
    )
    both = jnp.sum(jnp.where(immobile, 0.0, hop), axis=1)
    reduced = masses.prod(axis=1) / masses.sum(axis=1) * c.AMU
    height = rows.gamma[:, 0] * c.K
    tunnel = np.exp(-2 * settings.barrier / (c.H / (2 * np.pi)) * np.sqrt(2 * reduced * height))
    kappa = jnp.maximum(tunnel, jnp.exp(-rows.gamma[:, 0] / cell.dust_temperature))
    some = cell.grains > 0
    sites = jnp.where(some, 4 * cell.grains * settings.sites, 1.0)
    return jnp.where(some, twins * rows.alpha[:, 0] * kappa * both / sites, 0.0)


FORMS = {
    "arrhenius": arrhenius,
    "cr ionisation": cr_ionisation,
    "cr photon": cr_photon,
    "photo": photo,
    "ionpol1": ionpol1,
    "ionpol2": ionpol2,
    "h2 formation": h2_formation,
    "accretion": accretion,
    "thermal desorption": thermal_desorption,
    "cr desorption": cr_desorption,
    "photodesorption": photodesorption,
    "surface": surface,
}
