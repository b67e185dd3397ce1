"""Ices for a gas-phase network: accretion, desorption, and a minimal set of surface reactions."""

from algorithmic.disks import network
from algorithmic.disks.network import Network, Reaction

# Binding energies on water ice [K; Garrod & Herbst 2006 and the RATE12+grain file of Du].
BINDING = {
    "H": 450.0, "H2": 430.0, "C": 800.0, "N": 800.0, "O": 1320.0, "S": 1100.0, "Mg": 5300.0,
    "CH": 925.0, "CH2": 1050.0, "CH3": 1175.0, "CH4": 1250.0, "NH": 2378.0, "NH2": 3956.0,
    "NH3": 5530.0, "OH": 2850.0, "H2O": 5700.0, "CO": 1210.0, "N2": 1210.0, "O2": 1210.0,
    "NO": 1600.0, "CN": 1600.0, "HCN": 3610.0, "HNC": 3510.0, "HCO": 1600.0, "H2CO": 2050.0,
    "CH2OH": 5084.0, "CH3OH": 4930.0, "CO2": 2990.0, "CS": 1900.0, "SO": 2600.0, "HS": 1450.0,
    "H2S": 2743.0, "C2": 1600.0, "C2H": 2137.0, "C2H2": 2587.0, "C2H4": 3487.0, "C2H6": 4387.0,
    "NS": 1900.0, "SO2": 3405.0, "OCS": 2888.0, "HNO": 2050.0, "H2O2": 5700.0, "O2H": 3650.0,
}  # fmt: skip
# Photodesorption: (molecules a photon, what is added per kelvin) [Oeberg et al. 2009].
YIELD = {"CO": (2.7e-3, 0.0), "H2O": (1.3e-3, 3.2e-5), "N2": (1.8e-4, 0.0), "CO2": (2.3e-3, 0.0)}
OTHER_YIELD = (1e-3, 0.0)

# Barriers [K; Garrod & Herbst 2006]: hydrogenation to water, ammonia, methane, methanol, and CO2.
REACTIONS = (
    ("H", "O", "OH", 0.0),
    ("H", "OH", "H2O", 0.0),
    ("H", "N", "NH", 0.0),
    ("H", "NH", "NH2", 0.0),
    ("H", "NH2", "NH3", 0.0),
    ("H", "C", "CH", 0.0),
    ("H", "CH", "CH2", 0.0),
    ("H", "CH2", "CH3", 0.0),
    ("H", "CH3", "CH4", 0.0),
    ("H", "CO", "HCO", 2500.0),
    ("H", "HCO", "H2CO", 0.0),
    ("H", "H2CO", "CH2OH", 2500.0),
    ("H", "CH2OH", "CH3OH", 0.0),
    ("H", "S", "HS", 0.0),
    ("H", "HS", "H2S", 0.0),
    ("H", "CN", "HCN", 0.0),
    ("CO", "OH", "CO2 + H", 80.0),
)


def h2_on_grains(scale: float = 1.0) -> Reaction:
    """H + H -> H2 on grains, of first order in atomic H: dn(H2)/dt = R n_H n(H), R with the grains.

    Do not combine it with a surface reaction #H + #H.
    """
    return Reaction(("H", "H"), ("H2",), "h2 formation", scale)


def h2_photodissociation() -> Reaction:
    """H2 + photon -> H + H; RATE22 has no such row [Draine & Bertoldi 1996: 5.7e-11, 4.2]."""
    return Reaction(("H2",), ("H", "H"), "photo", 5.7e-11, 0.0, 4.2)


def ices(gas: Network, *, binding=None, reactions: bool = True) -> list[Reaction]:
    """The reactions that give the species of `gas` an ice each.

    Args:
        gas: the network they are for; species that it lacks get no ice.
        binding: binding energy [K] by species; the table of this module unless given. H2 is left
            out: it does not stay on grains above 10 K.
        reactions: add the surface reactions whose species all have ices.
    """
    table = {k: v for k, v in (binding or BINDING).items() if k in gas.species and k != "H2"}
    out = []
    for name, energy in table.items():
        ice = f"#{name}"
        per_photon, per_kelvin = YIELD.get(name, OTHER_YIELD)
        out += [
            Reaction((name,), (ice,), "accretion", 1.0),
            Reaction((ice,), (name,), "thermal desorption", 1.0, 0.0, energy),
            Reaction((ice,), (name,), "cr desorption", 1.0, 0.0, energy),
            Reaction((ice,), (name,), "photodesorption", per_photon, per_kelvin, 0.0),
        ]
    if reactions:
        for first, second, products, barrier in REACTIONS:
            made = products.split(" + ")
            if {first, second, *made} <= set(table):
                sides = (f"#{first}", f"#{second}"), tuple(f"#{p}" for p in made)
                out.append(Reaction(*sides, "surface", 1.0, 0.0, barrier))
    return out


def with_ices(gas: Network, *, binding=None, reactions: bool = True) -> Network:
    """`gas` with H2 formation on grains, H2 photodissociation and `ices`.

    Rows of `gas` that already do one of these are kept and not doubled.
    """
    more = ices(gas, binding=binding, reactions=reactions)
    formation = network.KINDS.index("h2 formation")
    if not (gas.kind == formation).any():
        more.append(h2_on_grains())
    photo = network.KINDS.index("photo")
    if not any(gas.kind[row] == photo for row in gas.find("H2 -> H + H")):
        more.append(h2_photodissociation())
    return network.extend(gas, more)
