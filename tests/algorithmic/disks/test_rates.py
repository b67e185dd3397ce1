import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.disks import constants as c
from algorithmic.disks import hand, network, rates, readers, surface
from algorithmic.disks.network import Reaction
from algorithmic.disks.rates import Settings, conditions
from fl_jax.core import errors
from fl_jax.data import sources

DATA = sources.folder("astrochem")
# RATE22: equation, first digits at 10, 100 and 300 K; zeta 1.3e-17, chi 1, A_V 1, extrapolated.
TABLE = (
    ("H3+ + CO -> HCO+ + H2", 3.076069e-9, 1.640975e-9, 1.375501e-9),
    ("HCO+ + e- -> CO + H", 2.508562e-6, 5.121827e-7, 2.4e-7),
    ("H- + H -> H2 + e-", 2.929260e-9, 4.516791e-9, 3.788318e-9),
    ("OH + H2 -> H2O + H", 3.203e-90, 1.086713e-20, 6.297314e-15),
    ("H2 -> H2+ + e-", 1.2e-17, 1.2e-17, 1.2e-17),
    ("CN -> C + N", 1.567244e-11, 1.567244e-11, 1.567244e-11),
    ("N2H+ + CO -> HCO+ + N2", 8.8e-10, 8.8e-10, 8.8e-10),
)


def coefficients(net, cell, settings=Settings()):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(rates.make(net, settings))(cell))


@pytest.mark.data("astrochem")
def test_the_table_of_rate22():
    net = readers.read_network(DATA / "networks" / "umist22.csv")
    rows = [net.find(equation) for equation, *_ in TABLE]
    net = net.select(sorted({r for places in rows for r in places}))
    rows = [net.find(equation) for equation, *_ in TABLE]
    for i, t in enumerate((10.0, 100.0, 300.0)):
        k = coefficients(net, conditions(1.0, t, 1.0))
        for (equation, *wanted), places in zip(TABLE, rows, strict=True):
            kinds = [network.KINDS[net.kind[r]] for r in places]
            one = next(r for r, kind in zip(places, kinds, strict=True) if kind != "cr photon")
            digits = 1e-3 if "OH + H2" in equation else 1e-6
            assert k[one] == pytest.approx(wanted[i], rel=digits), equation


def one(kind="arrhenius", **fields):
    return network.build([Reaction(("C", "O"), ("CO",), kind, **fields)])


@pytest.mark.parametrize("ids", [(7, 7), (0, 0)])
@pytest.mark.parametrize("policy", rates.POLICIES)
def test_forms_for_cold_and_warm_are_one_reaction(ids, policy):
    warm = Reaction(
        ("C+", "HS"), ("CS+", "H"), "ionpol2", 1.0, 2e-9, 3.0, t_min=156.0, t_max=800.0, id=ids[0]
    )
    cold = warm._replace(kind="ionpol1", t_min=10.0, t_max=155.0, id=ids[1])
    both, of_cold, of_warm = (network.build(r) for r in ([warm, cold], [cold], [warm]))
    for t in (5.0, 100.0, 155.4, 155.6, 300.0, 2000.0):
        cell = conditions(1.0, t, 0.0)
        total = coefficients(both, cell, Settings(policy=policy)).sum()
        alone = coefficients(of_cold if t < 155.5 else of_warm, cell, Settings(policy=policy))
        assert total == pytest.approx(alone[0], rel=1e-12), t
    channels = network.build([warm._replace(id=1), cold._replace(id=2)])
    assert (coefficients(channels, conditions(1.0, 100.0, 0.0)) > 0).all()


@pytest.mark.data("astrochem")
def test_no_reaction_of_kida_is_counted_twice():
    net = readers.read_network(DATA / "networks" / "gas_reactions_kida.uva.2024.in")
    rows = net.find("HS + C+ -> H + CS+")
    assert len(rows) == 2
    for t, which in ((100.0, "ionpol1"), (300.0, "ionpol2")):
        k = coefficients(net.select(rows), conditions(1.0, t, 0.0))
        assert [network.KINDS[net.kind[r]] for r, v in zip(rows, k, strict=True) if v] == [which]


def test_temperature_policies():
    net = one(alpha=1.0, beta=0.0, gamma=100.0, t_min=50.0, t_max=200.0)
    at = lambda t, policy: coefficients(net, conditions(1.0, t, 0.0), Settings(policy=policy))[0]
    assert at(10.0, "extrapolate") == pytest.approx(np.exp(-10))
    assert at(10.0, "clip") == pytest.approx(np.exp(-2))
    assert at(10.0, "zero") == 0
    assert at(100.0, "zero") == pytest.approx(np.exp(-1))
    barrier = one(alpha=1.0, gamma=-100.0, t_min=50.0, t_max=200.0)
    k = coefficients(barrier, conditions(1.0, 10.0, 0.0))
    assert k[0] == pytest.approx(np.exp(2))  # held at the edge: it would explode
    with pytest.raises(errors.ConfigError, match="unknown temperature policy"):
        Settings(policy="guess")


