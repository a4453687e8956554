from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.datasets.gathering import gather
from backend.errors import BadRequest


def test_a_file_that_is_named_twice_is_looked_at_once(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    path = save_image(tmp_path / "a.png")
    again = tmp_path.parent / tmp_path.name / ".." / tmp_path.name / "a.png"
    assert gather([path, again, tmp_path]).files == (path,)


def test_a_file_whose_name_is_no_utf8_is_left_out_and_told_to_be_renamed(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    good = save_image(tmp_path / "in" / "Prüfung.png")
    odd = good.with_name(os.fsdecode(b"Pr\xfcfung.png"))  # out of an old zip: Latin-1
    shutil.copy(good, odd)
    told = (r"Pr\xfcfung.png left out: its name is no UTF-8: rename it",)
    for gathered in (gather([good, odd]), gather([odd.parent])):
        assert (gathered.files, gathered.misnamed) == ((good,), told)
    with pytest.raises(BadRequest, match=r"no image to look at:\n  Pr.xfcfung.png left out"):
        gather([odd])
    good.unlink()
    with pytest.raises(BadRequest, match=r"holds no image(.|\n)*Pr.xfcfung.png left out"):
        gather([odd.parent])


def test_folders_that_are_given_themselves_are_not_told_as_left_out(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    for place in ("top.png", "plate1/a.png", "plate2/a.png", "plate2/run1/a.png"):
        save_image(tmp_path / place)
    (tmp_path / "field.webp").touch()
    gathered = gather([tmp_path, tmp_path / "plate2" / "run1"])
    assert gathered.notes_on_others == [
        f"1 other file in {tmp_path} left out: field.webp",
        f"1 folder in {tmp_path} is not looked into: plate1",
    ]


def test_what_is_not_there_is_told_to_be_an_image_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"a\.png is not there; give an image or a folder that ex"):
        gather([tmp_path / "a.png"])
