from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from backend.datasets import counting
from backend.datasets.counting import KEPT, TABLE
from backend.datasets.gathering import gather
from backend.datasets.predicting import predict_into
from backend.datasets.result_folder import alone_in
from backend.errors import BadRequest
from model.boxes import Box, Detections
from model.classical.detector import CLASSICAL_ID, classical_version
from model.judging.evaluation import evaluate
from model.keeping.registry import Registry
from model.labels.examples import LabelledImage
from model.looking.loaded import LoadedVersion
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared


@dataclass
class Crowded:
    """A detector that finds more than it can keep, and is stopped at one of its images."""

    classes: tuple[str, ...] = ("cell",)
    caps: Mapping[str, float] = field(default_factory=lambda: {"detections_per_image": 1.0})
    stopped_at: int = 0
    by: BaseException = field(default_factory=KeyboardInterrupt)
    looked_at: int = 0
    before_each: Callable[[], object] = lambda: None

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        self.before_each()
        self.looked_at += 1
        if self.looked_at == self.stopped_at:
            raise self.by
        found = np.array([[1, 1, 9, 9]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)
        return [Detections(*found, self.classes, self.caps) for _ in images]


def test_while_a_large_image_is_looked_at_each_tile_is_told(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    files = [save_image(tmp_path / "a.png"), save_image(tmp_path / "b.png", size=(2600, 40))]
    loaded = LoadedVersion(classical_version(), ContrastGroups.none(), Crowded())
    told: list[tuple[float, str]] = []
    predict_into(tmp_path / "out", files, loaded, advance=lambda *words: told.append(words))
    tiles = [(0.5 + i / 6, f"b.png, tile {i + 1} of 3") for i in range(3)]
    assert told == [(0.0, "a.png"), (0.5, "b.png"), *tiles]


def test_a_limit_that_was_reached_is_told_with_what_it_means_and_what_to_do(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    crowded = LoadedVersion(classical_version(), ContrastGroups.none(), Crowded())
    told = predict_into(tmp_path / "out", [save_image(tmp_path / "a.png")], crowded)
    (note,) = told.notes
    assert note.startswith("a.png: limit reached: more boxes were found than are kept")
    assert "cut the image into smaller ones" in note
    with (tmp_path / "out" / TABLE).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert note == f"a.png: {row['flags']}"


def test_a_limit_that_cut_no_box_that_would_count_is_not_told(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    faint = Crowded(caps={"detections_per_image": 0.1})
    loaded = LoadedVersion(classical_version(), ContrastGroups.none(), faint)
    assert not predict_into(tmp_path / "out", [save_image(tmp_path / "a.png")], loaded).notes


def test_what_is_unusual_about_images_is_told_with_what_it_means(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.png" for name in "ab"]
    for path in paths:
        Image.fromarray(np.full((48, 64), 7, np.uint8)).save(path)
    for _ in range(2):
        told = predict_into(tmp_path / "out", paths, version_of(Crowded()))
        assert "2 images constant (a single grey level): a.png, b.png" in told.notes


def test_counts_have_a_range_where_nine_images_judged_that_the_version_has_not_seen(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    cells = Box(1, 1, 9, 9, "cell"), Box(20, 20, 29, 29, "cell")
    truth = [LabelledImage(Path(), str(number), cells) for number in range(10)]
    boxes = np.array([[1, 1, 9, 9]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)
    report = evaluate([Detections(*boxes, ("cell",))] * 10, truth, ("cell",), 0.5)
    path = save_image(tmp_path / "a.png")
    for seen, low in ((("0",), "0"), (("0", "1"), "")):
        made = replace(classical_version(), report=report, lineage=seen)
        loaded = LoadedVersion(made, ContrastGroups.none(), Crowded())
        predict_into(tmp_path / f"out{low}", [path], loaded)
        with (tmp_path / f"out{low}" / TABLE).open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert (row["count"], row["low"]) == ("1", low)


def test_a_stack_of_which_only_the_first_page_is_counted_is_flagged_in_the_table(
    tmp_path: Path,
) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", levels(3), photometric="minisblack")
    predict_into(tmp_path / "out", [tmp_path / "stack.tif"], version_of(Crowded()))
    with (tmp_path / "out" / TABLE).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["flags"].split("; ")[0] == "first of 3 pages"


def test_what_was_left_out_is_told_first_and_what_is_alike_in_one_sentence(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    stacks = [tmp_path / f"stack{number:02}.tif" for number in range(22)]
    for path in stacks:
        tifffile.imwrite(path, levels(2, seed=int(path.stem[-2:])), photometric="minisblack")
    torn = save_image(tmp_path / "well_D7.png")
    torn.write_bytes(torn.read_bytes()[:100])
    told = predict_into(tmp_path / "out", [*stacks, torn], version_of(Crowded()))
    left_out, several, limit = told.notes
    assert left_out.startswith("well_D7.png left out: damaged or incomplete; copy")
    assert several.startswith("22 images with several pages, of which the first is taken: stack00")
    assert limit.startswith("stack00.tif, stack01.tif")
    assert " and 17 more: limit reached" in limit


def test_an_image_that_is_left_out_stands_in_the_table_until_it_can_be_looked_at(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    files = [save_image(tmp_path / name, seed) for seed, name in enumerate(("D6.png", "D7.png"))]
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[:100])
    predict_into(tmp_path / "out", files, version_of(Crowded()))
    assert [row["count"] for row in rows_in(tmp_path / "out")] == ["1", ""]
    left_out = rows_in(tmp_path / "out")[1]
    assert (left_out["image"], left_out["source"]) == ("D7.png", "none")
    assert left_out["flags"] == "left out: damaged or incomplete"
    files[1].write_bytes(whole)
    predict_into(tmp_path / "out", files, version_of(Crowded()))
    assert [(row["image"], row["count"]) for row in rows_in(tmp_path / "out")] == [
        ("D6.png", "1"),
        ("D7.png", "1"),
    ]


def test_an_image_that_was_counted_and_cannot_be_looked_at_again_keeps_its_count(
    files: list[Path], tmp_path: Path
) -> None:
    predict_into(tmp_path / "out", files, version_of(Crowded()))
    before = rows_in(tmp_path / "out")
    (tmp_path / "out" / "annotations" / "1.xml").unlink()
    failing = Crowded(stopped_at=1, by=MemoryError())
    assert predict_into(tmp_path / "out", files, version_of(failing)).left_out == 1
    assert rows_in(tmp_path / "out") == before


def test_an_image_that_is_left_out_stands_in_the_table_after_a_call_on_others(
    files: list[Path], tmp_path: Path
) -> None:
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[:100])
    predict_into(tmp_path / "out", files[:2], version_of(Crowded()))
    predict_into(tmp_path / "out", files[2:3], version_of(Crowded()))
    named = [(row["image"], row["count"]) for row in rows_in(tmp_path / "out")]
    assert named == [("0.png", "1"), ("2.png", "1"), ("1.png", "")]
    with pytest.raises(BadRequest, match="None of the images"):
        predict_into(tmp_path / "out", [torn_copy(files[3])], version_of(Crowded()))
    files[1].write_bytes(whole)
    predict_into(tmp_path / "out", files[1:2], version_of(Crowded()))
    named = [(row["image"], row["count"]) for row in rows_in(tmp_path / "out")]
    assert named == [("0.png", "1"), ("2.png", "1"), ("1.png", "1"), ("torn.png", "")]


def torn_copy(path: Path) -> Path:
    torn = path.with_name("torn.png")
    torn.write_bytes(path.read_bytes()[:100])
    return torn


def test_a_counted_file_that_was_damaged_since_keeps_its_count_and_gets_no_further_row(
    files: list[Path], tmp_path: Path
) -> None:
    predict_into(tmp_path / "out", files, version_of(Crowded()))
    before = rows_in(tmp_path / "out")
    files[0].write_bytes(files[0].read_bytes()[:100])
    told = predict_into(tmp_path / "out", files, version_of(Crowded()))
    assert rows_in(tmp_path / "out") == before
    stays = "0.png left out: it cannot be read any more; its earlier count stays (damaged or"
    assert told.notes[0].startswith(stays)
    assert not any("is called" in note for note in told.notes)


def test_a_damaged_file_beside_a_counted_one_of_its_name_has_its_row(
    save_image: Callable[..., Path], files: list[Path], tmp_path: Path
) -> None:
    other = save_image(tmp_path / "other" / "0.png", seed=8)
    other.write_bytes(other.read_bytes()[:100])
    for _ in range(2):
        predict_into(tmp_path / "out", [other, files[0]], version_of(Crowded()))
        named = [(row["image"], row["count"]) for row in rows_in(tmp_path / "out")]
        assert named == [("0.png", "1"), ("0-2.png", "")]


def test_a_damaged_file_of_a_name_that_another_folder_has_keeps_its_row_in_further_calls(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    good, torn = (save_image(tmp_path / folder / "a.png", seed=n) for n, folder in enumerate("xy"))
    torn.write_bytes(torn.read_bytes()[:100])
    predict_into(tmp_path / "out", [good, torn], version_of(Crowded()))
    before = contents(tmp_path / "out")
    with pytest.raises(BadRequest, match=r"None of the images .*\n  a\.png left out: damaged or"):
        predict_into(tmp_path / "out", [torn], version_of(Crowded()))
    predict_into(tmp_path / "out", [good], version_of(Crowded()))
    assert contents(tmp_path / "out") == before
    torn.parent.rename(tmp_path / "moved")
    save_image(tmp_path / "moved" / "a.png", seed=2)
    predict_into(tmp_path / "out", [tmp_path / "moved" / "a.png"], version_of(Crowded()))
    named = [(row["image"], row["count"]) for row in rows_in(tmp_path / "out")]
    assert named == [("a.png", "1"), ("a-2.png", "1")]


def test_images_of_one_name_in_several_folders_are_not_taken_for_ones_that_changed(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    pair = [save_image(tmp_path / folder / "a.png", seed=n) for n, folder in enumerate("xy")]
    predict_into(tmp_path / "out", pair, version_of(Crowded()))
    told = predict_into(tmp_path / "out", pair[1:], version_of(Crowded()))
    assert (told.before, told.others) == (1, 1)
    assert not any("another image" in note for note in told.notes)


def test_of_copies_in_several_folders_each_is_known_again_by_its_own(
    files: list[Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(tmp_path / "in", tmp_path / "copy") / files[0].name
    predict_into(tmp_path / "out", [files[0], copy], version_of(Crowded()))
    told = predict_into(tmp_path / "out", [copy], version_of(Crowded()))
    assert f"{copy} is called 0-2.png in {tmp_path / 'out'}" in told.notes[-1]


def rows_in(out: Path) -> list[dict[str, str]]:
    with (out / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def levels(pages: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (pages, 48, 64), np.uint8)


def test_an_image_that_a_tag_turns_is_named_since_some_tools_ignore_it(
    save_turned: Callable[..., Path], tmp_path: Path
) -> None:
    told = predict_into(tmp_path / "out", [save_turned(tmp_path / "a.jpg")], version_of(Crowded()))
    assert told.notes[-1].endswith("tools that ignore the tag see them elsewhere: a.jpg")


def test_the_counts_name_each_image_as_its_files_do_and_how_many_were_left_out(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    files = [save_image(tmp_path / folder / "a.png", seed=n) for n, folder in enumerate("xy")]
    (tmp_path / "torn.png").write_bytes(files[0].read_bytes()[:100])
    version = LoadedVersion(classical_version(), ContrastGroups.none(), Crowded())
    told = predict_into(tmp_path / "out", [*files, tmp_path / "torn.png"], version)
    assert (told.images, told.left_out) == (2, 1)
    assert f"{files[1]} is called a-2.png in {tmp_path / 'out'}" in " ".join(told.notes)
    with (tmp_path / "out" / TABLE).open(newline="") as file:
        sources = {row["image"]: row["source"] for row in csv.DictReader(file)}
    assert sources == {"a.png": "predicted", "a-2.png": "predicted", "torn.png": "none"}
    written = {path.stem for path in (tmp_path / "out" / "annotations").iterdir()}
    assert written == {"a", "a-2"}


def test_an_image_of_another_name_than_its_file_says_in_the_table_where_that_is(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    files = [save_image(tmp_path / folder / "a.png", seed=n) for n, folder in enumerate("xy")]
    torn = tmp_path / "z" / "a.png"
    torn.parent.mkdir()
    torn.write_bytes(files[0].read_bytes()[:100])
    long = save_image(tmp_path / "x" / ("b" * 210 + ".png"), seed=3)
    told = predict_into(tmp_path / "out", [*files, torn, long], version_of(Crowded()))
    why = dict(note.split(" is called ") for note in told.notes if " is called " in note)
    taken = f"in {tmp_path / 'out'}: there its own name is taken, or one too much like it"
    assert (why[str(files[1])], why[str(torn)]) == (f"a-2.png {taken}", f"a-3.png {taken}")
    assert why[str(long)].endswith("there its own name cannot be used")
    flags = flags_in(tmp_path / "out")
    assert (flags["a.png"], flags["a-2.png"]) == ("", f"from {files[1]}")
    assert flags["a-3.png"].endswith(f"; from {torn}")
    assert flags["b" * 200 + ".png"] == f"from {long}"


def test_links_to_one_file_count_each_and_are_flagged_as_copies_are(
    files: list[Path], tmp_path: Path
) -> None:
    files[0].with_name("link.png").symlink_to(files[0])
    (tmp_path / "folder").symlink_to(files[0].parent)
    given = gather([files[0].parent, tmp_path / "folder"]).files
    assert [path.name for path in given] == [*(path.name for path in files), "link.png"]
    told = predict_into(tmp_path / "out", given, version_of(Crowded()))
    assert told.notes[0].endswith("the same file as the one in brackets: link.png (0.png)")


def test_a_file_whose_name_is_no_utf8_has_its_row_until_it_is_renamed(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    save_image(tmp_path / "in" / "a.png")
    for seed, folder in enumerate(("in", "more"), start=1):
        save_image(tmp_path / folder / "new.png", seed).rename(
            odd := tmp_path / folder / os.fsdecode(b"Pr\xfcfung.png")
        )
    for _ in range(2):
        gathered = gather([tmp_path / "in", odd])
        predict_into(
            tmp_path / "out", gathered.files, version_of(Crowded()), unnamed=gathered.unnamed
        )
        found = [(row["image"], row["count"], row["flags"]) for row in rows_in(tmp_path / "out")]
        left_out = (r"Pr\xfcfung.png", "", "left out: its name is no UTF-8")
        assert [row[:2] for row in found[:1]] + found[1:] == [("a.png", "1"), left_out, left_out]
    renamed = odd.rename(odd.with_name("Prüfung.png"))
    predict_into(tmp_path / "out", [renamed], version_of(Crowded()))
    named = [(row["image"], row["count"]) for row in rows_in(tmp_path / "out")]
    assert named == [("a.png", "1"), ("Prüfung.png", "1"), (r"Pr\xfcfung.png", "")]


def test_an_image_that_a_mac_packed_is_known_again_where_its_name_is_written_otherwise(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    path = save_image(tmp_path / "in" / unicodedata.normalize("NFD", "Präparat.png"))
    predict_into(tmp_path / "out", [path], version_of(Crowded()))
    before = contents(tmp_path / "out")
    moved = path.rename(path.with_name(unicodedata.normalize("NFC", path.name)))
    told = predict_into(tmp_path / "out", [moved], version_of(Crowded()))
    assert (told.before, contents(tmp_path / "out")) == (1, before)
    assert not any("is called" in note for note in told.notes)


def test_images_whose_names_are_as_long_as_may_be_are_counted_under_shorter_ones(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    names = "b" * 251 + ".png", "细" * 83 + ".png"
    long = [save_image(tmp_path / "in" / name, seed=n) for n, name in enumerate(names)]
    for before in (0, 2):
        told = predict_into(tmp_path / "out", long, version_of(Crowded()))
        assert (told.images, told.before) == (2, before)
    counted = [row["image"] for row in rows_in(tmp_path / "out")]
    assert counted == ["b" * 200 + ".png", "细" * 66 + ".png"]


def version_of(detector: Crowded) -> LoadedVersion:
    return LoadedVersion(classical_version(), ContrastGroups.none(), detector)


@pytest.fixture
def files(save_image: Callable[..., Path], tmp_path: Path) -> list[Path]:
    return [save_image(tmp_path / "in" / f"{n}.png", seed=n) for n in range(5)]


@pytest.fixture
def stopped(files: list[Path], tmp_path: Path) -> Path:
    """A folder of results in which two of five images are done."""
    with pytest.raises(KeyboardInterrupt):
        predict_into(tmp_path / "out", files, version_of(Crowded(stopped_at=3)))
    return tmp_path / "out"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("failure", [MemoryError(), RuntimeError("CUDA out of memory\nfurther")])
def test_an_image_on_which_the_detector_fails_is_left_out_and_looked_at_by_the_next_call(
    files: list[Path], tmp_path: Path, failure: Exception
) -> None:
    told = predict_into(tmp_path / "out", files, version_of(Crowded(stopped_at=3, by=failure)))
    assert (told.images, told.left_out) == (4, 1)
    (note,) = [note for note in told.notes if note.startswith("2.png")]
    said = str(failure).removesuffix("\nfurther") or "MemoryError"
    assert note.startswith(f"2.png left out: the detector failed on it ({said}); end other")
    again = predict_into(tmp_path / "out", files, version_of(Crowded()))
    assert (again.images, again.before, again.left_out) == (5, 4, 0)
    with pytest.raises(BadRequest, match="None of the images can be looked at"):
        predict_into(tmp_path / "one", files[:1], version_of(Crowded(stopped_at=1, by=failure)))


def test_what_was_done_before_a_stop_is_counted(stopped: Path) -> None:
    with (stopped / TABLE).open(newline="") as file:
        assert [(row["image"], row["count"]) for row in csv.DictReader(file)] == [
            ("0.png", "1"),
            ("1.png", "1"),
        ]


@pytest.mark.parametrize("stopped_at", [0, 5])
def test_counts_that_take_long_to_write_are_not_written_with_each_image(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int
) -> None:
    monkeypatch.setattr(counting, "monotonic", itertools.count().__next__)  # a second for a write
    (out := tmp_path / "out").mkdir()
    seen = list[int]()
    crowded = Crowded(stopped_at=stopped_at)
    crowded.before_each = lambda: seen.append(len(rows_in(out)) if (out / TABLE).exists() else 0)
    with suppress(KeyboardInterrupt):
        predict_into(out, files, version_of(crowded))
    assert seen == [0, 1, 1, 1, 1]
    assert len(rows_in(out)) == (4 if stopped_at else 5)


def test_an_image_whose_share_drops_after_it_was_read_is_counted(
    files: list[Path], tmp_path: Path
) -> None:
    crowded = Crowded(before_each=lambda: files[0].unlink(missing_ok=True))
    told = predict_into(tmp_path / "out", files, version_of(crowded))
    assert (told.images, told.left_out) == (5, 0)


def test_a_call_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(
    stopped: Path, files: list[Path], tmp_path: Path
) -> None:
    detector = Crowded()
    told = predict_into(stopped, files, version_of(detector))
    assert (told.images, told.before, told.cells, detector.looked_at) == (5, 2, 5, 3)
    whole = predict_into(tmp_path / "whole", files, version_of(Crowded()))
    assert (told.notes, contents(stopped)) == (whole.notes, contents(tmp_path / "whole"))


def test_a_call_that_was_killed_before_it_counted_its_first_image_goes_on(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*image: object) -> NoReturn:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as fault:
        fault.setattr(counting.Counts, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_into(out, files, version_of(Crowded()))
    assert (out / "annotations" / "0.xml").exists()
    steps = list[tuple[float, str]]()
    told = predict_into(out, files, version_of(Crowded()), advance=lambda *step: steps.append(step))
    assert (told.images, told.before) == (5, 0)
    assert steps == [(number / 5, f"{number}.png") for number in range(5)]


def test_a_finished_folder_is_left_as_it_is_and_takes_further_images(
    save_image: Callable[..., Path], stopped: Path, files: list[Path]
) -> None:
    predict_into(stopped, files, version_of(Crowded()))
    (stopped / "annotations" / "0.xml").write_text("<annotation/>")  # corrected by hand
    before, detector = contents(stopped), Crowded()
    assert predict_into(stopped, files, version_of(detector)).before == 5
    assert (contents(stopped), detector.looked_at) == (before, 0)
    more = [save_image(files[0].with_name("00.png"), seed=9), *files]
    assert predict_into(stopped, more, version_of(detector)).images == 6
    assert detector.looked_at == 1


def flags_in(out: Path) -> dict[str, str]:
    """The flags of each image, without those that all images of a crowded detector have."""
    crowded = "limit reached: more boxes"
    return {
        row["image"]: "; ".join(f for f in row["flags"].split("; ") if not f.startswith(crowded))
        for row in rows_in(out)
    }


def test_a_file_that_holds_another_image_now_is_told_and_flagged_since_the_table_has_both(
    save_image: Callable[..., Path], stopped: Path, files: list[Path]
) -> None:
    save_image(files[0], seed=9)
    told = predict_into(stopped, files, version_of(Crowded()))
    (note,) = [note for note in told.notes if "another image" in note]
    assert note.startswith("0.png holds another image than an earlier call counted: counts.csv has")
    flags, place = flags_in(stopped), f"from {files[0]}"
    assert (flags.pop("0.png"), flags.pop("0-2.png")) == ("file replaced since", place)
    assert set(flags.values()) == {""}
    predict_into(stopped, files[1:], version_of(Crowded()))
    assert flags_in(stopped)["0.png"] == "file replaced since"
    save_image(files[0], seed=0)
    predict_into(stopped, files, version_of(Crowded()))
    flags = flags_in(stopped)
    assert (flags["0.png"], flags["0-2.png"]) == ("", f"{place}; file replaced since")


def test_a_file_that_is_gone_is_told_and_flagged_where_its_folder_was_looked_into(
    save_image: Callable[..., Path], stopped: Path, files: list[Path], tmp_path: Path
) -> None:
    predict_into(stopped, files, version_of(Crowded()))
    kept = files[0].read_bytes()
    files[0].unlink()
    other = save_image(tmp_path / "other" / "b.png", seed=9)
    predict_into(stopped, [other], version_of(Crowded()))
    assert set(flags_in(stopped).values()) == {""}
    told = predict_into(stopped, files[1:], version_of(Crowded()))
    gone = "no longer there, counted by an earlier call and flagged in counts.csv: 0.png"
    assert (told.notes[-1], flags_in(stopped)["0.png"]) == (gone, "file gone since")
    assert set(flags_in(stopped).values()) == {"", "file gone since"}
    files[0].write_bytes(kept)
    predict_into(stopped, files, version_of(Crowded()))
    assert set(flags_in(stopped).values()) == {""}


def test_a_replaced_file_that_is_torn_leaves_the_flags_as_they_are(
    save_image: Callable[..., Path], stopped: Path, files: list[Path]
) -> None:
    save_image(files[0], seed=9)
    predict_into(stopped, files, version_of(Crowded()))
    before = flags_in(stopped)
    files[0].write_bytes(files[0].read_bytes()[:100])
    predict_into(stopped, files, version_of(Crowded()))
    assert flags_in(stopped) == before


@pytest.mark.parametrize("lost", ["annotations/1.xml", TABLE])
def test_what_is_no_longer_there_is_made_again(stopped: Path, files: list[Path], lost: str) -> None:
    before = contents(stopped)
    (stopped / lost).unlink()
    predict_into(stopped, files[:2], version_of(Crowded()))
    assert contents(stopped) == before


def test_other_choices_than_those_it_began_with_are_refused(
    stopped: Path, files: list[Path]
) -> None:
    before, version = contents(stopped), version_of(Crowded())
    other = replace(version, version=replace(version.version, id="trained-7"))
    with pytest.raises(BadRequest, match=r"--model classical-1, and cannot go on with --model tr"):
        predict_into(stopped, files, other)
    with pytest.raises(
        BadRequest, match=r"began with no --scores.* with --scores: .*another --out"
    ):
        predict_into(stopped, files, version, scores=True)
    with pytest.raises(BadRequest, match=r"no --cell-diameter, .* go on with --cell-diameter 20:"):
        predict_into(stopped, files, version.with_cell_diameter(20))
    assert contents(stopped) == before


def test_another_image_of_a_name_that_is_taken_gets_a_number_and_nothing_is_counted_twice(
    save_image: Callable[..., Path], stopped: Path, files: list[Path]
) -> None:
    other = save_image(files[0].parents[1] / "before" / "0.png", seed=8)
    told = predict_into(stopped, [other, *files], version_of(Crowded()))
    assert (told.images, told.before) == (6, 2)
    assert f"{other} is called 0-2.png in {stopped}" in told.notes[-1]
    with (stopped / TABLE).open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    assert names == ["0.png", "1.png", "0-2.png", "2.png", "3.png", "4.png"]


def test_a_folder_of_images_that_was_moved_is_known_again_with_its_twins(
    files: list[Path], tmp_path: Path
) -> None:
    shutil.copy(files[0], files[0].with_name("twin.png"))
    pairs = [tmp_path / "in", shutil.copytree(tmp_path / "in", tmp_path / "copy")]
    predict_into(tmp_path / "out", gather(pairs).files, version_of(Crowded()))
    before = contents(tmp_path / "out")
    moved = [folder.rename(tmp_path / f"moved {folder.name}") for folder in pairs]
    told = predict_into(tmp_path / "out", gather(moved).files, version_of(Crowded()))
    assert (told.before, contents(tmp_path / "out")) == (12, before)


@pytest.mark.parametrize("text", ["", "[]", '{"how": {}, "images": {"0": {"file": "0.png"}}}'])
def test_a_folder_whose_counts_cannot_be_read_is_refused(
    stopped: Path, files: list[Path], text: str
) -> None:
    (stopped / KEPT).write_text(text)
    with pytest.raises(BadRequest, match=r"counts\.json does not say.*another --out"):
        predict_into(stopped, files, version_of(Crowded()))


def test_a_table_of_other_columns_is_not_gone_on_with(stopped: Path, files: list[Path]) -> None:
    kept = json.loads((stopped / KEPT).read_text())
    kept["images"]["0"]["rows"][0].pop()
    (stopped / KEPT).write_text(json.dumps(kept))
    with pytest.raises(
        BadRequest, match=r"have other columns, of another release: give another --out"
    ):
        predict_into(stopped, files, version_of(Crowded()))


def test_two_calls_do_not_write_in_one_folder(stopped: Path, files: list[Path]) -> None:
    with alone_in(stopped), pytest.raises(BadRequest, match="Another process writes in"):
        predict_into(stopped, files, version_of(Crowded()))


def test_a_version_without_classes_counts_no_cell_where_there_is_none(tmp_path: Path) -> None:
    Image.new("L", (160, 128), 128).save(tmp_path / "empty.png")
    registry = Registry(tmp_path / "registry", CLASSICAL_ID)
    predict_into(tmp_path / "out", [tmp_path / "empty.png"], registry.load(CLASSICAL_ID, "cpu"))
    with (tmp_path / "out" / TABLE).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["image"], row["class"], row["count"]) == ("empty.png", "cell", "0")


def test_of_another_version_no_more_is_said_than_its_name(stopped: Path, files: list[Path]) -> None:
    version = version_of(Crowded())
    other = replace(version, version=replace(version.version, id="trained-7", threshold=0.18475908))
    with pytest.raises(BadRequest, match=r"--model classical-1, .* --model trained-7: choose"):
        predict_into(stopped, files, other)


def test_an_image_that_is_there_twice_is_flagged_and_told_also_by_the_call_that_goes_on(
    files: list[Path], tmp_path: Path
) -> None:
    shutil.copy(files[1], files[1].with_name("twin.jpg"))
    twins = [*files, files[1].with_name("twin.jpg")]
    for _ in range(2):
        told = predict_into(tmp_path / "out", twins, version_of(Crowded()))
        assert told.notes[0] == (
            "counted again, each the same file as the one in brackets: twin.jpg (1.png)"
        )
        flags = {row["image"]: row["flags"] for row in rows_in(tmp_path / "out")}
        assert flags["twin.jpg"].startswith("same file as 1.png; ")
        assert not any("same file" in flags[path.name] for path in files)


def test_the_first_of_two_that_are_the_same_stays_the_first_when_it_is_made_again(
    files: list[Path], tmp_path: Path
) -> None:
    shutil.copy(files[1], files[1].with_name("twin.png"))
    pair = [files[1], files[1].with_name("twin.png")]
    predict_into(tmp_path / "out", pair, version_of(Crowded()))
    before = rows_in(tmp_path / "out")
    (tmp_path / "out" / "annotations" / "1.xml").unlink()
    predict_into(tmp_path / "out", pair, version_of(Crowded()))
    assert rows_in(tmp_path / "out") == before


def test_images_of_earlier_calls_that_this_one_was_not_asked_for_are_counted(
    stopped: Path, files: list[Path]
) -> None:
    assert predict_into(stopped, files[1:4], version_of(Crowded())).others == 1
    assert predict_into(stopped, files, version_of(Crowded())).others == 0


def test_a_link_that_leads_nowhere_has_its_row(files: list[Path], tmp_path: Path) -> None:
    lost = files[0].with_name("lost.png")
    lost.symlink_to("nowhere.png")
    for paths in ([files[0].parent], [files[0], lost]):
        out = tmp_path / f"out{len(paths)}"
        told = predict_into(out, gather(paths).files, version_of(Crowded()))
        assert told.left_out == 1
        (row,) = [row for row in rows_in(out) if row["image"] == "lost.png"]
        assert row["count"] == ""
        assert row["flags"].startswith("left out: it cannot be opened (No such file")


def test_pictures_of_ours_are_not_looked_at_even_where_they_are_named(
    files: list[Path], tmp_path: Path
) -> None:
    predict_into(tmp_path / "out", files[:1], version_of(Crowded()))
    drawn = tmp_path / "out" / "drawn" / "0.png"
    gathered = gather([files[0], drawn])
    assert gathered.files == (files[0],)
    assert gathered.misnamed == ("0.png left out: a picture that Cytoloop drew",)
    with pytest.raises(BadRequest, match=r"0\.png left out: a picture that Cytoloop drew"):
        gather([drawn.parent])


def test_a_place_that_can_be_no_folder_is_told_in_words(files: list[Path]) -> None:
    with pytest.raises(
        BadRequest, match=r"0\.png cannot be a folder \(a file is there\): name ano"
    ):
        predict_into(files[0], files, version_of(Crowded()))
    with pytest.raises(BadRequest, match=r"cannot be a folder \(Not a directory\): name another"):
        predict_into(files[0] / "out", files, version_of(Crowded()))
