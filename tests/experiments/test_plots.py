import matplotlib

from experiments import plots


def test_pictures_need_no_window():
    assert plots.pyplot().get_fignums() == []
    assert matplotlib.get_backend().lower() == "agg"
