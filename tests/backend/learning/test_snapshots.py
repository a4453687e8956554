from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.datasets.known import known_images
from backend.errors import NotFound
from backend.learning.snapshots import build_snapshot, frozen, snapshot_file, unseen_images
from backend.services import Services
from model.boxes import Box
from model.generated.fields import HARD, generate_field
from model.labels.examples import Side

A_BOX = Box(3.0, 4.0, 20.0, 30.0, "Cell")


def test_a_snapshot_holds_the_boxes_in_pixels_and_the_configs_classes(
    services: Services, project: int, add_image: Any, correct: Any, regions: Any
) -> None:
    hashes = [add_image(task) for task in range(5)]
    correct(range(5), regions(A_BOX))
    notes: list[str] = []
    snapshot = build_snapshot(services, project, notes.append)
    assert snapshot.classes == ("Cell", "Debris")
    assert [image.sha256 for image in snapshot.images] == hashes
    assert {image.boxes for image in snapshot.images} == {(A_BOX,)}
    assert snapshot.images[2].name == "image2.png"
    assert snapshot.images[2].read().pixels[0, 0] == 2
    assert notes == []


def test_of_five_images_one_is_held_out_for_ever(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    hashes = [add_image(task) for task in range(10)]
    correct(range(5))
    first = build_snapshot(services, project, print)
    assert [image.sha256 for image in first.of_side("held-out")] == [min(hashes[:5])]
    correct(range(5, 10))
    second = build_snapshot(services, project, print)
    assert second.images[:5] == first.images
    assert len(second.of_side("held-out")) == 2


def test_a_side_outlives_the_deletion_of_its_correction(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    hashes = [add_image(task) for task in range(5)]
    correct(range(5))
    build_snapshot(services, project, print)
    held_out = hashes.index(min(hashes))
    services.annotations.delete(project, [held_out + 1])
    assert not build_snapshot(services, project, print).of_side("held-out")
    correct([held_out], id=99)
    again = build_snapshot(services, project, print)
    assert [image.sha256 for image in again.of_side("held-out")] == [min(hashes)]


def test_one_or_two_images_over_wait_for_the_next_run(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    for task in range(8):
        add_image(task)
    correct(range(7))
    notes: list[str] = []
    assert len(build_snapshot(services, project, notes.append).images) == 5
    assert [note.partition(":")[0] for note in notes] == [
        "2 corrected images left for the next run"
    ]
    correct([7])
    notes.clear()
    assert len(build_snapshot(services, project, notes.append).images) == 8
    assert notes == []


def test_pages_of_one_file_do_not_all_go_to_one_side(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    for task in range(5):
        add_image(task, pixels=np.zeros((48, 64), np.uint8), page=task)
    correct(range(5))
    snapshot = build_snapshot(services, project, print)
    assert len(snapshot.of_side("held-out")) == 1
    assert len(snapshot.of_side("train")) == 4


def test_an_image_of_the_same_field_takes_the_side_of_the_earliest(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    fields = [generate_field(seed, (96, 128), 10, HARD).pixels for seed in range(5)]
    for task, pixels in enumerate(fields):
        add_image(task, pixels)
        add_image(task + 5, (pixels // 2).astype(np.uint8))
    correct(range(5))
    build_snapshot(services, project, print)
    correct(range(5, 10))
    notes: list[str] = []
    sides = [image.side for image in build_snapshot(services, project, notes.append).images]
    assert sides[5:] == sides[:5]
    assert sorted(sides[:5]) == ["held-out", "train", "train", "train", "train"]
    assert f"image7.png shows the field of image2.png: both are {sides[2]}" in notes


def test_what_is_like_an_image_that_teaches_teaches_in_whatever_order_they_came_in(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    def seen_as(task: int, *bits: int) -> None:
        image = services.images.of_task(project, task)
        assert image is not None
        code = sum(1 << bit for bit in bits)
        services.images.set_fingerprint(image.sha256, 0, f"{code:016x}")

    def side_of(task: int) -> str | None:
        image = services.images.of_task(project, task)
        return image and image.side

    for task in range(7):
        add_image(task)
    correct(range(1, 6))
    build_snapshot(services, project, print)
    held_out = next(task for task in range(1, 6) if side_of(task) == "held-out")
    teaching = next(task for task in range(1, 6) if side_of(task) == "train")
    # The first that came in, decided after both, is like both, and a later one is like the second.
    seen_as(held_out, *range(16))
    seen_as(0, *range(8, 16))
    seen_as(teaching)
    seen_as(6, *range(40, 48))
    services.images.set_sides(project, {_key(services, project, 0): "held-out"})
    correct([6])
    build_snapshot(services, project, print)
    assert side_of(6) == "train"


def _key(services: Services, project: int, task: int) -> tuple[str, int]:
    image = services.images.of_task(project, task)
    assert image is not None
    return image.sha256, image.page


def test_what_an_image_looks_like_is_found_out_once(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    add_image(0, generate_field(0, (96, 128), 10, HARD).pixels)
    correct([0])
    build_snapshot(services, project, print)
    kept = services.images.all(project)[0].fingerprint
    assert kept
    assert len(kept) == 16
    services.images.set_fingerprint(services.images.all(project)[0].sha256, 0, "0" * 16)
    build_snapshot(services, project, print)
    assert services.images.all(project)[0].fingerprint == "0" * 16


def test_of_two_tasks_of_one_image_the_later_correction_counts(
    services: Services, project: int, add_image: Any, correct: Any, regions: Any
) -> None:
    for task in (0, 1, 2):
        add_image(task)
    add_image(9, pixels=np.full((48, 64), 1, np.uint8))
    correct([0, 1, 2])
    correct([9], regions(A_BOX))
    snapshot = build_snapshot(services, project, print)
    assert [len(image.boxes) for image in snapshot.images] == [0, 1, 0]


def test_of_two_tasks_of_one_image_the_correction_made_first_counts_once_it_is_updated(
    services: Services, project: int, add_image: Any, correct: Any, regions: Any
) -> None:
    for task in (0, 1, 2):
        add_image(task)
    add_image(9, pixels=np.full((48, 64), 1, np.uint8))
    correct([0, 2, 9])
    correct([1], regions(A_BOX))
    (first,) = (a for a in services.annotations.corrected(project) if a.task == 1)
    services.annotations.record(replace(first, updated_at=first.updated_at + timedelta(hours=1)))
    snapshot = build_snapshot(services, project, print)
    assert [len(image.boxes) for image in snapshot.images] == [0, 1, 0]


def test_a_run_and_the_counts_leave_out_a_task_whose_image_never_came_in_the_same_words(
    services: Services, project: int, correct: Any
) -> None:
    correct([7])
    notes: list[str] = []
    build_snapshot(services, project, notes.append)
    assert (
        notes
        == known_images(services, project)[1]
        == [
            "task 7 left out: its image has not come from Label Studio yet (open the task once), "
            "or cannot be read"
        ]
    )


def test_an_image_without_cells_is_learned_from(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    for task in range(3):
        add_image(task)
    correct(range(3))
    assert {image.boxes for image in build_snapshot(services, project, print).images} == {()}


def test_an_image_of_which_nothing_drawn_can_be_used_neither_teaches_nor_judges(
    services: Services, project: int, add_image: Any, correct: Any, regions: Any
) -> None:
    hashes = [add_image(task) for task in range(7)]
    correct([0, 1, 2])
    (turned,) = regions(A_BOX)
    brushed = {**turned, "type": "brushlabels", "value": {"format": "rle", "brushlabels": ["Cell"]}}
    correct([3], [{**turned, "image_rotation": 90}])
    correct([4], [brushed])
    correct([5], regions(replace(A_BOX, label="Dead")))
    add_image(7)
    correct([7], regions(Box(0.1, 0.2, 0.5, 0.6, "Cell")))  # as of parts of the image's sides
    notes: list[str] = []
    snapshot = build_snapshot(services, project, notes.append)
    assert [image.sha256 for image in snapshot.images] == hashes[:3]
    lost = [note for note in notes if "none of its boxes can be used" in note]
    assert sorted(lost) == [
        f"image{n}.png left out: none of its boxes can be used" for n in (3, 4, 5, 7)
    ]
    assert any("turned in the page" in note for note in notes)
    correct([6], [brushed])
    assert unseen_images(services, project, snapshot) == []
    correct([3], regions(A_BOX), id=99)
    assert [image.sha256 for image in unseen_images(services, project, snapshot)] == [hashes[3]]


def test_an_image_whose_raw_file_is_gone_or_damaged_is_left_out_until_it_is_imported_again(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    hashes = [add_image(task) for task in range(7)]
    correct(range(5))
    whole = build_snapshot(services, project, print)
    gone, damaged = (services.images.path(sha256) for sha256 in hashes[:2])
    gone.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-9])
    services.images.path(hashes[5]).unlink()
    correct([5, 6])
    notes: list[str] = []
    left = build_snapshot(services, project, notes.append)
    assert left.images == whole.images[2:]
    assert notes[:3] == [
        f"image{task}.png left out: its raw file is {what}; import it again"
        for task, what in ((0, "gone"), (1, "damaged"), (5, "gone"))
    ]
    assert [image.sha256 for image in unseen_images(services, project, left)] == [hashes[6]]
    for task in (0, 1, 5):
        add_image(task)
    assert build_snapshot(services, project, print).images == whole.images


@pytest.mark.parametrize(("side", "seen"), [("train", True), ("inner", True), ("held-out", False)])
def test_an_image_like_one_that_teaches_is_not_unseen(
    services: Services, project: int, add_image: Any, correct: Any, side: Side, seen: bool
) -> None:
    fields = [generate_field(seed, (96, 128), 10, HARD).pixels for seed in range(3)]
    for task, pixels in enumerate(fields):
        add_image(task, pixels)
    sides: list[Side] = ["train", side, "train"]
    keys = (_key(services, project, task) for task in range(3))
    services.images.set_sides(project, dict(zip(keys, sides, strict=True)))
    correct(range(3))
    snapshot = build_snapshot(services, project, print)
    later = add_image(9, fields[1] + 1)
    correct([9])
    unseen = unseen_images(services, project, snapshot)
    assert [image.sha256 for image in unseen] == ([] if seen else [later])


def test_whatever_is_changed_or_left_out_is_said(
    services: Services, project: int, add_image: Any, correct: Any, regions: Any
) -> None:
    for task in range(3):
        add_image(task)
    rotated, unknown, flat, good = regions(
        Box(10, 10, 20, 20, "Cell"), Box(5, 5, 9, 9, "Mitosis"), Box(5, 5, 9, 9, "Cell"), A_BOX
    )
    rotated["value"]["rotation"] = 45
    flat["value"]["width"] = 0
    correct(range(2))
    correct([2], [rotated, unknown, flat, good])
    correct([7])
    notes: list[str] = []
    snapshot = build_snapshot(services, project, notes.append)
    assert len(snapshot.images[2].boxes) == 2
    said = "\n".join(notes)
    for part in ("task 7 left out", "rotated by 45", "no area", "no class of", "'Mitosis'"):
        assert part in said
    assert "image2.png: " in said


def test_boxes_that_look_wrong_are_set_aside_and_listed_but_stay_in_the_store(
    services: Services, project: int, add_image: Any, correct: Any, regions: Any
) -> None:
    for task in range(3):
        add_image(task)
    drawn = regions(A_BOX, A_BOX, Box(5, 5, 6, 30, "Cell"))
    meant = {**drawn[1], "meta": {"text": ["two cells, one upon the other"]}}
    correct([0], drawn)
    correct([1], [drawn[0], meant])
    correct([2])
    notes: list[str] = []
    snapshot = build_snapshot(services, project, notes.append)
    assert [image.boxes for image in snapshot.images] == [(A_BOX,), (A_BOX, A_BOX), ()]
    assert notes[0] == (
        "2 boxes look wrong (1 thinner than two pixels, 1 doubled): set aside, not learned from. "
        "`cytoloop labels check --project 1` lists all."
    )
    assert [note.partition(" looks wrong: it ")[0] for note in notes[1:]] == [
        "image0.png: box of Cell at (3, 4, 20, 30)",
        "image0.png: box of Cell at (5, 5, 6, 30)",
    ]
    assert len(services.annotations.corrected(project)[0].result) == 3


def test_a_snapshot_of_an_unknown_project_is_refused(services: Services) -> None:
    with pytest.raises(NotFound, match="Project 9"):
        build_snapshot(services, 9, print)


def test_what_was_frozen_is_found_in_a_home_that_was_moved(
    services: Services, project: int, correct_fields: Any, tmp_path: Path
) -> None:
    correct_fields(range(5))
    before = build_snapshot(services, project, [].append)
    run = services.runs.open(project, 5, "milestone")
    assert run is not None
    services.runs.start(run.id)
    services.runs.freeze(run.id, before.sha256, 5, [])
    before.save(snapshot_file(services.settings, run.id))
    home = services.settings.home.rename(tmp_path / "moved")
    there = replace(services, settings=services.settings.model_copy(update={"home": home}))

    after = frozen(there, services.runs.get(run.id), [].append)

    assert after is not None
    assert after.sha256 == before.sha256
    assert all(home in image.path.parents and image.path.is_file() for image in after.images)
