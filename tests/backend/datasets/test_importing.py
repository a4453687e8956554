from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from backend.datasets import importing
from backend.datasets.drawn import Notation
from backend.datasets.importing import import_folder
from backend.errors import BadRequest, LabelStudioError
from backend.labelstudio.results import to_boxes
from backend.services import Services
from backend.signing import matched_path
from model.boxes import Box
from preprocessing.errors import UnreadableImage
from preprocessing.images import encode_png

Save = Callable[..., Path]
CELL = Box(4, 5, 20, 25, "Cell")


@pytest.fixture
def folder(tmp_path: Path, save_image: Save) -> Path:
    for seed, name in enumerate(("a.png", "b.jpg", "c.tif")):
        save_image(tmp_path / "in" / name, seed=seed)
    return tmp_path / "in"


def test_the_raw_file_is_kept_and_a_png_of_equal_size_is_shown(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    done = import_folder(services, project, folder)
    assert (done.tasks, done.known, done.annotated, done.notes) == (3, 0, 0, [])
    for stored, name in zip(services.images.all(project), ("a.png", "b.jpg", "c.tif"), strict=True):
        raw = services.images.path(stored.sha256)
        assert raw.read_bytes() == (folder / name).read_bytes()
        assert stored.task is not None
        assert label_studio.listed_task(project, stored.task)["data"]["sha256"] == stored.sha256
        with Image.open(io.BytesIO(label_studio.shown[stored.task])) as shown:
            assert (shown.format, shown.size, shown.mode) == ("PNG", (64, 48), "L")


def test_an_image_with_colours_is_shown_in_them(
    services: Services, label_studio: Any, project: int, tmp_path: Path
) -> None:
    stain = np.random.default_rng(0).integers(90, 200, (48, 64, 3), dtype=np.uint8)
    (tmp_path / "stain.png").write_bytes(encode_png(stain))
    import_folder(services, project, tmp_path)
    (stored,) = services.images.all(project)
    assert stored.task is not None
    with Image.open(io.BytesIO(label_studio.shown[stored.task])) as shown:
        assert (shown.mode, shown.size) == ("RGB", (64, 48))
        assert np.corrcoef(np.asarray(shown).reshape(-1), stain.reshape(-1))[0, 1] > 0.99


def test_an_image_whose_colours_find_no_memory_is_told_and_the_others_come_in(
    services: Services,
    label_studio: Any,
    project: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = importing.read_display

    def fail(data: bytes, page: int) -> Any:
        if data == (folder / "b.jpg").read_bytes():
            raise UnreadableImage("the memory is full; end other programs.")
        return shown(data, page)

    monkeypatch.setattr(importing, "read_display", fail)
    done = import_folder(services, project, folder)
    assert (done.tasks, done.unreadable) == (2, ["b.jpg"])
    assert done.notes == ["b.jpg left out: the memory is full; end other programs."]
    monkeypatch.setattr(importing, "read_display", shown)
    assert import_folder(services, project, folder).tasks == 1
    assert len(label_studio.shown) == 3


def test_each_task_carries_the_address_of_its_matched_image(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    import_folder(services, project, folder)
    addresses = [task["data"]["matched"] for task in label_studio.tasks(project)]
    assert len(set(addresses)) == 3
    for stored, address in zip(services.images.all(project), addresses, strict=True):
        assert address.startswith(f"{services.settings.browser_address}/images/{project}/")
        secret = services.credentials.webhook_secret
        assert address.endswith(matched_path(secret, project, stored.sha256, 0))


def test_voc_boxes_become_annotations_here_and_there(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    xml = save_voc(folder.parent / "voc" / "c.xml", [CELL], name="c.tif").parent
    save_voc(xml / "z.xml", [CELL])
    done = import_folder(services, project, folder, xml)
    assert (done.tasks, done.annotated) == (3, 1)
    assert done.notes == ["annotations without an image left out: z.xml"]
    (annotation,) = services.annotations.corrected(project)
    boxes, _ = to_boxes(annotation.result, 64, 48)
    assert boxes == [CELL]
    assert label_studio.listed_task(project, annotation.task)["data"]["name"] == "c.tif"


@pytest.mark.parametrize("page", [None, "", "z07"])
def test_a_task_whose_page_is_none_shows_the_first(
    services: Services, label_studio: Any, project: int, folder: Path, page: Any
) -> None:
    import_folder(services, project, folder)
    for task in label_studio.tasks(project):
        task["data"]["page"] = page
    done = import_folder(services, project, folder)
    assert (done.tasks, done.known) == (0, 3)


def test_a_second_import_brings_nothing_twice(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    xml = save_voc(folder.parent / "voc" / "a.xml", [CELL]).parent
    import_folder(services, project, folder, xml)
    again = import_folder(services, project, folder, xml)
    assert (again.tasks, again.known, again.annotated) == (0, 3, 0)
    assert len(label_studio.kept) == len(services.images.all(project)) == 3
    assert services.annotations.corrected_count(project) == 1


def test_a_task_that_was_skipped_alone_gets_the_boxes_of_its_annotation(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    import_folder(services, project, folder)
    skipped = {"id": 7, "result": [], "was_cancelled": True}
    moment = "2026-11-24T15:00:00Z"
    label_studio.kept[1]["annotations"].append(
        {**skipped, "created_at": moment, "updated_at": moment}
    )
    xml = save_voc(folder.parent / "voc" / "a.xml", [CELL]).parent
    done = import_folder(services, project, folder, xml)
    assert (done.annotated, done.notes) == (1, [])
    (annotation,) = services.annotations.corrected(project)
    assert (annotation.task, len(annotation.result)) == (1, 1)


def test_the_class_of_a_box_that_is_one_pixel_wide_is_checked_before_anything_comes_in(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    table = folder.parent / "boxes.csv"
    table.write_text("a.png,4,5,20,25,Cell\nb.jpg,4,5,4,25,Dust\n")
    with pytest.raises(BadRequest, match="Unknown class Dust"):
        import_folder(services, project, folder, table, Notation(one_based=True))
    assert not label_studio.kept


def test_of_files_with_the_same_bytes_one_is_counted_and_the_other_told_at_every_import(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    told = ["counted once, under the name that the same image has already: d.png as a.png"]
    done = import_folder(services, project, folder)
    assert (done.tasks, done.known, done.doubled, done.notes) == (3, 0, 1, told)
    again = import_folder(services, project, folder)
    assert (again.tasks, again.known, again.doubled, again.notes) == (0, 3, 1, told)
    assert [image.name for image in services.images.all(project)] == ["a.png", "b.jpg", "c.tif"]


def test_an_image_that_came_under_another_name_is_told_to_keep_that(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    import_folder(services, project, folder)
    (folder / "c.tif").rename(folder / "0.tif")
    done = import_folder(services, project, folder)
    told = ["counted once, under the name that the same image has already: 0.tif as c.tif"]
    assert (done.known, done.doubled, done.notes) == (3, 0, told)


def test_a_file_that_cannot_be_read_is_told_before_the_many_that_were_renamed(
    services: Services, label_studio: Any, project: int, tmp_path: Path, save_image: Save
) -> None:
    folder = tmp_path / "in"
    files = [save_image(folder / f"{seed}.png", seed=seed) for seed in range(7)]
    import_folder(services, project, folder)
    for path in files:
        path.rename(path.with_name(f"plate {path.name}"))
    (folder / "well.png").write_bytes(b"broken")
    unreadable, renamed = import_folder(services, project, folder).notes
    assert unreadable.startswith("well.png left out: ")
    assert renamed.endswith(
        ": plate 0.png as 0.png, plate 1.png as 1.png, plate 2.png as 2.png, "
        "plate 3.png as 3.png, plate 4.png as 4.png and 2 more"
    )


def test_of_two_imports_at_a_time_the_second_waits_says_so_and_brings_nothing_twice(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    begun, waits = Event(), Event()

    def hold(number: int, total: int, name: str) -> None:
        begun.set()
        assert waits.wait(10)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(import_folder, services, project, folder, on_progress=hold)
        assert begun.wait(10)
        second = import_folder(services, project, folder, on_wait=waits.set)
        done = first.result()
    assert ((done.tasks, done.known), (second.tasks, second.known)) == ((3, 0), (0, 3))
    assert len(label_studio.kept) == 3


def test_an_interrupted_import_is_finished_by_the_next(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    for name in ("a", "b", "c"):
        save_voc(folder.parent / "voc" / f"{name}.xml", [CELL])

    def stop(number: int, total: int, name: str) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_folder(services, project, folder, folder.parent / "voc", on_progress=stop)
    label_studio.kept[2]["annotations"].clear()  # stopped between the task and its annotation
    done = import_folder(services, project, folder, folder.parent / "voc")
    assert (done.tasks, done.known, done.annotated) == (1, 2, 2)
    assert all(len(task["annotations"]) == 1 for task in label_studio.kept.values())


def test_a_task_made_before_it_was_noted_is_taken_not_made_again(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    import_folder(services, project, folder)
    other = services.projects.ensure(2, "proj2", services.projects.get(project).label_config)
    done = import_folder(services, other.id, folder)  # the same tasks, another store
    assert (done.tasks, done.known) == (0, 3)
    assert [image.task for image in services.images.all(other.id)] == [1, 2, 3]


def test_a_task_that_the_list_left_out_is_taken_not_made_again(
    services: Services,
    label_studio: Any,
    project: int,
    folder: Path,
    save_voc: Save,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    xml = save_voc(folder.parent / "voc" / "c.xml", [CELL], name="c.tif").parent
    import_folder(services, project, folder, xml)
    del label_studio.kept[1]
    # Deleted while the list was read: the third moved up to the page that was read.
    monkeypatch.setattr(label_studio, "tasks", lambda project: [label_studio.kept[2]])
    done = import_folder(services, project, folder, xml)
    assert (done.tasks, done.known, done.annotated) == (1, 2, 0)
    assert "c.xml not used: its image is annotated already" in done.notes


@pytest.mark.parametrize("other", [{"data": {"sha256": "0" * 64}}, {"project": 77}])
def test_a_task_of_another_image_or_project_under_the_number_that_is_known_is_not_taken(
    services: Services, label_studio: Any, project: int, folder: Path, other: dict[str, Any]
) -> None:
    import_folder(services, project, folder)
    label_studio.kept = {id: task | other for id, task in label_studio.kept.items()}
    label_studio.tasks = lambda project: []
    assert import_folder(services, project, folder).tasks == 3


def test_a_corrupt_file_is_named_and_the_others_come_in(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    (folder / "bad.tif").write_bytes(b"II*\x00nothing")
    (folder / "empty.png").write_bytes(b"")
    done = import_folder(services, project, folder)
    assert (done.tasks, done.unreadable) == (3, ["bad.tif", "empty.png"])
    damaged, empty = done.notes
    assert damaged == "bad.tif left out: the file ends before its pixels do; copy it again."
    assert empty == "empty.png left out: the file is empty (0 bytes); copy it again."


@pytest.mark.parametrize(("pages", "tasks"), [("first", 1), ("all", 3)])
def test_a_stack_gives_its_first_page_or_a_task_for_each(
    services: Services, label_studio: Any, project: int, tmp_path: Path, pages: Any, tasks: int
) -> None:
    stack = np.random.default_rng(0).integers(0, 4000, (3, 20, 30), np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "s.tif", stack, photometric="minisblack")
    done = import_folder(services, project, tmp_path / "in", pages=pages)
    names = ["s.tif", "s-page2.tif", "s-page3.tif"][:tasks]
    assert [image.name for image in services.images.all(project)] == names
    assert [image.page for image in services.images.all(project)] == list(range(tasks))
    told = "s.tif has 3 pages: the first was taken (cytoloop import DIR --pages all takes each)"
    assert done.notes == ([told] if pages == "first" else [])


def test_an_unknown_class_stops_the_import_before_anything_is_done(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    xml = save_voc(folder.parent / "voc" / "a.xml", [Box(1, 1, 9, 9, "N")]).parent
    ways = "--map N=CLASS, or let .* --classes from-annotations"
    with pytest.raises(
        BadRequest, match=f"Unknown class N.*known to the project are Cell, Debris.*{ways}"
    ):
        import_folder(services, project, folder, xml)
    assert label_studio.kept == {}
    done = import_folder(services, project, folder, xml, Notation({"N": "Cell"}))
    assert done.annotated == 1


def test_the_project_can_take_its_classes_from_the_annotations(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    xml = save_voc(folder.parent / "voc" / "a.xml", [Box(1, 1, 9, 9, "RBC")]).parent
    import_folder(services, project, folder, xml, classes_from_annotations=True)
    assert services.projects.get(project).classes == ("RBC",)
    assert "RBC" in label_studio.label_config
    (xml / "a.xml").unlink()
    save_voc(xml / "b.xml", [Box(1, 1, 9, 9, "WBC")], name="b.jpg")
    import_folder(services, project, folder, xml, classes_from_annotations=True)
    assert services.projects.get(project).classes == ("RBC", "WBC")


def test_classes_that_differ_in_case_and_names_that_no_box_has_are_told(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    boxes = [Box(1, 1, 9, 9, "Debris"), Box(20, 20, 40, 40, "Debris"), Box(50, 1, 60, 9, "debris")]
    xml = save_voc(folder.parent / "voc" / "a.xml", boxes).parent
    done = import_folder(
        services, project, folder, xml, Notation({"N": "Cell"}), classes_from_annotations=True
    )
    unused, alike = done.notes
    assert unused == "--map N=Cell renames nothing: the annotations have Debris, debris"
    assert "Debris, debris differ in case or blanks alone" in alike


def test_a_project_that_cannot_show_imported_images_keeps_its_classes(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    shows_pic = services.projects.get(project).label_config.replace("$image", "$pic")
    services.projects.ensure(project, "proj1", shows_pic)
    xml = save_voc(folder.parent / "voc" / "a.xml", [Box(1, 1, 9, 9, "RBC")]).parent
    with pytest.raises(BadRequest, match=r'shows "\$pic".*write value="\$image"'):
        import_folder(services, project, folder, xml, classes_from_annotations=True)
    assert label_studio.label_config == ""
    assert services.projects.get(project).label_config == shows_pic


def test_label_studio_away_is_told_and_nothing_is_noted_as_imported(
    services: Services, project: int, folder: Path
) -> None:
    with pytest.raises(LabelStudioError):
        import_folder(services, project, folder)
    assert services.images.all(project) == []


def test_boxes_of_which_none_can_be_used_are_no_image_without_cells(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    table = folder.parent / "boxes.csv"
    table.write_text("filename,class,xmin,ymin,xmax,ymax\na.png,Cell,500,500,520,525\n")
    done = import_folder(services, project, folder, table)
    assert done.annotated == 0
    assert any("a.png: none of its boxes" in note for note in done.notes)
    assert services.annotations.corrected_count(project) == 0


def test_the_task_of_an_annotation_of_another_size_stays_open_and_is_told_once(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    table = folder.parent / "boxes.csv"
    table.write_text("filename,width,height,class,xmin,ymin,xmax,ymax\na.png,9,8,Cell,1,2,3,4\n")
    done = import_folder(services, project, folder, table)
    assert done.annotated == 0
    (note,) = (note for note in done.notes if "a.png" in note)
    assert note.startswith("a.png: its annotation says 9×8 px, but the image has")
    assert note.endswith("; its task stays open")


def test_an_annotation_of_a_task_that_is_annotated_already_is_told(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    voc = save_voc(folder.parent / "voc" / "a.xml", [CELL]).parent
    import_folder(services, project, folder, voc)
    again = import_folder(services, project, folder, voc)
    assert again.annotated == 0
    assert "a.xml not used: its image is annotated already" in again.notes


def test_an_annotation_of_an_image_is_not_used_if_any_of_its_tasks_is_annotated(
    services: Services, label_studio: Any, project: int, folder: Path, save_voc: Save
) -> None:
    voc = save_voc(folder.parent / "voc" / "a.xml", [CELL]).parent
    import_folder(services, project, folder, voc)
    for copy in (0, 8):
        label_studio.kept[copy] = {**label_studio.kept[1], "id": copy, "annotations": []}
    label_studio.kept = dict(sorted(label_studio.kept.items()))
    again = import_folder(services, project, folder, voc)
    assert again.annotated == 0
    assert "a.xml not used: its image is annotated already" in again.notes


def test_a_file_whose_name_is_no_utf8_is_told_and_the_others_come_in(
    services: Services, label_studio: Any, project: int, folder: Path
) -> None:
    (folder / "a.png").rename(folder / os.fsdecode(b"Pr\xfcfung.png"))
    (folder / "c.tif").rename(folder / os.fsdecode(b"Notiz \xfc.txt"))
    done = import_folder(services, project, folder)
    assert (done.tasks, done.unreadable) == (1, [])
    assert done.notes == [
        r"Pr\xfcfung.png left out: its name is no UTF-8: rename it",
        r"1 other file left out: Notiz \xfc.txt",
    ]


def test_of_a_stack_with_a_damaged_page_the_others_come_in_and_the_page_is_named(
    services: Services, label_studio: Any, project: int, tmp_path: Path
) -> None:
    levels = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
    path = tmp_path / "in" / "s.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, levels, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as stack:
        where, length = stack.pages[1].dataoffsets[0], stack.pages[1].databytecounts[0]
    content = path.read_bytes()
    path.write_bytes(content[:where] + bytes(length) + content[where + length :])
    done = import_folder(services, project, path.parent, pages="all")
    assert (done.tasks, done.unreadable) == (2, ["s-page2.tif"])
    assert [image.name for image in services.images.all(project)] == ["s.tif", "s-page3.tif"]
    (note,) = done.notes
    assert note.startswith("page 2 of s.tif left out, the pages that can be read taken: ")


def test_a_file_that_cannot_be_read_is_told_and_the_others_come_in(
    services: Services,
    label_studio: Any,
    project: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = Path.read_bytes

    def from_a_share(path: Path) -> bytes:  # that drops out
        if path.name == "b.jpg":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", from_a_share)

    done = import_folder(services, project, folder)

    assert (done.tasks, done.unreadable) == (2, ["b.jpg"])
    assert "b.jpg left out: it cannot be read (Input/output error)" in done.notes[0]
