from __future__ import annotations

import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from backend.datasets.classes import check_classes
from backend.datasets.drawn import Notation
from backend.datasets.folder import labelled_folder
from backend.datasets.pictures import write_picture
from backend.datasets.voc import write_voc
from backend.errors import BadRequest
from model.boxes import Box

Save = Callable[..., Path]
CELL = Box(4, 5, 20, 25, "N")


def test_images_come_with_their_hash_and_boxes(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    path = save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml", [CELL])
    folder = labelled_folder(tmp_path, tmp_path)
    (image,) = folder.images
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (image.boxes, image.name, folder.notes) == ((CELL,), "a.png", ())
    assert image.read().width == 64


def test_an_image_known_to_have_no_cell_stays(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml")
    assert labelled_folder(tmp_path, tmp_path).images[0].boxes == ()


def test_what_has_no_partner_is_left_out_and_named(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    for seed, name in enumerate(("a", "b")):
        save_image(tmp_path / f"{name}.png", seed=seed)
    for name in ("a", "c"):
        save_voc(tmp_path / f"{name}.xml", [CELL])
    (tmp_path / "notes.txt").write_text("x")
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.png"]
    said = "\n".join(folder.notes)
    assert all(name in said for name in ("b.png", "c.xml", "notes.txt"))


def test_it_is_told_how_many_images_are_done_of_all(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    for seed, stem in enumerate("ab"):
        save_image(tmp_path / f"{stem}.png", seed=seed)
        save_voc(tmp_path / f"{stem}.xml", [CELL])
    told: list[tuple[int, int]] = []
    labelled_folder(tmp_path, tmp_path, on_progress=lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2)]


def test_of_two_images_of_one_stem_the_voc_file_says_which(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png", seed=1)
    save_image(tmp_path / "a.tif", seed=2)
    save_voc(tmp_path / "a.xml", [CELL], name="a.tif")
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.tif"]
    assert any("a.png, a.tif share" in note and "a.tif has it" in note for note in folder.notes)


def test_two_images_of_one_stem_are_left_out_when_the_voc_file_names_neither(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    for seed, name in enumerate(("a.png", "a.tif", "b.png")):
        save_image(tmp_path / name, seed=seed)
    save_voc(tmp_path / "a.xml", [CELL], name="other.bmp")
    save_voc(tmp_path / "b.xml", [CELL])
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["b.png"]
    assert any("which names other.bmp: none has it" in note for note in folder.notes)


def test_the_same_file_twice_counts_once(tmp_path: Path, save_image: Save, save_voc: Save) -> None:
    for name in ("a", "b"):
        save_image(tmp_path / f"{name}.png", seed=7)
        save_voc(tmp_path / f"{name}.xml", [CELL])
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.png"]
    assert folder.notes == ("b.png left out: it is the same file as a.png",)


def test_a_cell_boxed_twice_is_told_and_kept_but_not_learned_from(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml", [CELL, CELL])
    folder = labelled_folder(tmp_path, tmp_path)
    assert len(folder.images[0].boxes) == 2
    assert [len(image.boxes) for image in folder.guarded] == [1]
    assert "boxed twice" in folder.aside[0].words


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_noted_and_the_others_go_on(
    tmp_path: Path, save_image: Save, save_voc: Save, content: bytes
) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "bad.png").write_bytes(content)
    for name in ("a", "bad"):
        save_voc(tmp_path / f"{name}.xml", [CELL])
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.png"]
    assert folder.notes[0].startswith("bad.png left out: ")


def test_images_left_out_for_one_reason_are_named_first_and_together(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    for name in ("b", "c"):
        (tmp_path / f"{name}.png").write_bytes(b"not an image")
    for name in ("a", "b", "c", "lone"):
        save_voc(tmp_path / f"{name}.xml", [CELL])
    first, lone = labelled_folder(tmp_path, tmp_path).notes
    assert first.startswith("b.png, c.png left out: not a TIFF, PNG or JPEG")
    assert "lone.xml" in lone


def test_folders_that_may_hold_images_are_told_as_not_looked_into(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    for place in ("a.png", "plate1/a.png", "plate2.tif/run1/a.png", ".cache/a.png", "@eaDir/a.png"):
        save_image(tmp_path / place)
    save_voc(tmp_path / "voc" / "a.xml", [CELL])
    save_voc(tmp_path / "older voc" / "a.xml", [CELL])
    for place in ("papers", "voc/b.xml"):
        (tmp_path / place).mkdir()
    (tmp_path / "Thumbs.db").touch()
    folder = labelled_folder(tmp_path, tmp_path / "voc")
    assert folder.notes == (f"2 folders in {tmp_path} are not looked into: plate1, plate2.tif",)
    save_image(tmp_path / "voc" / "a.png")
    assert folder.notes == labelled_folder(tmp_path, tmp_path / "voc").notes


def test_links_that_lead_nowhere_end_no_command(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml", [CELL])
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "plate1").mkdir()
    # Refused like what lies in a folder that may be listed and not entered, but to root as well.
    for place in (tmp_path / "odd", tmp_path / "plate1" / "odd"):
        place.symlink_to("x" * 300)
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.png"]
    assert folder.notes == (f"1 folder in {tmp_path} is not looked into: plate1",)


def test_classes_are_renamed(tmp_path: Path, save_image: Save, save_voc: Save) -> None:
    save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml", [CELL])
    folder = labelled_folder(tmp_path, tmp_path, Notation({"N": "Nucleus"}))
    assert folder.classes == ("Nucleus",)


def test_an_unknown_class_names_those_found_and_those_known(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml", [CELL, Box(30, 30, 40, 40, "Dust")])
    drawn = labelled_folder(tmp_path, tmp_path).classes
    with pytest.raises(BadRequest) as told:
        check_classes(drawn, ["Nucleus"], "v1", or_else="rest")
    assert str(told.value) == (
        "Unknown classes Dust, N: known to v1 are Nucleus. Name a known class for each with "
        "--map Dust=Nucleus --map N=Nucleus, or rest."
    )


def test_an_unknown_class_is_mapped_to_the_known_one_that_differs_in_case_alone() -> None:
    with pytest.raises(BadRequest, match="--map Dust=CLASS --map 'red cell=RedCell'"):
        check_classes(["Dust", "red cell"], ["WBC", "RedCell"], "v1")


def test_classes_that_differ_in_case_or_blanks_alone_are_told_with_the_map_that_joins_them(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    labels = ("RBC", "RBC", "rbc", "R bc", "WBC")
    boxes = [Box(x, 9 * x, x + 9, 9 * x + 8, label) for x, label in enumerate(labels)]
    save_voc(tmp_path / "a.xml", boxes)
    assert labelled_folder(tmp_path, tmp_path).notes == (
        "classes RBC, R bc, rbc differ in case or blanks alone: 3 classes, unless joined with "
        "--map 'R bc=RBC' --map rbc=RBC",
    )
    joined = labelled_folder(tmp_path, tmp_path, Notation({"R bc": "RBC", "rbc": "RBC"}))
    assert (joined.notes, joined.classes) == ((), ("RBC", "WBC"))


def test_a_map_of_a_class_that_no_annotation_has_is_told(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml", [CELL])
    folder = labelled_folder(tmp_path, tmp_path, Notation({"zell": "RBC", "N": "Nucleus"}))
    assert folder.notes == ("--map zell=RBC renames nothing: the annotations have N",)


def test_images_that_are_taught_as_without_cells_are_named(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    for seed, stem in enumerate("abcd"):
        save_image(tmp_path / f"{stem}.png", seed=seed)
        save_voc(tmp_path / f"{stem}.xml", [CELL] if stem == "a" else [])
    (tmp_path / "d.xml").write_text("<annotation><obj><bndbox/></obj></annotation>")
    lost, empty, odd = labelled_folder(tmp_path, tmp_path).notes
    assert lost == "d.png left out: none of its boxes can be used"
    assert empty == "2 images without a box, taken as without cells: b.png, c.png"
    assert odd.startswith("d.xml: has no <object> but <obj>")


@pytest.mark.parametrize("cells", [[], [CELL]])
def test_an_annotation_of_another_size_is_told_once_by_its_reason(
    tmp_path: Path, save_image: Save, cells: list[Box]
) -> None:
    for seed, stem in enumerate("ab"):
        save_image(tmp_path / f"{stem}.png", seed=seed)
        write_voc(tmp_path / f"{stem}.xml", f"{stem}.png", 64 << seed, 48 << seed, 1, cells)
    told = [note for note in labelled_folder(tmp_path, tmp_path).notes if "b." in note]
    assert told == [
        "b.png left out: its annotation says 128×96 px, but the image has 64×48: give the image "
        "that it is of, or take the size out if it fits"
    ]


def test_of_the_same_file_twice_the_other_boxes_are_told(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    for name in ("a", "b"):
        save_image(tmp_path / f"{name}.png", seed=7)
        save_voc(tmp_path / f"{name}.xml", [CELL] if name == "a" else [])
    assert labelled_folder(tmp_path, tmp_path).notes == (
        "b.png left out: it is the same file as a.png, which has other boxes: look which are right",
    )


def test_a_picture_that_cytoloop_drew_is_no_image_of_its_folder(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    drawn = save_image(tmp_path / "groups.png")
    write_picture(drawn, drawn.read_bytes())
    with Image.open(drawn) as picture:
        assert picture.text["Software"] == "Cytoloop"
        picture.load()
    with pytest.raises(BadRequest, match=r"holds no image(.|\n)*groups\.png left out: a picture"):
        labelled_folder(tmp_path, tmp_path)
    save_image(tmp_path / "a.png")
    for stem in ("a", "groups"):
        save_voc(tmp_path / f"{stem}.xml", [CELL])
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.png"]
    assert folder.notes[0] == "groups.png left out: a picture that Cytoloop drew"


def test_a_link_that_leads_nowhere_is_an_image_that_cannot_be_read(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "lost.tif").symlink_to("nowhere.tif")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for stem in ("a", "lost", "loop"):
        save_voc(tmp_path / f"{stem}.xml", [CELL])
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.png"]
    assert [note.partition(" left out: ")[0] for note in folder.notes] == ["loop.png", "lost.tif"]


def test_a_voc_file_that_names_another_image_is_noted(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml", [CELL], name="b.png")
    assert "names b.png" in labelled_folder(tmp_path, tmp_path).notes[0]


def test_an_empty_or_missing_folder_is_refused(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    with pytest.raises(BadRequest, match="holds no image"):
        labelled_folder(tmp_path, tmp_path)
    with pytest.raises(BadRequest, match="is not there"):
        labelled_folder(tmp_path / "nowhere", tmp_path)
    save_image(tmp_path / "a.png")
    with pytest.raises(BadRequest, match="holds no Pascal VOC file"):
        labelled_folder(tmp_path, tmp_path)
    save_voc(tmp_path / "b.xml", [CELL])
    with pytest.raises(BadRequest, match=r"No image of(.|\n)*a\.png"):
        labelled_folder(tmp_path, tmp_path)


def test_all_annotations_that_are_broken_are_named_at_once(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    for seed, stem in enumerate("abcd"):
        save_image(tmp_path / f"{stem}.png", seed=seed)
        save_voc(tmp_path / f"{stem}.xml", [CELL])
    (tmp_path / "lone.xml").write_text("<annotation>")
    (tmp_path / "b.xml").write_text("<annotation><object>")
    with pytest.raises(BadRequest, match=r"^[^\n]*b\.xml[^\n]*$"):
        labelled_folder(tmp_path, tmp_path)
    (tmp_path / "d.xml").write_text("<html/>")
    with pytest.raises(BadRequest) as told:
        labelled_folder(tmp_path, tmp_path)
    first, *named = str(told.value).splitlines()
    assert first == "2 annotations cannot be read:"
    assert [re.findall(r"\w+\.xml", line) for line in named] == [["b.xml"], ["d.xml"]]


def test_a_broken_annotation_that_would_be_left_out_does_no_harm(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    for seed, stem in enumerate("ab"):
        save_image(tmp_path / f"{stem}.png", seed=seed)
        save_voc(tmp_path / f"{stem}.xml", [CELL])
    (tmp_path / "b.XML").write_text("<annotation><object>")
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.png"]
    assert any("b.XML, b.xml" in note for note in folder.notes)


def test_of_many_broken_annotations_the_first_are_named(tmp_path: Path, save_image: Save) -> None:
    for number in range(23):
        save_image(tmp_path / f"{number:02}.png", seed=number)
        (tmp_path / f"{number:02}.xml").write_text("")
    with pytest.raises(BadRequest) as told:
        labelled_folder(tmp_path, tmp_path)
    lines = str(told.value).splitlines()
    assert lines[0] == "23 annotations cannot be read:"
    assert "00.xml" in lines[1]
    assert (len(lines), lines[-1]) == (22, "  and 3 more")


@pytest.mark.parametrize("table", [True, False])
def test_an_umlaut_pairs_whichever_way_a_system_writes_it(
    tmp_path: Path, save_image: Save, save_voc: Save, table: bool
) -> None:
    mac, other = (unicodedata.normalize(form, "Zellen_ä") for form in ("NFD", "NFC"))
    image = save_image(tmp_path / "images" / f"{mac}.png")
    save_image(tmp_path / "images" / f"{mac}.tif", seed=1)
    truth = save_voc(tmp_path / "voc" / f"{other}.xml", [CELL]).parent
    if table:
        truth = tmp_path / "boxes.csv"
        truth.write_text(f"{other}.png,4,5,20,25,N\n", encoding="utf-8")
    folder = labelled_folder(tmp_path / "images", truth)
    assert [(read.path, len(read.boxes)) for read in folder.images] == [(image, 1)]
    assert not any("as its image" in note for note in folder.notes)


def test_files_whose_names_are_no_utf8_are_left_out_and_told_to_be_renamed(
    tmp_path: Path, save_image: Save, save_voc: Save
) -> None:
    save_image(tmp_path / "a.png")
    save_voc(tmp_path / "a.xml", [CELL])
    for suffix in (".png", ".xml", ".txt"):
        shutil.copy(tmp_path / "a.png", tmp_path / os.fsdecode(b"Pr\xfcfung" + suffix.encode()))
    folder = labelled_folder(tmp_path, tmp_path)
    assert [image.name for image in folder.images] == ["a.png"]
    assert folder.notes == (
        r"Pr\xfcfung.png left out: its name is no UTF-8: rename it",
        r"Pr\xfcfung.xml left out: its name is no UTF-8: rename it",
        r"1 other file left out: Pr\xfcfung.txt",
    )
    assert folder.unusable == 0


def test_lines_of_boxes_are_read_from_a_file_of_any_name(tmp_path: Path, save_image: Save) -> None:
    save_image(tmp_path / "images" / "a.png")
    (tmp_path / "annotate.txt").write_text("a.png,4,5,20,25,N\n")
    folder = labelled_folder(tmp_path / "images", tmp_path / "annotate.txt")
    assert folder.images[0].boxes == (CELL,)
    for name, said in (("a.xml", "is no folder"), ("b.csv", "is not there; give a CSV file")):
        (tmp_path / "a.xml").touch()
        with pytest.raises(BadRequest, match=said):
            labelled_folder(tmp_path / "images", tmp_path / name)
