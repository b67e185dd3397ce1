import numpy as np
import pytest

from algorithmic.disks import network, readers, species
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


def test_malformed_lines_name_file_line_and_reason(tmp_path):
    with pytest.raises(errors.DataError, match="network line 2: alpha should be a number"):
        read(tmp_path, UMIST.replace("4.82e-9", "fast"))
    with pytest.raises(errors.DataError, match="line 3: unknown reaction type 'XX'"):
        read(tmp_path, UMIST.replace(":CR:", ":XX:"))
    with pytest.raises(errors.DataError, match=r"line 3: CO -> C does not balance.*-1 O"):
        read(tmp_path, UMIST.replace(":C:O:", ":C::"))
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
