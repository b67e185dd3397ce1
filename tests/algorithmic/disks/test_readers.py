import jax
import numpy as np
import pytest

from algorithmic.disks import network, rates, readers, species
from fl_jax.core import errors
from fl_jax.data import sources

DATA = sources.folder("astrochem")
UMIST = (
    "# source\n"
    '74:AD:H-:H:H2:e-:::2:4.82e-9:.02:4.3:10:100:M:A:"10.1/a":"a: b":'
    '4.32e-9:-.39:39.4:101:3000:M:A:"10.1/a":"c":\n'
    '990:CR:CO:CRPHOT:C:O:::1:1.3e-17:1.17:105:10:41000:M:A:"x":"y":\n'
)
KIDA = (
    f"{'H3+':11}{'CO':11}{'':11} {'HCO+':11}{'H2':11}{'':33}  "
    " 1.000E+00  1.610E-09  5.060E-01 1.25E+00 0.00E+00 logn  4     10    800  4  3000 1  1\n"
    f"{'H2':11}{'CR':11}{'':11} {'H2+':11}{'e-':11}{'':33}  "
    " 9.300E-01  0.000E+00  0.000E+00 1.25E+00 0.00E+00 logn  1  -9999   9999  1     5 1  1\n"
)


def read(tmp_path, text, **kwargs):
    path = tmp_path / "network"
    path.write_text(text)
    return readers.read_network(path, **kwargs)


def test_umist_with_colons_in_quotes_and_two_fits(tmp_path):
    found = read(tmp_path, UMIST)
    assert len(found) == 2
    row = found.find("H- + H -> H2 + e-")[0]
    np.testing.assert_array_equal(found.gamma[row, :2], [4.3, 39.4])
    assert network.KINDS[found.kind[1 - row]] == "cr photon"


def test_kida_columns(tmp_path):
    found = read(tmp_path, KIDA)
    kinds = {found.equation(r): network.KINDS[found.kind[r]] for r in range(2)}
    assert kinds == {"H3+ + CO -> HCO+ + H2": "ionpol1", "H2 -> H2+ + e-": "cr ionisation"}
    assert found.alpha[found.find("H2 -> H2+ + e-")[0], 0] == pytest.approx(0.93 * 1.3e-17)


def test_misprinted_formulas_of_kida_are_read_as_what_they_must_be(tmp_path):
    # As in the file of 2024: CRP with the formula of photons, which made 1e4 a second of it;
    # photons with that of cosmic rays; an exponent where a branching ratio belongs, and the other
    # way round.
    row = lambda left, right, numbers, formula, number: (
        f"{left[0]:11}{left[1]:11}{'':11} {right[0]:11}{right[1]:11}{'':33}  "
        f" {numbers} 0.00E+00 0.00E+00 logn  4     10    496  {formula}  {number:4} 1  1\n"
    )
    found = read(
        tmp_path,
        row(("C2H", "CRP"), ("C2", "H"), "1.000E+04  0.000E+00  0.000E+00", 2, 1)
        + row(("CH", "Photon"), ("C", "H"), "1.900E-09  0.000E+00  1.700E+00", 1, 2)
        + row(("H3+", "CO"), ("HCO+", "H2"), "1.000E-09 -5.000E-01  0.000E+00", 4, 3)
        + row(("H3+", "N2"), ("N2H+", "H2"), "1.000E+00  1.450E-09  0.000E+00", 3, 4),
    )
    cell = rates.conditions(1e4, 75.0, 1.0)
    with jax.enable_x64(True):
        k = np.asarray(rates.make(found)(cell))
    wanted = {
        "C2H -> C2 + H": 1e4 * 1.3e-17,
        "CH -> C + H": 1.9e-9 * np.exp(-1.7),
        "H3+ + CO -> HCO+ + H2": 1e-9 * 2 * 1e4,
        "H3+ + N2 -> N2H+ + H2": 0.62 * 1.45e-9 * 1e4,
    }
    for row, rate in enumerate(k):
        assert rate == pytest.approx(wanted[found.equation(row)], rel=1e-12)


@pytest.mark.data("astrochem")
def test_no_coefficient_of_kida_is_negative_or_that_of_a_lamp():
    net = readers.read_network(DATA / "networks" / "gas_reactions_kida.uva.2024.in")
    alone = (net.reactants >= 0).sum(axis=1) == 1
    with jax.enable_x64(True):
        for temperature in (10.0, 600.0):
            k = np.asarray(rates.make(net)(rates.conditions(1e4, temperature, 0.0)))
            assert (k >= 0).all()
            assert k[alone].max() < 1e-6  # per second, in one Draine field
            assert k.max() < 1e-3 * 1e4  # collisions


def test_lines_that_say_nothing_and_files_of_no_format(tmp_path):
    head = "Reactant 1,Reactant 2,Reactant 3,Product 1,Product 2,Product 3,Product 4,Alpha,Beta,"
    body = "Gamma,T_min,T_max\nC,PHOTON,NAN,C+,E-,NAN,NAN,3.5e-10,0.0,3.76,10.0,41000.0\n"
    assert len(read(tmp_path, head + body + "\n! a remark\n", format="uclchem")) == 1
    assert len(read(tmp_path, "\ufeff" + UMIST.partition("\n")[2])) == 2
    with pytest.raises(errors.DataError, match="looks like none of umist, kida"):
        read(tmp_path, "H,H,,H2,,,,1e-17\n")


