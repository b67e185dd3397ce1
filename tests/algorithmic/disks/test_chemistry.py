import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate as judge

from algorithmic.disks import (
    adapters,
    bdf,
    chemistry,
    hand,
    kinetics,
    network,
    population,
    rates,
    readers,
    species,
    surface,
)
from algorithmic.disks import constants as c
from algorithmic.disks.network import Reaction
from fl_jax.core import errors
from fl_jax.data import sources

DATA = sources.folder("astrochem")
START = {"H": 5e-5, "H2": 0.5 * (1 - 5e-5), "He": 0.09, "C+": 1.4e-4, "N": 7.5e-5, "O": 3.2e-4,
         "S+": 8e-8, "Mg+": 7e-9}  # fmt: skip
DUST = rates.sigma_grains()  # H2 forms on it; nothing freezes out of a network without ices
CELLS = {
    "dark": rates.conditions(2e4, 10.0, 10.0, grains=DUST),
    "midplane": rates.conditions(1e10, 25.0, 20.0, zeta=1.3e-18, grains=DUST),
    "warm": rates.conditions(1e8, 45.0, 2.0, chi=100.0, grains=DUST),
    "pdr": rates.conditions(1e6, 60.0, 0.5, chi=100.0, grains=DUST),
}
WANTED = {  # at 1e5 and 1e6 yr; None where only four digits are known or nothing
    ("dark", "CO"): (6.818e-5, 1.398e-4),
    ("dark", "HCO+"): (2.040e-9, 4.806e-9),
    ("dark", "N2H+"): (8.807e-12, 7.747e-11),
    ("dark", "HCN"): (5.858e-7, 3.191e-9),
    ("dark", "H2CO"): (9.491e-9, 4.550e-10),
    ("midplane", "CO"): (None, 1.262116e-4),
    ("midplane", "HCN"): (None, 6.942530e-6),
    ("midplane", "CS"): (None, 1.426692e-8),
    ("warm", "CO"): (None, 1.375036e-4),
    ("warm", "HCO+"): (None, 2.402794e-11),
    ("warm", "C2H"): (None, 8.800490e-12),
    ("pdr", "CO"): (None, 4.223820e-6),
    ("pdr", "e-"): (None, 1.069416e-4),
    ("pdr", "CN"): (None, 8.089534e-8),
}


def small():
    net = surface.with_ices(hand.co_h2())
    return net, network.abundances(net, {"H2": 0.5, "He": 0.09, "C+": 1e-4, "O": 2e-4})


def functions(net, cell):
    """rhs and Jacobian of one cell for SciPy."""
    settings = rates.Settings()
    with jax.enable_x64(True):
        cell = jax.tree.map(jnp.asarray, cell)
        compiled = kinetics.compile(net)
        k = rates.make(net, settings)(cell)[None]
        ice = jnp.reshape(rates.active_layers(cell, settings), (1,))
        rhs = jax.jit(lambda x: compiled.rhs(k, ice, x[None])[0])
        jacobian = jax.jit(lambda x: compiled.jacobian(k, ice, x[None])[0])

        def wrap(f):
            def call(_, x):
                with jax.enable_x64(True):
                    return np.asarray(f(jnp.asarray(x)))

            return call

        return wrap(rhs), wrap(jacobian)


def test_hydrogen_comes_to_its_steady_state():
    # D per H2 and R per H: x_H = D/(D + 2 R n_H), time constant 1/(D + 2 R n_H).
    net = network.build([Reaction(("H2",), ("H", "H"), "photo", 1e-12), surface.h2_on_grains()])
    x0 = network.abundances(net, {"H2": 0.5})
    cell = rates.conditions(1e3, 300.0, 0.0, grains=DUST)
    d, r = 1e-12, 2 * 4.95e-17 * 1e3
    years = np.array([1e3, 1e4, 1e7])
    found = chemistry.integrate(net, x0, cell, years, options=bdf.Options(rtol=1e-8), threads=1)
    h = d / (d + r) * (1 - np.exp(-(d + r) * years * c.YEAR))
    np.testing.assert_allclose(found.x[0, :, net.index("H")], h, rtol=1e-5)


