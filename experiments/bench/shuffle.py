"""Shuffle accounting: time at a certified gap, beside plain bisection and dp_accounting.

python -m experiments bench shuffle        one core; about five minutes, mostly the peers'
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from scipy import special

from experiments.bench import peers
from privacy import shuffle
from privacy.accounting.bound import Adjacency
from privacy.accounting.ledger import Ledger
from privacy.shuffle import grid, pair
from privacy.shuffle import mechanisms as families
from privacy.shuffle.events import ShuffledReports

EPS0 = (0.1, 1.0, 4.0, 8.0)
CLIENTS = (10**3, 10**4, 10**5, 10**6, 10**7, 10**9, 10**12)
DELTAS = (1e-6, 1e-8)


def main() -> None:
    """Prints the tables and a JSON line with every figure; times are CPU time of one thread."""
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # it is read when NumPy is imported
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "experiments", "bench", "shuffle"]
        subprocess.run(command, check=True, env={**os.environ, **threads})
        return
    parts = (single, plain, batched, mechanisms, composition)
    print(json.dumps({part.__name__: part() for part in parts}))


def _median(call, repeats=5):
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = call()
        times.append(time.process_time() - start)
    return statistics.median(times), result


def single() -> list[dict]:
    """Both ends of the standard clone's eps, gap <= 1e-3."""
    rows = []
    print(
        "| eps0 | n | delta | lower | upper | gap | both ends, ms |\n|---|---|---|---|---|---|---|"
    )
    for eps0 in EPS0:
        for n in CLIENTS:
            for delta in DELTAS:
                part = pair.standard(eps0, n)
                seconds, found = _median(lambda p=part, d=delta: pair.epsilon(p, d))
                gap = found.upper / found.lower - 1 if found.lower > 0 else 0.0
                rows.append({"eps0": eps0, "n": n, "delta": delta, "ms": 1e3 * seconds, "gap": gap})
                print(
                    f"| {eps0:g} | {n:.0e} | {delta:g} | {found.lower:.6g} | {found.upper:.6g}"
                    f" | {gap:.1e} | {1e3 * seconds:.1f} |",
                    flush=True,
                )
    return rows


def exact_delta(part: pair.Pair, eps: float) -> float:
    """The full sum over clones, written plainly with SciPy's incomplete beta function."""
    law = part.clones
    spread = 7.5 * math.sqrt(law.n * law.p * law.q) + 20
    c = np.arange(max(0, int(law.mean - spread)), min(law.n, law.mean + spread) + 1)
    logs = special.gammaln(law.n + 1) - special.gammaln(c + 1) - special.gammaln(law.n - c + 1)
    outer = np.exp(logs + c * math.log(law.p) + (law.n - c) * math.log1p(-law.p))
    w0 = 1 / (1 + math.exp(-part.eps0))
    w1, e = 1 - w0, math.exp(eps)
    tau = (c + 1) * (e * math.exp(part.eps0) - 1) / (math.expm1(part.eps0) * (e + 1))
    a = np.floor(tau) + 1
    tail = lambda j: np.where(j <= 0, 1.0, special.betainc(np.maximum(j, 1e-9), c - j + 1, 0.5))
    first, second = tail(a - 1), np.where(a > c, 0.0, tail(np.minimum(a, c)))
    terms = (w0 - e * w1) * first - (e * w0 - w1) * second
    return float(np.sum(outer * np.maximum(terms, 0)))


def plain() -> list[dict]:
    """The same eps at n = 1e6 by 35 bisections of the full sum."""
    rows = []
    print("\n| eps0 | plain bisection, ms | ours, both ends, ms | ratio |\n|---|---|---|---|")
    for eps0 in EPS0:
        part = pair.standard(eps0, 10**6)

        def bisect(part=part):
            low, high = 0.0, part.eps0
            for _ in range(35):
                middle = 0.5 * (low + high)
                if exact_delta(part, middle) > 1e-6:
                    low = middle
                else:
                    high = middle
            return high

        theirs, value = _median(bisect, 3)
        ours, found = _median(lambda p=part: pair.epsilon(p, 1e-6))
        agrees = found.lower * (1 - 1e-6) <= value <= found.upper * (1 + 1e-6)
        rows.append(
            {"eps0": eps0, "plain_ms": 1e3 * theirs, "ours_ms": 1e3 * ours, "agrees": agrees}
        )
        print(
            f"| {eps0:g} | {1e3 * theirs:.0f} | {1e3 * ours:.1f} | {theirs / ours:.0f}x"
            f" {'' if agrees else '(values differ!)'} |",
            flush=True,
        )
    return rows


