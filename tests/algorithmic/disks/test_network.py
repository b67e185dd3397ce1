import numpy as np
import pytest

from algorithmic.disks import hand, network, rates, species, surface
from algorithmic.disks.network import Reaction
from fl_jax.core import errors


def test_fits_and_channels():
    twice = [
        Reaction(("C", "O"), ("CO",), "arrhenius", 1.0, t_max=100.0),
        Reaction(("O", "C"), ("CO",), "arrhenius", 2.0, t_min=100.0),
        Reaction(("O", "C"), ("CO",), "arrhenius", 3.0, t_min=50.0, t_max=200.0),
    ]
    found = network.build(twice)
    assert len(found) == 2  # two fits of one reaction, and a channel that overlaps both
    np.testing.assert_array_equal(found.alpha[0, :2], [1, 2])


def test_a_reaction_has_as_many_fits_as_there_are():
    fits = [
        Reaction(("H", "N"), ("NH",), "arrhenius", k + 1.0, t_min=100.0 * k, t_max=100.0 * (k + 1))
        for k in range(8)  # as H + N has in KIDA 2024
    ]
    found = network.build([*fits, Reaction(("C", "O"), ("CO",), "arrhenius", 1.0)])
    assert len(found) == 2
    np.testing.assert_array_equal(found.alpha, [range(1, 9), [1] * 8])
    assert len(network.build(network.as_reactions(found))) == 2
    rate = rates.make(found.select([0]))
    for k in range(8):
        assert rate(rates.conditions(1.0, 100.0 * k + 50, 0.0))[0] == k + 1


def test_stoichiometry_conserves_elements_and_charge():
    net = surface.with_ices(hand.co_h2())
    _, weights = species.conserved(net.species)
    np.testing.assert_array_equal(weights @ net.stoichiometry(), 0)
    again = network.build(network.as_reactions(net))
    assert {again.equation(r) for r in range(len(again))} == {
        net.equation(r) for r in range(len(net))
    }


def test_unbalanced_unknown_and_absent_are_refused():
    with pytest.raises(errors.DataError, match=r"does not balance.*\+1 H"):
        network.build([Reaction(("C",), ("C", "H"), "photo", 1.0)])
    with pytest.raises(errors.DataError, match="reactants of a reaction should be a tuple"):
        network.build([Reaction("C + O", ("CO",), "arrhenius", 1.0)])
    with pytest.raises(errors.DataError, match=r"products of mine\.csv line 1 .* 'CO' came"):
        network.build([Reaction(("C", "O"), "CO", "arrhenius", 1.0, where="mine.csv line 1")])
    net = hand.co_h2()
    with pytest.raises(errors.ConfigError, match="unknown species 'COO'"):
        network.abundances(net, {"COO": 1.0})
    with pytest.raises(errors.ConfigError, match="finite number >= 0"):
        network.abundances(net, {"CO": np.nan})
    with pytest.raises(errors.ConfigError, match="holds C, He"):
        network.abundances(net, {"H2": 0.5, "O": 1e-4})


def test_electrons_balance_the_ions():
    net = hand.co_h2()
    x = network.abundances(net, {"H2": 0.5, "He": 0.1, "C+": 1e-4, "O": 2e-4})
    assert x[net.index("e-")] == 1e-4


def test_a_subset_keeps_whole_reactions():
    small = network.subset(hand.co_h2(), ("H", "He"), 0)
    assert "CO" not in small.species
    assert small.find("H2+ + H2 -> H3+ + H")


def test_subsets_of_nothing_are_refused():
    """A network of no reactions came, which failed where its rates were made."""
    with pytest.raises(errors.ConfigError, match="no reaction has species of Fe and at most 2"):
        network.subset(hand.co_h2(), ("Fe",), 2)
    with pytest.raises(errors.ConfigError, match="unknown element 'he'"):
        network.subset(hand.co_h2(), ("H", "he"), 2)