def test_the_jacobian_is_that_of_automatic_differentiation():
    net, x0 = small()
    with jax.enable_x64(True):
        cell = jax.tree.map(jnp.asarray, rates.conditions(1e6, 25.0, 1.0, grains=5e-22))
        compiled = kinetics.compile(net)
        k, ice = rates.make(net)(cell)[None], jnp.asarray([3e-6])
        x = jnp.asarray(x0 + 1e-6)[None]
        mine = np.asarray(compiled.jacobian(k, ice, x)[0])
        auto = np.asarray(jax.jacfwd(lambda x: compiled.rhs(k, ice, x[None])[0])(x[0]))
        np.testing.assert_allclose(mine, auto, rtol=1e-12, atol=1e-12 * np.abs(auto).max())
        plain = net.stoichiometry() @ rate_of(net, k[0], x[0], ice[0])
        flow = np.asarray(compiled.rhs(k, ice, x)[0])
        np.testing.assert_allclose(flow, plain, rtol=1e-10, atol=1e-12 * np.abs(plain).max())


def rate_of(net, k, x, ice):
    """The rates one by one: the slow twin of the gathers."""
    x, out = np.asarray(x), []
    total = sum(x[i] for i, s in enumerate(net.species) if species.is_ice(s))
    s = total / float(ice)
    share = (1 - np.exp(-s)) / s
    for row in range(len(net)):
        kind = network.KINDS[net.kind[row]]
        places = [i for i in net.reactants[row] if i >= 0]
        places = places[:1] if kind == "h2 formation" else places
        out.append(float(k[row]) * np.prod(x[places]) * share ** kinetics.LIMITED.get(kind, 0))
    return np.array(out)


def test_lanes_and_queue_change_nothing_and_scipy_agrees():
    net, x0 = small()
    cells = rates.stack(
        [rates.conditions(n, t, a, chi=10.0, grains=5e-22)
         for n, t, a in ((1e4, 20.0, 2.0), (1e8, 40.0, 1.0), (1e10, 15.0, 8.0))]
    )  # fmt: skip
    options = bdf.Options(rtol=1e-7)
    one = chemistry.integrate(net, x0, cells, [1e3, 1e6], options=options, lanes=1, threads=1)
    two = chemistry.integrate(net, x0, cells, [1e3, 1e6], options=options, lanes=2, threads=1)
    assert one.converged.all() and two.converged.all()
    # Side by side the compiler rounds otherwise, which a step size may turn on.
    np.testing.assert_allclose(one.steps, two.steps, rtol=0.05)
    np.testing.assert_allclose(one.x, two.x, rtol=1e-4, atol=1e-18)
    assert len(set(one.steps.tolist())) == 3  # every cell at its own pace
    _, weights = species.conserved(net.species)
    total = weights @ x0
    assert (np.abs(one.x @ weights.T - total) < 1e-10 * np.maximum(np.abs(total), 1e-4)).all()
    rhs, jacobian = functions(net, jax.tree.map(lambda leaf: leaf[1], cells))
    solved = judge.solve_ivp(rhs, (0, 1e6 * c.YEAR), x0, "BDF", t_eval=[1e3 * c.YEAR, 1e6 * c.YEAR],
                             jac=jacobian, rtol=1e-8, atol=1e-24, first_step=1.0)  # fmt: skip
    big = solved.y.T > 1e-14
    np.testing.assert_allclose(one.x[1][big], solved.y.T[big], rtol=1e-3)


def test_a_cell_that_gives_up_is_flagged():
    net, x0 = small()
    cell = rates.conditions(1e8, 40.0, 1.0, grains=5e-22)
    found = chemistry.integrate(net, x0, cell, [1e6], options=bdf.Options(max_steps=5), threads=1)
    assert not found.converged[0]


def test_bad_cells_are_sentences():
    net, x0 = small()
    with pytest.raises(errors.ConfigError, match=r"conditions\.temperature must be finite and > 0"):
        chemistry.integrate(net, x0, rates.conditions(1e4, 0.0, 1.0), [1.0])
    with pytest.raises(errors.ConfigError, match="years must rise"):
        chemistry.integrate(net, x0, CELLS["dark"], [2.0, 1.0])
    with pytest.raises(errors.ConfigError, match="years must rise"):
        chemistry.integrate(net, x0, CELLS["dark"], [np.nan])
    with pytest.raises(errors.ConfigError, match="the abundances should be"):
        chemistry.integrate(net, x0[:3], CELLS["dark"], [1.0])
    for cell in (rates.conditions(np.ones(2), 10.0, 1.0), rates.conditions(1.0, np.ones(2), 1.0)):
        with pytest.raises(errors.ConfigError, match=r"join cells with rates\.stack"):
            chemistry.integrate(net, x0, cell, [1.0])
    with pytest.raises(errors.ConfigError, match=r"list came; join .* with rates\.stack"):
        chemistry.check.__wrapped__(net, x0, [CELLS["dark"], CELLS["pdr"]])
    none = jax.tree.map(lambda a: a[:0], rates.stack([rates.conditions(1e4, 10.0, 1.0)]))
    with pytest.raises(errors.ConfigError, match="no cell came"):
        chemistry.integrate(net, x0, none, [1.0])