def test_kida_forms():
    k = coefficients(one("ionpol1", alpha=0.5, beta=1e-9, gamma=2.0), conditions(1.0, 75.0, 0.0))
    assert k[0] == pytest.approx(0.5e-9 * (0.62 + 0.4767 * 2 * 2))
    k = coefficients(one("ionpol2", alpha=0.5, beta=1e-9, gamma=2.0), conditions(1.0, 75.0, 0.0))
    assert k[0] == pytest.approx(0.5e-9 * (1 + 0.0967 * 2 * 2 + 4 * 4 / 10.526))


def test_two_bodies_go_with_the_density_and_shields_multiply():
    net = hand.co_h2()
    thin, dense = (coefficients(net, conditions(n, 30.0, 1.0)) for n in (1.0, 1e6))
    two = net.find("H3+ + CO -> HCO+ + H2")[0]
    assert dense[two] == pytest.approx(1e6 * thin[two])
    photo = next(r for r in net.find("CO -> O + C") if network.KINDS[net.kind[r]] == "photo")
    shaded = coefficients(net, conditions(1.0, 30.0, 1.0, shield_co=0.1))
    assert shaded[photo] == pytest.approx(0.1 * thin[photo])


def test_freezing_out_takes_6309_years():
    net = network.build([Reaction(("CO",), ("#CO",), "accretion", 1.0)])
    sigma = np.pi * 1e-10 * 1.3e-12
    k = coefficients(net, conditions(1e6, 20.0, 0.0, grains=sigma))[0]
    assert k == pytest.approx(5.022458e-12, rel=2e-3)  # of a mass of 28 instead of 28.01
    assert 1 / k / c.YEAR == pytest.approx(6309.3, rel=2e-3)


def test_desorption_and_zero_grains():
    ice = network.build(surface.ices(hand.co_h2()))
    k = coefficients(ice, conditions(1e6, 20.0, 0.0, grains=0.0))
    assert np.isfinite(k).all()  # no grains: no accretion, no division by zero
    row = next(
        r for r in ice.find("#CO -> CO") if network.KINDS[ice.kind[r]] == "thermal desorption"
    )
    nu0 = np.sqrt(2 * 1.5e15 * c.K * 1210 / (np.pi**2 * 28.01 * c.AMU))
    assert k[row] == pytest.approx(nu0 * np.exp(-1210 / 20))


def test_h2_forms_on_the_grains_that_there_are():
    net = hand.co_h2()
    row = net.find("H + H -> H2")[0]
    at = lambda grains: coefficients(net, conditions(1e6, 300.0, 0.0, grains=grains))[row]
    usual = rates.sigma_grains()
    assert at(usual) == pytest.approx(4.95e-17 * 1e6)
    assert at(usual / 100) == pytest.approx(at(usual) / 100)
    assert at(0.0) == 0


def test_x_rays_do_not_heat_grains_but_ionise():
    net = surface.with_ices(hand.co_h2())
    cosmic = coefficients(net, conditions(1e6, 20.0, 9.0, zeta=1e-17, grains=5e-22))
    both = coefficients(net, conditions(1e6, 20.0, 9.0, zeta=1e-12, zeta_cr=1e-17, grains=5e-22))
    of = lambda kind: net.kind == network.KINDS.index(kind)
    np.testing.assert_array_equal(both[of("cr desorption")], cosmic[of("cr desorption")])
    np.testing.assert_allclose(both[of("cr ionisation")], 1e5 * cosmic[of("cr ionisation")])


def test_gradients_are_finite():
    net = surface.with_ices(hand.co_h2())
    with jax.enable_x64(True):
        cell = jax.tree.map(jnp.asarray, conditions(1e6, 30.0, 1.0, grains=5e-22))
        slope = jax.jit(jax.jacfwd(rates.make(net)))(cell)
        assert all(np.isfinite(leaf).all() for leaf in slope)


def test_what_is_given_once_holds_for_every_field():
    cell = rates.conditions(1e4, 50.0, [1.0, 2.0], chi=[10.0, 1.0], shield_h2=[0.1, 0.2])
    assert {leaf.shape for leaf in cell} == {(), (2,)}
    np.testing.assert_array_equal(cell.shield_co, [1.0, 1.0])
    found = rates.make(network.build([surface.h2_photodissociation()]))(cell)
    want = 5.7e-11 * (10 * 0.1 * np.exp(-4.2) + 0.2 * np.exp(-8.4))
    assert float(found[0]) == pytest.approx(want, rel=1e-5)
    with pytest.raises(errors.ConfigError, match=r"as many fields, but \[2, 3\] came"):
        rates.conditions(1e4, 50.0, [1.0, 2.0, 3.0], chi=[10.0, 1.0])
