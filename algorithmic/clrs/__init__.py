"""A generalist neural algorithmic learner on CLRS-30 [Ibarz et al. 2022, arXiv 2209.11142]."""

from algorithmic.clrs.own import register
from algorithmic.clrs.specs import ALGORITHMS, FAMILIES, SPECS
from algorithmic.clrs.trajectory import Trajectory, longest, sample, trace

__all__ = [
    "ALGORITHMS",
    "FAMILIES",
    "SPECS",
    "Trajectory",
    "longest",
    "register",
    "sample",
    "trace",
]
