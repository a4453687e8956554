from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.datasets.predicting import COUNTS, gather, predict_into
from model.boxes import Detections
from model.classical import classical_version
from model.loaded import LoadedVersion
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared


@dataclass
class Crowded:
    """A detector that finds more than it can keep."""

    classes: tuple[str, ...] = ("cell",)

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        found = np.array([[1, 1, 9, 9]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)
        return [Detections(*found, self.classes, ("detections_per_image",)) for _ in images]


def test_a_limit_that_was_reached_is_told_with_what_it_means_and_what_to_do(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    crowded = LoadedVersion(classical_version(), ContrastGroups.none(), Crowded())
    told = predict_into(tmp_path / "out", [save_image(tmp_path / "a.png")], crowded)
    (note,) = told.notes
    assert note.startswith("a.png: limit reached: more boxes were found than are kept")
    assert "cut the image into smaller ones" in note
    with (tmp_path / "out" / COUNTS).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert note == f"a.png: {row['flags']}"


def test_the_counts_name_each_image_as_its_files_do_and_how_many_were_left_out(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    files = [save_image(tmp_path / folder / "a.png", seed=n) for n, folder in enumerate("xy")]
    (tmp_path / "torn.png").write_bytes(files[0].read_bytes()[:100])
    version = LoadedVersion(classical_version(), ContrastGroups.none(), Crowded())
    told = predict_into(tmp_path / "out", [*files, tmp_path / "torn.png"], version)
    assert (told.images, told.left_out) == (2, 1)
    assert f"{files[1]} is called a-2.png in {tmp_path / 'out'}" in " ".join(told.notes)
    with (tmp_path / "out" / COUNTS).open(newline="") as file:
        counted = {row["image"] for row in csv.DictReader(file)}
    assert counted == {"a.png", "a-2.png"}
    written = {path.stem for path in (tmp_path / "out" / "annotations").iterdir()}
    assert written == {"a", "a-2"}


def test_a_file_that_is_named_twice_is_looked_at_once(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    path = save_image(tmp_path / "a.png")
    assert gather(
        [path, tmp_path.parent / tmp_path.name / ".." / tmp_path.name / "a.png", tmp_path]
    ) == [path]
