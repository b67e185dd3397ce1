import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.disks import bdf, hand, network, rates, sensitivity, surface

START = {"H2": 0.5, "He": 0.09, "C+": 1e-4, "O": 2e-4}


def network_with_ices():
    net = surface.with_ices(hand.co_h2())
    return net, network.abundances(net, START)


CELLS = rates.stack(
    [
        rates.conditions(1e5, 60.0, 1.5, chi=10.0, grains=5e-22),
        rates.conditions(1e8, 18.0, 4.0, chi=10.0, grains=5e-22),
    ]
)


slowly = lambda name: pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "name", ["zeta", "temperature", "density", *map(slowly, ("chi", "av", "grains"))]
)
def test_gradients_are_those_of_central_differences(name):
    net, x0 = network_with_ices()
    options = bdf.Options(rtol=1e-9, atol=1e-22)
    solve = sensitivity.differentiable(net, x0, [1e4, 1e6], options=options)
    places = [net.index(s) for s in ("CO", "e-", "C+", "#CO")]
    step = 5e-3  # noise of the integration over step: below 1e-6

    def moved(factor):
        return CELLS._replace(**{name: getattr(CELLS, name) * factor})

    with jax.enable_x64(True):
        logs = lambda factor: jnp.log(solve(moved(factor))[..., jnp.asarray(places)])
        _, slope = jax.jvp(logs, (jnp.asarray(1.0),), (jnp.asarray(1.0),))
        up, down = logs(1 + step), logs(1 - step)
        difference = (up - down) / (2 * step)
        # One Richardson step: the plain difference errs by more than 1e-4 itself.
        far = (logs(1 + 2 * step) - logs(1 - 2 * step)) / (4 * step)
        wanted = np.asarray((4 * difference - far) / 3)
        scale = np.maximum(np.abs(wanted), 1e-2)
        np.testing.assert_array_less(np.abs(np.asarray(slope) - wanted) / scale, 1e-4)


def test_reverse_mode_gives_the_same():
    net, x0 = network_with_ices()
    solve = sensitivity.differentiable(net, x0, [1e5])
    at = net.index("CO")
    with jax.enable_x64(True):
        loss = lambda zeta: solve(CELLS._replace(zeta=zeta))[:, 0, at].sum()
        zeta = jnp.asarray(CELLS.zeta)
        reverse = jax.grad(loss)(zeta)
        for cell in range(2):
            one = jnp.zeros(2).at[cell].set(1.0)
            forward = jax.jvp(loss, (zeta,), (one,))[1]
            assert float(reverse[cell]) == pytest.approx(float(forward), rel=1e-10)
        assert (np.abs(np.asarray(reverse)) > 0).all()


def test_a_cell_that_gives_up_is_no_number():
    net, x0 = network_with_ices()
    solve = sensitivity.differentiable(net, x0, [1e6], options=bdf.Options(max_steps=5))
    with jax.enable_x64(True):
        assert np.isnan(np.asarray(solve(CELLS))).all()
