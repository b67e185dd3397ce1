"""A chemical network as arrays: who reacts, to what, at which rate form."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from algorithmic.disks import species as names
from fl_jax.core import errors

# How a rate coefficient follows from (alpha, beta, gamma); the equations are in `rates`.
KINDS = (
    "arrhenius",
    "cr ionisation",
    "cr photon",
    "photo",
    "ionpol1",
    "ionpol2",
    "h2 formation",
    "accretion",
    "thermal desorption",
    "cr desorption",
    "photodesorption",
    "surface",
)
REACTANTS, PRODUCTS = 3, 5  # at most
FITTED = ("arrhenius", "ionpol1", "ionpol2")  # forms that may share the temperatures of a reaction


class Reaction(NamedTuple):
    """One reaction as a reader finds it."""

    reactants: tuple[str, ...]
    products: tuple[str, ...]
    kind: str
    alpha: float
    beta: float = 0.0
    gamma: float = 0.0
    t_min: float = 0.0  # [K]
    t_max: float = np.inf  # [K]
    id: int = 0
    where: str = ""  # file and line, for messages
    always: bool = False  # holds outside (t_min, t_max) whatever the policy


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """N species and R reactions; -1 fills unused places.

    A reaction may have several fits (alpha, beta, gamma) in different temperature ranges, F of them
    at most.
    """

    species: tuple[str, ...]
    reactants: np.ndarray  # (R, 3) int32, indices of species
    products: np.ndarray  # (R, 5) int32
    kind: np.ndarray  # (R,) int32, index into KINDS
    alpha: np.ndarray  # (R, F) float64, the fits; unused ones repeat the first
    beta: np.ndarray  # (R, F)
    gamma: np.ndarray  # (R, F)
    t_min: np.ndarray  # (R, F) [K]
    t_max: np.ndarray  # (R, F) [K]
    always: np.ndarray  # (R,) bool, exempt from the policy "zero"
    ids: np.ndarray  # (R,) int32, of the source

    def __len__(self) -> int:
        return len(self.kind)

    def index(self, name: str) -> int:
        """The place of a species.

        Raises:
            ConfigError: it is not in the network.
        """
        errors.one_of("species", name, self.species)
        return self.species.index(name)

    def equation(self, row: int) -> str:
        """E.g. "H3+ + CO -> HCO+ + H2"."""
        side = lambda places: " + ".join(self.species[i] for i in places if i >= 0)
        return f"{side(self.reactants[row])} -> {side(self.products[row])}"

    def find(self, equation: str) -> list[int]:
        """Rows of the reactions with that equation, whatever the order on each side."""
        key = lambda text: [sorted(side.split(" + ")) for side in text.split(" -> ")]
        return [r for r in range(len(self)) if key(self.equation(r)) == key(equation)]

    def select(self, rows: Sequence[int] | np.ndarray) -> "Network":
        """The reactions of these rows, in this order; the species stay."""
        rows = np.asarray(rows, np.int64)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Network(**{k: v if k == "species" else v[rows] for k, v in fields.items()})

    def stoichiometry(self) -> np.ndarray:
        """(N, R) float64: net molecules of each species that a reaction makes."""
        matrix = np.zeros((len(self.species), len(self)))
        for places, sign in ((self.reactants, -1.0), (self.products, 1.0)):
            rows, slots = np.nonzero(places >= 0)
            np.add.at(matrix, (places[rows, slots], rows), sign)
        return matrix


def build(reactions: Sequence[Reaction], *, check: bool = True) -> Network:
    """A network of what a reader found.

    Lines with the same equation, kind and id are fits of one reaction; where a format has no ids
    (0), those whose temperature ranges do not overlap. Others are channels whose rates add.

    Args:
        reactions: in any order.
        check: refuse reactions that do not balance.

    Raises:
        DataError: no reaction, one that does not balance, more than three reactants or five
            products, a string in place of their tuple, an alpha below 0, or a lowest temperature
            above the highest.
    """
    if not reactions:
        raise errors.DataError("a network needs at least one reaction, but none was found.")
    merged: list[list[Reaction]] = []
    place: dict[tuple, list[int]] = {}
    for reaction in reactions:
        errors.one_of("kind of reaction", reaction.kind, KINDS)
        _sizes(reaction)
        _numbers(reaction)
        if check:
            balanced(reaction)
        key = (tuple(sorted(reaction.reactants)), tuple(sorted(reaction.products)), reaction.kind)
        for at in place.setdefault(key, []):
            if all(_fits(reaction, other) for other in merged[at]):
                merged[at].append(reaction)
                break
        else:
            place[key].append(len(merged))
            merged.append([reaction])
    found = sorted({s for fits in merged for s in fits[0].reactants + fits[0].products})
    index = {name: i for i, name in enumerate(found)}
    most = max(len(fits) for fits in merged)

    def side(which: str, width: int) -> np.ndarray:
        out = np.full((len(merged), width), -1, np.int32)
        for row, fits in enumerate(merged):
            for slot, name in enumerate(getattr(fits[0], which)):
                out[row, slot] = index[name]
        return out

    def fits(which: str) -> np.ndarray:
        rows = [[getattr(f, which) for f in (*r, *[r[0]] * (most - len(r)))] for r in merged]
        return np.array(rows, np.float64)

    return Network(
        tuple(found),
        side("reactants", REACTANTS),
        side("products", PRODUCTS),
        np.array([KINDS.index(r[0].kind) for r in merged], np.int32),
        *(fits(which) for which in ("alpha", "beta", "gamma", "t_min", "t_max")),
        np.array([r[0].always for r in merged]),
        np.array([r[0].id for r in merged], np.int32),
    )


def _fits(a: Reaction, b: Reaction) -> bool:
    if a.id or b.id:
        return a.id == b.id
    return a.t_min >= b.t_max or b.t_min >= a.t_max


def alternatives(network: Network) -> list[list[int]]:
    """Rows that are fits of one reaction by different forms, of which one holds at a temperature.

    KIDA gives many reactions of ions one formula for the cold and another for the warm. What makes
    lines fits of one reaction is as in `build`.
    """
    groups: dict[tuple, list[list[int]]] = {}
    sides = (network.reactants, network.products)
    for row in np.flatnonzero(np.isin(network.kind, [KINDS.index(k) for k in FITTED])).tolist():
        key = tuple(tuple(sorted(places[row].tolist())) for places in sides)
        for group in groups.setdefault(key, []):
            if all(_exclude(network, row, other) for other in group):
                group.append(row)
                break
        else:
            groups[key].append([row])
    return [group for found in groups.values() for group in found if len(group) > 1]


def _exclude(network: Network, a: int, b: int) -> bool:
    if network.ids[a] or network.ids[b]:
        return bool(network.ids[a] == network.ids[b])
    low, high = network.t_min, network.t_max
    return bool(((low[a][:, None] >= high[b]) | (low[b] >= high[a][:, None])).all())


def _sizes(reaction: Reaction) -> None:
    for side in ("reactants", "products"):
        if isinstance(getattr(reaction, side), str):
            raise errors.DataError(
                f"the {side} of {reaction.where or 'a reaction'} should be a tuple of species, but"
                f" the string {getattr(reaction, side)!r} came; write ('CO',) for one."
            )
    if not 1 <= len(reaction.reactants) <= REACTANTS or len(reaction.products) > PRODUCTS:
        raise errors.DataError(
            f"{reaction.where or 'a reaction'} has {len(reaction.reactants)} reactants and"
            f" {len(reaction.products)} products; one to {REACTANTS} and at most {PRODUCTS} are"
            " possible."
        )


def _numbers(reaction: Reaction) -> None:
    if not (reaction.alpha >= 0 and reaction.t_min <= reaction.t_max):
        raise errors.DataError(
            f"{reaction.where or ' + '.join(reaction.reactants)}: alpha should be at least 0 and"
            f" Tmin at most Tmax, but alpha {reaction.alpha:g} came for {reaction.t_min:g} to"
            f" {reaction.t_max:g} K; correct the line."
        )


def balanced(reaction: Reaction) -> None:
    """Refuses a reaction that makes or loses atoms or charge.

    Raises:
        DataError: it does; the message names the file, the line and what is unbalanced.
    """
    sums: dict[str, int] = {}
    for side, sign in ((reaction.reactants, -1), (reaction.products, 1)):
        for name in side:
            for element, count in names.composition(name).items():
                sums[element] = sums.get(element, 0) + sign * count
            sums["charge"] = sums.get("charge", 0) + sign * names.charge(name)
    wrong = {k: v for k, v in sums.items() if v}
    if wrong:
        text = " + ".join(reaction.reactants) + " -> " + " + ".join(reaction.products)
        gains = ", ".join(f"{v:+d} {k}" for k, v in wrong.items())
        raise errors.DataError(
            f"{reaction.where + ': ' if reaction.where else ''}{text} does not balance: its"
            f" products have {gains} against its reactants; correct the line or remove it."
        )


def subset(network: Network, elements: Sequence[str], heavy: int) -> Network:
    """The part whose species hold only these elements and at most `heavy` atoms beyond He.

    A reaction stays if all its species do; species that no reaction is left for go.

    Raises:
        ConfigError: an element that there is not, or no reaction left.

    Example of the subsets used here: elements H He C N O S Mg with `heavy` 2 makes S2 of RATE22,
    141 species and 2,282 reactions.
    """
    for element in elements:
        errors.one_of("element", element, names.MASSES)
    allowed = set(elements)
    good = np.array(
        [
            set(names.composition(s)) <= allowed and names.heavy_atoms(s) <= heavy
            for s in network.species
        ]
        + [True]  # what -1 points to
    )
    keep = good[network.reactants].all(axis=1) & good[network.products].all(axis=1)
    if not keep.any():
        raise errors.ConfigError(
            f"no reaction has species of {', '.join(elements)} and at most {heavy} heavy atoms"
            " alone; allow more."
        )
    return _without_idle_species(network.select(np.flatnonzero(keep)))


def _without_idle_species(network: Network) -> Network:
    used = sorted({int(i) for p in (network.reactants, network.products) for i in p[p >= 0]})
    place = np.full(len(network.species) + 1, -1, np.int32)
    place[used] = np.arange(len(used))
    return dataclasses.replace(
        network,
        species=tuple(network.species[i] for i in used),
        reactants=place[network.reactants],
        products=place[network.products],
    )


def extend(network: Network, more: Sequence[Reaction]) -> Network:
    """The network with further reactions, whose species may be new."""
    return build([*as_reactions(network), *more])


def as_reactions(network: Network) -> list[Reaction]:
    """The network as a list, one entry a fit."""
    out = []
    side = lambda places: tuple(network.species[i] for i in places if i >= 0)
    for row in range(len(network)):
        seen = set()
        for fit in range(network.alpha.shape[1]):
            values = tuple(
                float(getattr(network, k)[row, fit])
                for k in ("alpha", "beta", "gamma", "t_min", "t_max")
            )
            if values in seen:
                continue
            seen.add(values)
            out.append(
                Reaction(
                    side(network.reactants[row]),
                    side(network.products[row]),
                    KINDS[network.kind[row]],
                    *values,
                    id=int(network.ids[row]),
                    always=bool(network.always[row]),
                )
            )
    return out


def abundances(network: Network, start: dict[str, float], *, neutral: bool = True) -> np.ndarray:
    """Initial abundances per hydrogen nucleus as a vector (N,) float64.

    Args:
        network: the network.
        start: abundance by species; species that the network lacks are refused.
        neutral: set the electrons to the sum of the ions' charges.

    Raises:
        ConfigError: an unknown species, a negative or a non-finite abundance, or an element of
            the network without any.
    """
    x = np.zeros(len(network.species))
    for name, value in start.items():
        if not (np.isfinite(value) and value >= 0):
            raise errors.ConfigError(
                f"the abundance of {name} must be a finite number >= 0, got {value}; correct it."
            )
        x[network.index(name)] = value
    if neutral and names.ELECTRON in network.species:
        x[network.index(names.ELECTRON)] = 0.0
        x[network.index(names.ELECTRON)] = x @ np.array([names.charge(s) for s in network.species])
    labels, weights = names.conserved(network.species)
    absent = [
        k for k, total in zip(labels, weights @ x, strict=True) if k != "charge" and not total
    ]
    if absent:
        raise errors.ConfigError(
            f"no species with an initial abundance holds {', '.join(absent)}; give one, or take a"
            " subset of the network without it."
        )
    return x
