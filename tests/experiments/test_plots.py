import matplotlib
import pytest

from experiments import plots


def test_pictures_need_no_window():
    assert plots.pyplot().get_fignums() == []
    assert matplotlib.get_backend().lower() == "agg"


@pytest.mark.parametrize("low", [0.6, 0.3])
def test_no_point_is_cut_off_at_the_bottom(low):
    figure, axes = plots.pyplot().subplots(1, 2, sharey=True)
    axes[0].errorbar([1, 2, 3], [0.9, low, float("nan")], yerr=[0.1, 0.1, 0.0])
    axes[1].plot([1, 2], [0.9, 0.8])
    for axis in axes:
        axis.set_ylim(top=1.0)
    plots.floor(axes, 0.45)
    assert (
        axes[0].get_ylim() == axes[1].get_ylim() == pytest.approx((0.45 if low > 0.5 else 0.17, 1))
    )
    plots.pyplot().close(figure)
