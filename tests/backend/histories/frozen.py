"""What a snapshot should contain, from the annotations only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from backend.services import Services
from model.labels.examples import DatasetSnapshot
from tests.backend.histories.expected import Expected
from tests.backend.histories.studio import HEIGHT, WIDTH

#: This many images of an unfinished five wait for the next run.
MOST_WAITING = 2

Rounded = tuple[Any, ...]
Written = Mapping[tuple[int, datetime], list[dict[str, Any]]]


def check_frozen(
    services: Services,
    project: int,
    expected: Expected,
    written: Written,
    snapshot: DatasetSnapshot,
) -> None:
    """Compare a snapshot that was just frozen with the corrections at that time.

    Raises
    ------
    AssertionError
        It has an image or a box too many or too few.
    """
    right = _boxes_of_images(services, project, expected, written, snapshot.classes)
    frozen = {
        image.sha256: sorted((*_rounded(box.xyxy_px), box.label) for box in image.boxes)
        for image in snapshot.images
    }
    assert len(frozen) == len(snapshot.images), "an image is in a snapshot twice"
    assert frozen.keys() <= right.keys(), "a snapshot has images that are not corrected"
    wrong = {sha: (boxes, right[sha]) for sha, boxes in frozen.items() if boxes != right[sha]}
    assert not wrong, f"a snapshot has other boxes than were drawn: {wrong}"
    _check_left_out(services, project, right.keys() - frozen.keys())


def _check_left_out(services: Services, project: int, left_out: Collection[str]) -> None:
    sides = {image.sha256: image.side for image in services.images.all(project)}
    assert not any(sides[sha] for sha in left_out), "an image that has a side is left out"
    assert len(left_out) <= MOST_WAITING, f"{len(left_out)} images wait for their side"


def _boxes_of_images(
    services: Services, project: int, expected: Expected, written: Written, classes: Collection[str]
) -> dict[str, list[Rounded]]:
    """Return the boxes of each image, from its newest annotation that was not skipped.

    An image with only boxes of other classes is left out: it is not one without cells.
    """
    newest = sorted(
        (a.updated_at, id, a.task)
        for id, a in expected.annotations.items()
        if a.updated_at and not a.skipped
    )
    found = {}
    for at, id, task in newest:
        assert task is not None
        if image := services.images.of_task(project, task):
            drawn = sorted(map(_drawn, written[id, at]))
            found[image.sha256] = [box for box in drawn if box[-1] in classes], bool(drawn)
    return {sha256: boxes for sha256, (boxes, any_drawn) in found.items() if boxes or not any_drawn}


def _drawn(region: dict[str, Any]) -> Rounded:
    value = region["value"]
    x, y = value["x"] * WIDTH / 100, value["y"] * HEIGHT / 100
    width, height = value["width"] * WIDTH / 100, value["height"] * HEIGHT / 100
    return (*_rounded((x, y, x + width, y + height)), value["rectanglelabels"][0])


def _rounded(numbers: tuple[float, ...]) -> Rounded:
    return tuple(round(number, 3) for number in numbers)
