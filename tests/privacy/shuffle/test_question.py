"""What is asked is checked once, and every bound has a label and a pair."""

import dataclasses
import math

import pytest

from privacy.accounting.bound import Status
from privacy.accounting.errors import PrivacyError, WrongAccountantError
from privacy.shuffle import amplification, question
from privacy.shuffle.mechanisms import Mechanism, RandomizedResponse, Rappor
from privacy.shuffle.twolevel import TwoLevel


def test_missing_reports_and_defaults():
    assert question.check(1, 100.0, None, None, missing=30) == (1.0, 70, "standard")
    assert question.check(1, 100, Rappor(3), None)[2] == "blanket"
    with pytest.raises(PrivacyError, match="no honest report"):
        question.check(1, 10, None, None, missing=10)
    with pytest.raises(WrongAccountantError, match=r"condition \(\*\)"):
        question.check(1, 10, Rappor(3), "stronger")


def test_labels_say_what_holds():
    assert question.label("standard", None)["status"] is Status.UNIVERSAL
    assert question.label("stronger", None)["assumptions"][-1] == question.CONDITION
    known = question.label("stronger", RandomizedResponse(3))
    assert question.CONDITION not in known["assumptions"]
    assert question.label("conjecture", None)["status"] is Status.CONJECTURE


def test_the_pairs_differ_in_their_clones():
    assert question.clones("standard", 1.0, 10).rate < question.clones("stronger", 1.0, 10).rate


@dataclasses.dataclass(frozen=True)
class Own(Mechanism):
    """A mechanism that says its kinds itself."""

    kinds: tuple

    def level(self, eps0):
        return self.kinds if len(self.kinds) < 3 else TwoLevel(eps0, *self.kinds)

    def bystanders(self, eps0):
        return []


def test_a_mechanism_whose_kinds_are_no_distribution_is_refused():
    """Of too little mass a bound of 0 was certified."""
    high = math.e  # e^eps0
    right = Own((0.1, 0.05, 1 - 0.1 * (high + 1) - 0.05 * high))
    assert 0 < amplification.epsilon(1.0, 1000, 1e-6, mechanism=right).upper < 1
    for kinds, said in (
        ((0.1, 0.0, 0.05), "add up to 0.421828"),
        ((0.3, 0.3, 0.3), "add up to 2.23097"),
        ((-0.1, 0.2, 0.5), "probabilities"),
        ((0.1, 0.2), r"should be a twolevel\.TwoLevel"),
    ):
        with pytest.raises(PrivacyError, match=said):
            amplification.epsilon(1.0, 1000, 1e-6, mechanism=Own(kinds))
