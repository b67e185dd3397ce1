"""Chemistry of many cells at once, in float64 whatever the user's process is set to."""

import concurrent.futures
import functools
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import bdf, kinetics, rates
from algorithmic.disks import constants as c
from algorithmic.disks.network import Network
from algorithmic.disks.rates import Conditions, Settings
from fl_jax.core import errors

LEAST = 16  # cells that a program is compiled for; idle places cost nothing but their rates


class Solution(NamedTuple):
    """Abundances per hydrogen nucleus, and how each cell ended."""

    x: np.ndarray  # (cells, times, N) float64
    converged: np.ndarray  # (cells,) bool; where False the last times are missing (zeros)
    steps: np.ndarray  # (cells,) accepted steps
    factorisations: np.ndarray  # (cells,)
    evaluations: np.ndarray  # (cells,) of dx/dt


def integrate(
    network: Network,
    start,
    conditions: Conditions,
    years: Sequence[float] | np.ndarray | float,
    *,
    settings: Settings = Settings(),
    options: bdf.Options = bdf.Options(),
    lanes: int | None = None,
    threads: int | None = None,
) -> Solution:
    """Abundances at `years` from `start`, each cell with its own steps.

    Args:
        network: from `read_network`, `surface.with_ices` or `hand.co_h2`.
        start: (N,) or (cells, N), see `network.abundances`.
        conditions: of one cell, or of many on a leading axis (`rates.stack`).
        years: rising times above 0 [yr], or one.
        settings: rate forms.
        options: tolerances.
        lanes: cells side by side on a device; 1 on CPU and 1,024 elsewhere unless given.
        threads: CPU threads that share the cells; all cores unless given.

    Raises:
        ConfigError: conditions or abundances that are not finite, negative, or of wrong shape;
            tolerances, lanes or threads that are none.

    Example:
        Atomic and molecular hydrogen in a lit cloud come to x_H = D/(D + 2 R n_H).

        >>> from algorithmic.disks import hand, network, rates
        >>> net = hand.co_h2()
        >>> x0 = network.abundances(net, {"H2": 0.5, "He": 0.09, "C+": 1e-4, "O": 2e-4})
        >>> dust = rates.sigma_grains()
        >>> cell = rates.conditions(density=1e4, temperature=50.0, av=3.0, grains=dust)
        >>> found = integrate(net, x0, cell, [1e6])
        >>> bool(found.converged.all()), found.x.shape
        (True, (1, 1, 17))
    """
    conditions, start = check(network, start, conditions)
    check_options(options)
    for name, number in (("lanes", lanes), ("threads", threads)):
        if number is not None:
            errors.whole(name, number, 1)
    times = np.atleast_1d(np.asarray(years, np.float64))
    if times.ndim != 1 or not len(times) or not (np.diff(times, prepend=0.0) > 0).all():
        raise errors.ConfigError(f"years must rise from above 0, got {times.tolist()}; sort them.")
    if not np.isfinite(times[-1]):
        raise errors.ConfigError("years must be finite; chemistry has no end.")
    cells = len(start)
    on_cpu = jax.default_backend() == "cpu"
    threads = threads or (os.cpu_count() or 1 if on_cpu else 1)
    lanes = lanes or (1 if on_cpu else min(1024, _power(cells)))
    solve = compiled(network, settings, options, lanes)

    def part(which) -> bdf.Output:
        capacity = max(LEAST, _power(len(which)))
        padded = np.concatenate([which, np.repeat(which[:1], capacity - len(which))])
        with jax.enable_x64(True):
            take = lambda leaf: jnp.asarray(leaf[padded])
            own = jax.tree.map(take, conditions), take(start)
            out = solve(*own, jnp.asarray(times * c.YEAR), len(which))
            return jax.tree.map(lambda a: np.asarray(a)[: len(which)], out)

    shares = [np.arange(i, cells, threads) for i in range(min(threads, cells))]
    if len(shares) == 1:
        outs = [part(shares[0])]
    else:
        with concurrent.futures.ThreadPoolExecutor(len(shares)) as pool:
            outs = list(pool.map(part, shares))
    order = np.argsort(np.concatenate(shares), kind="stable")
    join = lambda *leaves: np.concatenate(leaves)[order]
    out = jax.tree.map(join, *outs)
    return Solution(
        out.x,
        out.status == bdf.OK,
        out.statistics.steps,
        out.statistics.factorisations,
        out.statistics.evaluations,
    )


