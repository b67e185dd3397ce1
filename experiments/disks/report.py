"""The pictures and the tables."""

import pathlib

import numpy as np

from experiments import plots, result
from experiments.disks import stages

CURVE, ABLATION, RESIDUALS, MAPS = "cv.png", "ablation.png", "residuals.png", "maps.png"
CORNER, SPECTRUM, RANKS = "corner.png", "spectrum.png", "ranks.png"
CHANNELS = "channels.png"


def report(outcome: result.Result, directory: result.RunDirectory) -> str:
    """Writes report.md; returns the text that ends the run."""
    d = outcome.details
    text = emulators(d)
    card = d["card"]
    lines = [
        "# Chemistry of protoplanetary disks",
        f"Preset {directory.preset}; {d['origin']}, {card['species']} species and"
        f" {card['reactions']} reactions; {card['disks']} disks, {card['cells']['asked']} cells"
        f" asked for, {card['cells']['not converged']} not converged and left out,"
        f" {card['rows']} rows.",
        f"Cross-validation with {', '.join(directory.config.features)}: best k"
        f" {d['curve']['best']}, {d['curve']['rmse']:.3f} dex for"
        f" {', '.join(d['curve']['species'])} (published: k 20, 0.669 dex, another population).",
        f"![error over k]({CURVE})",
        "## Few conditions suffice",
        f"![error of subsets]({ABLATION})",
        conditions(d["ablation"]),
        "## Emulators on disks that they have not seen",
        text,
        f"Species: {', '.join(d['species'])}. {d['best']} has the smallest error on training disks"
        f" left out, {d['validated'][d['best']]:.2f} dex, and is used from here on. Its conformal"
        f" intervals cover {share(d['coverage']['plain'])}; with the bound that holds for few disks"
        f" too {share(d['coverage']['bound'])}. Outside the training range:"
        f" {100 * d['outside']:.1f} % of the test rows.",
        "## Errors by species",
        by_species(d),
        f"Lines, face-on: {', '.join(d['lines'])}.",
        f"![residuals]({RESIDUALS})",
        f"![maps]({MAPS})",
    ]
    if d["retrieval"] is not None:
        lines += [
            "## Retrieval of a known disk",
            posterior(d["retrieval"]),
            f"![corner plot]({CORNER})",
            f"![spectrum]({SPECTRUM})",
            f"![channel maps]({CHANNELS})",
        ]
        if "calibration" in d["retrieval"]:
            lines.append(f"![ranks]({RANKS})")
    if d.get("linearised"):
        lines += ["## Do regions hold the truth?", linearised(d["linearised"])]
    (directory.path / "report.md").write_text("\n\n".join(lines) + "\n")
    return text


def linearised(held: dict) -> str:
    """How often regions of linearised retrievals hold the truth."""
    head = (
        "| the likelihood knows | inside 68 % | inside 95 % | width | error |\n" + "|---" * 5 + "|"
    )
    rows = [
        f"| {name} | {100 * v['inside68']:.0f} % | {100 * v['inside95']:.0f} % |"
        f" {v['width']:.3f} | {v['error']:.3f} |"
        for name, v in held.items()
    ]
    return "\n".join([head, *rows])


def emulators(d: dict) -> str:
    """Errors per emulator, averaged over species [dex]."""
    keys = ("rmse", "mae", "median", "p90", "weighted", "column")
    head = "| emulator | " + " | ".join(keys) + " |\n|---|" + "---|" * len(keys)
    rows = [
        f"| {name} | " + " | ".join(f"{np.mean(s[k]):.2f}" for k in keys) + " |"
        for name, s in d["scores"].items()
    ]
    return "\n".join([head, *rows])


def share(coverage: dict[str, float]) -> str:
    """Mean and standard error over disks, and the level that was asked for."""
    mean, error, level = (100 * coverage[k] for k in ("mean", "error", "level"))
    return f"{mean:.1f} +/- {error:.1f} % (asked for: {level:.1f} %)"


