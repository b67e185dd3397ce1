"""Chemistry as a differentiable function of the conditions.

With p one condition, s = dx/d ln p obeys s' = J s + df/d ln p beside x' = f. Both are integrated as
one system of 2N, errors of s controlled as those of x: its Jacobian is [[J, 0], [D, J]] with D the
derivative of J along (s, d ln p). One more system for every condition that is differentiated by,
each a cell of the queue of its own. [Dickinson & Gelinas 1976, direct method]

The derivative of x is the sum of s times the tangents of the conditions, so that JAX transposes
it: forward and reverse mode both work, in float64 (`jax.enable_x64(True)`).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from algorithmic.disks import bdf, chemistry, kinetics, rates
from algorithmic.disks import constants as c
from algorithmic.disks.broadcast import broadcasts
from algorithmic.disks.network import Network
from algorithmic.disks.rates import Conditions, Settings


def differentiable(
    network: Network,
    start: np.ndarray,
    years: Sequence[float],
    *,
    settings: Settings = Settings(),
    options: bdf.Options = bdf.Options(rtol=1e-8),
    lanes: int = 1,
):
    """The function (conditions (C, ...)) -> x (C, T, N), differentiable in every condition.

    Args:
        network: gas and ices.
        start: (N,) abundances at t = 0, the same in all cells.
        years: rising times above 0 [yr].
        settings: rate forms.
        options: tolerances, of the sensitivities too.
        lanes: systems side by side.

    Raises:
        ConfigError: tolerances that are none.

    Example:
        The steady state of hydrogen, x_H = D/(D + 2 R n_H), where D goes with chi.

        >>> from algorithmic.disks import network, surface
        >>> from algorithmic.disks.network import Reaction
        >>> net = network.build(
        ...     [Reaction(("H2",), ("H", "H"), "photo", 1e-12), surface.h2_on_grains()]
        ... )
        >>> solve = differentiable(net, network.abundances(net, {"H2": 0.5}), [1e8])
        >>> dust = rates.sigma_grains()
        >>> cell = rates.stack([rates.conditions(1e3, 300.0, 0.0, grains=dust)])
        >>> with jax.enable_x64(True):
        ...     slope = jax.grad(lambda cell: solve(cell)[0, 0, net.index("H")])(cell)
        >>> d, r = 1e-12, 2 * 4.95e-17 * 1e3
        >>> bool(np.isclose(slope.chi[0, 0], d * r / (d + r) ** 2, rtol=1e-6))
        True
    """
    chemistry.check_options(options)
    with jax.enable_x64(True):
        coefficients = jax.vmap(rates.make(network, settings))
        functions = kinetics.compile(network)
        times = np.asarray(years, np.float64) * c.YEAR
    first = np.asarray(start, np.float64)
    n = len(first)

    def inputs(conditions: Conditions):
        ice = jax.vmap(lambda cell: rates.active_layers(cell, settings))(conditions)
        return coefficients(conditions), ice

    def solved(rhs, jacobian, parameters, begin) -> Float[Array, "C T M"]:
        count = len(begin)
        out = bdf.integrate(
            rhs, jacobian, parameters, begin, jnp.asarray(times), count,
            lanes=min(lanes, count), options=options,
        )  # fmt: skip
        # What did not converge is no number: it cannot be taken for one.
        return jnp.where((out.status == bdf.OK)[:, None, None], out.x, jnp.nan)

    def augmented_rhs(p, both):
        (k, ice), slopes = p
        x, s = both[:, :n], both[:, n:]
        flow, slope = jax.jvp(functions.rhs, (k, ice, x), (*slopes, s))
        return jnp.concatenate([flow, slope], axis=1)

    def augmented_jacobian(p, both):
        (k, ice), slopes = p
        x, s = both[:, :n], both[:, n:]
        matrix, along = jax.jvp(functions.jacobian, (k, ice, x), (*slopes, s))
        top = jnp.concatenate([matrix, jnp.zeros_like(matrix)], axis=2)
        return jnp.concatenate([top, jnp.concatenate([along, matrix], axis=2)], axis=1)

    @jax.custom_jvp
    def solve(conditions: Conditions):
        with jax.numpy_dtype_promotion("standard"):
            begin = jnp.broadcast_to(jnp.asarray(first), (len(conditions.density), n))
            return solved(
                lambda p, x: functions.rhs(*p, x),
                lambda p, x: functions.jacobian(*p, x),
                inputs(conditions),
                begin,
            )

    def along(conditions: Conditions, name: str, source: int | None):
        """dx/dp (C, T, N) for one condition, of one source of light where it has several."""
        value = getattr(conditions, name)
        part = value if source is None else value[:, source]
        scale = jnp.where(part > 0, part, 1.0)  # by the logarithm where there is one
        direction = jax.tree.map(jnp.zeros_like, conditions)
        unit = scale if source is None else jnp.zeros_like(value).at[:, source].set(scale)
        rates_here, slopes = jax.jvp(inputs, (conditions,), (direction._replace(**{name: unit}),))
        begin = jnp.broadcast_to(jnp.asarray(first), (len(part), n))
        begin = jnp.concatenate([begin, jnp.zeros_like(begin)], axis=1)
        both = solved(augmented_rhs, augmented_jacobian, (rates_here, slopes), begin)
        return both[..., n:] / scale[:, None, None]

    def rule(primals, tangents):
        (conditions,), (moved,) = primals, tangents
        out = solve(conditions)
        total = None
        for name in Conditions._fields:
            tangent = getattr(moved, name)
            if type(tangent) is jax.custom_derivatives.SymbolicZero:
                continue  # not differentiated by: no system is solved for it
            sources = [None] if tangent.ndim == 1 else range(tangent.shape[1])
            for source in sources:
                by = tangent if source is None else tangent[:, source]
                part = along(conditions, name, source) * by[:, None, None]
                total = part if total is None else total + part
        return out, jnp.zeros_like(out) if total is None else total

    solve.defjvp(broadcasts(rule), symbolic_zeros=True)
    compiled = jax.jit(broadcasts(solve))
    return lambda conditions: compiled(
        jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), conditions)
    )
