"""dp_accounting's loss distribution of one clone pair, composed: times and both ends as JSON.

Arguments: eps0 n rate copies delta step. Building the dictionaries is not timed.
"""

import json
import math
import sys
import time

import numpy as np
from dp_accounting.pld import privacy_loss_distribution
from scipy import stats


def main() -> None:
    eps0, n, rate, copies, delta, step = (float(a) for a in sys.argv[1:])
    n, copies = int(n), int(copies)
    w0 = 1 / (1 + math.exp(-eps0))
    lo, hi = stats.binom.ppf([1e-16, 1 - 1e-16], n - 1, rate)
    p, q = {}, {}
    for c in range(int(lo), int(hi) + 1):
        a = np.arange(c + 2)
        outer = stats.binom.pmf(c, n - 1, rate)
        one, zero = stats.binom.pmf(a - 1, c, 0.5), stats.binom.pmf(a, c, 0.5)
        first, second = w0 * one + (1 - w0) * zero, (1 - w0) * one + w0 * zero
        kept = np.flatnonzero(np.maximum(first, second) * outer > 1e-22)
        for i in kept:
            p[(c, int(i))] = math.log(outer * first[i])
            q[(c, int(i))] = math.log(outer * second[i])
    start = time.process_time()
    found = []
    for pessimistic in (False, True):
        one = privacy_loss_distribution.from_two_probability_mass_functions(
            p,
            q,
            pessimistic_estimate=pessimistic,
            value_discretization_interval=step,
            symmetric=True,
        )
        found.append(one.self_compose(copies).get_epsilon_for_delta(delta))
    seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds, "lower": found[0], "upper": found[1], "size": len(p)}))


if __name__ == "__main__":
    main()
