from __future__ import annotations

from pathlib import Path

import pytest

from backend.datasets.result_folder import require_as_begun, require_empty
from backend.datasets.writing import partial_file
from backend.errors import BadRequest


def test_what_a_killed_write_or_a_file_system_left_does_not_make_a_folder_somebodys(
    tmp_path: Path,
) -> None:
    with partial_file(tmp_path / "counts.csv") as partial:
        left = tmp_path / partial.name
        partial.write_text("half")
    left.write_text("half")
    (tmp_path / "counts.csv").unlink()
    require_empty(tmp_path)
    for name in (".DS_Store", "Thumbs.db"):
        (tmp_path / name).touch()
    require_empty(tmp_path)
    (tmp_path / "own.csv").touch()
    with pytest.raises(BadRequest, match="holds files already"):
        require_empty(tmp_path)
    with pytest.raises(BadRequest, match=r"own\.csv is a file: give a new folder"):
        require_empty(tmp_path / "own.csv")


def test_a_folder_that_was_begun_is_gone_on_with_and_another_is_refused(tmp_path: Path) -> None:
    begun, other = tmp_path / "begun", tmp_path / "other"
    for path in (begun / "effort.csv", begun / "more.txt", other / "more.txt"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    require_empty(begun, ["effort.csv", "home"])
    require_empty(tmp_path / "new", ["effort.csv", "home"])
    with pytest.raises(BadRequest, match="holds files already"):
        require_empty(other, ["effort.csv", "home"])


def test_other_classes_than_a_folder_began_with_are_told_by_name(tmp_path: Path) -> None:
    began, now = {"classes": ["N", "M"], "threshold": 0.5}, {"classes": ["N"], "threshold": 0.5}
    with pytest.raises(
        BadRequest, match="began with classes N, M, and cannot go on with classes N: "
    ):
        require_as_begun(tmp_path / "counts.json", began, now)
    require_as_begun(tmp_path / "counts.json", began, began)