def test_other_times_compile_nothing():
    net, x0 = small()
    solve = chemistry.compiled(net, rates.Settings(), bdf.Options(), 1)
    runs = [chemistry.integrate(net, x0, CELLS["pdr"], t, threads=1) for t in ([1.0], [2.0], 3.0)]
    assert solve._cache_size() == 1
    whole = chemistry.integrate(net, x0, CELLS["pdr"], [1.0, 2.0, 3.0], threads=1)
    for at, one in enumerate(runs):
        np.testing.assert_allclose(one.x[0, 0], whole.x[0, at], rtol=1e-3, atol=1e-12)


def test_the_users_process_stays_in_float32():
    net, x0 = small()
    found = chemistry.integrate(net, x0, CELLS["pdr"], [1.0], threads=1)
    assert found.x.dtype == np.float64
    assert jnp.zeros(1).dtype == jnp.float32


@pytest.mark.data("astrochem")
def test_the_four_reference_cells():
    gas = readers.read_network(DATA / "networks" / "umist22.csv")
    net = network.subset(gas, population.ELEMENTS, 2)
    net = network.extend(net, [surface.h2_on_grains()])
    x0 = network.abundances(net, START)
    found = chemistry.integrate(
        net, x0, rates.stack(CELLS.values()), [1e5, 1e6], options=bdf.Options(rtol=1e-7)
    )
    names = list(CELLS)
    for (cell, name), wanted in WANTED.items():
        for t, value in enumerate(wanted):
            if value is not None:
                got = found.x[names.index(cell), t, net.index(name)]
                assert got == pytest.approx(value, rel=1e-3), (cell, name)
    _, weights = species.conserved(net.species)
    assert np.abs(found.x @ weights.T - weights @ x0).max() < 1e-10


@pytest.mark.data("astrochem")
def test_uclchem_agrees_within_a_tenth_of_a_decade():
    # An independent code (Fortran, DVODE) with the same network and temperature policy. Its rate of
    # H2 formation is only known to be about 3e-17 cm^3/s, which H and C+ feel.
    run = adapters.read_uclchem([DATA / "reference" / "uclchem_gasonly_dark.csv"], years=0.0)
    net = readers.read_network(DATA / "networks" / "uclchem_reactions.csv")
    net = network.extend(net, [surface.h2_on_grains()])
    first = dict(zip(run.species, run.abundances[0], strict=True))
    x0 = np.array([first[s] for s in net.species])
    settings = rates.Settings(policy="zero", h2_rate=3e-17 / np.sqrt(10.0 / 300.0))
    cell, years = rates.conditions(2e4, 10.0, 10.0, grains=DUST), [1e3, 1e5, 1e6]
    found = chemistry.integrate(net, x0, cell, years, settings=settings)
    for t, year in enumerate(years):
        theirs = adapters.read_uclchem(
            [DATA / "reference" / "uclchem_gasonly_dark.csv"], years=year
        )
        for s in net.species:
            x = theirs.abundances[0, theirs.species.index(s)]
            if x > 1e-13:
                allowed = 0.15 if s in ("H", "C+") else 0.1
                assert abs(np.log10(found.x[0, t, net.index(s)] / x)) < allowed, (s, year)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rtol": 10.0}, r"rtol must lie in \[0, 1\), got 10"),  # any abundance would do
        ({"rtol": -1e-6}, "rtol must be above 0"),
        ({"atol": 0.0}, "atol must be above 0"),  # of a species that is not there: 0 / 0
        ({"rtol": np.nan}, "rtol must be above 0, got nan"),
        ({"max_steps": 0}, "max_steps must be a whole number of 1 or more"),
    ],
)
def test_tolerances_that_are_none_are_refused(change, said):
    net, x0 = small()
    options = bdf.Options()._replace(**change)
    with pytest.raises(errors.ConfigError, match=said):
        chemistry.integrate(net, x0, CELLS["dark"], [1.0], options=options)
    with pytest.raises(errors.ConfigError, match="threads must be a whole number of 1 or more"):
        chemistry.integrate(net, x0, CELLS["dark"], [1.0], threads=-1)
