"""Slow obvious twins of the attacks: loops over records, whole matrices, SciPy's densities."""

import numpy as np
from scipy import stats


def table(seed, records=40, models=12, share=0.5):
    """(target, shadow, member) of random normal scores, members higher, an uneven design."""
    rng = np.random.default_rng(seed)
    member = rng.random((records, models)) < share
    member[:, 0], member[:, 1] = True, True
    member[:, 2], member[:, 3] = False, False
    hard = rng.normal(size=(records, 1))
    shadow = hard + 1.5 * member + rng.normal(size=(records, models))
    return hard[:, 0] + rng.normal(size=records), shadow, member


def lira_online(target, shadow, member, fixed):
    """The released code's formulas, record by record, with medians."""
    out = []
    everything = np.concatenate([shadow[i, member[i]] for i in range(len(target))])
    for i, value in enumerate(target):
        inside, outside = shadow[i, member[i]], shadow[i, ~member[i]]
        s_in, s_out = (everything.std(),) * 2 if fixed else (inside.std(), outside.std())
        out.append(
            stats.norm.logpdf(value, np.median(inside), s_in + 1e-30)
            - stats.norm.logpdf(value, np.median(outside), s_out + 1e-30)
        )
    return np.array(out)


def rmia_matrix(records, population, gamma):
    """Every record against every z."""
    return ((records[:, None] / population[None]) > gamma).mean(1)


def one_run_p(eps, right, guesses, canaries, delta):
    """The p-value by plain sums of binomial terms."""
    q = np.exp(eps) / (1 + np.exp(eps))
    mass = stats.binom.pmf(np.arange(guesses + 1), guesses, q)
    tail = lambda k: mass[max(k, 0) :].sum()
    beta = tail(right)
    alpha = max([(tail(right - i) - beta) / i for i in range(1, right + 1)], default=0.0)
    return min(1.0, beta + 2 * canaries * delta * max(alpha, 0.0))