def by_species(d: dict) -> str:
    """Errors of the best regressor and the perceptron [dex] by row, abundance, column and flux."""
    keys = {"row": "rmse", "abundance": "weighted", "column": "column", "line flux": "flux"}
    both = (d["best"], "perceptron")
    head = "| species | " + " | ".join(f"{k}, {n}" for n in both for k in keys) + " |"
    show = lambda value: "-" if value is None else f"{value:.2f}"
    rows = [
        f"| {s} | "
        + " | ".join(show(d["scores"][n][key][i]) for n in both for key in keys.values())
        + " |"
        for i, s in enumerate(d["species"])
    ]
    return "\n".join([head, "|---" * (1 + 2 * len(keys)) + "|", *rows])


def conditions(ablation: list[dict]) -> str:
    """The best subsets."""
    rows = [f"| {', '.join(r['features'])} | {r['k']} | {r['rmse']:.3f} |" for r in ablation]
    return "\n".join(["| conditions | k | error, dex |\n|---|---|---|", *rows])


def posterior(r: dict) -> str:
    """Intervals of the retrieval beside the truth, and the calibration."""
    rows = [
        "| sampler | parameter | truth | 2.5 % | median | 97.5 % | inside |\n" + "|---" * 7 + "|"
    ]
    for sampler in ("nuts", "nested"):
        for name, v in r.get(sampler, {}).items():
            cells = " | ".join(f"{v[k]:.4g}" for k in ("truth", "low", "median", "high"))
            rows.append(f"| {sampler} | {name} | {cells} | {'yes' if v['inside'] else 'no'} |")
    text = "\n".join(rows) + (
        f"\n\nNUTS: mean acceptance {r['acceptance']:.2f}, {100 * r['divergent']:.1f} % divergent,"
        f" r hat at most {max(r['r_hat']):.3f}, at least {min(r['effective']):.0f} effective"
        " draws. In the likelihoods, from lines of disks that no emulator saw:"
        + ",".join(f" {k} {100 * v:.0f} %" for k, v in r["emulator"].items())
        + "."
    )
    if "log_z" in r:
        text += f" Nested sampling: ln Z = {r['log_z'][0]:.2f} +/- {r['log_z'][1]:.2f} after"
        text += f" {r['calls']} evaluations, draws worth {r['worth']:.0f}"
        text += "." if r["finished"] else ": **stopped at its limit**, before it was done."
    if "calibration" in r:
        c = r["calibration"]
        both = zip(c["inside68"], c["inside95"], strict=True)
        shares = ", ".join(f"{100 * a:.0f} and {100 * b:.0f} %" for a, b in both)
        text += (
            f" Calibration over {c['simulations']} simulations: p of uniform ranks"
            f" {', '.join(f'{p:.3f}' for p in c['p'])}; truths inside 68 % and 95 %:"
            f" {shares}."
        )
    return text


