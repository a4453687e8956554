from __future__ import annotations

from pathlib import Path

from benchmarks.effort import link_missing
from model.labels.examples import LabelledImage


def test_more_images_are_linked_where_more_are_asked_for(tmp_path: Path) -> None:
    images = [LabelledImage(tmp_path / f"{n}.png", str(n), ()) for n in range(3)]
    for image in images:
        image.path.write_text(image.sha256)
    for number in (1, 3, 2):
        folder = link_missing(images[:number], tmp_path / "linked")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "0.png": "0",
        "1.png": "1",
        "2.png": "2",
    }
