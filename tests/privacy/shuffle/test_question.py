"""What is asked is checked once, and every bound has a label and a pair."""

import pytest

from privacy.accounting.bound import Status
from privacy.accounting.errors import PrivacyError, WrongAccountantError
from privacy.shuffle import question
from privacy.shuffle.mechanisms import RandomizedResponse, Rappor


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