def draw_retrieval(retrieved, folder: pathlib.Path) -> None:
    """The corner plot with the truth, the spectrum, and the ranks of the calibration."""
    from experiments.disks import calibration, observation

    plt = plotting()
    names = list(retrieved.nuts)
    n = len(names)
    figure, axes = plt.subplots(n, n, figsize=(1.7 * n, 1.7 * n))
    sets = [(retrieved.nuts, "#0b6aa2")]
    if retrieved.nested is not None:
        sets.append((retrieved.nested, "#d98c00"))
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            axis = axes[i][j]
            if j > i:
                axis.axis("off")
                continue
            for draws, colour in sets:
                if i == j:
                    axis.hist(draws[row], bins=25, color=colour, density=True, histtype="step")
                else:
                    axis.plot(draws[column], draws[row], ".", ms=1.2, color=colour, alpha=0.4)
                    axis.axhline(observation.TRUTH[row], color="#c1272d", lw=0.8)
            axis.axvline(observation.TRUTH[column], color="#c1272d", lw=0.8)
            axis.tick_params(labelsize=6)
            axis.xaxis.set_major_locator(plt.MaxNLocator(3))
            if i == n - 1:
                axis.set_xlabel(column)
            if j == 0 and i:
                axis.set_ylabel(row)
    other = "" if retrieved.nested is None else " nested sampling (orange),"
    figure.suptitle(f"posterior: NUTS (blue),{other} truth (red)", fontsize=9)
    _save(plt, figure, folder / CORNER)
    figure, axis = plt.subplots(figsize=(4.4, 2.8))
    for (name, line), colour in zip(
        retrieved.spectra.items(), ("#c1272d", "#0b6aa2", "#d98c00"), strict=True
    ):
        axis.plot(retrieved.velocities, line, color=colour, lw=1.2, label=name)
    axis.set(xlabel="velocity, km/s", ylabel="flux density, Jy", title="line of the true disk")
    axis.legend(frameon=False, fontsize=7)
    _save(plt, figure, folder / SPECTRUM)
    _channels(plt, retrieved, folder / CHANNELS)
    if retrieved.calibration is not None:
        cal = retrieved.calibration
        figure, axis = plt.subplots(figsize=(4.4, 2.8))
        for s, name in enumerate(calibration.CALIBRATED):
            axis.hist(cal.ranks[:, s], bins=10, range=(0, cal.draws), histtype="step", label=name)
        axis.axhline(len(cal.ranks) / 10, color="#7a7a7a", ls="--", lw=0.8)
        axis.set(xlabel="rank of the truth", ylabel="simulations")
        axis.legend(frameon=False)
        _save(plt, figure, folder / RANKS)


def _channels(plt, retrieved, path) -> None:
    """The line's channel maps from the chemistry's abundances and from the neighbours'."""
    from matplotlib import colors

    cubes = retrieved.channels
    velocities, half = cubes["velocities"], cubes["half"]
    rows = [k for k in cubes if k not in ("velocities", "half")]
    figure, axes = plt.subplots(
        len(rows), len(velocities), figsize=(1.5 * len(velocities), 1.75 * len(rows)), squeeze=False
    )
    top = max(cubes[k].max() for k in rows)
    for row, name in zip(axes, rows, strict=True):
        for k, (axis, v) in enumerate(zip(row, velocities, strict=True)):
            image = axis.imshow(cubes[name][..., k], origin="lower", cmap="inferno",
                                norm=colors.PowerNorm(0.4, 0, top),
                                extent=(half, -half, -half, half))  # fmt: skip
            axis.set_title(f"{v:+.1f} km/s", fontsize=7)
            axis.tick_params(labelsize=5, labelleft=k == 0)
        row[0].set_ylabel(f"{name}\nnorth [au]", fontsize=7)
    axes[-1][0].set_xlabel("east [au]", fontsize=7)
    figure.colorbar(image, ax=axes, label="Jy/pixel", shrink=0.7, pad=0.02)
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)


def plotting():
    """pyplot that draws to files."""
    plt = plots.pyplot()
    plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
    return plt


def draw_emulators(found, curve, ablation, fitted, folder: pathlib.Path) -> None:
    """The plots of population and emulators."""
    plt = plotting()
    figure, axis = plt.subplots(figsize=(4.6, 3.2))
    k, mse, sd = (np.array(curve[x]) for x in ("k", "mse", "deviation"))
    axis.plot(k, mse, "o-", color="#0b6aa2", ms=3, label="ours")
    axis.fill_between(k, mse - sd, mse + sd, color="#0b6aa2", alpha=0.15, lw=0)
    axis.axhline(0.448, color="#7a7a7a", ls="--", lw=1, label="published, another population")
    axis.set(xscale="log", xlabel="k", ylabel="mean squared error, dex$^2$", ylim=(0, None))
    axis.legend(frameon=False)
    _save(plt, figure, folder / CURVE)
    _subsets(plt, ablation, folder / ABLATION)
    _residuals(plt, found, fitted, folder / RESIDUALS)
    _maps(plt, found, fitted, folder / MAPS)