def test_numbers_that_no_rate_has_are_refused(tmp_path):
    with pytest.raises(errors.DataError, match=r"line 3: alpha should be at least 0.*-1.3e-17"):
        read(tmp_path, UMIST.replace("1.3e-17", "-1.3e-17"))
    with pytest.raises(errors.DataError, match=r"Tmin at most Tmax.*for 300 to 10 K"):
        read(tmp_path, UMIST.replace(":10:41000:", ":300:10:"))


def test_malformed_lines_name_file_line_and_reason(tmp_path):
    with pytest.raises(errors.DataError, match="network line 2: alpha should be a number"):
        read(tmp_path, UMIST.replace("4.82e-9", "fast"))
    with pytest.raises(errors.DataError, match="line 3: unknown reaction type 'XX'"):
        read(tmp_path, UMIST.replace(":CR:", ":XX:"))
    with pytest.raises(errors.DataError, match=r"line 3: CO -> C does not balance.*-1 O"):
        read(tmp_path, UMIST.replace(":C:O:", ":C::"))
    with pytest.raises(errors.DataError, match="line 3: a reaction has one fit at least, 0 came"):
        read(tmp_path, UMIST.replace(":1:1.3e-17", ":0:1.3e-17"))  # it was left out in silence
    with pytest.raises(errors.DataError, match="there is no network file"):
        readers.read_network(tmp_path / "none")


def test_species_names():
    assert species.composition("l-C3H2+") == {"C": 3, "H": 2}
    assert species.composition("SiC4") == {"Si": 1, "C": 4}
    assert species.mass("CO") == pytest.approx(28.01)
    assert species.charge("e-") == -1
    with pytest.raises(errors.DataError, match="'Xx' is none"):
        species.composition("HXx")


@pytest.mark.data("astrochem")
def test_rate22_whole_and_its_subset():
    rate22 = readers.read_network(DATA / "networks" / "umist22.csv")  # every reaction balances
    assert (len(rate22), len(rate22.species)) == (8765, 737)  # the file's ids
    assert sum(len(set(map(tuple, np.stack(
        [rate22.t_min[r], rate22.alpha[r], rate22.beta[r], rate22.gamma[r]], 1)))) > 1
               for r in range(len(rate22))) == 65  # of 67 with several fits  # fmt: skip
    s2 = network.subset(rate22, ("H", "He", "C", "N", "O", "S", "Mg"), 2)
    ids = (DATA / "reference" / "umist22_S2_reaction_ids.txt").read_text().split()
    names = (DATA / "reference" / "umist22_S2_species.txt").read_text().split()
    assert set(s2.ids) == set(map(int, ids))
    assert set(s2.species) == set(names)


@pytest.mark.data("astrochem")
@pytest.mark.parametrize(
    ("file", "reactions"),
    [
        ("networks/umist12.csv", 6173),
        ("networks/kida.uva.2014.dat", 7400),
        ("networks/gas_reactions_kida.uva.2024.in", 8000),
        ("networks/uclchem_reactions.csv", 2200),
        ("rac2d/rate12_withGrain_lowH2Bind_hiObind.dat", 6300),
        ("networks/carbox_umist22_mini.csv", 19),
    ],
)
def test_the_other_networks_balance(file, reactions):
    assert len(readers.read_network(DATA / file)) >= reactions


def test_two_lines_of_rate12_are_two_fits_of_one_reaction(tmp_path):
    """Their rates were added: at 10 K dissociative recombination of C2H3+ was 12 times too fast."""

    def line(alpha, beta, low, high, product="C2"):
        sides = "".join(f"{s:12}" for s in ("C2H3+", "E-", "", product, "H", "H2", ""))
        return f"{sides}{alpha:9.2e}{beta:9.2f}{0:9.1f}{low:6d}{high:6d}{5:3d}\n"

    cold, warm = (1.5e-8, -0.84), (2.87e-8, -1.38)
    text = line(*cold, 50, 1000) + line(*warm, 1000, 30000)
    found = read(tmp_path, text, format="rate12-grain")
    assert len(found) == 1 and found.alpha.shape == (1, 2) and found.ids.tolist() == [1]
    rate = rates.make(found)
    with jax.enable_x64(True):
        for kelvin, (alpha, beta) in ((10.0, cold), (100.0, cold), (5000.0, warm)):
            wanted = alpha * (kelvin / 300) ** beta
            got = rate(rates.conditions(1.0, kelvin, 0.0))
            np.testing.assert_allclose(got, [wanted], rtol=1e-12)
    twice = line(*cold, 50, 1000) + line(*warm, 50, 1000)  # channels, whose rates add
    assert len(read(tmp_path, twice, format="rate12-grain")) == 2
