"""LiRA with a Bayesian variance: what to do with two, four or eight shadow models.

A deviation estimated from a handful of models is mostly noise, and one deviation for all records
ignores that some are harder than others. Between the two stands a normal-inverse-gamma prior
over each record's (mean, variance), conjugate to its Gaussian scores; the score is the ratio of
posterior predictives, a Student-t or a Gaussian with the stabilised variance
[Brännvall 2026, arXiv 2603.11799, of which only the abstract was at hand: the prior's parameters
are fitted here as follows].

    s^2_x ~ scaled inverse chi^2(v0, s0^2)    by the moments of log s^2 over records [Smyth 2004]
    mu_x | s^2_x ~ N(m0, s^2_x / k0)          k0 = variance within over variance between records

    kn = k0 + n,  vn = v0 + n,  mn = (k0 m0 + n mean) / kn
    vn sn^2 = v0 s0^2 + sum (phi - mean)^2 + k0 n / kn (mean - m0)^2
    predictive: t with vn degrees of freedom, centre mn, scale sn sqrt(1 + 1 / kn)
"""

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from fl_jax.core import errors
from privacy.membership import table

FORMS = ("student", "gaussian")
FIRM = 1e4  # degrees of freedom that stand for "all records have one variance"


class Prior(NamedTuple):
    """Normal-inverse-gamma over the (mean, variance) of a record."""

    mean: float  # m0
    weight: float  # k0, in models
    variance: float  # s0^2
    freedom: float  # v0, in models


def fit_prior(mean: np.ndarray, square: np.ndarray, count: np.ndarray) -> Prior:
    """Empirical Bayes over records, without a hyperparameter.

    Args:
        mean: (records,) of each record's scores.
        square: (records,) sum of squares around it.
        count: (records,) how many scores, at least 1.

    With one model a record nothing tells noise from difference between records: half of the
    whole variance is put down to each.
    """
    centre = float(mean.mean())
    whole = max(float(mean.var()), 1e-12)
    many = count > 1
    if not many.any():
        return Prior(centre, 1.0, whole / 2, FIRM)
    free = count[many] - 1.0
    variance = np.maximum(square[many] / free, 1e-12 * whole)
    within = max(float(square[many].sum() / free.sum()), 1e-12 * whole)
    z = np.log(variance) - special.digamma(free / 2) + np.log(free / 2)
    rest = float(z.var() - special.polygamma(1, free / 2).mean())
    if rest <= special.polygamma(1, FIRM / 2):
        # no more spread than chance gives: one variance for all, the plain pooled one
        freedom, scale = FIRM, within
    else:
        freedom = 2 * _inverse_trigamma(rest)
        scale = float(np.exp(z.mean() + special.digamma(freedom / 2) - np.log(freedom / 2)))
    between = max(float(mean.var() - within * np.mean(1 / count)), 1e-6 * whole)
    return Prior(centre, within / between, scale, freedom)


def _inverse_trigamma(value: float) -> float:
    """x > 0 with trigamma(x) = value, by Newton's method on its reciprocal."""
    x = 0.5 + 1 / value
    for _ in range(50):
        found = special.polygamma(1, x)
        change = found * (1 - found / value) / special.polygamma(2, x)
        x += change
        if abs(change) < 1e-10 * x:
            break
    return float(x)


class Predictive(NamedTuple):
    """The posterior predictive of each record's score."""

    centre: np.ndarray  # (records,)
    scale: np.ndarray  # (records,)
    freedom: np.ndarray  # (records,); infinite for a Gaussian

    def log_density(self, values: np.ndarray) -> np.ndarray:
        """(records,)."""
        z = (values - self.centre) / self.scale
        if np.isinf(self.freedom).all():
            return -0.5 * z * z - np.log(self.scale) - 0.5 * np.log(2 * np.pi)
        return stats.t.logpdf(z, self.freedom) - np.log(self.scale)

    def log_odds(self, values: np.ndarray) -> np.ndarray:
        """log Pr[score < value] - log Pr[score > value], (records,)."""
        z = (values - self.centre) / self.scale
        if np.isinf(self.freedom).all():
            return special.log_ndtr(z) - special.log_ndtr(-z)
        return _log_above(-z, self.freedom) - _log_above(z, self.freedom)


def _log_above(z: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """log Pr[t > z], also where the probability itself is too small for a float.

    There Pr[t > z] = I_x(a, 1/2) / 2 with a = freedom/2, x = freedom/(freedom + z^2), and
    I_x(a, b) = x^a (1 - x)^b F(a + b, 1; a + 1; x) / (a B(a, b)) [DLMF 8.17.8].
    """
    with np.errstate(divide="ignore"):
        found = stats.t.logsf(z, freedom)
    low = (z > 0) & (found < -600)
    if low.any():
        a = freedom[low] / 2
        log_x = -np.log1p(np.square(z[low]) / freedom[low])
        series = special.hyp2f1(a + 0.5, 1.0, a + 1, np.exp(log_x))
        rest = np.log(series) + 0.5 * np.log(-np.expm1(log_x)) - np.log(2 * a)
        found[low] = a * log_x + rest - special.betaln(a, 0.5)
    return found


def predictive(shadow: np.ndarray, mask: np.ndarray, form: str = "student") -> Predictive:
    """The posterior predictive from the masked scores of each record.

    Args:
        shadow: (records, models).
        mask: (records, models) bool, at least one a record.
        form: `student`, or `gaussian` with the posterior mean of the variance's inverse.
    """
    count = mask.sum(1)
    mean = np.where(mask, shadow, 0).sum(1) / count
    square = np.where(mask, np.square(shadow - mean[:, None]), 0).sum(1)
    prior = fit_prior(mean, square, count)
    weight, freedom = prior.weight + count, prior.freedom + count
    centre = (prior.weight * prior.mean + count * mean) / weight
    pull = prior.weight * count / weight * np.square(mean - prior.mean)
    variance = (prior.freedom * prior.variance + square + pull) / freedom
    scale = np.sqrt(variance * (1 + 1 / weight))
    if form == "gaussian":
        freedom = np.full(len(freedom), np.inf)
    return Predictive(centre, scale, freedom)


def online(scores: table.Scores, *, form: str = "student") -> np.ndarray:
    """(records,) log of the ratio of predictives under IN and OUT; larger means member.

    Args:
        scores: phi, with at least one IN and one OUT model for every record.
        form: `student` (BaVarIA-t) or `gaussian` (BaVarIA-n).
    """
    errors.one_of("form", form, FORMS)
    table.require(scores.member, inside=1, outside=1)

    def ratio(one):
        inside = predictive(one.shadow, one.member, form)
        outside = predictive(one.shadow, ~one.member, form)
        return inside.log_density(one.target) - outside.log_density(one.target)

    return table.over_queries(ratio, scores)


def offline(scores: table.Scores, *, form: str = "student") -> np.ndarray:
    """(records,) one-sided log-odds of the target's score under OUT; larger means member."""
    errors.one_of("form", form, FORMS)
    table.require(scores.member, inside=0, outside=1)
    odds = lambda one: predictive(one.shadow, ~one.member, form).log_odds(one.target)
    return table.over_queries(odds, scores)
