import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.labels.sides import content_hash, decide_sides, is_reserved

HASHES = st.lists(
    st.integers(0, 10**6).map(lambda n: hashlib.sha256(str(n).encode()).hexdigest()),
    unique=True,
    max_size=60,
)


def deal(hashes, decided=0):
    """Return the sides of new images, no two alike, after as many that have one."""
    known = ["train"] * decided + [None] * len(hashes)
    earlier = [f"earlier {number}" for number in range(decided)]
    return decide_sides(earlier + list(hashes), known, range(len(known)))[decided:]


@st.composite
def corrections(draw):
    """Hashes in order of correction, and groups of images alike, named by their first image."""
    hashes = draw(HASHES)
    groups = []
    for place in range(len(hashes)):
        groups.append(draw(st.sampled_from([place, place, *groups[:place]])))
    return hashes, groups


@given(HASHES, st.integers(0, 100))
def test_every_image_gets_a_side_or_waits(hashes, decided):
    sides = deal(hashes, decided)
    assert len(sides) == len(hashes)
    assert set(sides) <= {"train", "inner", "held-out", None}


@given(HASHES, st.integers(0, 100))
def test_each_five_holds_out_the_lowest_hash_and_no_other(hashes, decided):
    sides = deal(hashes, decided)
    for start in range(0, len(hashes), 5):
        five, its = hashes[start : start + 5], sides[start : start + 5]
        held_out = [h for h, side in zip(five, its, strict=True) if side == "held-out"]
        assert held_out == ([min(five)] if len(five) >= 3 else [])


@given(HASHES, st.integers(0, 100))
def test_one_or_two_left_over_wait_for_the_next_run(hashes, decided):
    waiting = [i for i, s in enumerate(deal(hashes, decided)) if s is None]
    left = len(hashes) % 5
    expected = range(len(hashes) - left, len(hashes)) if left in (1, 2) else ()
    assert waiting == list(expected)


@given(HASHES, st.integers(0, 40))
def test_the_inner_side_begins_at_twenty_images(hashes, decided):
    sides = deal(hashes, decided)
    assert "inner" not in sides[: max(20 - decided, 0)]
    for start in range(0, len(hashes) - 4, 5):
        assert ("inner" in sides[start : start + 5]) == (decided + start >= 20)


@given(corrections(), st.integers(0, 60))
def test_a_side_once_given_is_never_changed_by_later_images(images, number):
    hashes, groups = images
    first = decide_sides(hashes[:number], [None] * len(hashes[:number]), groups[:number])
    # What waits stands behind what is decided, in its order, as at the next run.
    order = sorted(range(len(hashes)), key=lambda i: i >= len(first) or first[i] is None)
    known = [first[i] if i < len(first) else None for i in order]
    then = decide_sides([hashes[i] for i in order], known, [groups[i] for i in order])
    after = dict(zip(order, then, strict=True))
    assert all(after[i] == side for i, side in enumerate(first) if side)


@given(HASHES, st.integers(0, 11))
def test_in_whole_fives_it_does_not_matter_how_often_sides_are_decided(hashes, fives):
    first = hashes[: 5 * fives]
    assert deal(hashes) == deal(first) + deal(hashes[5 * fives :], len(first))


@given(HASHES, st.integers(0, 11), st.integers(3, 4))
def test_what_fills_up_a_five_that_was_decided_early_teaches(hashes, fives, begun):
    early, whole = 5 * fives + begun, 5 * fives + 5
    hashes = hashes[:whole]
    first = deal(hashes[:early])
    then = decide_sides(hashes, first + [None] * len(hashes[early:]), range(len(hashes)))
    assert then[early:] == ["train"] * len(hashes[early:])


@given(HASHES, st.lists(st.integers(3, 7)))
def test_however_often_sides_are_decided_a_fifth_judge(hashes, runs):
    sides = []
    for more in [*runs, len(hashes)]:
        corrected = hashes[: len(sides) + more]
        sides += [None] * (len(corrected) - len(sides))
        order = sorted(range(len(sides)), key=lambda i: sides[i] is None)
        dealt = decide_sides(
            [hashes[i] for i in order], [sides[i] for i in order], range(len(order))
        )
        for i, side in zip(order, dealt, strict=True):
            sides[i] = side
    decided = [side for side in sides if side]
    assert decided.count("held-out") == -(-len(decided) // 5)
    assert decided.count("inner") == max(0, -(-(len(decided) - 20) // 5))


@given(corrections())
def test_images_alike_share_a_side_or_wait_together(images):
    hashes, groups = images
    sides = decide_sides(hashes, [None] * len(hashes), groups)
    assert all(side == sides[group] for side, group in zip(sides, groups, strict=True))


@given(corrections())
def test_images_alike_are_dealt_as_one(images):
    hashes, groups = images
    leaders = [i for i, group in enumerate(groups) if group == i]
    sides = decide_sides(hashes, [None] * len(hashes), groups)
    assert [sides[i] for i in leaders] == deal([hashes[i] for i in leaders])


def test_an_image_like_one_that_has_a_side_takes_it_at_once():
    sides = decide_sides(["b", "a"], ["held-out", None], [0, 0])
    assert sides == ["held-out", "held-out"]


def test_sides_that_were_decided_apart_before_stay_apart_and_the_earliest_is_followed():
    sides = decide_sides(["c", "b", "a"], ["held-out", "train", None], [0, 0, 0])
    assert sides == ["held-out", "train", "held-out"]


@given(HASHES)
def test_there_is_always_more_to_learn_from_than_is_held_out(hashes):
    sides = deal(hashes)
    assert sides.count("train") >= sides.count("held-out")


@given(HASHES)
def test_where_held_out_images_are_reserved_about_a_fifth_are_and_all_those_are(hashes):
    sides = decide_sides(hashes, [None] * len(hashes), range(len(hashes)), reserving=True)
    reserved = [is_reserved(sha256) for sha256 in hashes]
    held_out = [side == "held-out" for side in sides]
    assert all(held for held, is_kept in zip(held_out, reserved, strict=True) if is_kept)
    # Fives fill up what chance did not reserve, and add nothing to it.
    assert sum(held_out) <= max(sum(reserved), -(-len(hashes) // 5))
    if len(hashes) >= 3:
        assert any(held_out)


def test_one_image_in_five_is_reserved_by_its_hash_alone():
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(500)]
    assert sum(map(is_reserved, hashes)) == pytest.approx(100, abs=20)


def test_of_images_alike_the_first_says_whether_they_are_reserved():
    kept, other = "0" * 64, f"{1:064x}"
    assert decide_sides([other, kept], ["train", None], [0, 0], reserving=True)[1] == "train"
    assert decide_sides([kept, other], [None, None], [0, 0], reserving=True) == ["held-out"] * 2


def test_the_pages_of_a_file_have_hashes_of_their_own():
    sha256 = "ab" * 32
    assert content_hash(sha256, 0) == sha256
    assert len({content_hash(sha256, page) for page in range(4)}) == 4
