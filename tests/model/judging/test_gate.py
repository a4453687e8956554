import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.gate import Field, evidence_of, promoted_share
from model.judging.evidence import Gain
from model.judging.gate import decide
from model.versions import JudgedImage

RESAMPLES = 200


def fields(number, right=8, wrong=2, cells=10, sure=0.9):
    """Images of ``cells`` cells: so many are found, surely, and so many boxes are wrong."""
    found = [(sure, True)] * right + [(0.7, False)] * wrong
    return [(cells, found)] * number


def strata(*names):
    return [JudgedImage(str(row), stratum=name) for row, name in enumerate(names)]


def test_a_candidate_better_beyond_noise_is_promoted_with_the_figures():
    decision = decide(evidence_of(fields(12, right=9)), evidence_of(fields(12, right=6)))
    assert decision.promoted
    judged, figures, verdict = decision.reasons
    assert judged == "judged on 12 held-out images with 120 cells"
    assert figures.startswith("AP50 0.")
    assert ": better (+0." in figures
    assert verdict == "candidate promoted"


def test_a_candidate_worse_beyond_noise_is_refused_whatever_it_counts():
    worse = evidence_of(fields(12, right=6, wrong=4))  # counts ten of ten
    decision = decide(worse, evidence_of(fields(12, right=9, wrong=6)), resamples=RESAMPLES)
    assert not decision.promoted
    assert ": worse (" in decision.reasons[1]
    assert decision.reasons[-1] == "champion stays, candidate refused"


def test_where_ap50_is_equal_the_count_decides():
    miscounts = evidence_of(fields(12, right=8, wrong=6, sure=0.9))
    counts = evidence_of(fields(12, right=8, wrong=2, sure=0.9))
    decision = decide(counts, miscounts, resamples=RESAMPLES)
    assert decision.promoted
    assert "AP50 0.802 against the champion's 0.802: equal" in decision.reasons[1]
    assert decision.reasons[2] == "count error 0.0% against the champion's 40.0%: better"
    worse = decide(miscounts, counts, resamples=RESAMPLES)
    assert not worse.promoted
    assert worse.reasons[2].endswith(": worse")


def test_a_likely_loss_of_ap50_is_not_made_up_for_by_counting():
    ups_and_downs = [(10, [(0.9, True)] * n + [(0.8, False)] * (10 - n)) for n in (2, 8) * 6]
    steady = fields(12, right=6, wrong=8)
    decision = decide(evidence_of(ups_and_downs), evidence_of(steady), resamples=RESAMPLES)
    assert not decision.promoted
    assert ": worse (-0." in decision.reasons[1]
    assert "to +0." in decision.reasons[1]  # not beyond noise, and yet likely
    assert decision.reasons[1].endswith("in 90 % of the resamples)")


@pytest.mark.parametrize("number", [1, 3, 9, 12])
def test_a_candidate_that_finds_what_the_champion_finds_is_never_promoted(number):
    decision = decide(evidence_of(fields(number)), evidence_of(fields(number)), resamples=RESAMPLES)
    assert not decision.promoted
    assert "nothing would change" in decision.reasons[1]


def test_where_no_image_that_judges_has_a_cell_more_of_those_with_cells_are_asked_for():
    nothing = evidence_of([(0, [])] * 2)
    decision = decide(nothing, nothing, resamples=RESAMPLES)
    assert not decision.promoted
    assert "correct images that have cells" in decision.reasons[1]


@pytest.mark.parametrize("found", [[(0.9, False)] * 3, [(0.4, True)] * 10])
@pytest.mark.parametrize("number", [1, 12])
def test_a_candidate_that_shows_none_of_the_cells_never_passes(number, found):
    worst = evidence_of([(10, [(0.9, False)] * 40)] * number)
    decision = decide(evidence_of([(10, found)] * number), worst, resamples=RESAMPLES)
    assert not decision.promoted
    assert "finds none of the cells" in decision.reasons[1]


def test_images_without_a_cell_are_judged_by_the_count():
    quiet, noisy = (
        evidence_of([(0, [(0.1, False)])] * 12),
        evidence_of([(0, [(0.9, False)] * 3)] * 12),
    )
    assert decide(quiet, noisy, resamples=RESAMPLES).promoted
    assert not decide(noisy, quiet, resamples=RESAMPLES).promoted


@pytest.mark.parametrize(("number", "promoted"), [(9, True), (10, False)])
def test_few_images_need_prove_no_more_than_that_nothing_is_likely_lost(number, promoted):
    """One image better, the others alike: nothing is proven, and nothing is likely lost."""
    alike = fields(number - 1)
    ours = evidence_of([*alike, *fields(1, right=9)])
    decision = decide(ours, evidence_of([*alike, *fields(1, right=8)]), resamples=RESAMPLES)
    assert decision.promoted is promoted
    few = [r for r in decision.reasons if "fewer than 10 images" in r]
    assert few == [
        "with fewer than 10 images a candidate is promoted unless the probability that it is worse "
        "by more than 0.02 is above 0.3: it is 0.00"
    ] * (number < 10)


@pytest.mark.parametrize(("behind", "better"), [(40, True), (60, False)])
def test_better_is_ahead_in_95_percent_of_the_resamples_not_in_more(behind, better):
    gain = Gain(0.8, 0.7, np.repeat([-0.1, 0.1], [behind, 1000 - behind]))
    assert (gain.is_better, gain.is_worse) == (better, False)
    loss = Gain(0.7, 0.8, -gain.resampled)
    assert (loss.is_better, loss.is_worse) == (False, better)


