from __future__ import annotations

from pathlib import Path

import pytest

from backend.datasets.writing import (
    as_csv,
    partial_file,
    partial_folder,
    write_whole,
)
from backend.errors import BadRequest


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "counts.csv"
    target.write_text("old")

    def write_and_be_stopped() -> None:
        with partial_file(target) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_be_stopped()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["counts.csv"]


def test_a_name_as_long_as_a_file_may_have_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("b" * 255)
    write_whole(target, b"whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]
    target.unlink()
    with partial_folder(target):
        pass
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_in_the_place_of_a_file_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, Path()):
        with pytest.raises(BadRequest, match=f"{path} is a folder: name a file"):
            write_whole(path, b"whole")
    assert list(tmp_path.iterdir()) == []


def test_an_error_names_the_place_that_was_asked_for(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"more")

    place = tmp_path / "counts"
    with pytest.raises(OSError, match=f"No space left on device: '{place}'$"), partial_file(place):
        fill_the_disk()
    with pytest.raises(OSError, match=f"'{place}'$"), partial_folder(place) as partial:
        partial.read_bytes()
    with pytest.raises(OSError, match=f"'{place}.png'$"), partial_file(place):
        place.with_suffix(".png").read_bytes()


def test_half_a_character_is_written_as_its_escape() -> None:
    assert as_csv([["name", "size"], ["é.png", "\ud800×100"]]).decode("utf-8") == (
        "name,size\né.png,\\ud800×100\n"
    )


def test_a_folder_is_there_whole_or_not_at_all_and_takes_no_others_place(tmp_path: Path) -> None:
    target = tmp_path / "export"
    target.mkdir()
    with partial_folder(target) as partial:  # an empty one is taken
        (partial / "a.xml").write_text("whole")

    def write_and_be_stopped() -> None:
        with partial_folder(tmp_path / "other") as partial:
            (partial / "a.xml").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_be_stopped()
    with pytest.raises(OSError, match="not empty"), partial_folder(target) as partial:
        (partial / "a.xml").write_text("another")
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert (target / "a.xml").read_text() == "whole"


def test_an_empty_folder_is_taken_through_a_link_and_from_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty, link = tmp_path / "empty", tmp_path / "link"
    empty.mkdir()
    link.symlink_to(empty)
    with partial_folder(link) as partial:
        (partial / "a.xml").write_text("whole")
    assert (empty / "a.xml").read_text() == "whole"
    within = tmp_path / "within"
    within.mkdir()
    monkeypatch.chdir(within)
    with partial_folder(Path()) as partial:
        (partial / "a.xml").write_text("whole")
    assert (within / "a.xml").read_text() == "whole"
