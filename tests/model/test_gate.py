import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import GateConfig
from model.gate import decide

GATE = GateConfig(margin=0.01, count_margin=0.01)


def test_a_candidate_of_higher_ap50_is_promoted_with_the_figures(report):
    decision = decide(report(ap50=0.71), report(ap50=0.57), GATE)
    assert decision.promoted
    assert "AP50 0.710 against the champion's 0.570: better" in decision.reasons
    assert "judged on 3 held-out images with 100 cells" in decision.reasons


def test_a_candidate_of_lower_ap50_is_refused_whatever_it_counts(report):
    decision = decide(report(ap50=0.5, count_error=0.0), report(ap50=0.6, count_error=0.9), GATE)
    assert not decision.promoted
    assert decision.reasons[-1] == "champion stays, candidate refused"


def test_where_ap50_is_equal_within_the_margin_the_count_decides(report):
    decision = decide(report(0.605, count_error=0.1), report(0.6, count_error=0.2), GATE)
    assert decision.promoted
    assert "count error 10.0% against the champion's 20.0%: better" in decision.reasons


def test_where_all_is_equal_the_champion_stays(report):
    assert not decide(report(), report(), GATE).promoted


def test_exactly_the_margin_is_still_equal(report):
    assert not decide(report(ap50=0.51), report(ap50=0.5), GATE).promoted
    assert decide(report(ap50=0.511), report(ap50=0.5), GATE).promoted


@pytest.mark.parametrize(("predicted", "ap50"), [(0, 0.0), (40, 0.0), (0, 0.9)])
def test_a_candidate_that_finds_none_of_the_cells_never_passes(report, predicted, ap50):
    blind = report(ap50=ap50, predicted=predicted, recall=0.0, count_error=0.0)
    decision = decide(blind, report(ap50=0.0, count_error=5.0), GATE)
    assert not decision.promoted
    assert "finds none of the cells" in decision.reasons[-1]


def test_images_without_a_cell_are_judged_by_the_count(report):
    none = {"ap50": None, "true": 0}
    quiet = report(**none, predicted=0, count_error=0.0, recall=1.0)
    noisy = report(**none, predicted=9, count_error=9.0, recall=0.0)
    assert decide(quiet, noisy, GATE).promoted
    assert not decide(noisy, quiet, GATE).promoted


def test_reports_of_different_images_are_not_compared(report):
    with pytest.raises(ValueError, match="different images"):
        decide(report(images=("a",)), report(images=("b",)), GATE)


def test_the_decision_carries_both_reports(report):
    candidate, champion = report(0.7), report(0.6)
    decision = decide(candidate, champion, GATE)
    assert (decision.candidate, decision.champion) == (candidate, champion)


@given(ours=st.floats(0, 1), theirs=st.floats(0, 1), errors=st.tuples(*[st.floats(0, 3)] * 2))
def test_of_two_versions_at_most_one_would_replace_the_other(report, ours, theirs, errors):
    first, second = report(ours, errors[0]), report(theirs, errors[1])
    assert not (decide(first, second, GATE).promoted and decide(second, first, GATE).promoted)