def test_a_loss_of_just_the_margin_is_not_behind_by_more_than_it():
    lost = 0.5 - 0.52  # by rounding a little more than 0.02
    assert Gain(0.5, 0.52, np.full(10, lost)).probability_behind(0.02) == 0.0
    assert Gain(0.5, 0.521, np.full(10, lost - 1e-6)).probability_behind(0.02) == 1.0


def test_on_few_images_a_likely_loss_refuses():
    worse, champion = evidence_of(fields(1, right=6)), evidence_of(fields(1, right=8))
    decision = decide(worse, champion, resamples=RESAMPLES)
    assert not decision.promoted
    assert decision.reasons[2].endswith("it is 1.00")


def test_a_candidate_better_in_all_and_worse_in_one_stratum_is_refused():
    low, high = fields(10, right=5), fields(20, right=9)
    ours = evidence_of([*fields(10, right=4), *high])
    theirs = evidence_of([*low, *fields(20, right=6)])
    images = strata(*["low"] * 10, *["high"] * 20)
    assert decide(ours, theirs, resamples=RESAMPLES).promoted
    decision = decide(ours, theirs, images, RESAMPLES)
    assert not decision.promoted
    assert "contrast low (10 images): worse" in decision.reasons[-3]
    assert "contrast high (20 images): not worse" in decision.reasons[-2]


def test_a_stratum_of_too_few_images_has_no_say():
    ours = evidence_of([*fields(9, right=4), *fields(20, right=9)])
    theirs = evidence_of([*fields(9, right=5), *fields(20, right=6)])
    decision = decide(ours, theirs, strata(*["low"] * 9, *["high"] * 20), RESAMPLES)
    assert decision.promoted
    assert "contrast low (9 images): too few to be looked at alone" in decision.reasons


def test_a_stratum_without_a_cell_in_which_the_candidate_sees_some_refuses_it():
    ours = evidence_of([*[(0, [(0.9, False)] * 3)] * 10, *fields(20, right=9)])
    theirs = evidence_of([*[(0, [])] * 10, *fields(20, right=6)])
    decision = decide(ours, theirs, strata(*["low"] * 10, *["high"] * 20), RESAMPLES)
    assert not decision.promoted
    assert "contrast low (10 images): worse" in decision.reasons[-3]
    assert "contrast high (20 images): not worse" in decision.reasons[-2]


def test_a_decision_says_which_boxes_the_truth_was_made_from():
    began = ["champ", "champ", "older", "", "champ"]
    images = [
        JudgedImage(str(row), began_as=name, is_beside_snapshot=row > 2)
        for row, name in enumerate(began)
    ]
    decision = decide(
        evidence_of(fields(5, right=9)), evidence_of(fields(5), "champ"), images, RESAMPLES
    )
    assert decision.reasons[:2] == (
        "judged on 5 held-out images with 50 cells, 2 of them corrected beside the training",
        "3 of these images opened with boxes of the champion, 1 with boxes of older, "
        "1 without boxes",
    )
    assert decision.images == tuple(images)
    two = decide(evidence_of(fields(2, right=9)), evidence_of(fields(2), "champ"), images[:2])
    assert two.reasons[1] == "2 of these images opened with boxes of the champion"


def test_reports_of_different_images_are_not_compared():
    with pytest.raises(ValueError, match="different images"):
        decide(evidence_of(fields(3)), evidence_of(fields(4)))


def test_the_decision_carries_both_reports():
    candidate, champion = evidence_of(fields(12, right=9)), evidence_of(fields(12))
    decision = decide(candidate, champion, resamples=RESAMPLES)
    assert (decision.candidate, decision.champion) == (candidate.report, champion.report)


seeds, numbers = st.integers(0, 2**31), st.integers(1, 14)


@given(seed=seeds, number=numbers, one=st.floats(0.3, 0.95), other=st.floats(0.3, 0.95))
@settings(max_examples=40)
def test_beyond_noise_at_most_one_would_replace_the_other(seed, number, one, other):
    field = Field(np.random.default_rng(seed), number + 9)
    first, second = evidence_of(field.seen(one)), evidence_of(field.seen(other))
    pairs = (first, second), (second, first)
    both = [decide(*pair, resamples=RESAMPLES).promoted for pair in pairs]
    assert both != [True, True]


@given(seed=seeds, number=numbers, recall=st.floats(0.3, 0.95), data=st.data())
@settings(max_examples=40)
def test_a_box_set_right_never_loses_the_promotion(seed, number, recall, data):
    field = Field(np.random.default_rng(seed), number)
    champion, seen = evidence_of(field.seen(recall)), field.seen(recall + 0.1)
    wrong = [
        (image, box)
        for image, (cells, found) in enumerate(seen)
        for box, (_, right) in enumerate(found)
        if not right and sum(right for _, right in found) < cells
    ]
    assume(wrong)
    before = decide(evidence_of(seen), champion, resamples=RESAMPLES)
    image, box = data.draw(st.sampled_from(wrong))
    seen[image][1][box] = (seen[image][1][box][0], True)
    assert decide(evidence_of(seen), champion, resamples=RESAMPLES).promoted >= before.promoted


@pytest.mark.integration
@pytest.mark.parametrize(
    ("images", "ahead", "least", "most"),
    [
        (4, -0.2, 0, 0.1),
        (4, 0.2, 0.9, 1),
        (10, 0.0, 0, 0.25),
        (20, 0.0, 0, 0.2),
        (20, -0.05, 0, 0.05),
        (20, 0.1, 0.8, 1),
    ],
)
def test_chance_seldom_promotes_and_merit_mostly_does(images, ahead, least, most):
    assert least <= promoted_share(images, ahead, 60, RESAMPLES) <= most