def check_options(options: bdf.Options) -> None:
    """Refuses an integration that would not be one.

    Raises:
        ConfigError: tolerances outside (0, 1), a first step that is not above 0, or no steps.
    """
    for name in ("rtol", "atol", "first_step"):
        errors.positive(name, getattr(options, name))
    errors.below_one("rtol", options.rtol)
    errors.below_one("atol", options.atol)
    errors.whole("max_steps", options.max_steps, 1)


def check(network: Network, start, conditions: Conditions) -> tuple[Conditions, np.ndarray]:
    """Both as float64 with a leading cell axis.

    Raises:
        ConfigError: what `integrate` refuses.
    """
    if not isinstance(conditions, Conditions):
        raise errors.ConfigError(
            f"the conditions should be those of rates.conditions, but {type(conditions).__name__}"
            " came; join the cells of a list with rates.stack."
        )
    conditions = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), conditions)
    if np.ndim(conditions.density) == 0:
        conditions = jax.tree.map(lambda leaf: leaf[None], conditions)
    cells = len(conditions.density)
    if not cells:
        raise errors.ConfigError("no cell came; give the conditions of one at least.")
    for name, leaf in conditions._asdict().items():
        of_sources = name in ("chi", "av") or "shield" in name
        if leaf.ndim != 1 + of_sources:
            raise errors.ConfigError(
                f"conditions.{name} should be (cells{', sources' * of_sources}), but {leaf.shape}"
                " came; make every cell with rates.conditions, of numbers, and join cells with"
                " rates.stack."
            )
        if len(leaf) != cells:
            raise errors.ConfigError(
                f"conditions.{name} has {len(leaf)} cells, the density has {cells}; give one each."
            )
        may_be_none = ("grains", "chi", "av", "zeta", "zeta_cr")
        low = 0.0 if name in may_be_none or "shield" in name else 1e-300
        if not (np.isfinite(leaf).all() and (leaf >= low).all()):
            raise errors.ConfigError(
                f"conditions.{name} must be finite and {'>= 0' if low == 0 else '> 0'}, but"
                f" {leaf[~(np.isfinite(leaf) & (leaf >= low))][0]} came; correct that cell."
            )
    start = np.asarray(start, np.float64)
    if start.ndim == 1:
        start = np.repeat(start[None], cells, axis=0)
    if start.shape != (cells, len(network.species)):
        raise errors.ConfigError(
            f"the abundances should be ({cells}, {len(network.species)}), but {start.shape} came;"
            " make them with network.abundances."
        )
    if not (np.isfinite(start).all() and (start >= 0).all()):
        raise errors.ConfigError("initial abundances must be finite and >= 0; correct them.")
    return conditions, start


@functools.lru_cache(maxsize=32)
def compiled(network: Network, settings: Settings, options: bdf.Options, lanes: int):
    """(conditions (C, ...), start (C, N), seconds (T,), count) -> bdf.Output, one program a shape.

    To be called, like everything that works in float64 here, inside `jax.enable_x64(True)`.
    """
    with jax.enable_x64(True):
        coefficients = jax.vmap(rates.make(network, settings))
        functions = kinetics.compile(network)

        @jax.jit
        def solve(conditions: Conditions, start, seconds, count) -> bdf.Output:
            ice = jax.vmap(lambda cell: rates.active_layers(cell, settings))(conditions)
            return bdf.integrate(
                lambda p, x: functions.rhs(*p, x),
                lambda p, x: functions.jacobian(*p, x),
                (coefficients(conditions), ice),
                start,
                seconds,
                count,
                lanes=lanes,
                options=options,
            )

    return solve


def _power(n: int) -> int:
    """The power of two that holds n: few shapes, few programs."""
    return 1 << max(0, (n - 1).bit_length())
