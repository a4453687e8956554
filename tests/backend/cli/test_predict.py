from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from backend.datasets.voc import read_voc
from model.classical.detector import CLASSICAL_ID
from tests.backend.cli.conftest import Run


@pytest.mark.integration
def test_predict_writes_boxes_pictures_and_counts(run: Run, cells: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    out = tmp_path / "out"
    result = run("predict", cells / "images", tmp_path / "bad.png", "--out", out)
    assert result.exit_code == 0, result.output
    assert "bad.png left out" in result.stderr
    with (out / "counts.csv").open(newline="") as file:
        *rows, left_out = csv.DictReader(file)
    assert (left_out["image"], left_out["count"]) == ("bad.png", "")
    assert [row["image"] for row in rows] == [f"field{n}.png" for n in range(5)]
    for row in rows:
        stem = Path(row["image"]).stem
        assert len(read_voc(out / "annotations" / f"{stem}.xml").boxes) == int(row["count"]) > 0
        with Image.open(out / "drawn" / f"{stem}.png") as drawn:
            assert drawn.size == (160, 128)


def test_a_name_that_is_no_utf8_does_not_end_predict(run: Run, cells: Path, tmp_path: Path) -> None:
    names = (tmp_path / "in" / name for name in ("Prüfung.png", os.fsdecode(b"Pr\xfcfung.png")))
    (tmp_path / "in").mkdir()
    for name in names:
        name.write_bytes((cells / "images" / "field0.png").read_bytes())
    result = run("predict", tmp_path / "in", "--out", tmp_path / "out", "--model", CLASSICAL_ID)
    assert result.exit_code == 0, result.output
    assert r"Note: Pr\xfcfung.png left out: its name is no UTF-8: rename it" in result.stderr
    assert " in 1 image, 1 left out: " in result.stdout
    with (tmp_path / "out" / "counts.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    assert names == ["Prüfung.png", r"Pr\xfcfung.png"]


def test_a_file_that_may_not_be_read_does_not_end_predict(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    lock = shutil.copy(cells / "images" / "field0.png", tmp_path / "lock.png")
    lock.chmod(0)
    if os.access(lock, os.R_OK):
        pytest.skip("root may read all")
    words = ("--out", tmp_path / "out", "--model", CLASSICAL_ID)
    result = run("predict", cells / "images" / "field1.png", lock, *words)
    assert result.exit_code == 0, result.output
    assert "Note: lock.png left out: it cannot be opened (Permission denied)" in result.stderr
    assert " in 1 image, 1 left out: " in result.stdout


def test_predict_tells_images_that_it_left_out_before_files_that_are_none(
    run: Run, tmp_path: Path
) -> None:
    plates = [tmp_path / f"plate{number:02}" for number in range(22)]
    for plate in plates:
        plate.mkdir()
        (plate / "notes.txt").touch()
        Image.new("L", (16, 16)).save(plate / f"{plate.name}.png")
    (plates[0] / "torn.png").write_bytes(b"")
    result = run("predict", *plates, "--out", tmp_path / "out", "--model", CLASSICAL_ID)
    assert result.exit_code == 0, result.output
    notes = [line for line in result.stderr.splitlines() if line.startswith("Note: ")]
    assert notes[0].startswith("Note: torn.png left out: ")
    assert notes[1].startswith("Note: counted again, each the same file as the one in brackets: ")
    assert notes[2].startswith("Note: 22 images constant (a single grey level): plate00.png")
    assert notes[3] == f"Note: 1 other file in {plates[0]} left out: notes.txt"


def counted(table: Path) -> int:
    return len(table.read_text().splitlines()) - 1


#: Killed when the third image's files are written and its count is not; the counts before are,
#: however long the writing takes.
KILLED_AT_THE_THIRD = """
import os, signal
from backend.cli import main
from backend.datasets import counting

add = counting.Counts.add

def add_two(counts, *image):
    if len(counts.entries) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(counts, *image)

counting.Counts.add, counting.REST = add_two, 0
main()
"""


@pytest.mark.integration
def test_a_predict_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    table = tmp_path / "out" / "counts.csv"
    words = ["predict", str(cells / "images"), "--out", str(tmp_path / "out")]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_THE_THIRD, *words], stderr=subprocess.DEVNULL, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert counted(table) == 2
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert " in 5 images, " in result.stdout
    assert ", 2 of them before: " in result.stdout
    run(*words[:3], tmp_path / "whole")
    assert table.read_text() == (tmp_path / "whole" / "counts.csv").read_text()


def test_predict_never_writes_over_what_is_there(run: Run, cells: Path) -> None:
    result = run("predict", cells / "images", "--out", cells)
    assert result.exit_code == 2
    assert "nothing is overwritten" in result.stderr


def test_predict_says_what_else_its_table_holds(run: Run, cells: Path, tmp_path: Path) -> None:
    words = ("--model", CLASSICAL_ID, "--out", tmp_path / "out")
    run("predict", cells / "images", *words)
    told = run("predict", cells / "images" / "field0.png", *words).stdout
    table = tmp_path / "out" / "counts.csv"
    assert told.endswith(f"{table}, which also holds 4 images of earlier calls\n")