def batched() -> dict:
    """Eighty points in one call."""
    eps0, n = np.meshgrid((0.1, 0.5, 1, 2, 4, 6, 8, 10), 10.0 ** np.arange(3, 13))
    seconds, (low, high) = _median(lambda: grid.epsilons(eps0, n, 1e-8))
    gap = float(np.max(np.where(low > 0, high / np.maximum(low, 1e-300) - 1, 0.0)))
    print(f"\n80 points in one call: {seconds:.3f} s, largest gap {gap:.1e}")
    return {"seconds": seconds, "gap": gap}


def mechanisms() -> list[dict]:
    """Blankets and what is attained: the sandwich of each mechanism, eps0 = 1 and 4, n = 1e5."""
    rows = []
    print("\n| mechanism | eps0 | lower | upper | gap | attained | upper/attained - 1 | ms |")
    print("|---" * 8 + "|")
    for mechanism in (
        families.RandomizedResponse(10),
        families.SubsetSelection(10, 3),
        families.UnaryEncoding(10),
        families.Rappor(10),
        families.HadamardResponse(10),
        families.LocalHashing(8),
        families.PrivUnit(50),
    ):
        for eps0 in (1.0, 4.0):
            call = lambda e=eps0, m=mechanism: shuffle.epsilon(e, 10**5, 1e-6, mechanism=m)
            seconds, found = _median(call, 3)
            above = found.upper / found.attained - 1
            name = type(mechanism).__name__
            rows.append({"mechanism": name, "eps0": eps0, "gap": found.gap, "above": above})
            print(
                f"| {name} | {eps0:g} | {found.lower:.6g} | {found.upper:.6g} | {found.gap:.1e}"
                f" | {found.attained:.6g} | {above:.2%} | {1e3 * seconds:.0f} |",
                flush=True,
            )
    return rows


def composition() -> list[dict]:
    """T = 1000 adaptive rounds of the stronger pair, eps0 = 1, delta 1e-6, gap <= 1e-3 on both."""
    rows = []
    print("\n| n | ours | gap | s | dp_accounting | gap | s | ratio |\n" + "|---" * 8 + "|")
    for n, steps in ((1_000, (2e-5, 5e-6)), (10_000, (5e-6, 1e-6))):
        event = ShuffledReports(1.0, n, bound="stronger")
        ledger = Ledger(Adjacency.REPLACE).record(event, 1000)
        ours, bound = _median(lambda ledger=ledger: ledger.epsilon(1e-6))
        part = pair.stronger(1.0, n)
        for step in steps:
            theirs = _peer(1.0, n, part.rate, 1000, 1e-6, step)
            gap = theirs["upper"] / theirs["lower"] - 1
            if gap <= 1e-3:
                break
        overlap = bound.lower <= theirs["upper"] and theirs["lower"] <= bound.upper
        rows.append({"n": n, "ours_s": ours, "gap": bound.gap, "peer": theirs, "overlap": overlap})
        print(
            f"| {n} | [{bound.lower:.5f}, {bound.upper:.5f}] | {bound.gap:.1e} | {ours:.3f}"
            f" | [{theirs['lower']:.5f}, {theirs['upper']:.5f}] | {gap:.1e}"
            f" | {theirs['seconds']:.2f} | {theirs['seconds'] / ours:.0f}x"
            f" {'' if overlap else '(brackets do not meet!)'} |",
            flush=True,
        )
    return rows


def _peer(*arguments) -> dict:
    command = [peers.python("dp_accounting"), "-W", "ignore"]
    command += [peers.HERE / "dp_accounting_pair.py", *(repr(float(a)) for a in arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
