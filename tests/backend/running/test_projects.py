"""Which projects a start opens, of those that Label Studio has and of those that it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.errors import BadLabelConfig, BadRequest, BadSetting, LabelStudioError
from backend.running.attach import make_project
from backend.running.errors import ServiceFailed
from backend.running.folders import FOLDERS_FILE, known_folders
from backend.running.loop import run_loop
from backend.running.projects import DEMO_TITLE, open_projects
from backend.running.terminal import Terminal
from backend.services import Services
from backend.settings import Settings
from backend.store.tables import metadata
from tests.backend.conftest import LABEL_CONFIG, no_room

#: Nobody can draw boxes with it.
POLYGONS = LABEL_CONFIG.replace("RectangleLabels", "PolygonLabels")


class Studio:
    """Stands where Label Studio would, and keeps what projects it is given."""

    def __init__(self) -> None:
        self.known: dict[int, dict[str, Any]] = {}
        self.made = 0
        self.imported: list[dict[str, Any]] = []

    def create_project(self, title: str, label_config: str, **settings: Any) -> int:
        id = self.made = self.made + 1
        self.known[id] = {"id": id, "title": title, "label_config": label_config, **settings}
        return id

    def projects(self) -> list[dict[str, Any]]:
        return list(self.known.values())

    def project(self, id: int) -> dict[str, Any]:
        return self.known[id]

    def patch_project(self, id: int, **fields: Any) -> None:
        self.known[id] |= fields

    def connect_backend(self, project: int, *rest: str) -> None:
        if self.known[project]["title"] == "unreachable":
            raise LabelStudioError("Label Studio answered 400: it cannot reach Cytoloop")

    def secure_webhooks(self, *rest: Any) -> None:
        pass

    def import_task(self, project: int, png: bytes, name: str, data: dict[str, Any]) -> int:
        id = len(self.imported) + 1
        self.imported.append({"id": id, "project": project, "data": data, "annotations": []})
        return id

    def tasks(self, project: int) -> list[dict[str, Any]]:
        return [task for task in self.imported if task["project"] == project]

    @property
    def titles(self) -> list[str]:
        return [project["title"] for project in self.known.values()]


@pytest.fixture
def studio(services: Services, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A Label Studio without a project, and a demo of one image."""

    def write_demo(folder: Path) -> Path:
        images = folder / "images"
        images.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((48, 64), np.uint8)).save(images / "field.png")
        return images

    monkeypatch.setattr("backend.running.projects.write_demo", write_demo)
    made = services.__dict__["label_studio"] = Studio()
    return made


def opened(services: Services, images: Path | None = None) -> list[int]:
    return [project.id for project in open_projects(services, images, Terminal())]


def own_project(services: Services, studio: Studio, title: str = "Mine") -> int:
    id = studio.create_project(title, LABEL_CONFIG)
    return services.projects.ensure(id, title, LABEL_CONFIG).id


def folder_of(folder: Path, levels: Iterable[int]) -> Path:
    """Write a small image of each grey level."""
    folder.mkdir()
    for level in levels:
        Image.fromarray(np.full((48, 64), level, np.uint8)).save(folder / f"{level}.png")
    return folder


def folder_of_one(folder: Path) -> Path:
    folder.mkdir()
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(folder / "field.png")
    return folder


def test_the_first_start_makes_the_demo_and_the_next_finds_it(
    services: Services, studio: Studio
) -> None:
    assert opened(services) == opened(services) == [1]
    assert (studio.titles, len(studio.imported)) == ([DEMO_TITLE], 1)


def test_a_demo_that_was_deleted_does_not_come_back_beside_another_project(
    services: Services, studio: Studio
) -> None:
    opened(services)
    mine = own_project(services, studio)
    del studio.known[1]
    assert opened(services) == [mine]
    assert studio.titles == ["Mine"]


def test_where_no_other_project_is_left_the_demo_is_made_again(
    services: Services, studio: Studio
) -> None:
    opened(services)
    del studio.known[1]
    opened(services)
    assert studio.titles == [DEMO_TITLE]


