"""The integrator beside SciPy's BDF, diffrax and UCLCHEM; where its time goes.

1,024 cells of one disk of the population (RATE22 with ices, rtol 1e-6): SciPy and diffrax, which
take much longer, solve an even sample, and ours the same, on one core, in CPU seconds;
then ours solves all of them on every core, which takes minutes and tells how far it is. All get
the same rate coefficients and the same analytic Jacobian. `python -m experiments bench
disks_chemistry` runs this part alone.
"""

import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from algorithmic.disks import (
    adapters,
    bdf,
    chemistry,
    kinetics,
    network,
    population,
    radiation,
    rates,
    readers,
    species,
    surface,
)
from algorithmic.disks import constants as c
from experiments.bench import measure, peers
from fl_jax.data import sources

CELLS, SCIPY, DIFFRAX = 1024, 16, 8
STEPS = 3000  # of diffrax in a cell, at most; ours takes 460 to 1,600
PARTS = 8  # of the cells, spread over the disk alike
RTOL, ATOL, YEARS = 1e-6, 1e-18, 1e6
BIG = 1e-12  # abundances above it are compared


def main() -> None:
    """The whole part; needs the data folder."""
    run(sources.require("astrochem"))


def run(folder: pathlib.Path) -> None:
    """Prints what each comparison gives."""
    ready = population.setting(population.Population(), folder)
    net, x0 = ready.network, population.start(ready.network)
    cells = disk_cells(ready)
    options = bdf.Options(rtol=RTOL, atol=ATOL)
    solve = lambda which, **how: chemistry.integrate(
        net, x0, take(cells, which), [YEARS], options=options, **how
    )
    every = np.arange(CELLS)
    with measure.one_core():
        sample = every[:: CELLS // SCIPY]
        solve(sample, threads=1, lanes=1)  # compiles
        mine = beside_scipy(net, x0, take(cells, sample), lambda: solve(sample, threads=1, lanes=1))
        profile(net, x0, take(cells, sample), mine)
        sample = every[:: CELLS // DIFFRAX]
        calls = [lambda one=one: solve(every[one : one + 1], threads=1, lanes=1) for one in sample]
        beside_diffrax(net, x0, take(cells, sample), calls)
    uclchem(folder)
    solve(every[::PARTS])  # compiles
    spent, good = 0.0, 0
    for part in range(PARTS):
        start = time.perf_counter()
        good += int(solve(every[part::PARTS]).converged.sum())
        spent += time.perf_counter() - start
        done = (part + 1) * CELLS // PARTS
        print(
            f"chemistry, all cores: {done} of {CELLS} cells in {spent:.1f} s, {done / spent:.1f}"
            f" cells/s, {good} converged",
            flush=True,
        )


def beside_scipy(net, x0, cells, solve) -> chemistry.Solution:
    """Prints CPU seconds of ours, which `solve` calls, and of SciPy; returns what ours found."""
    mine, ours = cpu(solve)
    ours /= len(cells.density)
    theirs, worst = scipy(net, x0, cells, mine.x[:, 0])
    print(
        f"chemistry, {len(net.species)} species, {len(net)} reactions, rtol {RTOL},"
        f" {len(cells.density)} of {CELLS} cells of a disk on one core, CPU seconds a cell: ours"
        f" {ours:.3f}, SciPy BDF {theirs:.3f}, ratio {theirs / ours:.1f}; largest difference above"
        f" {BIG} {worst:.1e}; {int(mine.converged.sum())} converged; our steps"
        f" {mine.steps.tolist()}",
        flush=True,
    )
    return mine


def beside_diffrax(net, x0, cells, calls) -> None:
    """Prints CPU seconds of ours, a call for each cell, and of diffrax."""
    each = [cpu(call) for call in calls]
    found, worst = diffrax(net, x0, cells, np.concatenate([f.x[:, 0] for f, _ in each]))
    done, theirs = found["done"], found["seconds"]
    ours = np.array([spent for _, spent in each])
    say = lambda which: f"ours {ours[which].mean():.3f}, diffrax {theirs[which].mean():.2f}"
    ratio = lambda which: theirs[which].sum() / ours[which].sum()
    print(
        f"chemistry, diffrax {found['version']} Kvaerno5, {len(each)} of these cells one by one,"
        f" CPU seconds a cell: {done.sum()} get to the end, in {found['steps'][done].tolist()}"
        f" steps, {say(done)}, ratio {ratio(done):.1f}, {min(done.sum(), 4)} of them vmapped"
        f" {float(found['vmapped']):.2f}; largest difference above {BIG} {worst:.1e}",
        flush=True,
    )
    if not done.all():
        print(
            f"chemistry, diffrax: {(~done).sum()} do not get there in {STEPS} steps, until then"
            f" {say(~done)}, ratio above {ratio(~done):.0f}",
            flush=True,
        )


def disk_cells(ready: population.Setting) -> rates.Conditions:
    """`CELLS` cells of the population's first disk, lit through dust, without self-shielding."""
    asked = population.Population(disks=1, radii=48, layers=46)
    grid = population.grid(asked, population.draw(asked)[0])
    i, j = np.nonzero((grid.density > asked.thinnest) & (grid.temperature < asked.hottest))
    some = np.linspace(0, len(i) - 1, CELLS).astype(int)
    i, j = i[some], j[some]
    none = {name: np.zeros(CELLS) for name in radiation.SHIELDED}
    return radiation.conditions(grid, i, j, none, none, ready.tables)


def take(cells: rates.Conditions, which) -> rates.Conditions:
    """Some of the cells."""
    return jax.tree.map(lambda leaf: leaf[which], cells)


def cpu(call):
    """(result, CPU seconds of this process)."""
    start = time.process_time()
    return jax.block_until_ready(call()), time.process_time() - start


def profile(net, x0, cells, solved: chemistry.Solution) -> None:
    """Microseconds of each part of a step, and how often a cell needs it."""
    with jax.enable_x64(True):
        functions = kinetics.compile(net)
        middle = len(cells.density) // 2
        cell = take(cells, middle)
        settings = rates.Settings()
        k = jax.jit(rates.make(net, settings))(cell)[None]
        ice = jnp.reshape(jnp.asarray(rates.active_layers(cell, settings)), (1,))
        x = jnp.asarray(solved.x[middle, :1])
        slopes = functions.jacobian(k, ice, x)
        matrix = jnp.eye(len(x0))[None] - 1e6 * slopes
        lu, _, _ = jax.lax.linalg.lu(matrix)

        def triangles(b):
            b = jax.lax.linalg.triangular_solve(
                lu, b, left_side=True, lower=True, unit_diagonal=True
            )
            return jax.lax.linalg.triangular_solve(lu, b, left_side=True, lower=False)

        parts = {
            "dx/dt": (lambda x: functions.rhs(k, ice, x), x),
            "Jacobian": (lambda x: functions.jacobian(k, ice, x), x),
            "LU": (lambda m: jax.lax.linalg.lu(m)[0], matrix),
            "triangles": (triangles, x[:, :, None]),
        }
        each = {name: microseconds(f, argument) for name, (f, argument) in parts.items()}
    attempts, factors, calls = (
        float(np.mean(v)) for v in (solved.steps, solved.factorisations, solved.evaluations)
    )
    known = calls * (each["dx/dt"] + each["triangles"]) + factors * (each["Jacobian"] + each["LU"])
    print(
        "chemistry, where the time goes: "
        + ", ".join(f"{name} {value:.0f} us" for name, value in each.items())
        + f"; a cell takes {attempts:.0f} steps, {calls:.0f} evaluations with their triangles,"
        f" {factors:.0f} Jacobians and factorisations: {known / 1e3:.0f} ms",
        flush=True,
    )


def microseconds(function, argument, repeats: int = 200) -> float:
    """Of one call inside a compiled loop, whose calls depend on each other."""

    @jax.jit
    def loop(argument):
        def step(_, a):
            return a + 1e-300 * jnp.sum(function(a))

        return jax.lax.fori_loop(0, repeats, step, argument)

    jax.block_until_ready(loop(argument))
    start = time.perf_counter()
    jax.block_until_ready(loop(argument))
    return (time.perf_counter() - start) / repeats * 1e6


def coefficients(net, cells: rates.Conditions):
    """(k (C, R), ice (C,)) as they enter dx/dt."""
    settings = rates.Settings()
    with jax.enable_x64(True):
        k = np.asarray(jax.jit(jax.vmap(rates.make(net, settings)))(cells))
        ice = np.asarray(jax.vmap(lambda cell: rates.active_layers(cell, settings))(cells))
    return k, ice


def differ(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Largest relative difference of the abundances above `BIG`."""
    big = theirs > BIG
    return float(np.abs(mine[big] / theirs[big] - 1).max())


def scipy(net, x0, cells, mine) -> tuple[float, float]:
    """(CPU seconds a cell of SciPy's BDF, largest difference)."""
    from scipy.integrate import solve_ivp

    functions = kinetics.compile(net)
    k, ice = coefficients(net, cells)
    spent, ends = 0.0, []
    with jax.enable_x64(True):
        rhs = jax.jit(lambda k, ice, x: functions.rhs(k, ice, x[None])[0])
        jacobian = jax.jit(lambda k, ice, x: functions.jacobian(k, ice, x[None])[0])
        for one in range(len(k)):
            here = jnp.asarray(k[one : one + 1]), jnp.asarray(ice[one : one + 1])
            f = lambda t, x, here=here: np.asarray(rhs(*here, x))
            j = lambda t, x, here=here: np.asarray(jacobian(*here, x))
            f(0, x0), j(0, x0)
            found, used = cpu(
                lambda f=f, j=j: solve_ivp(f, (0, YEARS * c.YEAR), x0, "BDF", jac=j, rtol=RTOL,
                                           atol=ATOL, first_step=1.0)
            )  # fmt: skip
            spent += used
            ends.append(found.y[:, -1])
    return spent / len(k), differ(mine, np.array(ends))


def diffrax(net, x0, cells, mine) -> tuple[dict[str, np.ndarray], float]:
    """(what the peer says, largest difference), in an environment of its own."""
    k, ice = coefficients(net, cells)
    reactants = net.reactants.copy()
    formed = network.KINDS.index("h2 formation")
    reactants[net.kind == formed, 1:] = -1  # first order in H
    amounts = net.stoichiometry()
    rows, columns = np.nonzero(amounts)
    power = [kinetics.LIMITED.get(network.KINDS[kind], 0) for kind in net.kind]
    found = peers.exchange(
        "diffrax",
        "diffrax_cells.py",
        {
            "reactants": np.where(reactants < 0, len(x0), reactants),
            "rows": rows, "columns": columns, "amounts": amounts[rows, columns].astype(float),
            "power": np.array(power, np.float64),
            "icy": np.array([species.is_ice(s) for s in net.species], np.float64),
            "k": k, "ice": ice, "start": x0, "end": YEARS * c.YEAR, "rtol": RTOL, "atol": ATOL,
            "most_steps": STEPS,
        },
    )  # fmt: skip
    return found, differ(mine[found["done"]], found["x"][found["done"]])


def uclchem(folder: pathlib.Path) -> None:
    """The dark cloud, gas only, beside a stored run of UCLCHEM with the same temperature policy."""
    stored = folder / "reference" / "uclchem_gasonly_dark.csv"
    net = readers.read_network(folder / "networks" / "uclchem_reactions.csv")
    net = network.extend(net, [surface.h2_on_grains()])
    begin = adapters.read_uclchem([stored], years=0.0)
    first = dict(zip(begin.species, begin.abundances[0], strict=True))
    x0, years = np.array([first[s] for s in net.species]), [1e3, 1e4, 1e5, 1e6]
    settings = rates.Settings(policy="zero", h2_rate=3e-17 / np.sqrt(10.0 / 300.0))
    cell = rates.conditions(2e4, 10.0, 10.0, grains=rates.sigma_grains())
    found = chemistry.integrate(net, x0, cell, years, settings=settings)
    worst = {"H and C+": 0.0, "others": 0.0}
    for t, year in enumerate(years):
        run = adapters.read_uclchem([stored], years=year)
        for s in net.species:
            x = run.abundances[0, run.species.index(s)]
            if x > 1e-13:
                group = "H and C+" if s in ("H", "C+") else "others"
                gap = abs(np.log10(found.x[0, t, net.index(s)] / x))
                worst[group] = max(worst[group], float(gap))
    print(
        "chemistry, a stored run of UCLCHEM (gas only, n 2e4, 10 K, policy zero), species above"
        f" 1e-13 at 1e3 to 1e6 yr: largest difference {worst['others']:.3f} dex, H and C+"
        f" {worst['H and C+']:.3f}",
        flush=True,
    )
