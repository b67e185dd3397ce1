"""dx/dt and its Jacobian from a network, by gathers and sums that are laid out once.

x_i = n_i/n_H. v_j = k_j prod x over the reactants, dx/dt = S v, J = S dv/dx. What several
reactions add to one species is summed in groups, level by level: no scatter, the same
order of additions everywhere, and small terms are added to small ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from algorithmic.disks import species as names
from algorithmic.disks.network import KINDS, Network

# Widths of the groups: many reactions make one species, few make one element of the Jacobian.
FLOW_WIDTH, SLOPE_WIDTH = 8, 3
# Reactions of ice only run in its upper layers: the power of the accessible share.
LIMITED = {"thermal desorption": 1, "cr desorption": 1, "photodesorption": 1, "surface": 2}


class Kinetics(NamedTuple):
    """A network compiled to two functions; B lanes are B cells side by side."""

    rhs: Callable  # (k (B, R), ice (B,), x (B, N)) -> dx/dt (B, N)
    jacobian: Callable  # (k, ice, x) -> (B, N, N), d(dx_i/dt)/dx_j


class Sums(NamedTuple):
    """sum over j of sign_ij v_j as levels of gathers."""

    levels: tuple[np.ndarray, ...]  # each (groups, width), places in what came before; -1 is zero


def sums(lists: Sequence[Sequence[int]], inputs: int, width: int) -> Sums:
    """The levels that sum the places in each list; `inputs` places come in."""
    levels = []
    current = [list(places) for places in lists]
    size = inputs
    while True:
        last = max(map(len, current), default=0) <= width
        groups, fresh = [], []
        for places in current:
            chunks = [places[i : i + width] for i in range(0, len(places), width)] or [[]]
            fresh.append(list(range(len(groups), len(groups) + len(chunks))))
            groups += [chunk + [size] * (width - len(chunk)) for chunk in chunks]
        levels.append(np.array(groups, np.int32).reshape(-1, width))
        if last:
            return Sums(tuple(levels))
        current, size = fresh, len(groups)


def apply_sums(plan: Sums, values: Float[Array, "B M"]) -> Float[Array, "B T"]:
    """The sums of `values` that `plan` lays out."""
    for level in plan.levels:
        zero = jnp.zeros_like(values[:, :1])
        padded = jnp.concatenate([values, zero], axis=1)
        values = padded[:, level[:, 0]]
        for places in level.T[1:]:  # one loop over the groups: faster than to reduce short rows
            values = values + padded[:, places]
    return values


def accessible(
    ice: Float[Array, " B"], total: Float[Array, " B"]
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Share of the ice that lies in the active layers, and its derivative by the total.

    (1 - exp(-s))/s with s = total/ice: 1 for a little ice, ice/total for thick mantles, smooth
    between.

    Args:
        ice: abundance that fills the active layers.
        total: abundance of all ice.
    """
    full = jnp.maximum(ice, 1e-300)
    s = total / full
    small = jnp.abs(s) < 1e-4
    safe = jnp.where(small, 1.0, s)
    share = jnp.where(small, 1 - s / 2, -jnp.expm1(-safe) / safe)
    slope = jnp.where(small, -0.5 + s / 3, (jnp.exp(-safe) * (safe + 1) - 1) / safe**2)
    return share, jnp.where(ice > 0, slope / full, 0.0)


def compile(network: Network) -> Kinetics:
    """The two functions of `network`."""
    species, count = len(network.species), len(network)
    reactants = network.reactants.copy()
    reactants[network.kind == KINDS.index("h2 formation"), 1:] = -1  # first order in H
    slots = max(1, int((reactants >= 0).sum(axis=1).max()))
    reactants = np.where(reactants[:, :slots] < 0, species, reactants[:, :slots])
    stoichiometry = network.stoichiometry().astype(np.int64)
    power = np.array([LIMITED.get(KINDS[k], 0) for k in network.kind], np.float64)
    icy = np.array([names.is_ice(s) for s in network.species], np.float64)
    any_ice = bool(power.any())

    # What enters the sums are the rates and, behind them, their negatives.
    terms: list[list[int]] = [[] for _ in range(species)]
    entries: dict[tuple[int, int], list[int]] = {}
    for i, row in zip(*np.nonzero(stoichiometry), strict=True):
        change = int(stoichiometry[i, row])
        sign = 0 if change > 0 else 1
        terms[i] += [sign * count + int(row)] * abs(change)
        for slot in range(slots):
            column = reactants[row, slot]
            if column < species:
                place = (2 * slot + sign) * count + int(row)
                entries.setdefault((int(i), int(column)), []).extend([place] * abs(change))
    flow = sums(terms, 2 * count, FLOW_WIDTH)
    places = sorted(entries)
    slopes = sums([entries[p] for p in places], 2 * slots * count, SLOPE_WIDTH)
    dense = np.full((species, species), len(places), np.int32)
    for at, (i, j) in enumerate(places):
        dense[i, j] = at

    def signed(values):
        return jnp.concatenate([values, -values], axis=1)

    def limits(ice, x):
        total = x @ jnp.asarray(icy, x.dtype)
        share, slope = accessible(ice, total)
        once, twice = (power == 1)[None], (power == 2)[None]
        share = share[:, None]  # to the power by selection: pow takes longer than all the rest
        thick = jnp.where(once, share, jnp.where(twice, share * share, 1.0))
        return thick, slope[:, None] / share * jnp.asarray(power, x.dtype)[None]

    def factors(x):
        padded = jnp.concatenate([x, jnp.ones_like(x[:, :1])], axis=1)
        return [padded[:, reactants[:, slot]] for slot in range(slots)]

    def product(parts):
        out = parts[0]
        for part in parts[1:]:
            out = out * part
        return out

    def rhs(k, ice, x):
        v = k * product(factors(x))
        if any_ice:
            v = v * limits(ice, x)[0]
        return apply_sums(flow, signed(v))

    def jacobian(k, ice, x):
        parts = factors(x)
        by = [product([k, *parts[:slot], *parts[slot + 1 :]]) for slot in range(slots)]
        if any_ice:
            thick, slope = limits(ice, x)
            by = [w * thick for w in by]
        found = apply_sums(slopes, jnp.concatenate([signed(w) for w in by], axis=1))
        padded = jnp.concatenate([found, jnp.zeros_like(found[:, :1])], axis=1)
        matrix = padded[:, dense]
        if any_ice:  # every limited rate falls with every ice
            change = apply_sums(flow, signed(k * product(parts) * thick * slope))
            matrix += change[:, :, None] * jnp.asarray(icy, x.dtype)[None, None, :]
        return matrix

    return Kinetics(rhs, jacobian)
