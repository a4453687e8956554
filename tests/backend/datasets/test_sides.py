from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from backend.datasets.sides import with_sides
from model.examples import LabelledImage


def images(count: int) -> list[LabelledImage]:
    hashes = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(count)]
    return [LabelledImage(Path(sha), sha, ()) for sha in hashes]


def test_the_same_images_get_the_same_sides_anywhere(tmp_path: Path) -> None:
    here = with_sides(images(13), tmp_path / "here.json")
    there = with_sides(images(13)[::-1], tmp_path / "there.json")
    assert here == there
    assert Counter(image.side for image in here) == {"train": 10, "held-out": 3}


def test_images_added_later_move_none_of_the_others(tmp_path: Path) -> None:
    manifest = tmp_path / "sides.json"
    before = {i.sha256: i.side for i in with_sides(images(10), manifest)}
    after = {i.sha256: i.side for i in with_sides(images(30), manifest)}
    assert len(after) == 30
    assert {sha: after[sha] for sha in before} == before


def test_one_or_two_images_more_wait_and_are_not_returned(tmp_path: Path) -> None:
    assert len(with_sides(images(7), tmp_path / "sides.json")) == 5