def test_tasks_come_by_chance_until_the_lab_chooses_another_order(
    services: Services, studio: Studio
) -> None:
    opened(services)
    assert studio.known[1]["sampling"] == "Uniform sampling"
    studio.patch_project(1, sampling="Uncertainty sampling", show_collab_predictions=False)
    opened(services)
    assert studio.known[1]["sampling"] == "Uncertainty sampling"
    assert studio.known[1]["show_collab_predictions"]


@pytest.mark.parametrize(
    ("title", "label_config", "said"),
    [("drawn", POLYGONS, "RectangleLabels"), ("unreachable", LABEL_CONFIG, "answered 400")],
)
def test_a_project_that_cannot_be_attached_is_said_and_stops_nothing(
    services: Services,
    studio: Studio,
    capsys: pytest.CaptureFixture[str],
    title: str,
    label_config: str,
    said: str,
) -> None:
    odd, mine = own_project(services, studio, title), own_project(services, studio)
    studio.known[odd]["label_config"] = label_config
    assert opened(services) == [mine]
    told = capsys.readouterr().out
    assert said in told
    assert title in told


def test_where_no_project_can_be_attached_no_demo_is_made(
    services: Services, studio: Studio
) -> None:
    odd = own_project(services, studio)
    studio.known[odd]["label_config"] = POLYGONS
    assert opened(services) == []
    assert studio.titles == ["Mine"]


