"""Where a compiled program spends its time: operations of a trace, added up by part of a model."""

import collections
import pathlib
import re
import tempfile
from collections.abc import Callable

import jax

NO_WORK = re.compile(r" (while|call|conditional|parameter|tuple|get-tuple-element)\(")


def table(
    what: str, run: Callable[[], object], program: str, scopes: tuple[str, ...], repeats: int = 6
) -> None:
    """Prints the milliseconds of one `run` by part, matrix products apart.

    Args:
        what: is run, for the heading.
        run: to be traced; must end with its results ready.
        program: the compiled text of what it runs.
        scopes: the parts, by the names that `jax.named_scope` gave them.
        repeats: traced runs, over which the mean is taken.
    """
    parts = _parts(program, scopes)
    run()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(repeats):
                run()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        trace = jax.profiler.ProfileData.from_file(str(file))
        spent = collections.Counter()
        for plane in trace.planes:
            for line in plane.lines:
                for event in line.events:
                    if event.name in parts:
                        spent[parts[event.name]] += event.duration_ns / 1e6 / repeats
    print(f"\n| part of {what} | matrix products, ms | the rest, ms |\n|---|---|---|")
    for part in sorted(
        {part for part, _ in spent}, key=lambda p: -spent[p, True] - spent[p, False]
    ):
        print(f"| {part} | {spent[part, True]:.0f} | {spent[part, False]:.0f} |")
    total = sum(spent.values())
    products = sum(value for (_, product), value in spent.items() if product)
    print(f"| together | {products:.0f} | {total - products:.0f} |\n", flush=True)


def _parts(program: str, scopes: tuple[str, ...]) -> dict[str, tuple[str, bool]]:
    """Instruction -> (part of the model, whether it is a matrix product), of a compiled step."""
    blocks = re.split(r"\n(?=%|ENTRY)", program)
    with_product = {b.split(None, 1)[0].lstrip("%") for b in blocks if " dot(" in b}
    inside = {b.split(None, 1)[0].lstrip("%"): b for b in blocks}
    found, reads = {}, {}
    for block in blocks:
        if block.startswith("%fused") or " = " not in block:
            continue
        for line in block.splitlines():
            name = re.match(r"\s*(?:ROOT )?%(\S+) = ", line)
            if name is None or NO_WORK.search(line):
                continue
            called = re.search(r"calls=%(\S+?)[,\s]", line)
            # A fusion that says nothing of itself belongs where its operations do.
            said = line if "op_name=" in line or called is None else inside.get(called[1], "")
            words = re.split(r"\W+", " ".join(re.findall(r'op_name="([^"]*)"', said)))
            part = next((s for s in scopes if s in words), "other")
            reads[name[1]] = re.findall(r"%([\w.-]+)", line)[1:]
            product = " dot(" in line or (called is not None and called[1] in with_product)
            found[name[1]] = part, product
    # The compiler's own operations say nothing; they belong where what they read was made.
    for name, (part, product) in found.items():  # in the order of the program
        if part == "other":
            known = (found[one][0] for one in reads[name] if one in found)
            found[name] = next((p for p in known if p != "other"), part), product
    return found