def _save(plt, figure, path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _subsets(plt, ablation, path) -> None:
    figure, axis = plt.subplots(figsize=(5.4, 3.4))
    counts = np.array([len(r["features"]) for r in ablation])
    errors = np.array([r["rmse"] for r in ablation])
    jitter = np.random.default_rng(0).uniform(-0.15, 0.15, len(counts))
    axis.plot(counts + jitter, errors, ".", color="#9db8c9", ms=4)
    for n in np.unique(counts):
        row = min((r for r in ablation if len(r["features"]) == n), key=lambda r: r["rmse"])
        axis.plot([n - 0.3, n + 0.3], [row["rmse"]] * 2, color="#c1272d", lw=2)
        short = {"numberdens": "n", "temperature": "T", "ionization": "$\\zeta$", "radius": "r",
                 "column_up": "N$_{up}$", "column_star": "N$_*$", "av_up": "A$_V$"}  # fmt: skip
        name = "all" if n > 4 else ", ".join(short.get(f, f) for f in row["features"])
        axis.annotate(name, (n, row["rmse"]), xytext=(0, -11), textcoords="offset points",
                      ha="center", fontsize=7)  # fmt: skip
    axis.set(xlabel="conditions used", ylabel="cross-validated error, dex", ylim=(0, None))
    _save(plt, figure, path)


def _residuals(plt, found, fitted, path) -> None:
    names = [s for s in ("CO", "HCO+", "HCN", "e-") if s in found.species][:3]
    figure, axes = plt.subplots(len(names), 3, figsize=(9, 2.5 * len(names)), squeeze=False)
    predicted = fitted.predictions[fitted.best]
    for row, name in enumerate(names):
        r = stages.residuals(found, predicted, name)
        panels = (
            ("bias", r["bias"], "RdBu_r", (-1.5, 1.5)),
            ("scatter", r["scatter"], "viridis", (0, 1.5)),
            ("share of the molecules", np.where(r["share"] > 0, r["share"], np.nan), "magma", None),
        )
        for axis, (title, values, colours, limits) in zip(axes[row], panels, strict=True):
            low, high = limits or (None, None)
            image = axis.pcolormesh(*r["edges"], values.T, cmap=colours, vmin=low, vmax=high)
            figure.colorbar(image, ax=axis)
            axis.set_title(f"{name}: {title}", fontsize=9)
            axis.set(xlabel="log T [K]", ylabel="log n$_H$ [cm$^{-3}$]")
    _save(plt, figure, path)


def _maps(plt, found, fitted, path) -> None:
    """True and predicted abundance of one test disk over r and z/r."""
    names = [s for s in ("CO", "HCO+", "HCN", "e-") if s in found.species][:3]
    disk = found.test.columns["disk"][0]
    at = found.test.columns["disk"] == disk
    r, z = (found.test.columns[k][at] for k in ("radius", "height"))
    truth = found.test.targets(found.species)[at]
    predicted = fitted.predictions[fitted.best][at]
    figure, axes = plt.subplots(len(names), 2, figsize=(8, 2.3 * len(names)), squeeze=False)
    for row, name in enumerate(names):
        s = found.species.index(name)
        low, high = np.percentile(truth[:, s], [5, 100])
        for axis, values, title in zip(
            axes[row], (truth, predicted), ("chemistry", "emulator"), strict=True
        ):
            image = axis.scatter(r, z / r, c=values[:, s], s=14, marker="s", vmin=max(low, -15),
                                 vmax=high, cmap="inferno")  # fmt: skip
            axis.set(xscale="log", ylabel="z/r", title=f"{name}, {title}, disk {disk}")
            figure.colorbar(image, ax=axis, label="log n/n$_H$")
        axes[-1][0].set_xlabel("r [au]")
        axes[-1][1].set_xlabel("r [au]")
    _save(plt, figure, path)