def test_a_folder_without_images_is_told_before_anything_starts(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(BadRequest, match="holds no image"):
        run_loop(settings, tmp_path)
    assert not settings.home.exists()


def test_a_project_that_could_not_be_attached_is_that_of_its_folder_at_the_next_start(
    services: Services, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of_one(tmp_path / "unreachable")
    assert opened(services, folder) == []
    assert f"! {folder}: Label Studio answered 400" in capsys.readouterr().out
    studio.known[1]["title"] = "reachable"
    assert opened(services, folder) == [1]


def test_a_label_config_that_is_not_there_is_said_and_stops_nothing(
    services: Services, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = own_project(services, studio)
    nowhere = services.settings.model_copy(update={"label_config": tmp_path / "no.xml"})
    own = replace(services, settings=nowhere)
    own.__dict__["label_studio"] = studio
    folder = folder_of_one(tmp_path / "plates")
    assert opened(own, folder) == [mine]
    told = capsys.readouterr().out
    assert f"! {folder}: " in told
    assert "no.xml" in told


def test_a_database_without_room_is_said_and_stops_nothing(
    services: Services, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = own_project(services, studio)
    folder = folder_of_one(tmp_path / "plates")
    with no_room():
        assert opened(services, folder) == [mine]
    told = capsys.readouterr().out
    assert "The database cannot be read or written" in told


def test_services_are_looked_after_at_each_image_and_their_end_ends_the_start(
    services: Services, studio: Studio, tmp_path: Path
) -> None:
    looks: list[int] = []
    folder = folder_of(tmp_path / "plates", range(3))
    open_projects(services, folder, Terminal(), lambda: looks.append(len(studio.imported)))
    assert looks == [0, 1, 2]

    def give_up() -> None:
        raise ServiceFailed("Worker died 6 times.")

    with pytest.raises(ServiceFailed):
        open_projects(services, folder, Terminal(), give_up)


def test_a_project_that_no_image_can_be_brought_into_is_said_and_stays_attached(
    services: Services, studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(services)
    studio.known[1]["label_config"] = LABEL_CONFIG.replace("$image", "$matched")
    assert opened(services) == [1]
    assert 'write value="$image" in its <Image>' in capsys.readouterr().out


@pytest.mark.parametrize("of_folder", [False, True])
def test_projects_of_folders_that_a_lost_store_lacks_are_attached_again(
    services: Services, studio: Studio, tmp_path: Path, of_folder: bool
) -> None:
    folder = folder_of_one(tmp_path / "plates") if of_folder else None
    opened(services, folder)
    with services.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    for _ in range(2):
        assert opened(services) == [1]
    assert [project.id for project in services.projects.all()] == [1]
    assert len(studio.titles) == len(studio.imported) == 1


@pytest.mark.parametrize("kept", ["{", "[1]", '{"/plates": "one"}', "\xff"])
def test_folders_that_cannot_be_read_are_told_with_their_file(tmp_path: Path, kept: str) -> None:
    (tmp_path / FOLDERS_FILE).write_text(kept, "latin-1")
    with pytest.raises(BadSetting, match=rf"{FOLDERS_FILE} cannot be read .*: delete it"):
        known_folders(tmp_path)


def test_labels_that_are_no_utf_8_are_told_with_their_file(
    services: Services, studio: Studio, tmp_path: Path
) -> None:
    file = tmp_path / "labels.xml"
    file.write_text(LABEL_CONFIG.replace("Debris", "Trümmer"), "latin-1")
    other = replace(services, settings=services.settings.model_copy(update={"label_config": file}))
    with pytest.raises(BadLabelConfig, match=r"labels\.xml cannot be read .*: save it as UTF-8"):
        make_project(other, "cells")


def test_a_folder_that_was_moved_goes_on_with_its_project(
    services: Services, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    former = folder_of(tmp_path / "plates", range(20))
    opened(services, former)
    moved = former.rename(tmp_path / "2026")
    (moved / "0.png").unlink()
    Image.fromarray(np.full((48, 64), 99, np.uint8)).save(moved / "99.png")
    capsys.readouterr()
    for said in (True, False):
        assert opened(services, moved) == [1]
        goes_on = f"Project 1 (plates) has 19 of the 20 images of {moved}, and its own folder"
        assert (goes_on in capsys.readouterr().out) is said
    assert (studio.titles, len(studio.imported)) == (["plates"], 21)
    opened(services, folder_of(former, range(200, 203)))
    assert len(studio.titles) == 2, "new images at the former place are another project's"


def test_a_folder_that_was_away_is_its_projects_again_whatever_was_given_meanwhile(
    services: Services, studio: Studio, tmp_path: Path
) -> None:
    disk = folder_of(tmp_path / "disk", range(10))
    opened(services, disk)
    away = disk.rename(tmp_path / "unplugged")
    copy = folder_of(tmp_path / "copy", range(10))
    assert opened(services, copy) == [1]
    selection = folder_of(tmp_path / "selection", [*range(6), *range(20, 24)])
    assert opened(services, selection) == [1, 2]
    folder_of(away / "new", range(30, 50))
    for new in (away / "new").iterdir():
        new.rename(away / new.name)
    assert opened(services, away.rename(disk)) == [1, 2]
    assert opened(services, copy) == [1, 2]
    assert studio.titles == ["disk", "selection"]
    assert len(studio.tasks(1)) == 30


def test_a_selection_of_a_folder_that_is_away_is_no_move(
    services: Services, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = folder_of(tmp_path / "disk", range(10))
    opened(services, disk)
    away = disk.rename(tmp_path / "unplugged")
    selection = folder_of(tmp_path / "selection", [*range(6), *range(20, 24)])
    assert opened(services, selection) == [1, 2]
    assert "has 6 of the 10 images" in capsys.readouterr().out
    assert opened(services, away.rename(disk)) == [1, 2]


@pytest.mark.parametrize("is_there", [True, False])
def test_images_that_another_project_has_too_are_warned_of(
    services: Services,
    studio: Studio,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    is_there: bool,
) -> None:
    former = folder_of(tmp_path / "plates", range(5))
    opened(services, former)
    # A copy, or a part alone of a folder that is away, as on a disk that is not plugged in.
    part = folder_of(tmp_path / "copy", range(5 if is_there else 2))
    if not is_there:
        former.rename(tmp_path / "unplugged")
    assert opened(services, part) == [1, 2]
    told = capsys.readouterr().out
    assert f"images of {part}, and so has a new project" in told
    assert f"cytoloop import {part} --project 1" in told


def test_a_folder_that_shares_few_images_with_another_is_a_project_without_a_word(
    services: Services, studio: Studio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(services, folder_of(tmp_path / "plates", range(3)))
    assert opened(services, folder_of(tmp_path / "others", range(2, 5))) == [1, 2]
    assert "!" not in capsys.readouterr().out
